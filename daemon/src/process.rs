//! Settings of the process itself.

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// Starts logging to standard error: level `info`, or what the variable `QRNG_LOG` says
/// (`debug`, `warn`, `qrng_gateway=debug`, ...). There is nothing below `debug`: a library's messages there may hold what it
/// carries, and are not compiled in (feature `max_level_debug` of `log`).
pub fn init_log() {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("QRNG_LOG", "info"))
        .format_target(false)
        .init();
}

/// Keeps keys and entropy out of core dumps and away from debuggers of the same user.
///
/// # Errors
/// The kernel's, from `prctl(PR_SET_DUMPABLE)` or `setrlimit(RLIMIT_CORE)`.
pub fn protect_memory() -> io::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
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
