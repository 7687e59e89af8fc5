//! The checks of single keys. A wrong one is noted, and stands in with a value that is never used.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Gid, Group};
use qrng::units::Amount;
use qrng_daemon::{PATH_MAX, Problems};

use super::{EgdConfig, Environment, FifoConfig, PoolConfig, RawEgd, RawFifo, RawPool};
use crate::{fifo, pool};

/// An override: the variable's name and value.
type Variable<'a> = (&'static str, &'a Option<String>);

/// Times from one feeding of the pool to the next, in seconds.
const INTERVAL_S: RangeInclusive<u64> = 1..=86_400;

/// Connections of the old protocol. The gateway has 256 for all programs.
const CONNECTIONS: RangeInclusive<usize> = 1..=128;

/// An absolute path of a file.
pub(super) fn path(
    key: &'static str,
    path: PathBuf,
    variable: Variable<'_>,
    problems: &mut Problems,
) -> PathBuf {
    let (key, path) = match variable {
        (name, Some(other)) => (name, PathBuf::from(other)),
        _ => (key, path),
    };
    if !path.is_absolute() || path.file_name().is_none() {
        problems.add(
            key,
            format_args!("{} is not an absolute path of a file", path.display()),
            "begin it with /",
        );
    }
    if path.as_os_str().len() > PATH_MAX {
        problems.add(
            key,
            "is longer than the path of a socket can be",
            format_args!("give at most {PATH_MAX} bytes"),
        );
    }
    path
}

/// How the kernel's pool is fed.
pub(super) fn pool(
    raw: &RawPool,
    environment: &Environment,
    problems: &mut Problems,
) -> PoolConfig {
    let (key, credit) = match &environment.pool_credit {
        Some(text) => ("QRNG_POOL_CREDIT", text.parse().unwrap_or(u8::MAX)),
        None => ("pool.credit", raw.credit),
    };
    if credit > 8 {
        problems.add(
            key,
            "is no number of bits that a byte can have",
            "give 0 for no credit, or up to 8",
        );
    }
    let interval = environment.pool_interval.as_deref().map(Amount::from);
    let (key, interval) = match &interval {
        Some(interval) => ("QRNG_POOL_INTERVAL", interval),
        None => ("pool.interval", &raw.interval),
    };
    PoolConfig {
        bytes: bytes("pool.bytes", &raw.bytes, 32..=pool::MOST, problems),
        credit,
        interval: time(key, interval, problems),
        credit_simulated: raw.credit_simulated,
    }
}

/// Where clients of the old protocol connect.
pub(super) fn egd(raw: RawEgd, environment: &Environment, problems: &mut Problems) -> EgdConfig {
    if !CONNECTIONS.contains(&raw.connections) {
        problems.add(
            "egd.connections",
            format_args!("{} is out of range", raw.connections),
            format_args!("give {} to {}", CONNECTIONS.start(), CONNECTIONS.end()),
        );
    }
    let listen = raw.listen.as_deref();
    EgdConfig {
        mode: mode("egd.mode", &raw.mode, problems),
        group: group("egd.group", raw.group.as_deref(), problems),
        listen: listen.and_then(|text| loopback(text, problems)),
        connections: raw.connections,
        socket: path(
            "egd.socket",
            raw.socket,
            ("QRNG_EGD_SOCKET", &environment.egd_socket),
            problems,
        ),
    }
}

/// The named pipe.
pub(super) fn fifo(raw: RawFifo, environment: &Environment, problems: &mut Problems) -> FifoConfig {
    FifoConfig {
        mode: fifo_mode(&raw.mode, problems),
        group: group("fifo.group", raw.group.as_deref(), problems),
        in_flight: bytes("fifo.in-flight", &raw.in_flight, 1..=fifo::MOST, problems),
        path: path(
            "fifo.path",
            raw.path,
            ("QRNG_FIFO_PATH", &environment.fifo_path),
            problems,
        ),
    }
}

/// The old protocol has neither keys nor encryption, so nobody of another host may speak it.
fn loopback(text: &str, problems: &mut Problems) -> Option<SocketAddr> {
    let remedy = "give an address of this host's own and a port, such as \"127.0.0.1:8888\", or leave it out";
    let address: SocketAddr = problems.keep("egd.listen", text.parse(), remedy)?;
    if !address.ip().is_loopback() {
        problems.add(
            "egd.listen",
            format_args!("other hosts could reach {address}, and the protocol has neither keys nor encryption"),
            remedy,
        );
    }
    Some(address)
}

fn mode(key: &str, text: &str, problems: &mut Problems) -> u32 {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
        .unwrap_or_else(|| {
            problems.add(
                key,
                format_args!("{text:?} is no mode"),
                "give three octal digits, such as \"0660\"",
            );
            0
        })
}

/// Others than the adapter may read the pipe, and nobody may put bytes of his own into it.
fn fifo_mode(text: &str, problems: &mut Problems) -> u32 {
    let mode = mode("fifo.mode", text, problems);
    if mode & 0o022 != 0 {
        problems.add(
            "fifo.mode",
            format_args!("{text:?} lets others write, and readers would get what they write"),
            "give \"0640\" for its group, or \"0644\" for everybody",
        );
    }
    mode | 0o600
}

fn group(key: &str, name: Option<&str>, problems: &mut Problems) -> Option<Gid> {
    let name = name?;
    let remedy = "name one that there is (getent group), or make it with groupadd";
    match problems.keep(key, Group::from_name(name), remedy)? {
        Some(group) => Some(group.gid),
        None => {
            problems.add(key, format_args!("there is no group {name:?}"), remedy);
            None
        }
    }
}

fn bytes(
    key: &str,
    amount: &Amount,
    range: RangeInclusive<usize>,
    problems: &mut Problems,
) -> usize {
    let words = format!("give {} to {} bytes", range.start(), range.end());
    let Some(size) = problems.keep(key, amount.size(), &words) else {
        return *range.start();
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if !range.contains(&size) {
        problems.add(key, format_args!("{size} bytes is out of range"), words);
    }
    size
}

fn time(key: &str, amount: &Amount, problems: &mut Problems) -> Duration {
    let words = format!("give {} to {} s", INTERVAL_S.start(), INTERVAL_S.end());
    let Some(time) = problems.keep(key, amount.time(), &words) else {
        return Duration::from_secs(*INTERVAL_S.start());
    };
    let [least, most] = [INTERVAL_S.start(), INTERVAL_S.end()].map(|s| Duration::from_secs(*s));
    if !(least..=most).contains(&time) {
        problems.add(key, format_args!("{time:?} is out of range"), words);
    }
    time
}
