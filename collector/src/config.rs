//! Configuration: the TOML file as it is written ([`Raw`]), and as the collector uses it
//! ([`Config`]), checked whole before anything starts.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng::keys::{CollectorKey, parse_psk_hex};
use qrng::packet::{ANNOUNCEMENT_LEN, DEFAULT_DATA, MAX_DATA, MIN_DATA, OVERHEAD, SLOTS};
use qrng::units::{parse_rate, parse_size};
use qrng_daemon::{ConfigError, Problems, read_secret, read_toml};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use zeroize::Zeroizing;

use crate::acquire::Cut;
use crate::send::{LONGEST_BATCH, MOST_SEGMENTS, headers};
use crate::source::simulator::CARDS;

/// The environment variable that overrides the pre-shared key of every gateway (64 hex digits).
pub const PSK_VARIABLE: &str = "QRNG_HMAC_SECRET_KEY";

/// The largest data field that fits in IPv6 over Ethernet without fragments, in bytes.
const MAX_DATA_V6: usize = DEFAULT_DATA;
/// The most gateways: each has its slot.
const MOST_GATEWAYS: usize = SLOTS as usize;
/// The longest name of a source, in bytes: it must fit in a report.
const LONGEST_NAME: usize = 128;
/// What may go at once over a paced link unless configured, in bytes.
const DEFAULT_BURST: u64 = 256 * 1024;
/// The lowest pace for each gateway, in bytes a second: announcements and reports alone take 3 kB.
const LEAST_RATE: u64 = 16_000;

/// The configuration file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    #[serde(default = "Raw::state_directory")]
    state_directory: PathBuf,
    #[serde(default = "Raw::runtime_directory")]
    runtime_directory: PathBuf,
    source: RawSource,
    #[serde(default)]
    gateway: Vec<RawGateway>,
    #[serde(default)]
    send: RawSend,
}

impl Raw {
    fn state_directory() -> PathBuf {
        "/var/lib/qrng-collector".into()
    }

    fn runtime_directory() -> PathBuf {
        "/run/qrng-collector".into()
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    Simulator,
    Node,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSource {
    kind: RawKind,
    name: Option<String>,
    rate: Option<Amount>,
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawGateway {
    name: Option<String>,
    address: String,
    key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSend {
    data_size: Option<Amount>,
    rate: Option<Amount>,
    burst: Option<Amount>,
}

/// A size or rate: a string with a unit, or a number of bytes.
#[derive(Debug)]
struct Amount(String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string such as \"16 MiB\" or a number of bytes")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What the collector is to do, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the epoch file lives.
    pub state_directory: PathBuf,
    /// Where `status.json` lives.
    pub runtime_directory: PathBuf,
    /// The noise source.
    pub source: SourceConfig,
    /// The gateways, at least one.
    pub gateways: Vec<Gateway>,
    /// How to send.
    pub send: SendConfig,
}

/// Which noise source to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name in status and reports.
    pub name: String,
    /// What reads it.
    pub driver: Driver,
}

/// What reads a noise source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// The simulator.
    Simulator {
        /// Bytes a second; `None` is as many as the stages after it take.
        rate: Option<NonZeroU64>,
    },
    /// A character device or file.
    Node {
        /// The device or file.
        path: PathBuf,
    },
}

/// A gateway to send to.
#[derive(Debug)]
pub struct Gateway {
    /// Its name in status and log.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The key shared with it.
    pub key: CollectorKey,
}

/// How to cut and pace what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendConfig {
    /// Length of a full packet's data field: one content byte, then random bytes.
    pub data_size: usize,
    /// Bytes a second with IP and UDP headers; `None` is no limit.
    pub rate: Option<NonZeroU64>,
    /// The most bytes at once, with headers, if there is a rate.
    pub burst: u64,
    /// Datagrams handed to the kernel at once, at most.
    pub segments: usize,
}

impl SendConfig {
    /// How random bytes are cut into packets.
    pub fn cut(&self) -> Cut {
        Cut {
            full: self.data_size - 1,
            least: MIN_DATA - 1,
        }
    }

    /// Random bytes that are handed on at once, at most.
    pub fn block(&self) -> usize {
        self.segments * self.cut().full
    }

    /// Bytes of the datagrams that are handed to the kernel at once, at most.
    pub fn batch(&self) -> usize {
        self.segments * (self.data_size + OVERHEAD)
    }
}

impl Config {
    /// Reads and checks the configuration in `file`, with the environment's overrides. Relative
    /// paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, or with the key files that it names.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let psk = env::var_os(PSK_VARIABLE).map(|v| Psk::from(v.to_string_lossy().into_owned()));
        let raw = read_toml(file)?;
        Given { file, raw, psk }.try_into()
    }
}

/// A configuration as it was given.
#[derive(Debug)]
pub struct Given<'f> {
    /// Where it comes from.
    pub file: &'f Path,
    /// What the file says.
    pub raw: Raw,
    /// The pre-shared key that the environment gives in place of the key files'.
    pub psk: Option<Psk>,
}

/// A pre-shared key in hexadecimal, not yet checked; not shown, and wiped.
pub struct Psk(Zeroizing<String>);

impl From<String> for Psk {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

impl TryFrom<Given<'_>> for Config {
    type Error = ConfigError;

    fn try_from(given: Given<'_>) -> Result<Self, ConfigError> {
        let Given { file, raw, psk } = given;
        let mut problems = Problems::new(file);
        let directory = file.parent().unwrap_or(Path::new(""));
        // What could not be understood has a default here, which is not used: `finish` fails then.
        let source = check_source(&mut problems, directory, raw.source);
        let gateways = check_gateways(&mut problems, directory, raw.gateway, psk);
        let send = check_send(&mut problems, &raw.send, &gateways);
        problems.finish()?;
        Ok(Self {
            state_directory: directory.join(raw.state_directory),
            runtime_directory: directory.join(raw.runtime_directory),
            source,
            gateways,
            send,
        })
    }
}

fn check_source(problems: &mut Problems, directory: &Path, raw: RawSource) -> SourceConfig {
    let (name, source) = match raw.kind {
        RawKind::Simulator => {
            if raw.path.is_some() {
                problems.add("source.path", "is for kind = \"node\"", "remove it");
            }
            let text = raw.rate.map_or_else(|| "pcie-16m".into(), |r| r.0);
            let rate = problems.keep(
                "source.rate",
                simulator_rate(&text),
                format!(
                    "write \"unlimited\", a rate such as \"2 MB/s\", or a card's name: {}",
                    CARDS.map(|(name, _)| name).join(", ")
                ),
            );
            let rate = rate.flatten();
            (format!("simulator {text}"), Driver::Simulator { rate })
        }
        RawKind::Node => {
            if raw.rate.is_some() {
                problems.add(
                    "source.rate",
                    "is for kind = \"simulator\"",
                    "remove it (send.rate limits what is sent)",
                );
            }
            if raw.path.is_none() {
                problems.add(
                    "source.path",
                    "is missing",
                    "name the device, for instance \"/dev/qrandom0\"",
                );
            }
            let path = directory.join(raw.path.unwrap_or_default());
            (path.display().to_string(), Driver::Node { path })
        }
    };
    let name = raw.name.unwrap_or(name);
    if name.is_empty() || name.len() > LONGEST_NAME {
        problems.add(
            "source.name",
            format!("`{name}` has {} bytes", name.len()),
            format!("give the source a name of 1 to {LONGEST_NAME} bytes"),
        );
    }
    SourceConfig {
        name,
        driver: source,
    }
}

/// A simulator's rate: `None` is unlimited.
fn simulator_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    match CARDS.iter().find(|(name, _)| *name == text) {
        Some((_, rate)) => Ok(NonZeroU64::new(*rate)),
        None => limit(text),
    }
}

/// A rate in bytes a second, or `unlimited`.
fn limit(text: &str) -> Result<Option<NonZeroU64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let rate = parse_rate(text).map_err(|e| e.to_string())?;
    NonZeroU64::new(rate).map(Some).ok_or("is zero".into())
}

fn check_gateways(
    problems: &mut Problems,
    directory: &Path,
    raw: Vec<RawGateway>,
    psk: Option<Psk>,
) -> Vec<Gateway> {
    if raw.is_empty() {
        problems.add(
            "gateway",
            "there is none",
            "add a [[gateway]] section with address and key",
        );
    }
    if raw.len() > MOST_GATEWAYS {
        problems.add(
            "gateway",
            format!("there are {}", raw.len()),
            format!("use another collector for what is beyond {MOST_GATEWAYS}"),
        );
    }
    let psk = psk.and_then(|psk| {
        problems.keep(
            &format!("environment variable {PSK_VARIABLE}"),
            parse_psk_hex(&psk.0),
            "give 64 hexadecimal digits, or unset it",
        )
    });
    if psk.is_some() {
        log::warn!(
            "{PSK_VARIABLE} replaces the pre-shared key of every key file; \
             prefer key files, because an environment is easily seen"
        );
    }
    let mut seen = HashMap::new();
    let mut gateways = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let place = format!("gateway {}", index + 1);
        let address = problems.keep(
            &format!("{place}: address"),
            gateway_address(&raw.address),
            "write the gateway's ip:port, for instance \"192.0.2.10:4790\"",
        );
        let key = read_key(problems, &place, &directory.join(&raw.key));
        let (Some(address), Some(mut key)) = (address, key) else {
            continue;
        };
        if let Some(psk) = &psk {
            key = key.with_psk(psk.clone());
        }
        let name = raw.name.unwrap_or_else(|| address.to_string());
        for (what, value) in [
            ("address", address.to_string()),
            ("key", key.key_id().to_string()),
            ("name", name.clone()),
        ] {
            if let Some(first) = seen.insert((what, value), index + 1) {
                problems.add(
                    &format!("{place}: {what}"),
                    format!("is that of gateway {first} too"),
                    "give each gateway its own, or remove one: \
                     no two gateways may get the same stream",
                );
            }
        }
        gateways.push(Gateway { name, address, key });
    }
    gateways
}

fn read_key(problems: &mut Problems, place: &str, path: &Path) -> Option<CollectorKey> {
    let key = format!("{place}: key");
    let text = problems.keep(
        &key,
        read_secret(path),
        "name the collector's key file that `qrng keygen` made",
    )?;
    let parsed = CollectorKey::parse(&text).map_err(|e| format!("{}: {e}", path.display()));
    problems.keep(
        &key,
        parsed,
        "name the collector's key file that `qrng keygen` made",
    )
}

/// An address that one gateway alone can have.
fn gateway_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("`{text}` is no ip:port (names are not looked up: that would ask the network)")
    })?;
    let ip = address.ip().to_canonical();
    let many = ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if many {
        return Err(format!(
            "`{text}` is an address of many hosts, which would all get the same bytes"
        ));
    }
    if ip.is_unspecified() || address.port() == 0 {
        return Err(format!("`{text}` is no address that can be sent to"));
    }
    Ok(SocketAddr::new(ip, address.port()))
}

fn check_send(problems: &mut Problems, raw: &RawSend, gateways: &[Gateway]) -> SendConfig {
    let data_size = check_data_size(problems, raw, gateways);
    let rate_text = raw.rate.as_ref().map_or("unlimited", |r| &r.0);
    let rate = problems
        .keep(
            "send.rate",
            limit(rate_text),
            "write \"unlimited\" or a rate such as \"40 MB/s\"",
        )
        .flatten();
    let least = LEAST_RATE * gateways.len().max(1) as u64;
    if rate.is_some_and(|r| r.get() < least) {
        problems.add(
            "send.rate",
            format!("`{rate_text}` leaves no room beside announcements and reports"),
            format!("give at least {least} B/s"),
        );
    }
    let burst = size(problems, "send.burst", raw.burst.as_ref(), DEFAULT_BURST);
    let headers = gateways.iter().map(|g| headers(&g.address)).max();
    let datagram = data_size + OVERHEAD;
    let wire = (datagram.max(ANNOUNCEMENT_LEN) + headers.unwrap_or(0)) as u64;
    if burst < wire {
        problems.add(
            "send.burst",
            format!("{burst} bytes are less than a packet with its headers"),
            format!("give at least {wire}"),
        );
    }
    SendConfig {
        data_size,
        rate,
        burst,
        segments: segments(datagram, wire, rate, burst),
    }
}

fn check_data_size(problems: &mut Problems, raw: &RawSend, gateways: &[Gateway]) -> usize {
    let v6 = gateways.iter().any(|g| g.address.is_ipv6());
    let (most, network) = if v6 {
        (MAX_DATA_V6, "IPv6")
    } else {
        (MAX_DATA, "IPv4")
    };
    let given = raw.data_size.as_ref();
    let given = size(problems, "send.data-size", given, DEFAULT_DATA as u64);
    match usize::try_from(given) {
        Ok(size) if (MIN_DATA..=most).contains(&size) => size,
        _ => {
            problems.add(
                "send.data-size",
                format!("{given} bytes do not make a packet for {network} over Ethernet"),
                format!("give {MIN_DATA} to {most}"),
            );
            DEFAULT_DATA
        }
    }
}

/// How many datagrams of `length` bytes (`wire` with headers) go to the kernel at once: no more
/// than it takes, and of a paced link no more than the burst, or than goes in 10 ms, so that
/// packets do not age in the queues.
fn segments(length: usize, wire: u64, rate: Option<NonZeroU64>, burst: u64) -> usize {
    let kernel = MOST_SEGMENTS.min(LONGEST_BATCH / length);
    let Some(rate) = rate else {
        return kernel;
    };
    let paced = burst.min(rate.get() / 100) / wire;
    usize::try_from(paced).unwrap_or(kernel).clamp(1, kernel)
}

/// A size in bytes, or the default if it is not given or not understood.
fn size(problems: &mut Problems, key: &str, raw: Option<&Amount>, default: u64) -> u64 {
    raw.and_then(|Amount(text)| {
        problems.keep(key, parse_size(text), "write a size such as \"64 KiB\"")
    })
    .unwrap_or(default)
}

#[cfg(test)]
mod tests;
