//! Setting up, and taking turns.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::plan::Plan;

/// The script that downloads what is missing.
const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm/setup.sh");

/// How much of the bench is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// QEMU, a kernel, busybox.
    Base,
    /// That, and the disk of a guest with systemd and udev. Only root can make it.
    Full,
}

/// A bench that is set up, and the turn to run a guest on it. The turn ends when the value is dropped.
pub struct Bench {
    cache: PathBuf,
    part: Part,
    _turn: File,
}

impl Bench {
    /// Sets up what is missing (which may take a minute or two), and waits for the turn.
    ///
    /// # Errors
    /// Something cannot be had on this machine: the reason to skip a test.
    pub fn new(part: Part) -> Result<Self, String> {
        let cache = set_up(part)?;
        let turn = File::create(cache.join("turn"))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|e| format!("no turn at the VM bench: {}: {e}", cache.display()))?;
        Ok(Self {
            cache,
            part,
            _turn: turn,
        })
    }

    /// A guest to be: tiny, or with systemd if the bench has that part.
    pub fn guest(&self) -> Plan<'_> {
        Plan::new(self)
    }

    /// How QEMU calls itself.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn version(&self) -> String {
        let output = self.qemu().arg("--version").output().expect("QEMU");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Whether its guests have a disk with systemd.
    pub(super) fn is_full(&self) -> bool {
        self.part == Part::Full
    }

    /// A path of what was set up.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.cache.join(name)
    }

    /// The folder of the kernel's modules, with the version as its name.
    pub(super) fn kernel_modules(&self) -> PathBuf {
        let version = fs::read_to_string(self.path("kernel/version")).expect("set-up wrote it");
        self.path("kernel/lib/modules").join(version.trim())
    }

    /// QEMU by its own loader, with its own libraries and data. It ends when the thread that starts it ends.
    pub(super) fn qemu(&self) -> Command {
        let usr = self.path("qemu/usr");
        let libraries = usr.join("lib/x86_64-linux-gnu");
        let share = |name: &str| usr.join("share").join(name);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(libraries.join("ld-linux-x86-64.so.2"))
            .arg("--library-path")
            .arg(&libraries)
            .arg(usr.join("bin/qemu-system-x86_64"))
            .arg("-L")
            .arg(share("qemu"))
            .arg("-L")
            .arg(share("seabios"))
            .env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }
}

/// Runs the script; its words go to standard error as they come, and the last ones are the error's.
fn set_up(part: Part) -> Result<PathBuf, String> {
    let part = match part {
        Part::Base => "base",
        Part::Full => "full",
    };
    let mut script = Command::new(SETUP)
        .arg(part)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{SETUP}: {e}"))?;
    let words = BufReader::new(script.stderr.take().expect("it is piped"));
    let mut last = String::new();
    for line in words.lines().map_while(Result::ok) {
        eprintln!("{line}");
        last = line;
    }
    let output = script
        .wait_with_output()
        .map_err(|e| format!("{SETUP}: {e}"))?;
    if !output.status.success() {
        return Err(format!("the VM bench cannot be set up: {last}"));
    }
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(Path::new(folder.trim()).to_path_buf())
}

/// The bench with this [`Part`], set up and with the turn; or the skip of the test that asked for it.
#[macro_export]
macro_rules! bench {
    ($part:expr) => {
        match $crate::vm::Bench::new($part) {
            Ok(bench) => bench,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}
