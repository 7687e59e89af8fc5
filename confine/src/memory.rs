//! Memory: locked, so that nothing of it is ever written to swap.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::privileges::{self, IPC_LOCK};

/// Locks all memory that this process has and gets. False if only so much may be locked: beyond that the kernel would
/// refuse new memory.
///
/// # Errors
/// The kernel does not say what the limit is.
pub fn lock() -> io::Result<bool> {
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
        // As far as everybody may, for those who lock the memory of their buffers.
        let (_, most) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, most, most);
    }
    if is_limited()? && !has_capability() {
        return Ok(false);
    }
    // Pages as they come into use, else stacks of all threads would be there as a whole.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    Ok(mlockall(all | on_fault).is_ok())
}

/// The capability that a process must keep for [`lock`] to hold: none where the limit is none.
pub(crate) fn to_stay_locked() -> u64 {
    if is_limited().unwrap_or(true) && has_capability() {
        IPC_LOCK
    } else {
        0
    }
}

fn is_limited() -> io::Result<bool> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    Ok(soft != RLIM_INFINITY)
}

fn has_capability() -> bool {
    privileges::effective().is_ok_and(|mask| mask & IPC_LOCK != 0)
}
