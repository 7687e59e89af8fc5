//! The gateway's configuration: TOML and environment, checked whole before anything starts.

mod device;
mod raw;
mod shares;
mod stream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qrng::report::Kinds;
use qrng::units::Amount;
use qrng_confine::Confinement;
use qrng_daemon::{ConfigError, Problems, Psk, path_in, read_toml};

use crate::buffer::Overflow;
use crate::health::Testing;
use crate::kernel::StayAwake;
use crate::keyring::Loaded;
use crate::pressure::Giving;
use crate::shares::SharesConfig;
use crate::stream::StreamConfig;

pub use self::device::{DeviceConfig, check_name as check_device_name};
use self::raw::{Raw, RawBuffer, RawHealth};

/// In place of a mount point: there is no mount.
const NO_MOUNT: &str = "none";

/// Smallest buffer, in bytes: one slab holds 64 KiB.
const BUFFER_MIN: u64 = 64 * 1024;

/// Largest buffer, in bytes: more would not be fresh randomness but a store of it.
const BUFFER_MAX: u64 = 64 << 30;

/// What a buffer keeps when memory is short, if nothing else is set, in bytes.
const FLOOR: usize = 1 << 20;

/// Longest time before a buffer takes memory back, in seconds: an hour.
const CALM_MAX_S: u64 = 3600;

/// Longest stall limit, in seconds: a week.
const STALL_MAX_S: u64 = 7 * 24 * 3600;

/// A checked configuration.
pub struct Config {
    /// UDP address to receive on.
    pub listen: SocketAddr,
    /// Keys of the collectors that may feed this gateway.
    pub keys: Loaded,
    /// Where the files appear; none: there is no mount, only the stream socket or devices.
    pub mount: Option<PathBuf>,
    /// The stream socket, if there is one.
    pub stream: Option<StreamConfig>,
    /// The character devices; there may be none.
    pub devices: Vec<DeviceConfig>,
    /// Socket of the helper that mounts and makes devices for this gateway; none: it does so by itself.
    pub mount_helper: Option<PathBuf>,
    /// Where the restart bound is kept.
    pub runtime_directory: PathBuf,
    /// Where it is kept over a reboot; none: it is not.
    pub state_directory: Option<PathBuf>,
    /// Kinds of noise source whose bytes are served.
    pub accept: Kinds,
    /// Seconds without a verified packet after which a waiting read fails; none: it waits.
    pub stall_limit_s: Option<u64>,
    /// Whether other users see the files; by default if the gateway runs as root.
    pub allow_other: Option<bool>,
    /// Whether processors are kept awake for small reads.
    pub stay_awake: StayAwake,
    /// Buffer capacity in bytes.
    pub buffer_size: usize,
    /// How it gives way when memory is short.
    pub giving: Giving,
    /// What happens to bytes that find the buffer full.
    pub overflow: Overflow,
    /// How users share scarce bytes, and how many each may have.
    pub shares: SharesConfig,
    /// Size of the socket's receive buffer in bytes.
    pub receive_buffer: usize,
    /// How verified bytes are tested before they are served.
    pub health: Testing,
    /// Whether the process is confined.
    pub confinement: Confinement,
}

/// The environment variables that override the file.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    /// `QRNG_BUFFER_SIZE`: replaces `buffer.size`.
    pub buffer_size: Option<String>,
    /// `QRNG_BUFFER_OVERFLOW_POLICY`: replaces `buffer.overflow`.
    pub overflow: Option<String>,
    /// `QRNG_HMAC_SECRET_KEY`: replaces the pre-shared key of every key file.
    pub psk: Psk,
    /// `STATE_DIRECTORY`, which a service manager sets: the state directory unless the file names one.
    pub state_directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let get = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            buffer_size: get("QRNG_BUFFER_SIZE"),
            overflow: get("QRNG_BUFFER_OVERFLOW_POLICY"),
            psk: Psk::from_environment(),
            // systemd.exec(5): several are separated by colons.
            state_directory: get("STATE_DIRECTORY")
                .and_then(|all| Some(PathBuf::from(all.split(':').next()?))),
        }
    }
}

impl Config {
    /// Reads `file` and the key files that it names, and checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, key and remedy.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let raw: Raw = read_toml(file)?;
        // What is wrong is told in this form already.
        raw.log.apply();
        Self::check(file, raw, environment)
    }

    /// Reads `file` anew, and of what it names the key files alone: a process that is confined can look up neither users nor groups.
    ///
    /// # Errors
    /// What is wrong with the file or a key, with remedy.
    pub fn load_keys(file: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
        let raw: Raw = read_toml(file)?;
        let mut problems = Problems::new(file);
        let keys = load_keys(file, &raw.keys, environment, &mut problems);
        problems.finish()?;
        Ok(keys)
    }

    fn check(file: &Path, raw: Raw, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(file);
        let listen = problems.keep(
            "listen",
            raw.listen.parse::<SocketAddr>(),
            format_args!("give an address and port, such as \"0.0.0.0:4790\" or \"[::]:4790\", instead of {:?}", raw.listen),
        );
        let keys = load_keys(file, &raw.keys, environment, &mut problems);
        let state_directory = raw
            .state_directory
            .or_else(|| environment.state_directory.clone());
        let mount = (raw.mount != Path::new(NO_MOUNT)).then_some(raw.mount);
        let stream = raw.stream.map(|stream| stream.check(&mut problems));
        let device = raw.device.map(|device| device.check(&mut problems));
        if mount.is_none() {
            let (helper, stream) = (raw.mount_helper.is_some(), stream.is_some());
            check_without_mount(helper, stream, device.is_some(), &mut problems);
        }
        let shares = raw.shares.check(&mut problems);
        let paths = [
            ("mount", mount.as_ref()),
            ("state-directory", state_directory.as_ref()),
            ("mount-helper", raw.mount_helper.as_ref()),
            ("runtime-directory", Some(&raw.runtime_directory)),
        ];
        for (key, path) in paths {
            if let Some(path) = path.filter(|path| !path.is_absolute()) {
                problems.add(
                    key,
                    format_args!("{} is not an absolute path", path.display()),
                    "begin it with /",
                );
            }
        }
        for (key, path, other) in [
            (
                "runtime-directory",
                Some(&raw.runtime_directory),
                "/run/qrng-gateway",
            ),
            (
                "state-directory",
                state_directory.as_ref(),
                "/var/lib/qrng-gateway",
            ),
            (
                "stream.listen",
                stream.as_ref().map(|stream| &stream.listen),
                "/run/qrng-gateway",
            ),
        ] {
            let inside = mount
                .as_ref()
                .zip(path)
                .is_some_and(|(mount, path)| path.starts_with(mount));
            if inside {
                problems.add(
                    key,
                    "lies inside the mount",
                    format_args!("choose a place outside it, such as {other}"),
                );
            }
        }
        if state_directory.as_ref() == Some(&raw.runtime_directory) {
            problems.add(
                "state-directory",
                "is the runtime directory, too",
                "name another one, on a disk, such as /var/lib/qrng-gateway",
            );
        }
        if let Some(s) = raw.stall_limit
            && !(1..=STALL_MAX_S).contains(&s)
        {
            problems.add(
                "stall-limit",
                format_args!("{s} s is out of range"),
                format_args!("give 1 to {STALL_MAX_S} seconds, or leave it out for readers that wait without end"),
            );
        }
        let buffer_size = buffer_size(&raw.buffer.size, environment, &mut problems);
        let giving = giving(&raw.buffer, buffer_size, &mut problems);
        let overflow = overflow(&raw.buffer.overflow, environment, &mut problems);
        let receive_buffer = bytes_between(
            "socket.receive-buffer",
            &raw.socket.receive_buffer,
            64 * 1024..=1 << 30,
            &mut problems,
        );
        let health = testing(&raw.health, &mut problems);
        problems.finish()?;
        let accept = if raw.accept_simulated {
            Kinds::ALL
        } else {
            Kinds::REAL
        };
        // Every `None` above has noted a problem, so none is left here.
        match (
            listen,
            buffer_size,
            giving,
            overflow,
            receive_buffer,
            health,
        ) {
            (
                Some(listen),
                Some(buffer_size),
                Some(giving),
                Some(overflow),
                Some(receive_buffer),
                Some(health),
            ) => Ok(Self {
                listen,
                keys,
                mount,
                stream,
                devices: device.unwrap_or_default(),
                mount_helper: raw.mount_helper,
                runtime_directory: raw.runtime_directory,
                state_directory,
                accept,
                stall_limit_s: raw.stall_limit,
                allow_other: raw.allow_other,
                stay_awake: raw.stay_awake,
                buffer_size,
                giving,
                overflow,
                shares,
                receive_buffer,
                health,
                confinement: raw.confinement.gateway,
            }),
            _ => unreachable!("a missing value without a problem"),
        }
    }
}

/// Without a mount programs must be able to get at the bytes otherwise, and a helper must have something to do.
fn check_without_mount(helper: bool, stream: bool, device: bool, problems: &mut Problems) {
    if !stream && !device {
        problems.add(
            "mount",
            "is \"none\", and there is no section [stream] or [device]: no program could get a byte",
            "name a directory, or add [stream] with `listen`, or [device] with `raw`",
        );
    }
    if helper && !device {
        problems.add(
            "mount-helper",
            "has nothing to mount, as `mount` is \"none\", and no device to make",
            "leave it out",
        );
    }
}

fn load_keys(
    file: &Path,
    paths: &[PathBuf],
    environment: &Environment,
    problems: &mut Problems,
) -> Loaded {
    if paths.is_empty() {
        problems.add(
            "keys",
            "is empty",
            "make a key pair with `qrng keygen` and name its gateway file here",
        );
    }
    let psk = environment.psk.check(problems);
    let mut loaded = Loaded::default();
    for path in paths {
        let added = loaded.add(path_in(file, path), psk.as_ref());
        problems.keep(
            "keys",
            added,
            "name each gateway key file made by `qrng keygen` once",
        );
    }
    loaded
}

fn buffer_size(size: &Amount, environment: &Environment, problems: &mut Problems) -> Option<usize> {
    let from_environment = environment.buffer_size.as_deref().map(Amount::from);
    let (key, size) = match &from_environment {
        Some(size) => ("QRNG_BUFFER_SIZE", size),
        None => ("buffer.size", size),
    };
    bytes_between(key, size, BUFFER_MIN..=BUFFER_MAX, problems)
}

/// How a buffer of `size` bytes gives way. A smaller one than the default floor is its own.
fn giving(raw: &RawBuffer, size: Option<usize>, problems: &mut Problems) -> Option<Giving> {
    if !(1..=CALM_MAX_S).contains(&raw.calm) {
        problems.add(
            "buffer.calm",
            format_args!("{} s is out of range", raw.calm),
            format_args!("give 1 to {CALM_MAX_S} seconds"),
        );
        return None;
    }
    let size = size?;
    let floor = match &raw.floor {
        None => FLOOR.min(size),
        Some(floor) => {
            let most = BUFFER_MIN..=size as u64;
            bytes_between("buffer.floor", floor, most, problems)?
        }
    };
    Some(Giving {
        floor,
        calm: Duration::from_secs(raw.calm),
    })
}

fn testing(raw: &RawHealth, problems: &mut Problems) -> Option<Testing> {
    let (key, remedy) = (
        "health.block-size",
        "give \"8 KiB\", \"16 KiB\", \"32 KiB\" or \"64 KiB\"",
    );
    let bytes = problems.keep(key, raw.block_size.size(), remedy)?;
    let testing = Testing {
        enabled: raw.enabled,
        block_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
    };
    if !testing.is_possible() {
        problems.add(key, format_args!("{bytes} bytes are no block"), remedy);
        return None;
    }
    Some(testing)
}

fn bytes_between(
    key: &str,
    amount: &Amount,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Problems,
) -> Option<usize> {
    let bytes = problems.keep(key, amount.size(), "give a size such as \"16 MiB\"")?;
    if !range.contains(&bytes) {
        problems.add(
            key,
            format_args!("{bytes} bytes is out of range"),
            format_args!("give {} to {} bytes", range.start(), range.end()),
        );
        return None;
    }
    usize::try_from(bytes).ok()
}

fn overflow(
    from_file: &str,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<Overflow> {
    let (key, text) = match &environment.overflow {
        Some(text) => ("QRNG_BUFFER_OVERFLOW_POLICY", text.as_str()),
        None => ("buffer.overflow", from_file),
    };
    match text.to_ascii_lowercase().as_str() {
        "discard" => Some(Overflow::Discard),
        "replace" => Some(Overflow::Replace),
        _ => {
            problems.add(
                key,
                format_args!("{text:?} is no policy"),
                "give \"discard\" or \"replace\"",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
