//! Configuration: the TOML file as it is written ([`Raw`]), and as the collector uses it
//! ([`Config`]), checked whole before anything starts.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng::keys::CollectorKey;
use qrng_daemon::{ConfigError, Problems, Psk, path_in, read_toml};

use crate::source::simulator::CARDS;

mod gateways;
mod raw;
mod sending;

pub use raw::Raw;
use raw::{RawKind, RawSource};
pub use sending::SendConfig;

/// The longest name of a source, in bytes: it must fit in a report.
const LONGEST_NAME: usize = 128;

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

impl Config {
    /// Reads and checks the configuration in `file`, with the environment's overrides. Relative
    /// paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, or with the key files that it names.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let psk = Psk::from_environment();
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
    pub psk: Psk,
}

impl TryFrom<Given<'_>> for Config {
    type Error = ConfigError;

    fn try_from(given: Given<'_>) -> Result<Self, ConfigError> {
        let Given { file, raw, psk } = given;
        let mut problems = Problems::new(file);
        // What could not be understood has a default here, which is not used: `finish` fails then.
        let source = check_source(&mut problems, file, raw.source);
        let gateways = gateways::check(&mut problems, file, raw.gateway, &psk);
        let send = sending::check(&mut problems, &raw.send, &gateways);
        problems.finish()?;
        Ok(Self {
            state_directory: path_in(file, &raw.state_directory),
            runtime_directory: path_in(file, &raw.runtime_directory),
            source,
            gateways,
            send,
        })
    }
}

fn check_source(problems: &mut Problems, file: &Path, raw: RawSource) -> SourceConfig {
    let (name, source) = match raw.kind {
        RawKind::Simulator => {
            if raw.path.is_some() {
                problems.add("source.path", "is for kind = \"node\"", "remove it");
            }
            let text = raw
                .rate
                .map_or_else(|| "pcie-16m".into(), |r| r.text().to_owned());
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
            let path = path_in(file, &raw.path.unwrap_or_default());
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
        None => sending::limit(text),
    }
}

#[cfg(test)]
mod tests;
