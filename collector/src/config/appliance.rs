//! Appliances: where they are, and why they are believed.

use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qrng::units::Amount;
use qrng_daemon::{Problems, path_in, read_secret};
use serde::Deserialize;

use super::raw::{RawKind, RawSource};
use super::sources::Place;
use crate::source::ahead::LONGEST_READ;
use crate::source::appliance::trust::{Authorities, Client, Verification};
use crate::source::appliance::{Address, Settings, Trust, answer};

/// The environment variable that replaces `urls`.
pub const URLS_VARIABLE: &str = "QRNG_APPLIANCE_URLS";

/// The most appliances of one source: each has a thread.
const MOST: usize = 16;
/// Bytes asked for at a time.
const SIZES: RangeInclusive<usize> = answer::LEAST..=LONGEST_READ;
const DEFAULT_SIZE: usize = 4096;
/// From one question to the next.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);
/// How long connecting, and a whole question, may take.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest file of certificates that is read, in bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// The section `[source.appliance]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAppliance {
    #[serde(default)]
    urls: Vec<String>,
    /// Whether they come from the environment.
    #[serde(skip)]
    overridden: bool,
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    fetch_size: Option<Amount>,
    interval: Option<Amount>,
    connect_timeout: Option<Amount>,
    timeout: Option<Amount>,
    #[serde(default)]
    insecure_skip_verification: bool,
    #[serde(default)]
    insecure_http: bool,
}

/// Puts the addresses that the environment gives, separated by commas, in place of those of the source that they are for.
pub(super) fn override_urls(problems: &mut Problems, sources: &mut [RawSource], urls: &str) {
    let appliances = sources
        .iter_mut()
        .filter(|source| matches!(source.kind, RawKind::Appliance));
    let mut appliances: Vec<_> = appliances.collect();
    match &mut appliances[..] {
        [source] => {
            let raw = source.appliance.get_or_insert_default();
            raw.urls = urls.split(',').map(str::to_owned).collect();
            raw.overridden = true;
            log::info!("{URLS_VARIABLE} replaces the urls of the configuration");
        }
        several => problems.add(
            &format!("environment variable {URLS_VARIABLE}"),
            format!(
                "is set, and there are {} sources of kind = \"appliance\"",
                several.len()
            ),
            "unset it, or have one such source",
        ),
    }
}

/// Checks the settings of a source of appliances. Paths are relative to the configuration `file`.
pub(super) fn check(
    problems: &mut Problems,
    place: &Place,
    file: &Path,
    raw: Option<&RawAppliance>,
) -> Option<Settings> {
    let Some(raw) = raw else {
        problems.add(
            &place.key("appliance"),
            "is missing",
            "add a [source.appliance] section with urls and ca-file",
        );
        return None;
    };
    let addresses = addresses(problems, place, raw);
    let trust = trust(problems, place, file, raw, &addresses);
    let timeout = time(problems, place, "timeout", &raw.timeout, TIMEOUTS);
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    let connect = time(
        problems,
        place,
        "connect-timeout",
        &raw.connect_timeout,
        TIMEOUTS,
    );
    let interval = time(problems, place, "interval", &raw.interval, INTERVALS);
    let size = size(problems, place, raw);
    Some(Settings {
        addresses,
        trust: trust?,
        size,
        interval: interval.unwrap_or(*INTERVALS.start()),
        connect_timeout: connect.unwrap_or(DEFAULT_CONNECT_TIMEOUT.min(timeout)),
        timeout,
    })
}

fn addresses(problems: &mut Problems, place: &Place, raw: &RawAppliance) -> Vec<Address> {
    let key = match raw.overridden {
        true => format!("environment variable {URLS_VARIABLE}"),
        false => place.key("appliance.urls"),
    };
    let remedy =
        "write an address such as \"https://qrng-1.example\" or \"https://192.0.2.7:8443\"";
    if raw.urls.is_empty() || raw.urls.len() > MOST {
        let count = raw.urls.len();
        problems.add(
            &key,
            format!("there are {count} addresses"),
            format!("give 1 to {MOST}"),
        );
    }
    let mut addresses: Vec<Address> = Vec::new();
    for url in &raw.urls {
        let Some(address) = problems.keep(&key, Address::parse(url), remedy) else {
            continue;
        };
        if !address.is_encrypted() && !raw.insecure_http {
            problems.add(
                &key,
                format!("{address} is not encrypted: whoever listens gets the same bytes"),
                "write https://, or insecure-http = true where nobody can listen",
            );
        }
        if addresses.contains(&address) {
            problems.add(&key, format!("{address} is there twice"), "remove one");
        }
        addresses.push(address);
    }
    addresses
}

fn trust(
    problems: &mut Problems,
    place: &Place,
    file: &Path,
    raw: &RawAppliance,
    addresses: &[Address],
) -> Option<Trust> {
    let key = place.key("appliance.ca-file");
    let encrypted = addresses.iter().any(Address::is_encrypted);
    let verification = match (&raw.ca_file, raw.insecure_skip_verification) {
        (Some(_), true) => {
            problems.add(
                &key,
                "has no meaning with insecure-skip-verification",
                "remove insecure-skip-verification",
            );
            None
        }
        (Some(path), false) => authorities(problems, &key, &path_in(file, path)),
        (None, false) if encrypted => {
            problems.add(
                &key,
                "is missing",
                "name the certificate of whoever issued those of the appliances; \
                 for public authorities, /etc/ssl/certs/ca-certificates.crt",
            );
            None
        }
        (None, _) => Some(Verification::Skipped),
    };
    let client = match (&raw.client_certificate, &raw.client_key) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some(client(
            problems,
            place,
            &path_in(file, chain),
            &path_in(file, key),
        )?),
        _ => {
            problems.add(
                &place.key("appliance.client-certificate"),
                "and client-key belong together, and one is missing",
                "give both, or none",
            );
            return None;
        }
    };
    Some(Trust {
        verification: verification?,
        client,
    })
}

fn authorities(problems: &mut Problems, key: &str, path: &Path) -> Option<Verification> {
    let remedy = "name a file of certificates in PEM";
    let pem = problems.keep(key, read(path), remedy)?;
    let parsed = Authorities::parse(&pem).map_err(|e| format!("{}: {e}", path.display()));
    problems.keep(key, parsed, remedy).map(Verification::By)
}

fn client(problems: &mut Problems, place: &Place, chain: &Path, key: &Path) -> Option<Client> {
    let certificate_key = place.key("appliance.client-certificate");
    let remedy = "name the PEM files of a certificate and of its private key without a pass phrase";
    let pem = problems.keep(&certificate_key, read(chain), remedy);
    let secret = problems.keep(&place.key("appliance.client-key"), read_secret(key), remedy);
    let parsed = Client::parse(&pem?, &secret?)
        .map_err(|e| format!("{}, {}: {e}", chain.display(), key.display()));
    problems.keep(&certificate_key, parsed, remedy)
}

/// Reads a file that is no secret.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(LONGEST_FILE)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| format!("{}: {e}", path.display()))
}

fn size(problems: &mut Problems, place: &Place, raw: &RawAppliance) -> usize {
    let Some(amount) = &raw.fetch_size else {
        return DEFAULT_SIZE;
    };
    let size = amount.size().map_err(|e| e.to_string());
    let size = size.and_then(|size| match usize::try_from(size) {
        Ok(size) if SIZES.contains(&size) => Ok(size),
        _ => Err(format!("is {size} bytes")),
    });
    let remedy = format!("give {} B to {} KiB", SIZES.start(), SIZES.end() / 1024);
    let kept = problems.keep(&place.key("appliance.fetch-size"), size, remedy);
    kept.unwrap_or(DEFAULT_SIZE)
}

/// A time within `range`; none if it is not given, or wrong.
fn time(
    problems: &mut Problems,
    place: &Place,
    name: &str,
    amount: &Option<Amount>,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let amount = amount.as_ref()?;
    let time = amount.time().map_err(|e| e.to_string());
    let time = time.and_then(|time| match range.contains(&time) {
        true => Ok(time),
        false => Err(format!("is {time:?}")),
    });
    let remedy = format!("give \"{:?}\" to \"{:?}\"", range.start(), range.end());
    problems.keep(&place.key(&format!("appliance.{name}")), time, remedy)
}
