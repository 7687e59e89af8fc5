//! Makes single system calls in processes that confine themselves as the daemons do.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::chain::program;

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It worked.
    Worked,
    /// It failed with this error.
    Failed(i32),
    /// It killed the process, by this signal.
    Killed(Signal),
}

/// Killed by a seccomp filter.
pub const KILLED: Fate = Fate::Killed(Signal::SIGSYS);

/// Makes each of these calls in a process of its own (see `qrng-test-confined`), and gives what became of it.
///
/// # Panics
/// A process cannot be started or confined.
pub fn fates<'c>(process: &str, calls: &[&'c str]) -> Vec<(&'c str, Fate)> {
    calls
        .iter()
        .map(|call| (*call, fate(process, call)))
        .collect()
}

fn fate(process: &str, call: &str) -> Fate {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(program("qrng-test-confined"))
        .args([process, call])
        .stdin(Stdio::null())
        // What is forbidden would make a core dump.
        .env("RUST_BACKTRACE", "0")
        .env("QRNG_TEST_DIRECTORY", directory.path())
        .output()
        .expect("the program");
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Fate::Worked,
        (Some(code @ (101 | 255)), _) => {
            let words = String::from_utf8_lossy(&output.stderr);
            panic!("{process} {call}: {code}: {words}")
        }
        (Some(code), _) => Fate::Failed(code),
        (None, signal) => {
            let signal = signal.and_then(|number| Signal::try_from(number).ok());
            Fate::Killed(signal.expect("a process that was killed"))
        }
    }
}
