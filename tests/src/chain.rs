//! A gateway and a collector as real processes on loopback, with a directory, keys and a mount of
//! their own. Everything is gone when the value is dropped.

use std::fs;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a test waits for something that ought to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within [`PATIENCE`]; `what` says what was awaited.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program of this workspace, built beside this test.
///
/// # Panics
/// It was not built.
pub fn program(name: &str) -> PathBuf {
    let mut directory = std::env::current_exe().expect("this test has a path");
    while directory.pop() {
        let path = directory.join(name);
        if path.is_file() {
            return path;
        }
        if directory.file_name().is_some_and(|n| n == "target") {
            break;
        }
    }
    panic!("{name} is not built: run `cargo build --workspace` before the tests");
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_micros() as u64)
}

/// Both ends, their keys and their mount.
pub struct Chain {
    directory: tempfile::TempDir,
    /// The gateway's UDP port on 127.0.0.1.
    pub port: u16,
    /// The gateway, while it runs.
    pub gateway: Option<Child>,
    /// The collector, while it runs.
    pub collector: Option<Child>,
}

impl Chain {
    /// Directory, keys and a free port; nothing runs yet. The restart bound is set to now, as the
    /// keys are new, so that packets are accepted from the first.
    ///
    /// # Panics
    /// The directory or the keys cannot be made.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("qrng-test.")
            .tempdir()
            .expect("a temporary directory");
        let chain = Self {
            port: free_port(),
            directory,
            gateway: None,
            collector: None,
        };
        for name in ["mnt", "gateway", "collector"] {
            fs::create_dir(chain.path(name)).expect("a directory");
        }
        let (gateway, collector, _) = qrng::keys::generate(&mut UnwrapErr(SysRng));
        write_private(&chain.path("gateway.key"), gateway.as_bytes());
        write_private(&chain.path("collector.key"), collector.as_bytes());
        write_private(&chain.path("gateway/bound"), &now_us().to_be_bytes());
        chain
    }

    /// A path in the chain's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the mount.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("mnt").join(name)
    }

    /// Starts the gateway and waits for its mount. `more` are lines of its configuration, before
    /// any table; `tables` come last.
    ///
    /// # Panics
    /// It does not mount.
    pub fn start_gateway(&mut self, more: &str, tables: &str) {
        let mut command = self.gateway_command(more, tables);
        self.start_gateway_by(&mut command);
    }

    /// Starts the gateway by `command` and waits for its mount.
    ///
    /// # Panics
    /// It does not mount.
    pub fn start_gateway_by(&mut self, command: &mut Command) {
        self.gateway = Some(spawn(command, &self.path("gateway.log")));
        wait_until("the gateway's mount", || {
            self.assert_alive();
            self.file("status").exists()
        });
    }

    /// Writes the gateway's configuration and gives the command that starts it.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn gateway_command(&self, more: &str, tables: &str) -> Command {
        let config = self.path("gateway.toml");
        fs::write(
            &config,
            format!(
                "listen = \"127.0.0.1:{}\"\nkeys = [{:?}]\nmount = {:?}\nruntime-directory = {:?}\n{more}\n{tables}\n",
                self.port,
                self.path("gateway.key"),
                self.path("mnt"),
                self.path("gateway"),
            ),
        )
        .expect("the gateway's configuration");
        let mut command = Command::new(program("qrng-gateway"));
        command.arg("--config").arg(config);
        command
    }

    /// Starts the collector, which sends to this chain's port unless `port` says otherwise.
    /// `tables` are its source and anything else.
    ///
    /// # Panics
    /// The process cannot be started.
    pub fn start_collector(&mut self, port: Option<u16>, tables: &str) {
        self.start_collector_with(port, tables, &[]);
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// The process cannot be started.
    pub fn start_collector_with(
        &mut self,
        port: Option<u16>,
        tables: &str,
        variables: &[(&str, &str)],
    ) {
        let config = self.path("collector.toml");
        fs::write(
            &config,
            format!(
                "state-directory = {:?}\nruntime-directory = {:?}\n\n[[gateway]]\nname = \"test\"\naddress = \"127.0.0.1:{}\"\nkey = {:?}\n\n{tables}\n",
                self.path("collector"),
                self.path("collector"),
                port.unwrap_or(self.port),
                self.path("collector.key"),
            ),
        )
        .expect("the collector's configuration");
        let mut command = Command::new(program("qrng-collector"));
        command.arg("--config").arg(config);
        command.envs(variables.iter().copied());
        self.collector = Some(spawn(&mut command, &self.path("collector.log")));
    }

    /// Reads `count` bytes from `raw`.
    ///
    /// # Panics
    /// They do not come within `patience`.
    pub fn read_raw(&self, count: usize, patience: Duration) -> Vec<u8> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.file("raw"))
            .expect("the gateway serves raw");
        let mut bytes = vec![0; count];
        let mut got = 0;
        let deadline = Instant::now() + patience;
        while got < count {
            match file.read(&mut bytes[got..]) {
                Ok(more) => got += more,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    assert!(
                        Instant::now() < deadline,
                        "{got} of {count} bytes came from raw"
                    );
                    thread::sleep(Duration::from_millis(20));
                }
                Err(e) => panic!("raw: {e}"),
            }
        }
        bytes
    }

    /// The gateway's status document.
    ///
    /// # Panics
    /// It cannot be read or is not JSON.
    pub fn status(&self) -> Value {
        read_json(&self.file("status"))
    }

    /// The collector's status document, once there is one.
    pub fn collector_status(&self) -> Option<Value> {
        let text = fs::read_to_string(self.path("collector/status.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// A number in the gateway's status, such as `/bytes/served`.
    ///
    /// # Panics
    /// There is no such number.
    pub fn count(&self, pointer: &str) -> u64 {
        let status = self.status();
        status
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no number {pointer} in {status}"))
    }

    /// Fails if a process that ought to run has ended, telling its log.
    ///
    /// # Panics
    /// A process has ended.
    pub fn assert_alive(&mut self) {
        for (name, child) in [
            ("gateway", &mut self.gateway),
            ("collector", &mut self.collector),
        ] {
            if let Some(status) = child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                let log = fs::read_to_string(self.directory.path().join(format!("{name}.log")));
                panic!("the {name} ended ({status}):\n{}", log.unwrap_or_default());
            }
        }
    }

    /// Sends SIGTERM to the gateway and waits for its end.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop_gateway(&mut self) -> Option<ExitStatus> {
        self.gateway.take().map(stop)
    }

    /// Sends SIGTERM to the collector and waits for its end.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop_collector(&mut self) -> Option<ExitStatus> {
        self.collector.take().map(stop)
    }

    /// Kills the gateway at once.
    pub fn kill_gateway(&mut self) {
        kill_now(self.gateway.take());
    }

    /// Kills the collector at once.
    pub fn kill_collector(&mut self) {
        kill_now(self.collector.take());
    }

    /// What a process wrote to its log so far: `gateway` or `collector`.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if thread::panicking() {
            for name in ["gateway", "collector"] {
                eprintln!("--- log of the {name}\n{}", self.log(name));
            }
        }
        for child in [self.collector.take(), self.gateway.take()]
            .into_iter()
            .flatten()
        {
            // A drop after a failed test must not panic again.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let mut child = child;
            let deadline = Instant::now() + Duration::from_secs(10);
            while child.try_wait().ok().flatten().is_none() {
                if Instant::now() > deadline {
                    let _ = child.kill();
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        unmount(&self.path("mnt"));
    }
}

/// Unmounts what may be mounted at `path`, dead or alive; nothing happens if nothing is.
pub fn unmount(path: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.contains(&format!(" {} ", path.display())) {
        let _ = Command::new("umount").arg("-l").arg(path).status();
    }
}

/// Reads a JSON file.
///
/// # Panics
/// It cannot be read or is not JSON.
pub fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A socket in a gateway's place, which a test reads itself; a read fails after [`PATIENCE`].
///
/// # Panics
/// There is no port.
pub fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    peer.set_read_timeout(Some(PATIENCE))
        .expect("a loopback socket");
    peer
}

/// A free UDP port on 127.0.0.1.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|s| s.local_addr())
        .expect("a free port")
        .port()
}

/// Starts a program without a terminal, whose words go to the end of `log`.
///
/// # Panics
/// It cannot be started.
pub fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn stop(mut child: Child) -> ExitStatus {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("SIGTERM is sent");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("SIGTERM did not end process {}", child.id());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn kill_now(child: Option<Child>) {
    if let Some(mut child) = child {
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("a killed child can be waited for");
    }
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut f| f.write_all(bytes))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
