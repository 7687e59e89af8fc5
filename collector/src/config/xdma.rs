//! Chip cards by DMA: `kind = "xdma"`.

use qrng::condition::pair::Processing;
use qrng_daemon::Problems;

use super::raw::{RawMode, RawProcessing, RawSource};
use super::sources::Place;
use super::{Driver, SourceConfig};
use crate::source::xdma::chip::Mode;
use crate::sysfs::pci::Address;

/// The source's name, unless it is given one, and its driver.
pub(super) fn driver(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
) -> (String, Option<Driver>) {
    let foreign = [
        (
            "rate",
            raw.rate.is_some(),
            "simulator",
            "remove it (send.rate limits what is sent)",
        ),
        (
            "path",
            raw.path.is_some(),
            "node",
            "remove it (device names a card)",
        ),
    ];
    for (key, given, kind, remedy) in foreign {
        if given {
            problems.add(&place.key(key), format!("is for kind = \"{kind}\""), remedy);
        }
    }
    let mode = match raw.mode.unwrap_or_default() {
        RawMode::Rng => Mode::Rng,
        RawMode::Sample => Mode::Sample,
    };
    let Some(text) = &raw.device else {
        return (
            "chip card".into(),
            Some(Driver::Xdma { device: None, mode }),
        );
    };
    let device = problems.keep(
        &place.key("device"),
        text.parse::<Address>()
            .map_err(|error| format!("`{text}` {error}")),
        "name the card as `lspci -D -d 1e89:` does, or leave it out if it is the only one",
    );
    let driver = device.map(|device| Driver::Xdma {
        device: Some(device),
        mode,
    });
    (format!("chip card {text}"), driver)
}

/// Refuses `device` and `mode` of a source of another kind.
pub(super) fn superfluous(problems: &mut Problems, place: &Place, raw: &RawSource) {
    for (key, given) in [
        ("device", raw.device.is_some()),
        ("mode", raw.mode.is_some()),
    ] {
        if given {
            problems.add(&place.key(key), "is for kind = \"xdma\"", "remove it");
        }
    }
}

/// What chips in this mode do to their samples. The configuration may say so, and not otherwise.
pub(super) fn processing(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
    mode: Mode,
) -> Option<Processing> {
    let (processing, other) = match mode {
        Mode::Rng => (Processing::PostProcessed, RawProcessing::Raw),
        Mode::Sample => (Processing::Raw, RawProcessing::PostProcessed),
    };
    if raw.processing != Some(other) {
        return Some(processing);
    }
    let name = mode.name();
    problems.add(
        &place.key("processing"),
        match mode {
            Mode::Rng => format!("is \"raw\", and the chips post-process in mode = \"{name}\""),
            Mode::Sample => {
                format!("is \"post-processed\", and mode = \"{name}\" gives raw samples")
            }
        },
        "remove it, or choose the other mode",
    );
    None
}

/// Refuses several chip cards of which one has no address: each could be the other.
pub(super) fn check_addresses(problems: &mut Problems, sources: &[SourceConfig]) {
    let cards = sources.iter().filter_map(|source| match source.driver {
        Driver::Xdma { device, .. } => Some((source, device)),
        _ => None,
    });
    let cards: Vec<_> = cards.collect();
    if let Some((unnamed, _)) = cards.iter().find(|(_, device)| device.is_none())
        && cards.len() > 1
    {
        problems.add(
            "source",
            format!(
                "`{}` names no device, and there are {} sources of kind = \"xdma\"",
                unnamed.name,
                cards.len()
            ),
            "give each of them a device, such as \"0000:03:00.0\"",
        );
    }
}
