//! Cards on the PCI bus: where they are, for every kind of them.

use qrng_daemon::Problems;

use super::raw::RawSource;
use super::sources::Place;
use super::{Driver, SourceConfig};
use crate::sysfs::pci::{Address, Id};

/// The address of the card `id` that the source is to be, if it names one; the outer `None` if that was a problem.
pub(super) fn device(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
    id: Id,
) -> Option<Option<Address>> {
    for (key, given, kind, remedy) in [
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
    ] {
        if given {
            problems.add(&place.key(key), format!("is for kind = \"{kind}\""), remedy);
        }
    }
    let Some(text) = &raw.device else {
        return Some(None);
    };
    let address = problems.keep(
        &place.key("device"),
        text.parse::<Address>()
            .map_err(|error| format!("`{text}` {error}")),
        format!(
            "name the card as `lspci -D -d {:04x}:` does, or leave it out if it is the only one",
            id.vendor
        ),
    );
    address.map(Some)
}

/// Refuses `device` of a source that is no card on the PCI bus.
pub(super) fn superfluous(problems: &mut Problems, place: &Place, raw: &RawSource) {
    if raw.device.is_some() {
        problems.add(
            &place.key("device"),
            "is for kind = \"xdma\" and kind = \"pcie\"",
            "remove it",
        );
    }
}

/// Refuses several cards of a kind of which one has no address: each could be the other.
pub(super) fn check_addresses(problems: &mut Problems, sources: &[SourceConfig]) {
    for kind in ["pcie", "xdma"] {
        let cards = sources.iter().filter_map(|source| match card(source) {
            Some((of, device)) if of == kind => Some((&source.name, device)),
            _ => None,
        });
        let cards: Vec<_> = cards.collect();
        let unnamed = cards.iter().find(|(_, device)| device.is_none());
        if let (Some((name, _)), 2..) = (unnamed, cards.len()) {
            problems.add(
                "source",
                format!(
                    "`{name}` names no device, and there are {} sources of kind = \"{kind}\"",
                    cards.len()
                ),
                "give each of them a device, such as \"0000:03:00.0\"",
            );
        }
    }
}

/// The kind of card that a source is, and its address if it has one.
fn card(source: &SourceConfig) -> Option<(&'static str, Option<Address>)> {
    match source.driver {
        Driver::Pcie { device } => Some(("pcie", device)),
        Driver::Xdma { device, .. } => Some(("xdma", device)),
        _ => None,
    }
}

/// What tells a card from all others: its address, or that it is the only one of its kind.
pub(super) fn path(kind: &str, device: Option<Address>) -> String {
    device.map_or_else(
        || format!("the only {kind} card"),
        |device| device.to_string(),
    )
}
