//! How the kernel chooses between this process's threads and others.

use std::io;

use nix::errno::Errno;

/// Marks the calling thread as one whose throughput counts and not how soon it gets to run (`SCHED_BATCH`): it still gets
/// its share, but when it wakes it does not interrupt whoever runs. Stages that hand work to one another on few
/// processors would else interrupt one another thousands of times a second. Threads and processes that it starts inherit
/// the mark.
///
/// Where the kernel refuses, which it does in a sandbox only, everything works as before, so it is only mentioned.
pub fn prefer_throughput() {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the kernel reads one `sched_param`, which lives until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &ordinary) };
    if let Err(errno) = Errno::result(result) {
        log::debug!(
            "scheduling for throughput is refused: {}",
            io::Error::from(errno)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 41 of proc_pid_stat(5).
    fn policy() -> Option<i32> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        after_name.split_whitespace().nth(38)?.parse().ok()
    }

    #[test]
    fn threads_inherit_the_mark_from_who_has_it_alone() {
        let marked = std::thread::spawn(|| {
            assert_eq!(policy(), Some(libc::SCHED_OTHER));
            prefer_throughput();
            std::thread::spawn(policy).join().unwrap()
        });
        assert_eq!(marked.join().unwrap(), Some(libc::SCHED_BATCH));
        assert_eq!(policy(), Some(libc::SCHED_OTHER));
    }
}
