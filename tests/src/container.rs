//! A throw-away container with a service manager: systemd-nspawn on a tree that is unpacked once and never written to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::chain::wait_until;

/// The distribution of which the tree is.
const SUITE: &str = "bookworm";

/// What the tree has besides the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,init-system-helpers,dbus,procps";

/// The programs without which there is no container.
const PROGRAMS: [&str; 4] = ["systemd-nspawn", "mmdebstrap", "nsenter", "unshare"];

/// A running container. Ended, with all that it wrote, when dropped.
pub struct Container {
    nspawn: Child,
    leader: u32,
}

/// Why there can be no container here, if there can't.
pub fn impossible() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("a container needs root".into());
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("/dev/fuse is missing".into());
    }
    let missing: Vec<_> = PROGRAMS.iter().filter(|name| !is_there(name)).collect();
    (!missing.is_empty()).then(|| format!("missing: {missing:?}"))
}

/// Whether a program is in the path.
pub fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// The container's tree, outside the repository: unpacked by the first test that needs it.
///
/// # Errors
/// It cannot be made: no network, for instance.
pub fn tree() -> Result<PathBuf, String> {
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    let cache = env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from);
    let cache = cache.join("qrng-test");
    let tree = cache.join(SUITE);
    if tree.is_dir() {
        return Ok(tree);
    }
    fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    // Complete or not there: a tree that is half unpacked has another name.
    let new = cache.join(format!("{SUITE}.{}", std::process::id()));
    let output = Command::new("mmdebstrap")
        .args(["--variant=minbase", "--format=directory"])
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(&new)
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(&new);
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    fs::rename(&new, &tree).map_err(|e| e.to_string())?;
    Ok(tree)
}

impl Container {
    /// Boots one, with `shared` to be read at /shared.
    ///
    /// # Panics
    /// It does not boot.
    pub fn boot(tree: &Path, shared: &Path) -> Self {
        let nspawn = Command::new("unshare")
            .args([
                "-m",
                "systemd-nspawn",
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--boot",
            ])
            .args([
                "--volatile=overlay",
                "--private-network",
                // As on a host; otherwise LimitMEMLOCK= of a unit cannot raise it.
                "--rlimit=MEMLOCK=infinity",
                "--bind=/dev/fuse",
            ])
            // Without the call bpf the service manager silently does not enforce DevicePolicy=; without the others nobody
            // can lock memory.
            .args(["--capability=CAP_BPF", "--system-call-filter=bpf @memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self"])
            .arg(format!("--machine=qrng-test-{}", std::process::id()))
            .arg("--directory")
            .arg(tree)
            .arg(format!("--bind-ro={}:/shared", shared.display()))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn");
        let mut container = Self { nspawn, leader: 0 };
        wait_until("the container's first process", || {
            container.leader = container.first_process("systemd").unwrap_or(0);
            container.leader != 0
        });
        wait_until("the container's service manager", || {
            let state = container.run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            matches!(state.trim(), "running" | "degraded")
        });
        container
    }

    /// One without a service manager, with `shared` at /mnt and mounts passed on to it.
    ///
    /// # Panics
    /// It does not start.
    pub fn plain(tree: &Path, shared: &Path) -> Self {
        let nspawn = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "systemd-nspawn"])
            .args(["--quiet", "--register=no", "--keep-unit"])
            .args(["--volatile=overlay", "--private-network"])
            .arg(format!("--machine=qrng-plain-{}", std::process::id()))
            .arg("--directory")
            .arg(tree)
            .arg(format!("--bind={}:/mnt", shared.display()))
            .args(["sleep", "infinity"])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn");
        let mut container = Self { nspawn, leader: 0 };
        wait_until("the container's first process", || {
            container.leader = container.first_process("sleep").unwrap_or(0);
            container.leader != 0
        });
        container
    }

    /// A command that root runs in it.
    pub fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader.to_string()]);
        command.args(["--mount", "--root", "--wdns=/", program]);
        command
    }

    fn first_process(&self, called: &str) -> Option<u32> {
        let pid = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        // systemd-nspawn has helpers for a moment; the container's first process is the one called so.
        children.split_whitespace().find_map(|child| {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            let child = child.parse().ok()?;
            (name.trim() == called).then_some(child)
        })
    }

    /// What a shell in the container would be called with.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader.to_string()])
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/",
            ])
            .args([
                "env",
                "-i",
                "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-ec", script])
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell script in it as root.
    ///
    /// # Panics
    /// There is no nsenter.
    pub fn run(&self, script: &str) -> Output {
        self.command(script).output().expect("nsenter")
    }

    /// The same, which must succeed; gives what it printed.
    ///
    /// # Panics
    /// It fails; the text has its output and the services' log.
    pub fn must(&self, script: &str) -> String {
        let output = self.run(script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            let log = self.run("journalctl --no-pager -o cat -n 60 -u 'qrng*'");
            panic!(
                "{script}\n{}{}\nlog:\n{}",
                text(&output.stdout),
                text(&output.stderr),
                text(&log.stdout)
            );
        }
        text(&output.stdout)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The first process of a container takes all others with it.
        let leader = nix::unistd::Pid::from_raw(self.leader.cast_signed());
        if self.leader != 0 {
            let _ = nix::sys::signal::kill(leader, nix::sys::signal::Signal::SIGKILL);
        } else {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
    }
}
