//! The file as it is written, with its defaults; nothing of it is checked yet.

use std::path::PathBuf;

use qrng::units::Amount;
use qrng_confine::Confinement;
use qrng_daemon::LogConfig;
use serde::Deserialize;

use super::device::RawDevice;
use super::shares::RawShares;
use super::stream::RawStream;
use crate::kernel::StayAwake;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    #[serde(default = "default_listen")]
    pub(super) listen: String,
    pub(super) keys: Vec<PathBuf>,
    #[serde(default = "default_mount")]
    pub(super) mount: PathBuf,
    pub(super) mount_helper: Option<PathBuf>,
    #[serde(default = "default_runtime_directory")]
    pub(super) runtime_directory: PathBuf,
    pub(super) state_directory: Option<PathBuf>,
    #[serde(default)]
    pub(super) accept_simulated: bool,
    pub(super) stall_limit: Option<u64>,
    pub(super) allow_other: Option<bool>,
    #[serde(default)]
    pub(super) stay_awake: StayAwake,
    #[serde(default)]
    pub(super) buffer: RawBuffer,
    #[serde(default)]
    pub(super) socket: RawSocket,
    #[serde(default)]
    pub(super) health: RawHealth,
    pub(super) stream: Option<RawStream>,
    pub(super) device: Option<RawDevice>,
    #[serde(default)]
    pub(super) shares: RawShares,
    #[serde(default)]
    pub(super) confinement: RawConfinement,
    #[serde(default)]
    pub(super) log: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfinement {
    pub(super) gateway: Confinement,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawBuffer {
    pub(super) size: Amount,
    pub(super) floor: Option<Amount>,
    pub(super) calm: u64,
    pub(super) overflow: String,
}

impl Default for RawBuffer {
    fn default() -> Self {
        Self {
            size: Amount::from("16 MiB"),
            floor: None,
            calm: 60,
            overflow: "discard".into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawSocket {
    pub(super) receive_buffer: Amount,
}

impl Default for RawSocket {
    fn default() -> Self {
        Self {
            receive_buffer: Amount::from("8 MiB"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawHealth {
    pub(super) enabled: bool,
    pub(super) block_size: Amount,
}

impl Default for RawHealth {
    fn default() -> Self {
        Self {
            enabled: true,
            block_size: Amount::from("64 KiB"),
        }
    }
}

fn default_listen() -> String {
    "0.0.0.0:4790".into()
}

fn default_mount() -> PathBuf {
    "/qrng".into()
}

fn default_runtime_directory() -> PathBuf {
    "/run/qrng-gateway".into()
}
