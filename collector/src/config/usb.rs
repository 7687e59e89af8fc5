//! Cards on the USB: which one is meant.

use qrng_daemon::Problems;

use super::raw::{RawKind, RawSource};
use super::sources::Place;
use super::{Driver, SourceConfig};

/// The longest serial number, in characters: what fits in a string descriptor.
const LONGEST: usize = 126;

/// The name of the card, unless it is given one, and its driver.
pub(super) fn driver(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
) -> (String, Option<Driver>) {
    for (name, given) in [("path", raw.path.is_some()), ("rate", raw.rate.is_some())] {
        if given {
            let key = place.key(name);
            problems.add(&key, "is not for kind = \"usb\"", "remove it");
        }
    }
    let serial = raw.serial.clone();
    if let Some(serial) = &serial
        && (serial.is_empty()
            || serial.chars().count() > LONGEST
            || serial.chars().any(char::is_control))
    {
        problems.add(
            &place.key("serial"),
            format!("`{}` is no serial number", serial.escape_debug()),
            "write it as `lsusb -v -d 0aba:0102` shows it (iSerial)",
        );
        return ("usb".into(), None);
    }
    let name = serial.as_ref().map_or("usb".into(), |s| format!("usb {s}"));
    (name, Some(Driver::Usb { serial }))
}

/// Refuses a serial number for what has none to be chosen by.
pub(super) fn check_serial(problems: &mut Problems, place: &Place, raw: &RawSource) {
    if raw.serial.is_some() && !matches!(raw.kind, RawKind::Usb) {
        problems.add(&place.key("serial"), "is for kind = \"usb\"", "remove it");
    }
}

/// Of several cards each must be named: one that is not may be any.
pub(super) fn check_named(problems: &mut Problems, sources: &[SourceConfig]) {
    let serials = sources.iter().filter_map(serial);
    if serials.clone().count() > 1 && serials.clone().any(|serial| serial.is_none()) {
        problems.add(
            "source",
            "there are several of kind = \"usb\", and one has no serial",
            "name each card by its serial number",
        );
    }
}

/// Whether both are the same card.
pub(super) fn same_card(one: &SourceConfig, other: &SourceConfig) -> bool {
    serial(one).is_some() && serial(one) == serial(other)
}

/// The serial number of a card, if one is named; `None` if it is no card.
fn serial(source: &SourceConfig) -> Option<Option<&str>> {
    match &source.driver {
        Driver::Usb { serial } => Some(serial.as_deref()),
        _ => None,
    }
}
