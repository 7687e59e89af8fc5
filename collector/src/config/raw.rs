//! The configuration file as it is written.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// The configuration file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    #[serde(default = "Raw::state_directory")]
    pub(super) state_directory: PathBuf,
    #[serde(default = "Raw::runtime_directory")]
    pub(super) runtime_directory: PathBuf,
    pub(super) source: RawSource,
    #[serde(default)]
    pub(super) gateway: Vec<RawGateway>,
    #[serde(default)]
    pub(super) send: RawSend,
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
pub(super) enum RawKind {
    Simulator,
    Node,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSource {
    pub(super) kind: RawKind,
    pub(super) name: Option<String>,
    pub(super) rate: Option<Amount>,
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGateway {
    pub(super) name: Option<String>,
    pub(super) address: String,
    pub(super) key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSend {
    pub(super) data_size: Option<Amount>,
    pub(super) rate: Option<Amount>,
    pub(super) burst: Option<Amount>,
}

/// A size or rate: a string with a unit, or a number of bytes.
#[derive(Debug)]
pub(super) struct Amount(pub(super) String);

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
