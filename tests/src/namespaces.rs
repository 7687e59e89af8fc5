//! Mount and user namespaces as containers have them, and what a file of a mount gives inside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::chain::{Chain, read_json, spawn, wait_until};

/// A directory that is a shared mount of its own, as everything is where systemd runs: what is mounted below it is seen in other
/// namespaces, if they want that. Undone, with all that is mounted below, when dropped.
#[derive(Debug)]
pub struct SharedMount {
    path: PathBuf,
}

impl SharedMount {
    /// Makes `path` one.
    ///
    /// # Panics
    /// The kernel refuses; only root can do it.
    pub fn over(path: &Path) -> Self {
        let shared = Self {
            path: path.canonicalize().expect("a directory"),
        };
        must(Command::new("mount").arg("--bind").args([&shared.path; 2]));
        must(Command::new("mount").arg("--make-shared").arg(&shared.path));
        shared
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["--recursive", "--lazy"])
            .arg(&self.path)
            .status();
    }
}

/// Both daemons on the host, with the mount in a directory that is a shared mount.
pub struct SharedGateway {
    /// The daemons. The gateway runs once [`SharedGateway::start`] was called.
    pub chain: Chain,
    /// More tables of the gateway's configuration.
    pub tables: String,
    shared: Option<SharedMount>,
}

impl Default for SharedGateway {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedGateway {
    /// All but the daemons.
    ///
    /// # Panics
    /// The directory cannot be shared.
    pub fn new() -> Self {
        let chain = Chain::new();
        let way = fs::Permissions::from_mode(0o755);
        fs::set_permissions(chain.path("."), way).expect("chmod of a directory of our own");
        for name in ["share", "inside"] {
            fs::create_dir(chain.path(name)).expect("a directory");
        }
        let shared = SharedMount::over(&chain.path("share"));
        fs::create_dir(chain.path("share/qrng")).expect("a directory");
        Self {
            chain,
            tables: String::new(),
            shared: Some(shared),
        }
    }

    /// The directory that others bind.
    pub fn share(&self) -> PathBuf {
        self.chain.path("share")
    }

    /// Where the files are, inside of it.
    pub fn mount(&self) -> PathBuf {
        self.chain.path("share/qrng")
    }

    /// A place to bind it at, in other namespaces.
    pub fn inside(&self) -> PathBuf {
        self.chain.path("inside")
    }

    /// The gateway's command, with its mount at `mount`.
    ///
    /// # Panics
    /// Its configuration cannot be written.
    pub fn command(&self, mount: &Path) -> Command {
        let command = self
            .chain
            .gateway_command("accept-simulated = true", &self.tables);
        let config = self.chain.path("gateway.toml");
        let text = fs::read_to_string(&config).expect("a configuration");
        let before = format!("mount = {:?}", self.chain.path("mnt"));
        let text = text.replace(&before, &format!("mount = {mount:?}"));
        fs::write(&config, text).expect("a configuration");
        command
    }

    /// Starts the gateway, and the collector if it does not run, and waits until bytes are served.
    ///
    /// # Panics
    /// They are not.
    pub fn start(&mut self) {
        let mut command = self.command(&self.mount());
        self.start_by(&mut command);
        self.wait_until_it_serves();
    }

    /// The same by a command of its own, without the wait.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_by(&mut self, command: &mut Command) {
        self.chain.gateway = Some(spawn(command, &self.chain.path("gateway.log")));
        self.start_collector();
    }

    /// Starts the collector, if it does not run.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_collector(&mut self) {
        if self.chain.collector.is_none() {
            let source = "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n";
            self.chain.start_collector(None, source);
        }
    }

    /// Waits until the mount serves bytes.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_until_it_serves(&mut self) {
        wait_until("the gateway serves", || {
            self.chain.assert_alive();
            let status = fs::read_to_string(self.mount().join("status")).unwrap_or_default();
            status.contains("\"serving\"")
        });
    }

    /// Stops the gateway, which must end well, and starts it again.
    ///
    /// # Panics
    /// It does not.
    pub fn restart(&mut self) {
        assert!(self.chain.stop_gateway().expect("a gateway").success());
        self.start();
    }

    /// Bytes that the user `uid` has had.
    ///
    /// # Panics
    /// The gateway does not serve.
    pub fn bytes_of(&self, uid: u32) -> u64 {
        let status = read_json(&self.mount().join("status"));
        let users = status["users"]["list"].as_array().expect("a list").clone();
        let user = users.into_iter().find(|user| user["uid"] == uid);
        user.map_or(0, |user| user["bytes"].as_u64().expect("bytes"))
    }
}

impl Drop for SharedGateway {
    fn drop(&mut self) {
        if let Some(gateway) = &mut self.chain.gateway {
            let gateway = nix::unistd::Pid::from_raw(gateway.id().cast_signed());
            let _ = nix::sys::signal::kill(gateway, nix::sys::signal::Signal::SIGTERM);
        }
        drop(self.shared.take());
    }
}

/// Processes that see mounts of their own.
#[derive(Debug)]
pub struct MountNamespace {
    sleeper: Child,
}

impl MountNamespace {
    /// One with the `propagation` that unshare(1) calls so (`private`, `slave`, `shared`), in which `from` is bound at `to`
    /// with all that is mounted below it.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(propagation: &str, from: &Path, to: &Path) -> Self {
        let script = "mount --rbind \"$1\" \"$2\" && exec sleep infinity";
        let sleeper = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                propagation,
                "sh",
                "-c",
                script,
                "sh",
            ])
            .args([from, to])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let namespace = Self { sleeper };
        wait_until_it_sleeps(namespace.pid());
        namespace
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.sleeper.id()
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--mount")
            .args(["--target", &self.pid().to_string()]);
        command.args(["--wdns=/", program]);
        command
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
    }
}

/// Processes whose users are others outside.
#[derive(Debug)]
pub struct UserNamespace {
    sleeper: Child,
}

impl UserNamespace {
    /// One whose users 0 to 65,535 are those from `outside` on.
    ///
    /// # Panics
    /// It cannot be made; only root can do it.
    pub fn new(outside: u32) -> Self {
        let sleeper = Command::new("unshare")
            .args(["--user", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let namespace = Self { sleeper };
        wait_until_it_sleeps(namespace.pid());
        for map in ["uid_map", "gid_map"] {
            let map = format!("/proc/{}/{map}", namespace.pid());
            fs::write(map, format!("0 {outside} 65536")).expect("a map");
        }
        namespace
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.sleeper.id()
    }

    /// A command that its root runs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--user")
            .args(["--target", &self.pid().to_string()]);
        command.arg(program);
        command
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
    }
}

/// Until the process `pid` has done all that comes before.
fn wait_until_it_sleeps(pid: u32) {
    wait_until("the namespace is made", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == "sleep")
    });
}

/// What a reader finds at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Random bytes.
    Bytes,
    /// No file: nothing is mounted there.
    Nothing,
    /// A mount whose gateway has gone.
    Dead,
    /// A file that is not for this reader.
    Forbidden,
}

/// Lets `command`, such as that of a namespace for `head`, read 16 bytes of `file`.
///
/// # Panics
/// It fails for a reason that has no name here.
pub fn look(mut command: Command, file: &Path) -> Found {
    let output = command
        .args(["-c", "16"])
        .arg(file)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("a command");
    let words = String::from_utf8_lossy(&output.stderr);
    match output.stdout.len() {
        16 if output.status.success() => Found::Bytes,
        _ if words.contains("No such file") => Found::Nothing,
        _ if words.contains("not connected") || words.contains("connection abort") => Found::Dead,
        _ if words.contains("Permission denied") => Found::Forbidden,
        _ => panic!("{command:?}: {output:?}"),
    }
}

/// Runs a command that must succeed; gives what it printed.
///
/// # Panics
/// It fails.
pub fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
