//! The checks of single keys. A wrong one is noted, and stands in with a value that is never used.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use qrng::units::{Amount, UnitError};
use qrng_daemon::{Problems, path_in, read_secret};

use super::{
    Environment, Limits, Raw, RawLimits, RawMcp, RawPush, RawRate, RawTls, Tls, UnixSocket,
};
use crate::hosts::Hosts;
use crate::keys::Keys;
use crate::network::Network;
use crate::push::Push;
use crate::rate::Rate;
use crate::supply::Gateway;
use crate::tls::{Certificate, Files, acceptor, read_all};

/// Where the gateway's files are mounted unless something else is said.
const MOUNT: &str = "/qrng";

/// Where the gateway is.
pub(super) fn gateway(
    mount: Option<&Path>,
    socket: Option<&Path>,
    problems: &mut Problems,
) -> Gateway {
    if mount.is_some() && socket.is_some() {
        problems.add(
            "gateway-socket",
            "both it and mount name a gateway",
            "leave one of them out",
        );
    }
    match socket {
        Some(socket) => {
            absolute("gateway-socket", socket, problems);
            Gateway::Socket(socket.to_path_buf())
        }
        None => {
            let mount = mount.unwrap_or(Path::new(MOUNT));
            absolute("mount", mount, problems);
            Gateway::Mount(mount.to_path_buf())
        }
    }
}

/// Notes a path that depends on where the process was started.
pub(super) fn absolute(key: &str, path: &Path, problems: &mut Problems) {
    if !path.is_absolute() {
        problems.add(
            key,
            format_args!("{} is not an absolute path", path.display()),
            "begin it with /",
        );
    }
}

/// The Unix socket; an empty path means none.
pub(super) fn socket(path: &Path, mode: &str, problems: &mut Problems) -> Option<UnixSocket> {
    let bits = u32::from_str_radix(mode, 8).ok();
    let bits = bits.filter(|bits| *bits <= 0o777 && bits & 0o600 == 0o600);
    if bits.is_none() {
        problems.add(
            "socket-mode",
            format_args!("{mode:?} is no mode of a socket"),
            "give \"0660\" for its group, \"0600\" for its user, or \"0666\" for everybody",
        );
    }
    if path.as_os_str().is_empty() {
        return None;
    }
    absolute("socket", path, problems);
    Some(UnixSocket {
        path: path.to_path_buf(),
        mode: bits.unwrap_or(0o600),
    })
}

/// The TCP addresses. Keys and random bytes must not cross a network in clear unless somebody said so.
pub(super) fn addresses(raw: &Raw, problems: &mut Problems) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for text in &raw.listen {
        let remedy = "give an address and port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
        let Some(address) = problems.keep("listen", parse_address(text), remedy) else {
            continue;
        };
        if !address.ip().is_loopback() && raw.tls.is_none() && !raw.insecure_http {
            problems.add(
                "listen",
                format_args!("{address} is reached by other hosts, and without TLS keys and random bytes cross the network in clear"),
                "add a section [tls], listen on 127.0.0.1, or set insecure-http = true if a proxy in front of it encrypts",
            );
        }
        addresses.push(address);
    }
    addresses
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no address and port"))
}

/// The networks that need no key.
pub(super) fn networks(texts: &[String], problems: &mut Problems) -> Vec<Network> {
    let remedy = "give networks such as \"192.0.2.0/24\" or \"::1\"";
    let networks = texts.iter();
    networks
        .filter_map(|text| problems.keep("open-to", text.parse(), remedy))
        .collect()
}

/// Names that open networks may call this service by.
pub(super) fn hosts(names: &[String], problems: &mut Problems) -> Hosts {
    let remedy =
        "give names without a port, such as \"gateway.example\"; addresses and localhost are known";
    let hosts = problems.keep("hosts", Hosts::new(names), remedy);
    hosts.unwrap_or_default()
}

/// TLS: the certificate and its key, and who issues those of clients.
pub(super) fn tls(file: &Path, raw: &RawTls, problems: &mut Problems) -> Option<Tls> {
    let files = Files {
        certificate: path_in(file, &raw.certificate),
        key: path_in(file, &raw.key),
    };
    let remedy = "name a chain of certificates and the key of its first, both in PEM";
    let certificate = problems.keep("tls.certificate, tls.key", Certificate::read(files), remedy);
    let authority = raw.client_authority.as_deref();
    let pem = authority
        .map(|path| read_all(&path_in(file, path)))
        .transpose();
    let remedy = "name certificates of authorities in PEM, or leave it out";
    let pem = problems.keep("tls.client-authority", pem, remedy);
    let (certificate, pem) = (certificate?, pem?);
    let acceptor = acceptor(&certificate, pem.as_deref());
    let acceptor = problems.keep("tls.client-authority", acceptor, remedy)?;
    Some(Tls {
        certificate,
        acceptor,
    })
}

/// The rate limit.
pub(super) fn rate(raw: &RawRate, environment: &Environment, problems: &mut Problems) -> Rate {
    let (key, per_second) = match &environment.rate_limit {
        Some(text) => {
            let remedy = "give requests a second, such as 100, or unset it";
            let number = problems.keep("QRNG_RATE_LIMIT", text.parse(), remedy);
            ("QRNG_RATE_LIMIT", number.unwrap_or(1))
        }
        None => ("rate.per-second", raw.per_second),
    };
    for (key, value) in [(key, per_second), ("rate.burst", raw.burst)] {
        if !(1..=1_000_000).contains(&value) {
            problems.add(
                key,
                format_args!("{value} is out of range"),
                "give 1 to 1000000",
            );
        }
    }
    Rate {
        per_second,
        burst: raw.burst,
    }
}

/// The keys of the file and of the environment.
pub(super) fn keys(
    file: &Path,
    path: Option<&Path>,
    environment: &Environment,
    rate: Rate,
    problems: &mut Problems,
) -> Keys {
    let mut keys = Keys::default();
    if let Some(path) = path {
        add_keys("keys", file, path, rate, &mut keys, problems);
    }
    if let Some(clear) = &environment.api_keys {
        log::warn!(
            "QRNG_API_KEYS holds keys in clear; prefer a file of keys, because an environment is easily seen"
        );
        problems.keep(
            "QRNG_API_KEYS",
            keys.add_clear(clear, rate),
            "give keys separated by commas, or unset it",
        );
    }
    keys
}

/// What collectors push: with keys of their own, to a gateway of this host.
pub(super) fn push(
    file: &Path,
    raw: &RawPush,
    rate: Rate,
    readers: &Keys,
    problems: &mut Problems,
) -> Option<Push> {
    let remedy =
        "give the address and port that the gateway listens on, such as \"127.0.0.1:4790\"";
    let gateway = problems.keep("push.gateway", parse_address(&raw.gateway), remedy);
    if gateway.is_some_and(|to| to.port() == 0 || to.ip().is_unspecified()) {
        problems.add(
            "push.gateway",
            format_args!("{} is no address that can be sent to", raw.gateway),
            remedy,
        );
    }
    let mut keys = Keys::default();
    add_keys("push.keys", file, &raw.keys, rate, &mut keys, problems);
    if keys.is_empty() {
        problems.add(
            "push.keys",
            "there are none, so that nobody could push",
            "make a line with `qrng-http --new-key NAME`",
        );
    }
    if let Some(name) = keys.shared_with(readers) {
        problems.add(
            "push.keys",
            format_args!("the key {name} is also one of those that read"),
            "give collectors keys of their own: what pushes must not read",
        );
    }
    Some(Push::new(gateway?, keys))
}

/// Adds the keys of a file to `keys`.
fn add_keys(
    key: &str,
    file: &Path,
    path: &Path,
    rate: Rate,
    keys: &mut Keys,
    problems: &mut Problems,
) {
    let path = path_in(file, path);
    let added = read_secret(&path)
        .map_err(|e| e.to_string())
        .and_then(|text| {
            keys.add_file(&text, rate)
                .map_err(|e| format!("{}: {e}", path.display()))
        });
    problems.keep(key, added, "make each line with `qrng-http --new-key NAME`");
}

/// The limits.
pub(super) fn limits(raw: &RawLimits, problems: &mut Problems) -> Limits {
    if !(1..=100_000).contains(&raw.connections) {
        problems.add(
            "limits.connections",
            format_args!("{} is out of range", raw.connections),
            "give 1 to 100000",
        );
    }
    let mut time = |key, amount: &Amount, seconds: RangeInclusive<u64>| {
        let range = Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end());
        let words = format!("give {} to {} s", seconds.start(), seconds.end());
        between(key, amount.time(), &range, &words, problems)
    };
    Limits {
        connections: raw.connections,
        header_time: time("limits.header-time", &raw.header_time, 1..=600),
        request_time: time("limits.request-time", &raw.request_time, 1..=86_400),
        stall_time: time("limits.stall-time", &raw.stall_time, 1..=600),
        wait: time("limits.wait", &raw.wait, 0..=3600),
        bytes: between(
            "limits.bytes",
            raw.bytes.size(),
            &(1..=1 << 40),
            "give a size such as \"16 MiB\", at most 1 TiB",
            problems,
        ),
    }
}

fn between<T: PartialOrd + Copy + std::fmt::Debug>(
    key: &str,
    value: Result<T, UnitError>,
    range: &RangeInclusive<T>,
    remedy: impl Display + Copy,
    problems: &mut Problems,
) -> T {
    let Some(value) = problems.keep(key, value, remedy) else {
        return *range.start();
    };
    if !range.contains(&value) {
        problems.add(key, format_args!("{value:?} is out of range"), remedy);
    }
    value
}

/// Names that `/mcp` answers to: those of this host, the addresses that are listened on, and those that are given; and the
/// sites whose pages may ask it.
pub(super) fn models(
    raw: &RawMcp,
    listen: &[SocketAddr],
    hosts: &Hosts,
    problems: &mut Problems,
) -> qrng_mcp::Allowed {
    let plain = |text: &str| !text.is_empty() && !text.contains(['/', ' ', '*', '@']);
    for host in raw.hosts.iter().filter(|host| !plain(host)) {
        problems.add(
            "mcp.hosts",
            format_args!("{host:?} is no name of a host"),
            "give names as clients write them, such as \"gateway.example\" or \"gateway.example:8443\"",
        );
    }
    let site = |origin: &str| {
        let rest = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        rest.is_some_and(|host| plain(host.strip_suffix(":*").unwrap_or(host)))
    };
    for origin in raw.origins.iter().filter(|origin| !site(origin)) {
        problems.add(
            "mcp.origins",
            format_args!("{origin:?} is no origin"),
            "give scheme and host as browsers do, such as \"https://app.example\"",
        );
    }
    let mut allowed = qrng_mcp::Allowed::default();
    let addresses = listen.iter().map(|address| address.ip().to_string());
    allowed.hosts.extend(addresses);
    allowed.hosts.extend(hosts.names().iter().cloned());
    allowed.hosts.extend(raw.hosts.iter().cloned());
    allowed.origins.extend(raw.origins.iter().cloned());
    allowed
}
