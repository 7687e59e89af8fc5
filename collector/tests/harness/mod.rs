//! The real collector as a child process, and a gateway that knows nothing but the core.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::{Rng, UnwrapErr};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use qrng::keys::{GatewayKey, KeyId, generate, parse_psk_hex};
use qrng::packet::{Content, Datagram};
use qrng::replay::Window;
use qrng::report::{Kinds, Report};
use qrng::session::Opener;
use tempfile::TempDir;

/// Nothing here takes nearly as long: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a gateway got from a verified datagram.
#[derive(Debug)]
pub enum Got {
    /// An announcement of the session of this epoch.
    Announcement(u64),
    /// Random bytes.
    Bytes(Kinds, Vec<u8>),
    /// A report.
    Report(Report),
}

/// A gateway's end: a socket and a session.
pub struct Gateway {
    socket: UdpSocket,
    key: GatewayKey,
    session: Option<(Opener, Window)>,
}

impl Gateway {
    /// The next verified datagram. Anything that cannot be verified once there is a session, and
    /// any sequence number seen twice, is a failure.
    pub fn next(&mut self) -> Got {
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer).expect("a datagram in time");
            match Datagram::new_checked(&mut buffer[..length]).expect("a well-formed datagram") {
                Datagram::Announcement(announcement) => {
                    assert!(self.key.verifies(&announcement), "forged announcement");
                    let epoch = announcement.epoch();
                    match &mut self.session {
                        Some((opener, _)) if opener.epoch() == epoch => {
                            opener.advance(&announcement);
                        }
                        session => {
                            let opener = Opener::start(&self.key, &announcement).unwrap();
                            *session = Some((opener, Window::starting_at(0)));
                        }
                    }
                    return Got::Announcement(epoch);
                }
                Datagram::Data(data) => {
                    // A packet of an earlier session may still be in the socket.
                    let Some((opener, window)) = &mut self.session else {
                        continue;
                    };
                    let (id, now) = (data.id(), qrng_collector::pipeline::now_us());
                    assert!(opener.owns(id), "a packet of another session");
                    assert!(data.crc_matches());
                    assert!(data.timestamp_us().abs_diff(now) < 60_000_000);
                    window.peek(id.sequence).expect("a new sequence number");
                    let plain = opener.open(data).expect("an authentic packet");
                    window.commit(id.sequence);
                    return match Content::from_byte(plain[0]).expect("a known content") {
                        Content::Bytes(kinds) => Got::Bytes(kinds, plain[1..].to_vec()),
                        Content::Report => Got::Report(Report::decode(&plain[1..]).unwrap()),
                    };
                }
            }
        }
    }

    /// The key's name.
    pub fn key_id(&self) -> KeyId {
        self.key.key_id()
    }

    /// The epoch of the next announcement.
    pub fn epoch(&mut self) -> u64 {
        loop {
            if let Got::Announcement(epoch) = self.next() {
                return epoch;
            }
        }
    }

    /// The next report.
    pub fn report(&mut self) -> Report {
        loop {
            if let Got::Report(report) = self.next() {
                return report;
            }
        }
    }

    /// Random bytes, at least `count` of them.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Got::Bytes(_, bytes) = self.next() {
                all.extend(bytes);
            }
        }
        all
    }

    /// Expects this pre-shared key in place of the key file's.
    pub fn replace_psk(mut self, hex: &str) -> Self {
        self.key = self.key.with_psk(parse_psk_hex(hex).unwrap());
        self
    }

    /// Forgets everything received so far.
    pub fn forget(&mut self) {
        self.session = None;
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 2048]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }
}

/// A directory with everything that a collector needs.
pub struct Site {
    dir: TempDir,
    gateways: String,
}

impl Site {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            gateways: String::new(),
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds a gateway with a key pair of its own.
    pub fn gateway(&mut self, name: &str) -> Gateway {
        let (gateway, collector, _) = generate(&mut UnwrapErr(SysRng));
        let path = self.path(name);
        fs::write(&path, collector.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // As much as this user may have.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &(4 << 20));
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
        let address = socket.local_addr().unwrap();
        self.gateways +=
            &format!("[[gateway]]\nname = \"{name}\"\naddress = \"{address}\"\nkey = \"{name}\"\n");
        Gateway {
            socket,
            key: GatewayKey::parse(&gateway).unwrap(),
            session: None,
        }
    }

    /// Writes the configuration: all gateways, this source, and whatever else.
    pub fn configure(&self, source: &str, more: &str) -> PathBuf {
        self.configure_sections(&format!("[source]\n{source}\n"), more)
    }

    /// Writes the configuration: all gateways, these sections of sources, and whatever else.
    pub fn configure_sections(&self, sources: &str, more: &str) -> PathBuf {
        let path = self.path("collector.toml");
        let text = format!(
            "state-directory = \"state\"\nruntime-directory = \"run\"\n\
             {sources}{}{more}\n",
            self.gateways
        );
        fs::write(&path, text).unwrap();
        path
    }
}

/// Good random bytes.
pub fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}

/// The command that starts a collector.
pub fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrng-collector"));
    command.arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// A collector that was expected to end by itself.
pub fn run(config: &Path, arguments: &[&str]) -> (ExitStatus, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(config).args(arguments).output().unwrap();
    let text = [stdout, stderr].concat();
    (status, String::from_utf8(text).unwrap())
}

/// A running collector; killed if the test fails.
pub struct Collector(Child);

impl Collector {
    /// Starts one.
    pub fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts one with environment variables.
    pub fn start_with(config: &Path, variables: &[(&str, &str)]) -> Self {
        let child = command(config).envs(variables.iter().copied()).spawn();
        Self(child.unwrap())
    }

    /// Starts one whose log goes to the file `log`.
    pub fn start_logged(config: &Path, log: &Path) -> Self {
        Self::start_logged_with(config, log, &[])
    }

    /// Starts one with environment variables, whose log goes to the file `log`.
    pub fn start_logged_with(config: &Path, log: &Path, variables: &[(&str, &str)]) -> Self {
        let log = fs::File::create(log).unwrap();
        let mut command = command(config);
        command.envs(variables.iter().copied()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Sends a signal and waits for the end.
    pub fn end(self, signal: Signal) -> ExitStatus {
        self.end_with(signal, 1)
    }

    /// Sends a signal so many times and waits for the end.
    pub fn end_with(mut self, signal: Signal, times: u32) -> ExitStatus {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap());
        for _ in 0..times {
            // Not reaped yet, so there is somebody of this number.
            kill(pid, signal).unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
        self.0.wait().unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
