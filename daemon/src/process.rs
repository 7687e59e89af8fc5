//! Settings of the process itself.

use std::fs;
use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use qrng_confine::memory;

/// No mapping of any kind is dumped (core(5)): also into a core that somebody has made against the limit.
const NOTHING: &str = "0";

/// Keeps keys and entropy out of core dumps, away from debuggers of the same user, and out of swap.
///
/// Where the limit on locked memory is too low all works without the lock; a warning says how to raise it.
///
/// # Errors
/// The kernel's, from `prctl(PR_SET_DUMPABLE)` or `setrlimit(RLIMIT_CORE)`.
pub fn protect_memory() -> io::Result<()> {
    // The first: /proc is root's for a process that cannot be dumped. Where it is not there the other two do.
    if let Err(e) = fs::write("/proc/self/coredump_filter", NOTHING) {
        log::debug!("/proc/self/coredump_filter: {e}");
    }
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if !memory::lock()? {
        log::warn!(
            "memory with keys and random bytes could be written to swap: let it be locked \
             (LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`), or have no swap"
        );
    }
    Ok(())
}

/// Asks the kernel for `signal` when `parent` ends; without it, when the present parent does. The
/// number 1 says nothing: in a container it may be the parent itself, and not the one that orphans get.
///
/// # Errors
/// The kernel's, or that the parent has ended already.
pub fn follow(parent: Option<i32>, signal: Signal) -> io::Result<()> {
    let parent = parent.unwrap_or_else(|| getppid().as_raw());
    prctl::set_pdeathsig(signal)?;
    // The kernel tells of an end after the request only, so look whether there was one before.
    if getppid().as_raw() != parent {
        return Err(io::Error::other("the parent process has already ended"));
    }
    Ok(())
}
