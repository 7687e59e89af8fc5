//! Configuration: the TOML file as it is written ([`Raw`]), and as the collector uses it
//! ([`Config`]), checked whole before anything starts.

use std::env;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use qrng_daemon::{ConfigError, Problems, path_in, read_toml};

use crate::messages::Checked;

use crate::source::appliance::Settings;
use crate::source::xdma::chip::Mode;
use crate::sysfs::pci::Address;

mod appliance;
mod combining;
mod conditioning;
mod confinement;
mod gateways;
mod health;
mod pci;
mod pcie;
mod push;
mod raw;
mod sending;
mod sources;
mod usb;
mod xdma;

pub use appliance::URLS_VARIABLE;
pub use combining::CombineConfig;
pub use conditioning::Conditioning;
pub use confinement::{Confinement, ConfinementConfig};
pub use push::{PushConfig, URL_VARIABLE};
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
    /// Which of the processes are confined.
    pub confinement: ConfinementConfig,
}

/// Has key files looked at by the sender, because the reader never sees a key: those of links, and those with which gateways are pushed to.
pub type KeyCheck<'k> = &'k dyn Fn(&[PathBuf], &[PathBuf]) -> anyhow::Result<Checked>;

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
    /// A module card, driven from user space.
    Pcie {
        /// Where it is on the PCI bus; none if it is the only one.
        device: Option<Address>,
    },
    /// A card on the USB.
    Usb {
        /// Its serial number; without one it is the only card there is.
        serial: Option<String>,
    },
    /// Appliances.
    Appliances(Settings),
    /// A chip card by DMA.
    Xdma {
        /// Where it is on the PCI bus; none if it is the only one.
        device: Option<Address>,
        /// What its chips give.
        mode: Mode,
    },
}

/// A gateway to send to.
#[derive(Debug)]
pub struct Gateway {
    /// Its name in status and log.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// The file with the key shared with it.
    pub key: PathBuf,
    /// That key's id.
    pub key_id: String,
}

/// How a gateway is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By datagrams to where it listens, one way.
    Udp(SocketAddr),
    /// By HTTPS.
    Push(PushConfig),
}

impl Gateway {
    /// Where datagrams are sent; none if it is pushed to.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.reach {
            Reach::Udp(address) => Some(address),
            Reach::Push(_) => None,
        }
    }

    /// How it is pushed to; none if datagrams are sent.
    pub fn push(&self) -> Option<&PushConfig> {
        match &self.reach {
            Reach::Udp(_) => None,
            Reach::Push(push) => Some(push),
        }
    }

    /// Where it is, in words.
    pub fn place(&self) -> String {
        match &self.reach {
            Reach::Udp(address) => address.to_string(),
            Reach::Push(push) => push.address.to_string(),
        }
    }

    /// What an operator should know of how it is reached.
    pub fn warning(&self) -> Option<String> {
        self.push().map(|push| {
            format!(
                "gateway {}: PACKETS ARE PUSHED TO {}: these connections are a way back to this host \
                 (docs/threat-model.md); send datagrams where the network lets them pass",
                self.name, push.address
            )
        })
    }
}

impl Config {
    /// The gateways that are pushed to, in their order.
    pub fn pushed(&self) -> impl Iterator<Item = (&Gateway, &PushConfig)> {
        self.gateways
            .iter()
            .filter_map(|gateway| Some((gateway, gateway.push()?)))
    }

    /// Reads and checks the configuration in `file`, and with `keys` the key files that it names.
    /// Relative paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, or with the key files that it names.
    pub fn load(file: &Path, keys: KeyCheck<'_>) -> Result<Self, ConfigError> {
        let raw: Raw = read_toml(file)?;
        // What is wrong is told in this form already.
        raw.log.apply();
        let environment = Environment::read();
        Given {
            file,
            raw,
            environment,
            keys,
        }
        .try_into()
    }
}

/// A configuration as it was given.
pub struct Given<'f> {
    /// Where it comes from.
    pub file: &'f Path,
    /// What the file says.
    pub raw: Raw,
    /// What the environment gives in its place.
    pub environment: Environment,
    /// What looks at the key files.
    pub keys: KeyCheck<'f>,
}

/// The environment variables that override the file. The one that replaces keys is the sender's alone.
#[derive(Debug, Default)]
pub struct Environment {
    /// `QRNG_APPLIANCE_URLS`: replaces `urls` of the source that asks appliances.
    pub appliance_urls: Option<String>,
    /// `QRNG_GATEWAY_PUSH_URL`: replaces `url` of the gateway that is pushed to.
    pub push_url: Option<String>,
}

impl Environment {
    /// Reads the process's environment. What is no text is kept as far as it is, to be refused.
    pub fn read() -> Self {
        let get = |name| {
            let value = env::var_os(name).filter(|value| !value.is_empty())?;
            Some(value.to_string_lossy().into_owned())
        };
        Self {
            appliance_urls: get(URLS_VARIABLE),
            push_url: get(URL_VARIABLE),
        }
    }
}

impl TryFrom<Given<'_>> for Config {
    type Error = ConfigError;

    fn try_from(given: Given<'_>) -> Result<Self, ConfigError> {
        let Given {
            file,
            mut raw,
            environment,
            keys,
        } = given;
        let mut problems = Problems::new(file);
        // What could not be understood has a default here, which is not used: `finish` fails then.
        if let Some(urls) = &environment.appliance_urls {
            appliance::override_urls(&mut problems, &mut raw.source, urls);
        }
        if let Some(url) = &environment.push_url {
            push::override_url(&mut problems, &mut raw.gateway, url);
        }
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
        let added_up = combine.as_ref().is_some_and(CombineConfig::adds_up);
        sending::check_pace(&mut problems, &send, &sources, added_up);
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
