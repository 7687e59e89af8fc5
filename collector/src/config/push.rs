//! Gateways that are pushed to by HTTPS: where, with which key, and why they are believed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qrng::push::{BODY_MAX, PATH};
use qrng::units::Amount;
use qrng_daemon::{Problems, path_in};
use serde::Deserialize;

use super::raw::RawGateway;
use crate::source::appliance::Address;
use crate::source::appliance::trust::Authorities;

/// The environment variable that replaces `url`.
pub const URL_VARIABLE: &str = "QRNG_GATEWAY_PUSH_URL";

/// How long packets may wait for others.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of packets that may wait.
const QUEUES: RangeInclusive<u64> = BODY_MAX as u64..=1 << 30;
const DEFAULT_QUEUE: u64 = 4 << 20;

/// What to write for an address.
const URL_REMEDY: &str =
    "write the address of qrng-http at the gateway, such as \"https://gateway.example:8443\"";

/// The section `[gateway.push]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPush {
    url: Option<String>,
    /// Whether it comes from the environment.
    #[serde(skip)]
    overridden: bool,
    api_key: PathBuf,
    ca_file: PathBuf,
    interval: Option<Amount>,
    queue: Option<Amount>,
}

/// How a gateway is pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushConfig {
    /// Where `qrng-http` listens.
    pub address: Address,
    /// The file with the key that lets us push.
    pub api_key: PathBuf,
    /// Certificates of who issued its.
    pub ca_file: PathBuf,
    /// How long packets may wait for others.
    pub interval: Duration,
    /// Bytes of packets that may wait.
    pub queue: usize,
}

/// Puts the address that the environment gives in place of that of the gateway that is pushed to.
pub(super) fn override_url(problems: &mut Problems, gateways: &mut [RawGateway], url: &str) {
    let pushed = gateways.iter_mut().filter_map(|raw| raw.push.as_mut());
    let mut pushed: Vec<_> = pushed.collect();
    match &mut pushed[..] {
        [push] => {
            push.url = Some(url.to_owned());
            push.overridden = true;
            log::info!("{URL_VARIABLE} replaces the url of the configuration");
        }
        several => problems.add(
            &format!("environment variable {URL_VARIABLE}"),
            format!(
                "is set, and there are {} gateways with a section [gateway.push]",
                several.len()
            ),
            "unset it, or have one such gateway",
        ),
    }
}

/// Checks the section of the gateway at `place`. Paths are relative to the configuration `file`.
pub(super) fn check(
    problems: &mut Problems,
    place: &str,
    file: &Path,
    raw: &RawPush,
) -> Option<PushConfig> {
    let key = match raw.overridden {
        true => format!("environment variable {URL_VARIABLE}"),
        false => format!("{place}: push.url"),
    };
    let address = match &raw.url {
        Some(url) => problems.keep(&key, address(url), URL_REMEDY),
        None => {
            problems.add(&key, "is missing", URL_REMEDY);
            None
        }
    };
    let ca_file = path_in(file, &raw.ca_file);
    let read = super::appliance::read(&ca_file);
    let authorities = read.and_then(|pem| {
        Authorities::parse(&pem).map_err(|e| format!("{}: {e}", ca_file.display()))
    });
    let authorities = problems.keep(
        &format!("{place}: push.ca-file"),
        authorities,
        "name the certificate of who issued that of qrng-http there, or that one itself, in PEM",
    );
    let interval = raw.interval.as_ref().map(|interval| {
        let time = interval.time().map_err(|e| e.to_string());
        let time = time.and_then(|time| match INTERVALS.contains(&time) {
            true => Ok(time),
            false => Err(format!("is {time:?}")),
        });
        let remedy = "give \"10 ms\" to \"10 s\"";
        problems.keep(&format!("{place}: push.interval"), time, remedy)
    });
    let queue = raw.queue.as_ref().map(|queue| {
        let size = queue.size().map_err(|e| e.to_string());
        let size = size.and_then(|size| match QUEUES.contains(&size) {
            true => Ok(size),
            false => Err(format!("is {size} bytes")),
        });
        let remedy = "give \"256 KiB\" to \"1 GiB\"";
        problems.keep(&format!("{place}: push.queue"), size, remedy)
    });
    authorities?;
    let queue = queue.flatten().unwrap_or(DEFAULT_QUEUE);
    Some(PushConfig {
        address: address?,
        api_key: path_in(file, &raw.api_key),
        ca_file,
        interval: interval.flatten().unwrap_or(DEFAULT_INTERVAL),
        queue: usize::try_from(queue).ok()?,
    })
}

/// The address, with the path that is known or without it.
fn address(url: &str) -> Result<Address, String> {
    let url = url.trim();
    let address = Address::parse(url.strip_suffix(PATH).unwrap_or(url))?;
    if !address.is_encrypted() {
        return Err(format!(
            "`{url}` is not encrypted: whoever listens gets the key that lets us push"
        ));
    }
    Ok(address)
}
