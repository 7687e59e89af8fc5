//! The configuration file as it is written.

use std::path::PathBuf;

use qrng::units::Amount;
use serde::Deserialize;

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
