//! Confinement of the gateway: after its start, and before the first packet is admitted, it gives up what it does not need.
//!
//! | Step | When | After it |
//! |---|---|---|
//! | privileges, files | before any other thread | no capability, no new ones; the runtime and the state directory, the configuration and the key files are all that can be opened |
//! | system calls | when all threads have started | a list of calls; everything else kills the process: it connects to nobody and sends nobody anything |
//!
//! The calls are a list of what is allowed, as the collector's sender has it and unlike its reader: a gateway loads no driver
//! and no library that could call something unforeseen.
//!
//! A gateway that has mounted by itself must unmount by itself, which Landlock forbids to everybody under it, and for which
//! `fusermount3` must gain privileges: see [`Extent`].

use std::fs;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;
use qrng_confine::calls::{self, Error, Rules, allow, allow_all, is};
use qrng_confine::files::{self, Access, Allowed, Connects};
use qrng_confine::privileges::{self, DAC_OVERRIDE, SYS_ADMIN};
use qrng_confine::{ConfineError, Process, StepError};

/// How far a gateway can be confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Whole: somebody else mounts and unmounts. It may read files of the kept mount, if there is one, to wake its pollers.
    Whole(Option<PathBuf>),
    /// It unmounts by itself, as it has mounted: with CAP_SYS_ADMIN, and so without Landlock.
    Mounting,
    /// It unmounts by `fusermount3`, which must be executed and gain privileges: not at all.
    Fusermount,
}

impl Extent {
    /// The extent for a gateway that mounts by itself.
    pub fn mounting() -> Self {
        match privileges::effective() {
            Ok(mask) if geteuid().is_root() && mask & SYS_ADMIN != 0 => Self::Mounting,
            _ => Self::Fusermount,
        }
    }

    /// Its name in the status document.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Whole(_) => "enforced",
            Self::Mounting => "without-landlock",
            Self::Fusermount => "none-fusermount3",
        }
    }
}

/// Takes privileges and files, as far as they can be taken. To be called before this process has any other thread. Gives the
/// version of Landlock, if the process is under it.
///
/// # Errors
/// See [`ConfineError`].
pub fn privileges_and_files(
    extent: &Extent,
    runtime_directory: &Path,
    more: &[Allowed],
) -> Result<Option<u32>, ConfineError> {
    let refused = |step| Process::Gateway.refused(step);
    let keep = |mask| {
        privileges::keep(mask)
            .map_err(StepError::Privileges)
            .map_err(refused)
    };
    let written = more.iter().filter(|more| more.access == Access::Own);
    let own = written.fold(files_of_others(runtime_directory), |own, more| {
        own | files_of_others(&more.path)
    });
    match extent {
        Extent::Fusermount => Ok(None),
        Extent::Mounting => keep(SYS_ADMIN | own).map(|()| None),
        Extent::Whole(kept) => {
            keep(own)?;
            let mut allowed = vec![Allowed {
                path: runtime_directory.to_owned(),
                access: Access::Own,
            }];
            allowed.extend_from_slice(more);
            allowed.extend(kept.iter().map(|point| Allowed {
                path: point.clone(),
                access: Access::Read,
            }));
            files::allow(&allowed, Connects::Nowhere)
                .map(Some)
                .map_err(refused)
        }
    }
}

/// What it may open beside the runtime directory: the state directory; the directories of the configuration and of the key
/// files, to read, because there may be new files at the next SIGHUP; and calendars, of which it erases keys. Of a key
/// file the path comes with whether it is a calendar.
pub fn beyond(
    state_directory: Option<&Path>,
    configuration: &Path,
    keys: &[(PathBuf, bool)],
) -> Vec<Allowed> {
    let allowed = |path: &Path, access| Allowed {
        path: path.to_owned(),
        access,
    };
    let mut more: Vec<_> = state_directory
        .map(|directory| allowed(directory, Access::Own))
        .into_iter()
        .collect();
    let files = keys.iter().map(|(path, _)| path.as_path());
    for file in std::iter::once(configuration).chain(files) {
        let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        if more.iter().all(|more| more.path != directory) {
            more.push(allowed(directory, Access::Read));
        }
    }
    let calendars = keys.iter().filter(|(_, is_calendar)| *is_calendar);
    more.extend(calendars.map(|(path, _)| allowed(path, Access::Own)));
    more
}

/// The capability that root uses without knowing it where the directory is another user's.
fn files_of_others(directory: &Path) -> u64 {
    let owner = fs::metadata(directory).map(|meta| meta.uid());
    match owner {
        Ok(owner) if owner == geteuid().as_raw() => 0,
        _ => DAC_OVERRIDE,
    }
}

/// Takes all system calls but those that receiving and serving need, from all threads. All of them must have been started.
/// `socket` is the UDP socket; `stream` the one that programs of this host connect to, if there is one.
///
/// # Errors
/// See [`ConfineError`].
pub fn system_calls(
    extent: &Extent,
    socket: RawFd,
    stream: Option<RawFd>,
) -> Result<(), ConfineError> {
    if *extent == Extent::Fusermount {
        return Ok(());
    }
    let confined = of_gateway(extent, socket, stream).and_then(calls::only);
    confined.map_err(|e| Process::Gateway.refused(e))
}

fn of_gateway(extent: &Extent, socket: RawFd, stream: Option<RawFd>) -> Result<Rules, Error> {
    let mut rules = calls::running()?;
    // The link: receiving, never answering.
    allow(&mut rules, libc::SYS_recvmmsg, [vec![is(0, socket)]])?;
    allow_all(
        &mut rules,
        &[
            // The kernel's requests and the answers, the log, word to the service manager, the files of the runtime directory. The
            // UDP socket is not connected, so it refuses what is written to it.
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_ppoll,
            libc::SYS_openat,
            libc::SYS_lseek,
            libc::SYS_statx,
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_unlinkat,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            // What is on a disk: the bound for the next boot, and keys that are erased where they lie.
            libc::SYS_pwrite64,
            libc::SYS_fsync,
            // Whose a key file is.
            libc::SYS_geteuid,
            // Memory that is locked, and let go under pressure.
            libc::SYS_mlock,
            libc::SYS_munlock,
            // A signal that asks for the end.
            libc::SYS_rt_sigtimedwait,
            // A panic tells where it was, if it is asked to.
            libc::SYS_getcwd,
            libc::SYS_readlinkat,
            // What a thread calls that has just been started, and the allocator at a thread's first use of it.
            libc::SYS_rseq,
            libc::SYS_set_robust_list,
            libc::SYS_sched_getaffinity,
        ],
    );
    allow(
        &mut rules,
        libc::SYS_prctl,
        [vec![is(0, libc::PR_SET_NAME)]],
    )?;
    allow(
        &mut rules,
        libc::SYS_sched_setscheduler,
        [vec![is(1, libc::SCHED_BATCH)]],
    )?;
    #[cfg(target_arch = "x86_64")]
    allow_all(
        &mut rules,
        &[
            libc::SYS_poll,
            libc::SYS_open,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_unlink,
            libc::SYS_rename,
            libc::SYS_readlink,
        ],
    );
    if let Some(listener) = stream {
        accepting(&mut rules, listener)?;
    }
    if *extent == Extent::Mounting {
        allow_all(&mut rules, &[libc::SYS_umount2]);
    }
    Ok(rules)
}

/// Whoever has connected to the stream socket is listened to and answered (by write(2)), and nobody is connected to.
fn accepting(rules: &mut Rules, listener: RawFd) -> Result<(), Error> {
    allow(rules, libc::SYS_accept4, [vec![is(0, listener)]])?;
    allow(rules, libc::SYS_ioctl, [vec![is(1, libc::FIONBIO as i32)]])?;
    allow_all(
        rules,
        &[libc::SYS_recvfrom, libc::SYS_getsockopt, libc::SYS_geteuid],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_connected_to_and_nothing_sent_to_an_address() {
        for extent in [Extent::Whole(None), Extent::Mounting] {
            let rules = of_gateway(&extent, 3, None).unwrap();
            for call in [
                libc::SYS_connect,
                libc::SYS_sendto,
                libc::SYS_sendmsg,
                libc::SYS_sendmmsg,
                libc::SYS_execve,
                libc::SYS_clone,
                libc::SYS_ioctl,
                libc::SYS_mount,
            ] {
                assert!(!rules.contains_key(&call), "{call}");
            }
            let mounts = rules.contains_key(&libc::SYS_umount2);
            assert_eq!(mounts, extent == Extent::Mounting);
        }
    }

    #[test]
    fn only_a_gateway_with_a_stream_socket_accepts_connections() {
        for stream in [None, Some(4)] {
            let rules = of_gateway(&Extent::Whole(None), 3, stream).unwrap();
            for call in [libc::SYS_accept4, libc::SYS_recvfrom] {
                assert_eq!(rules.contains_key(&call), stream.is_some(), "{call}");
            }
            assert!(!rules.contains_key(&libc::SYS_connect));
            assert!(!rules.contains_key(&libc::SYS_sendto));
        }
    }

    #[test]
    fn the_list_is_as_short_as_the_documents_say() {
        let mut rules = of_gateway(&Extent::Whole(None), 3, None).unwrap();
        rules.remove(&libc::SYS_fcntl);
        if cfg!(target_arch = "x86_64") {
            let text = include_str!("../../docs/confinement-gateway.md");
            let words = format!("a seccomp list of {} calls", rules.len());
            assert!(text.contains(&words), "{words}");
        }
    }
}
