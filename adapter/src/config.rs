//! The configuration: TOML and environment, checked whole before anything starts.

mod check;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Gid;
use qrng::units::Amount;
use qrng_daemon::{ConfigError, LogConfig, Problems, read_toml};
use serde::Deserialize;

/// A checked configuration. It is the same for all forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The gateway's stream socket.
    pub gateway_socket: PathBuf,
    /// The form `pool`.
    pub pool: PoolConfig,
    /// The form `egd`.
    pub egd: EgdConfig,
    /// The form `fifo`.
    pub fifo: FifoConfig,
}

/// How the kernel's pool is fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes at a time: 32 to [`pool::MOST`](crate::pool::MOST).
    pub bytes: usize,
    /// Bits of entropy that the kernel is told each byte has: 0 to 8.
    pub credit: u8,
    /// From one time to the next.
    pub interval: Duration,
    /// Whether bytes count as well that may be a simulator's.
    pub credit_simulated: bool,
}

/// Where clients of the old protocol connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgdConfig {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Permissions of the socket file.
    pub mode: u32,
    /// Group of the socket file; none: the process's.
    pub group: Option<Gid>,
    /// A TCP address of this host's own, if one is wanted.
    pub listen: Option<SocketAddr>,
    /// Connections at a time.
    pub connections: usize,
}

/// The named pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FifoConfig {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its group; none: the process's.
    pub group: Option<Gid>,
    /// The most bytes that lie in it.
    pub in_flight: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Raw {
    gateway_socket: PathBuf,
    pool: RawPool,
    egd: RawEgd,
    fifo: RawFifo,
    log: LogConfig,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            gateway_socket: "/run/qrng-gateway/stream.socket".into(),
            pool: RawPool::default(),
            egd: RawEgd::default(),
            fifo: RawFifo::default(),
            log: LogConfig::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawPool {
    bytes: Amount,
    credit: u8,
    interval: Amount,
    credit_simulated: bool,
}

impl Default for RawPool {
    fn default() -> Self {
        Self {
            bytes: Amount::from("64"),
            credit: 0,
            interval: Amount::from("10 min"),
            credit_simulated: false,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawEgd {
    socket: PathBuf,
    mode: String,
    group: Option<String>,
    listen: Option<String>,
    connections: usize,
}

impl Default for RawEgd {
    fn default() -> Self {
        Self {
            socket: "/run/qrng-egd/egd.socket".into(),
            mode: "0660".into(),
            group: None,
            listen: None,
            connections: 64,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawFifo {
    path: PathBuf,
    mode: String,
    group: Option<String>,
    in_flight: Amount,
}

impl Default for RawFifo {
    fn default() -> Self {
        Self {
            path: "/run/qrng-fifo/fifo".into(),
            mode: "0640".into(),
            group: None,
            in_flight: Amount::from("4 KiB"),
        }
    }
}

/// The environment variables that override the file.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    /// `QRNG_GATEWAY_SOCKET`: replaces `gateway-socket`.
    pub gateway_socket: Option<String>,
    /// `QRNG_POOL_CREDIT`: replaces `pool.credit`.
    pub pool_credit: Option<String>,
    /// `QRNG_POOL_INTERVAL`: replaces `pool.interval`.
    pub pool_interval: Option<String>,
    /// `QRNG_EGD_SOCKET`: replaces `egd.socket`.
    pub egd_socket: Option<String>,
    /// `QRNG_FIFO_PATH`: replaces `fifo.path`.
    pub fifo_path: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let get = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            gateway_socket: get("QRNG_GATEWAY_SOCKET"),
            pool_credit: get("QRNG_POOL_CREDIT"),
            pool_interval: get("QRNG_POOL_INTERVAL"),
            egd_socket: get("QRNG_EGD_SOCKET"),
            fifo_path: get("QRNG_FIFO_PATH"),
        }
    }
}

impl Config {
    /// Reads `file`, and checks all of it, whatever form is started.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, key and remedy.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let raw: Raw = read_toml(file)?;
        let log = raw.log;
        let config = Self::check(file, raw, environment)?;
        log.apply();
        Ok(config)
    }

    fn check(file: &Path, raw: Raw, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(file);
        let config = Self {
            gateway_socket: check::path(
                "gateway-socket",
                raw.gateway_socket,
                ("QRNG_GATEWAY_SOCKET", &environment.gateway_socket),
                &mut problems,
            ),
            pool: check::pool(&raw.pool, environment, &mut problems),
            egd: check::egd(raw.egd, environment, &mut problems),
            fifo: check::fifo(raw.fifo, environment, &mut problems),
        };
        problems.finish()?;
        Ok(config)
    }
}
