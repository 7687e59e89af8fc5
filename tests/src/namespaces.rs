//! Mount and user namespaces as containers have them, and what a file of a mount gives inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::chain::wait_until;

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
