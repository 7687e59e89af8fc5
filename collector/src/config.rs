//! Configuration: the TOML file as it is written ([`Raw`]), and as the collector uses it
//! ([`Config`]), checked whole before anything starts.

use std::env;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng::keys::CollectorKey;
use qrng_daemon::{ConfigError, Problems, read_toml};
use zeroize::Zeroizing;

mod combining;
mod conditioning;
mod gateways;
mod health;
mod raw;
mod sending;
mod sources;

pub use combining::CombineConfig;
pub use conditioning::Conditioning;
pub use raw::Raw;
pub use sending::SendConfig;
pub use sources::SourceConfig;

/// The environment variable that overrides the pre-shared key of every gateway (64 hex digits).
pub const PSK_VARIABLE: &str = "QRNG_HMAC_SECRET_KEY";

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
        let wanted = raw.source.len();
        let sources = sources::check(&mut problems, directory, raw.source);
        // What is wrong with a source was told.
        let combine = if sources.len() == wanted {
            combining::check(&mut problems, raw.combine.as_ref(), &sources)
        } else {
            None
        };
        let gateways = gateways::check(&mut problems, directory, raw.gateway, psk);
        let send = sending::check(&mut problems, &raw.send, &gateways);
        sending::check_pace(&mut problems, &send, &sources);
        problems.finish()?;
        Ok(Self {
            state_directory: directory.join(raw.state_directory),
            runtime_directory: directory.join(raw.runtime_directory),
            sources,
            combine,
            gateways,
            send,
        })
    }
}

#[cfg(test)]
mod tests;
