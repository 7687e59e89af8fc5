//! Chip cards by DMA: `kind = "xdma"`.

use qrng::condition::pair::Processing;
use qrng_daemon::Problems;

use super::raw::{RawMode, RawProcessing, RawSource};
use super::sources::Place;
use super::{Driver, pci};
use crate::source::xdma::chip::Mode;
use crate::sysfs::pci::CHIP_CARD_40M;

/// The source's name, unless it is given one, and its driver.
pub(super) fn driver(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
) -> (String, Option<Driver>) {
    let mode = match raw.mode.unwrap_or_default() {
        RawMode::Rng => Mode::Rng,
        RawMode::Sample => Mode::Sample,
    };
    let device = pci::device(problems, place, raw, CHIP_CARD_40M);
    let name = match device {
        Some(Some(address)) => format!("chip card {address}"),
        _ => "chip card".to_owned(),
    };
    (name, device.map(|device| Driver::Xdma { device, mode }))
}

/// Refuses `mode` of a source of another kind.
pub(super) fn superfluous(problems: &mut Problems, place: &Place, raw: &RawSource) {
    if raw.mode.is_some() {
        problems.add(&place.key("mode"), "is for kind = \"xdma\"", "remove it");
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
