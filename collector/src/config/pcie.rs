//! Module cards, driven from user space: `kind = "pcie"`.

use qrng_daemon::Problems;

use super::raw::RawSource;
use super::sources::Place;
use super::{Driver, pci};
use crate::sysfs::pci::MODULE_CARD;

/// The source's name, unless it is given one, and its driver.
pub(super) fn driver(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
) -> (String, Option<Driver>) {
    let device = pci::device(problems, place, raw, MODULE_CARD);
    let name = match device {
        Some(Some(address)) => format!("module card {address}"),
        _ => "module card".to_owned(),
    };
    (name, device.map(|device| Driver::Pcie { device }))
}
