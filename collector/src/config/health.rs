//! What a source's health tests hold it to.

use std::fs;

use qrng::health::Settings;
use qrng::units::parse_rate;
use qrng_daemon::Problems;

use super::Driver;
use super::raw::RawHealth;
use super::sources::Place;

/// What is claimed of the source called `name`.
pub(super) fn settings(
    problems: &mut Problems,
    place: &Place,
    name: &str,
    raw: &RawHealth,
) -> Settings {
    let default = Settings::new(name);
    let per_bit = raw.entropy_per_bit.unwrap_or(default.entropy_per_bit);
    let block = raw.block_size.as_ref().and_then(|amount| {
        let size = amount
            .size()
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let key = place.key("health.block-size");
        problems.keep(
            &key,
            size,
            "write \"8 KiB\", \"16 KiB\", \"32 KiB\" or \"64 KiB\"",
        )
    });
    let rate = raw.expected_rate.as_ref().and_then(|amount| {
        let key = place.key("health.expected-rate");
        problems.keep(
            &key,
            parse_rate(amount.text()),
            "write a rate such as \"2 MB/s\"",
        )
    });
    let settings = Settings {
        entropy_per_bit: per_bit,
        entropy_per_byte: raw.entropy_per_byte.unwrap_or(8.0 * per_bit),
        uniform: raw.uniform.unwrap_or(true),
        block_bytes: block.unwrap_or(default.block_bytes),
        expected_rate: rate,
        ..default.clone()
    };
    if let Err(error) = settings.check() {
        problems.add(
            &place.key("health"),
            error,
            "claim what an assessment of the source has shown",
        );
        return default;
    }
    settings
}

/// Whether the source is tested. Only a regular file may go untested.
pub(super) fn is_tested(
    problems: &mut Problems,
    place: &Place,
    raw: &RawHealth,
    driver: Option<&Driver>,
) -> bool {
    if raw.enabled.unwrap_or(true) {
        return true;
    }
    let key = place.key("health.enabled");
    match driver {
        Some(Driver::Node { path }) => match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => problems.add(
                &key,
                format!("is false, and {} is not a regular file", path.display()),
                "remove it: a device is always tested",
            ),
            Err(e) => problems.add(
                &key,
                format!("is false, and {} cannot be looked at: {e}", path.display()),
                "name a regular file, or remove it",
            ),
        },
        Some(
            Driver::Simulator { .. }
            | Driver::Pcie { .. }
            | Driver::Usb { .. }
            | Driver::Xdma { .. }
            | Driver::Appliances(_),
        ) => problems.add(
            &key,
            "is false, and the source is no regular file",
            "remove it: everything but a file is always tested",
        ),
        None => {}
    }
    false
}
