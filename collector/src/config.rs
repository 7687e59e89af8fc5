//! Configuration: the TOML file as it is written ([`Raw`]), and as the collector uses it
//! ([`Config`]), checked whole before anything starts.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng_daemon::{ConfigError, Problems, path_in, read_toml};

use crate::messages::Checked;

mod combining;
mod conditioning;
mod confinement;
mod gateways;
mod health;
mod raw;
mod sending;
mod sources;

pub use combining::CombineConfig;
pub use conditioning::Conditioning;
pub use confinement::{Confinement, ConfinementConfig};
pub use raw::Raw;
pub use sending::SendConfig;
pub use sources::SourceConfig;

/// What the collector is to do, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the epoch file lives.
    pub state_directory: PathBuf,
    /// Where `status.json` lives.
    pub runtime_directory: PathBuf,
    /// The noise sources, at least one.
    pub sources: Vec<SourceConfig>,
    /// How they are combined, if there are several.
    pub combine: Option<CombineConfig>,
    /// The gateways, at least one.
    pub gateways: Vec<Gateway>,
    /// How to send.
    pub send: SendConfig,
    /// Which of the two processes are confined.
    pub confinement: ConfinementConfig,
}

/// Has key files looked at by the sender, because the reader never sees a key.
pub type KeyCheck<'k> = &'k dyn Fn(&[PathBuf]) -> anyhow::Result<Checked>;

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
    /// The file with the key shared with it.
    pub key: PathBuf,
    /// That key's id.
    pub key_id: String,
}

impl Config {
    /// Reads and checks the configuration in `file`, and with `keys` the key files that it names.
    /// Relative paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, or with the key files that it names.
    pub fn load(file: &Path, keys: KeyCheck<'_>) -> Result<Self, ConfigError> {
        let raw = read_toml(file)?;
        Given { file, raw, keys }.try_into()
    }
}

/// A configuration as it was given.
pub struct Given<'f> {
    /// Where it comes from.
    pub file: &'f Path,
    /// What the file says.
    pub raw: Raw,
    /// What looks at the key files.
    pub keys: KeyCheck<'f>,
}

impl TryFrom<Given<'_>> for Config {
    type Error = ConfigError;

    fn try_from(given: Given<'_>) -> Result<Self, ConfigError> {
        let Given { file, raw, keys } = given;
        let mut problems = Problems::new(file);
        // What could not be understood has a default here, which is not used: `finish` fails then.
        let wanted = raw.source.len();
        let sources = sources::check(&mut problems, file, raw.source);
        // What is wrong with a source was told.
        let combine = if sources.len() == wanted {
            combining::check(&mut problems, raw.combine.as_ref(), &sources)
        } else {
            None
        };
        let gateways = gateways::check(&mut problems, file, raw.gateway, keys);
        let send = sending::check(&mut problems, &raw.send, &gateways);
        sending::check_pace(&mut problems, &send, &sources);
        problems.finish()?;
        Ok(Self {
            state_directory: path_in(file, &raw.state_directory),
            runtime_directory: path_in(file, &raw.runtime_directory),
            sources,
            combine,
            gateways,
            send,
            confinement: raw.confinement,
        })
    }
}

#[cfg(test)]
mod tests;
