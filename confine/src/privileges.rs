//! Privileges: capabilities, supplementary groups, and the way to new ones.

use std::io;

use nix::sys::prctl;
use nix::unistd::geteuid;

use crate::memory;

/// Access to files of other users (capabilities(7)), which root uses without knowing it.
pub const DAC_OVERRIDE: u64 = 1 << 1;

/// Memory locked beyond the limit (capabilities(7)), as VFIO locks what a device reaches.
pub const IPC_LOCK: u64 = 1 << 14;

/// Mounting and much else (capabilities(7)).
pub const SYS_ADMIN: u64 = 1 << 21;

/// The version of the structures below: 64 capabilities (linux/capability.h).
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// This thread. The kernel writes into a header whose version it does not know; it has known this one since Linux 2.6.26.
static THIS: Header = Header {
    version: VERSION_3,
    pid: 0,
};

/// `struct __user_cap_data_struct`: 32 capabilities; the lower ones come first.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up all capabilities but those in the mask `kept` (those that the process has) and the one by which its memory stays
/// locked, if it needs that ([`memory::lock`]); the supplementary groups if `kept` is none; and for ever the chance to gain any. The user stays the
/// same. Counts for this thread and those that it starts.
///
/// # Errors
/// The kernel's.
pub fn keep(kept: u64) -> io::Result<()> {
    prctl::set_no_new_privs()?;
    if kept == 0 && geteuid().is_root() {
        match leave_groups() {
            // In a user namespace it may be forbidden; groups open files only, and none is opened.
            Err(e) if e.raw_os_error() != Some(libc::EPERM) => return Err(e),
            _ => {}
        }
    }
    let kept = kept | memory::to_stay_locked();
    clear_ambient()?;
    drop_bounding(kept);
    set(kept)
}

/// Not by the C library, which would do it for all threads.
fn leave_groups() -> io::Result<()> {
    let none: *const libc::gid_t = std::ptr::null();
    // SAFETY: of no groups the kernel reads none.
    ok(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) })
}

fn clear_ambient() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let result = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    ok(result.into())
}

/// Takes capabilities out of the bounding set, which counts when programs are executed: a second
/// lock behind `no_new_privs`. An ordinary user cannot, and needs not.
fn drop_bounding(kept: u64) {
    for capability in (0..64).filter(|n| kept & (1 << n) == 0) {
        // SAFETY: this prctl takes numbers only. It fails for capabilities that the kernel does not know.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// The capabilities that this thread has and that count now, as a mask.
///
/// # Errors
/// The kernel's.
pub fn effective() -> io::Result<u64> {
    let [low, high] = get()?;
    Ok(u64::from(low.effective) | u64::from(high.effective) << 32)
}

fn get() -> io::Result<[Half; 2]> {
    let mut halves = [Half::default(); 2];
    // SAFETY: the kernel reads a header and writes two halves, which are as it defines them.
    ok(unsafe { libc::syscall(libc::SYS_capget, &raw const THIS, halves.as_mut_ptr()) })?;
    Ok(halves)
}

/// Makes the capabilities that the process has and that are in `kept` the only ones.
fn set(kept: u64) -> io::Result<()> {
    let before = get()?;
    let mut halves = before;
    for (half, kept) in halves.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        half.permitted &= kept;
        half.effective = half.permitted;
        half.inheritable = 0;
    }
    if halves == before {
        // A service manager that gives none may forbid the call, too.
        return Ok(());
    }
    // SAFETY: the kernel reads a header and two halves, which are as it defines them.
    ok(unsafe { libc::syscall(libc::SYS_capset, &raw const THIS, halves.as_ptr()) })
}

fn ok(result: i64) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    /// A line of the calling thread's status, as a number.
    fn of_thread(name: &str) -> u64 {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    }

    #[test]
    fn what_is_not_kept_is_gone_and_what_was_not_there_does_not_come() {
        // Capabilities belong to threads, so other tests lose nothing.
        let keeper = thread::spawn(|| {
            let before = of_thread("CapPrm:");
            let lock = memory::to_stay_locked();
            keep(DAC_OVERRIDE).unwrap();
            assert_eq!(of_thread("CapEff:"), before & (DAC_OVERRIDE | lock));
            assert_eq!(effective().unwrap(), before & (DAC_OVERRIDE | lock));
            assert_eq!(of_thread("CapPrm:"), before & (DAC_OVERRIDE | lock));
            keep(0).unwrap();
            assert_eq!(of_thread("CapEff:"), lock);
            keep(DAC_OVERRIDE).unwrap();
            for (set, left) in [
                ("CapEff:", lock),
                ("CapPrm:", lock),
                ("CapInh:", 0),
                ("CapAmb:", 0),
            ] {
                assert_eq!(of_thread(set), left, "{set}");
            }
            // Taken out of the bounding set by who may (CAP_SETPCAP).
            if before & (1 << 8) != 0 {
                assert_eq!(of_thread("CapBnd:"), DAC_OVERRIDE | lock);
            }
            assert_eq!(of_thread("NoNewPrivs:"), 1);
        });
        keeper.join().unwrap();
    }
}
