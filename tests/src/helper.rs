//! The mount helper as a process of a test's own.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::chain::{Chain, program, wait_until};
use crate::fuse_harness::Process;

/// A helper that mounts for the gateway of a chain, which ends and unmounts when dropped.
pub struct Helper {
    process: Process,
}

impl Helper {
    /// Where the helper of a chain listens.
    pub fn socket(chain: &Chain) -> PathBuf {
        chain.path("helper.socket")
    }

    /// The line of the gateway's configuration that names it.
    pub fn setting(chain: &Chain) -> String {
        format!("mount-helper = {:?}", Self::socket(chain))
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// It does not listen.
    pub fn start(chain: &Chain) -> Self {
        let socket = Self::socket(chain);
        let mut command = Command::new(program("qrng-mount"));
        command
            .args(["--user", "root", "--listen"])
            .arg(&socket)
            .arg(chain.path("mnt"));
        let process = Process::start(&mut command);
        wait_until("the helper", || socket.exists());
        Self { process }
    }

    /// Ends it, and gives what it said.
    ///
    /// # Panics
    /// It fails.
    pub fn end(self) -> String {
        self.process.signal(Signal::SIGTERM);
        self.process.end().success().err
    }
}
