//! How several sources are combined, and whether they may be.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use qrng::condition::combine::{Combination, CombineError, Combining, Identity, Member, Policy};
use qrng::report::Kind;
use qrng_daemon::Problems;

use super::raw::{RawCombine, RawCombining, RawOnFailure};
use super::{Driver, SourceConfig, pci, usb};
use crate::acquire::SILENT_TOO_LONG;
use crate::source::appliance::{Address, Settings};

/// Bytes taken of each source for an output of HKDF, unless configured: enough for one source at
/// 0.98 bit a bit to fill it alone.
const DEFAULT_EACH: usize = 64;
/// The most bytes taken of each source for one output.
const MOST_EACH: usize = 64 * 1024;

/// How several sources are combined.
#[derive(Debug)]
pub struct CombineConfig {
    /// The sources and what is declared of them.
    pub combination: Combination,
    /// Bytes of each source that are combined at a time; other numbers are multiples of it.
    pub unit: usize,
    /// `xor`, `hkdf` or `interleave`.
    pub method: &'static str,
    /// What happens when a source fails.
    pub policy: Policy,
}

impl CombineConfig {
    /// Whether all bytes of every source come out.
    pub fn adds_up(&self) -> bool {
        self.combination.combining() == Combining::Interleave
    }
}

/// Checks the combination of `sources`.
pub(super) fn check(
    problems: &mut Problems,
    raw: Option<&RawCombine>,
    sources: &[SourceConfig],
) -> Option<CombineConfig> {
    let raw = match (raw, sources.len()) {
        (None, 0 | 1) => return None,
        (None, count) => {
            problems.add(
                "combine",
                format!("is missing, and there are {count} sources"),
                "add a [combine] section with method = \"xor\", \"hkdf\" or \"interleave\"",
            );
            return None;
        }
        (Some(_), 0 | 1) => {
            problems.add(
                "combine",
                "there is but one source",
                "remove it, or add sources",
            );
            return None;
        }
        (Some(raw), _) => raw,
    };
    let (combining, unit, method) = combining(problems, raw)?;
    let policy = match raw.on_failure {
        RawOnFailure::Stop => Policy::RequireAll,
        RawOnFailure::Continue => Policy::ContinueWithRest,
    };
    let members = sources.iter().enumerate().map(member).collect();
    let remedy = "see docs/conditioning.md, \"Several sources\"";
    problems.keep("combine", same_devices(sources), remedy)?;
    for source in sources {
        check_interval(problems, source);
    }
    let combination = Combination::new(combining, policy, members);
    let combination = problems.keep("combine", combination, remedy)?;
    Some(CombineConfig {
        combination,
        unit,
        method,
        policy,
    })
}

fn combining(
    problems: &mut Problems,
    raw: &RawCombine,
) -> Option<(Combining, usize, &'static str)> {
    match raw.method {
        RawCombining::Xor => {
            no_sizes(problems, raw, "XOR");
            Some((Combining::Xor, 1, "xor"))
        }
        RawCombining::Interleave => {
            no_sizes(problems, raw, "interleaving");
            Some((Combining::Interleave, 1, "interleave"))
        }
        RawCombining::Hkdf => {
            let bytes_each = raw.bytes_each.unwrap_or(DEFAULT_EACH);
            if !(1..=MOST_EACH).contains(&bytes_each) {
                problems.add(
                    "combine.bytes-each",
                    format!("is {bytes_each}"),
                    format!("give 1 to {MOST_EACH}"),
                );
                return None;
            }
            let combining = Combining::Hkdf {
                bytes_each,
                output_len: raw.output_bytes.unwrap_or(32),
            };
            Some((combining, bytes_each, "hkdf"))
        }
    }
}

/// Refuses the settings of HKDF for another method.
fn no_sizes(problems: &mut Problems, raw: &RawCombine, method: &str) {
    if raw.bytes_each.is_some() || raw.output_bytes.is_some() {
        problems.add(
            "combine",
            format!("bytes-each and output-bytes have no meaning for {method}"),
            "remove them",
        );
    }
}

fn member((index, source): (usize, &SourceConfig)) -> Member {
    let (kind, path) = match &source.driver {
        // Each has a key of its own, so each is a device of its own.
        Driver::Simulator { .. } => (Kind::Simulator, format!("simulator:{}", index + 1)),
        Driver::Node { path } => (Kind::KernelNode, real(path)),
        Driver::Usb { serial } => (
            Kind::Usb,
            format!("usb:{}", serial.as_deref().unwrap_or_default()),
        ),
        Driver::Appliances(settings) => (Kind::Appliance, urls(settings)),
        Driver::Pcie { device } => (Kind::PcieModule, pci::path("pcie", *device)),
        Driver::Xdma { device, .. } => (Kind::PcieChip, pci::path("xdma", *device)),
    };
    Member {
        identity: Identity {
            kind,
            serial: None,
            path: Some(path),
        },
        group: source.group.clone().unwrap_or_default(),
        min_entropy: source.claim.after,
    }
}

/// Where a source's appliances are, in one text.
fn urls(settings: &Settings) -> String {
    let urls: Vec<_> = settings.addresses.iter().map(Address::to_string).collect();
    urls.join(", ")
}

/// The path without symbolic links; as it is if there is nothing.
fn real(path: &Path) -> String {
    let real = fs::canonicalize(path);
    real.as_deref().unwrap_or(path).display().to_string()
}

/// What a node is, whatever its path: the number of its device, or its file.
fn node(source: &SourceConfig) -> Option<(bool, u64, u64)> {
    let Driver::Node { path } = &source.driver else {
        return None;
    };
    let meta = fs::metadata(path).ok()?;
    Some(if meta.file_type().is_char_device() {
        (true, meta.rdev(), 0)
    } else {
        (false, meta.dev(), meta.ino())
    })
}

/// Whether an appliance of the one is an appliance of the other: ports do not make two of a host.
fn share_an_appliance(one: &SourceConfig, other: &SourceConfig) -> bool {
    let (Driver::Appliances(one), Driver::Appliances(other)) = (&one.driver, &other.driver) else {
        return false;
    };
    let mut hosts = one.addresses.iter().map(Address::host);
    hosts.any(|host| other.addresses.iter().any(|other| other.host() == host))
}

/// Refuses two names of one device or file, hard links and further nodes included, and one appliance in two sources.
fn same_devices(sources: &[SourceConfig]) -> Result<(), CombineError> {
    for (index, source) in sources.iter().enumerate() {
        let this = node(source);
        let same = |other: &&SourceConfig| {
            (this.is_some() && node(other) == this)
                || usb::same_card(source, other)
                || share_an_appliance(source, other)
        };
        if let Some(other) = sources[..index].iter().find(same) {
            return Err(CombineError::SameDevice {
                first: other.name.clone(),
                second: source.name.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses appliances that are asked so rarely that they would count as silent in between.
fn check_interval(problems: &mut Problems, source: &SourceConfig) {
    let most = SILENT_TOO_LONG / 2;
    match &source.driver {
        Driver::Appliances(settings) if settings.interval > most => problems.add(
            "combine",
            format!(
                "source {} is asked each {:?} only, and counts as failed after {SILENT_TOO_LONG:?} of silence",
                source.name, settings.interval
            ),
            format!("give it an interval of \"{most:?}\" at most"),
        ),
        _ => {}
    }
}
