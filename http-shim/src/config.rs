//! The configuration: TOML and environment, checked whole before anything starts.

mod check;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qrng::units::Amount;
use qrng_daemon::{ConfigError, Problems, read_toml};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::hosts::Hosts;
use crate::keys::Keys;
use crate::network::Network;
use crate::push::Push;
use crate::rate::Rate;
use crate::supply::Gateway;
use crate::tls::Certificate;

/// A checked configuration.
pub struct Config {
    /// Where the gateway is.
    pub gateway: Gateway,
    /// The Unix socket, if there is one.
    pub socket: Option<UnixSocket>,
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// TLS for TCP.
    pub tls: Option<Tls>,
    /// Who may come over TCP.
    pub access: Access,
    /// Which names and sites may be in the requests of language models.
    pub models: qrng_mcp::Allowed,
    /// What collectors push, if they may.
    pub push: Option<Push>,
    /// What nobody may exceed.
    pub limits: Limits,
    /// How the log looks.
    pub log: Log,
}

/// The Unix socket that local programs connect to.
pub struct UnixSocket {
    /// Its path.
    pub path: PathBuf,
    /// Its mode: who may connect needs no key.
    pub mode: u32,
}

/// Who may come over TCP.
pub struct Access {
    /// Keys of clients.
    pub keys: Keys,
    /// Networks whose hosts need no key.
    pub open_to: Vec<Network>,
    /// Names that they may call this service by.
    pub hosts: Hosts,
    /// Whether a key may stand in the query.
    pub query_key: bool,
    /// Requests a second of a key, or of an address without one.
    pub rate: Rate,
}

/// TLS for TCP.
pub struct Tls {
    /// The certificate that is shown.
    pub certificate: Arc<Certificate>,
    /// Takes connections.
    pub acceptor: TlsAcceptor,
}

/// What nobody may exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's head.
    pub header_time: Duration,
    /// How long an answer may take altogether.
    pub request_time: Duration,
    /// How long a client may take nothing of an answer.
    pub stall_time: Duration,
    /// Bytes of one answer.
    pub bytes: u64,
    /// The longest `wait=`.
    pub wait: Duration,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line.
    pub json: bool,
    /// Which requests it tells.
    pub requests: Requests,
}

/// Which requests the log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requests {
    /// None.
    None,
    /// Those that were not answered as asked, clients' mistakes included.
    Failed,
    /// All.
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Raw {
    mount: Option<PathBuf>,
    gateway_socket: Option<PathBuf>,
    socket: PathBuf,
    socket_mode: String,
    listen: Vec<String>,
    insecure_http: bool,
    keys: Option<PathBuf>,
    open_to: Vec<String>,
    hosts: Vec<String>,
    query_key: bool,
    json_log: bool,
    log_requests: Requests,
    tls: Option<RawTls>,
    push: Option<RawPush>,
    rate: RawRate,
    limits: RawLimits,
    mcp: RawMcp,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            mount: None,
            gateway_socket: None,
            socket: "/run/qrng-http/http.socket".into(),
            socket_mode: "0660".into(),
            listen: Vec::new(),
            insecure_http: false,
            keys: None,
            open_to: Vec::new(),
            hosts: Vec::new(),
            query_key: false,
            json_log: false,
            log_requests: Requests::Failed,
            tls: None,
            push: None,
            rate: RawRate::default(),
            limits: RawLimits::default(),
            mcp: RawMcp::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPush {
    #[serde(default = "default_gateway")]
    gateway: String,
    keys: PathBuf,
}

fn default_gateway() -> String {
    "127.0.0.1:4790".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawRate {
    per_second: u32,
    burst: u32,
}

impl Default for RawRate {
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 200,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLimits {
    connections: usize,
    header_time: Amount,
    request_time: Amount,
    stall_time: Amount,
    bytes: Amount,
    wait: Amount,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_time: Amount::from("10 s"),
            request_time: Amount::from("2 min"),
            stall_time: Amount::from("10 s"),
            bytes: Amount::from("16 MiB"),
            wait: Amount::from("1 min"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawMcp {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The environment variables that override the file.
#[derive(Default, Clone)]
pub struct Environment {
    /// `QRNG_API_KEYS`: keys in clear, separated by commas; they come to those of the file `keys`.
    pub api_keys: Option<Zeroizing<String>>,
    /// `QRNG_RATE_LIMIT`: replaces `rate.per-second`.
    pub rate_limit: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let get = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            api_keys: get("QRNG_API_KEYS").map(Zeroizing::new),
            rate_limit: get("QRNG_RATE_LIMIT"),
        }
    }
}

impl Config {
    /// Reads `file` and the files that it names, and checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, key and remedy.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        Self::check(file, read_toml(file)?, environment)
    }

    fn check(file: &Path, raw: Raw, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(file);
        let gateway = check::gateway(
            raw.mount.as_deref(),
            raw.gateway_socket.as_deref(),
            &mut problems,
        );
        let socket = check::socket(&raw.socket, &raw.socket_mode, &mut problems);
        let listen = check::addresses(&raw, &mut problems);
        let rate = check::rate(&raw.rate, environment, &mut problems);
        let access = Access {
            keys: check::keys(file, raw.keys.as_deref(), environment, rate, &mut problems),
            open_to: check::networks(&raw.open_to, &mut problems),
            hosts: check::hosts(&raw.hosts, &mut problems),
            query_key: raw.query_key,
            rate,
        };
        let push = raw.push.as_ref();
        let push = push.and_then(|push| check::push(file, push, rate, &access.keys, &mut problems));
        let certificates = raw
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_authority.is_some());
        let tls = raw
            .tls
            .as_ref()
            .and_then(|tls| check::tls(file, tls, &mut problems));
        let nobody =
            access.keys.is_empty() && raw.open_to.is_empty() && !certificates && raw.push.is_none();
        if !listen.is_empty() && nobody {
            problems.add(
                "listen",
                "nobody could come over TCP: there are no keys",
                "name a file of keys (`qrng-http --new-key NAME` makes one), or the networks that need none (`open-to`)",
            );
        }
        if socket.is_none() && listen.is_empty() {
            problems.add(
                "listen",
                "there is nothing to listen on",
                "give addresses, or a path with `socket`",
            );
        }
        let models = check::models(&raw.mcp, &listen, &access.hosts, &mut problems);
        let limits = check::limits(&raw.limits, &mut problems);
        problems.finish()?;
        Ok(Self {
            gateway,
            socket,
            listen,
            tls,
            access,
            push,
            models,
            limits,
            log: Log {
                json: raw.json_log,
                requests: raw.log_requests,
            },
        })
    }
}

#[cfg(test)]
mod tests;
