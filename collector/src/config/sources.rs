//! The noise sources: what reads them, and what is claimed of each.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng::condition::pair::Claim;
use qrng::health::Settings;
use qrng::units::Amount;
use qrng_daemon::{Problems, path_in};

use super::raw::{RawKind, RawSource};
use super::{Conditioning, Driver, appliance, conditioning, health, pci, pcie, sending, usb, xdma};
use crate::source::simulator::CARDS;

/// The longest name of a source, in bytes: it must fit in a report.
const LONGEST_NAME: usize = 128;
/// The most sources: their states must fit in a report.
const MOST_SOURCES: usize = 8;

/// A noise source, and what is done to its bytes.
#[derive(Debug)]
pub struct SourceConfig {
    /// Its name in status and reports.
    pub name: String,
    /// What reads it.
    pub driver: Driver,
    /// What its health tests hold it to; none if it is not tested.
    pub health: Option<Settings>,
    /// What its bytes become.
    pub conditioning: Conditioning,
    /// The entropy claimed before and after that.
    pub claim: Claim,
    /// What it may depend on, if that is declared.
    pub group: Option<String>,
}

impl SourceConfig {
    /// What somebody should know of it, because it is not as it should be: for the log and the status.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.health.is_none() {
            warnings.push("HEALTH TESTS ARE OFF; whatever the file holds is sent as random".into());
        }
        if let Driver::Appliances(settings) = &self.driver {
            warnings.extend(settings.warnings());
        }
        warnings
    }
}

/// Where a source stands in the file, for messages.
pub(super) struct Place(Option<usize>);

impl Place {
    /// The source number `index` of `count`.
    pub(super) fn new(index: usize, count: usize) -> Self {
        Self((count > 1).then_some(index + 1))
    }

    /// The name of its setting `name`.
    pub(super) fn key(&self, name: &str) -> String {
        match self.0 {
            None => format!("source.{name}"),
            Some(number) => format!("source {number}: {name}"),
        }
    }
}

/// Checks the sources. Paths are relative to the configuration `file`.
pub(super) fn check(
    problems: &mut Problems,
    file: &Path,
    raw: Vec<RawSource>,
) -> Vec<SourceConfig> {
    let count = raw.len();
    if count == 0 || count > MOST_SOURCES {
        problems.add(
            "source",
            format!("there are {count}"),
            format!("give 1 to {MOST_SOURCES} [[source]] sections"),
        );
    }
    let mut sources: Vec<SourceConfig> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let place = Place::new(index, count);
        let Some(source) = source(problems, &place, file, raw) else {
            continue;
        };
        if sources.iter().any(|other| other.name == source.name) {
            problems.add(
                &place.key("name"),
                format!("`{}` is the name of another source too", source.name),
                "give each source a name of its own",
            );
        }
        sources.push(source);
    }
    usb::check_named(problems, &sources);
    pci::check_addresses(problems, &sources);
    sources
}

fn source(
    problems: &mut Problems,
    place: &Place,
    file: &Path,
    raw: RawSource,
) -> Option<SourceConfig> {
    if raw.appliance.is_some() && !matches!(raw.kind, RawKind::Appliance) {
        problems.add(
            &place.key("appliance"),
            "is for kind = \"appliance\"",
            "remove it",
        );
    }
    usb::check_serial(problems, place, &raw);
    let (name, driver) = driver(problems, place, file, &raw);
    let name = raw.name.clone().unwrap_or(name);
    if name.is_empty() || name.len() > LONGEST_NAME {
        problems.add(
            &place.key("name"),
            format!("`{name}` has {} bytes", name.len()),
            format!("give the source a name of 1 to {LONGEST_NAME} bytes"),
        );
    }
    let claims = health::settings(problems, place, &name, &raw.health);
    let tested = health::is_tested(problems, place, &raw.health, driver.as_ref());
    let conditioning = match &driver {
        Some(driver) => {
            let bit = claims.entropy_per_bit;
            conditioning::check(problems, place, file, &raw, driver, bit)
        }
        None => None,
    };
    let (conditioning, claim) = conditioning?;
    Some(SourceConfig {
        name,
        driver: driver?,
        health: tested.then_some(claims),
        conditioning,
        claim,
        group: raw.group,
    })
}

/// A source's name, unless it is given one, and its driver.
fn driver(
    problems: &mut Problems,
    place: &Place,
    file: &Path,
    raw: &RawSource,
) -> (String, Option<Driver>) {
    if !matches!(raw.kind, RawKind::Xdma) {
        xdma::superfluous(problems, place, raw);
    }
    if !matches!(raw.kind, RawKind::Pcie | RawKind::Xdma) {
        pci::superfluous(problems, place, raw);
    }
    match raw.kind {
        RawKind::Pcie => pcie::driver(problems, place, raw),
        RawKind::Xdma => xdma::driver(problems, place, raw),
        RawKind::Simulator => {
            if raw.path.is_some() {
                problems.add(&place.key("path"), "is for kind = \"node\"", "remove it");
            }
            let text = raw.rate.as_ref().map_or("pcie-16m", Amount::text);
            let rate = problems.keep(
                &place.key("rate"),
                simulator_rate(text),
                format!(
                    "write \"unlimited\", a rate such as \"2 MB/s\", or a card's name: {}",
                    CARDS.map(|(name, _)| name).join(", ")
                ),
            );
            let driver = rate.map(|rate| Driver::Simulator { rate });
            (format!("simulator {text}"), driver)
        }
        RawKind::Node => {
            if raw.rate.is_some() {
                problems.add(
                    &place.key("rate"),
                    "is for kind = \"simulator\"",
                    "remove it (send.rate limits what is sent)",
                );
            }
            let Some(path) = &raw.path else {
                problems.add(
                    &place.key("path"),
                    "is missing",
                    "name the device, for instance \"/dev/qrandom0\"",
                );
                return ("node".into(), None);
            };
            let path: PathBuf = path_in(file, path);
            (path.display().to_string(), Some(Driver::Node { path }))
        }
        RawKind::Usb => usb::driver(problems, place, raw),
        RawKind::Appliance => {
            for (name, given) in [("path", raw.path.is_some()), ("rate", raw.rate.is_some())] {
                if given {
                    problems.add(
                        &place.key(name),
                        "is not for kind = \"appliance\"",
                        "remove it",
                    );
                }
            }
            let settings = appliance::check(problems, place, file, raw.appliance.as_ref());
            let first = settings.as_ref().and_then(|s| s.addresses.first());
            let name = first.map_or("appliance".into(), |first| first.host().to_owned());
            (name, settings.map(Driver::Appliances))
        }
    }
}

/// A simulator's rate: `None` is unlimited.
pub(super) fn simulator_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    match CARDS.iter().find(|(name, _)| *name == text) {
        Some((_, rate)) => Ok(NonZeroU64::new(*rate)),
        None => sending::limit(text),
    }
}
