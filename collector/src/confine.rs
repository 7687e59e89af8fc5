//! Confinement: what makes the collector one way, and keeps its two processes apart.
//!
//! The sender, in this order:
//!
//! | Step | File | After it |
//! |---|---|---|
//! | deaf sockets | [`socket`] | nothing that arrives is ever queued, and no ICMP message is told or changes the size of a datagram |
//! | privileges | [`privileges`] | no capability, no supplementary group, and no way to new ones |
//! | files | [`files`] | nothing can be opened, made or removed; what is open stays so |
//! | system calls | [`calls`] | all but a score of them kill the process, `read` of anything but its pipe among them |
//!
//! The reader gives up what its sources do not need ([`needs`]): privileges, all other files, and the
//! system calls with which a process gets at networks, other processes and the kernel.
//!
//! A process that cannot be confined does not start, unless the configuration says so by the name of
//! what that is. The sockets are deaf even then.

use std::fmt;
use std::os::fd::RawFd;

use thiserror::Error;

use crate::config::Config;

pub mod calls;
pub mod files;
pub mod needs;
pub mod privileges;
pub mod socket;

use needs::Needs;

/// The descriptors that the sender goes on using.
#[derive(Debug, Clone)]
pub struct SenderHandles {
    /// The pipe from the reader: read.
    pub pipe: RawFd,
    /// The pipe to the reader: written.
    pub answers: [RawFd; 2],
    /// The UDP sockets: sent on.
    pub sockets: Vec<RawFd>,
    /// The epoch file: written in place and synced.
    pub epochs: RawFd,
}

/// One of the collector's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It has the devices.
    Reader,
    /// It has the keys and the sockets.
    Sender,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Sender => "sender",
        })
    }
}

/// Why a process cannot be confined: which step failed, why, and what to do.
#[derive(Debug, Error)]
#[error(
    "the {process} cannot be confined: {what}; or, where something else keeps this host apart, \
     set {process} = \"off-insecure\" in [confinement]"
)]
pub struct ConfineError {
    process: Process,
    what: String,
}

/// A step of confinement that failed, with a remedy.
#[derive(Debug, Error)]
pub enum StepError {
    /// The kernel's capabilities, groups, or `no_new_privs`.
    #[error(
        "privileges: {0}; a kernel and a service manager that let a process give them up are needed"
    )]
    Privileges(std::io::Error),
    /// Landlock is not there.
    #[error(
        "Landlock is not available ({0}); it needs Linux 5.13 or newer with `landlock` among its security \
         modules: see /sys/kernel/security/lsm, and the boot parameter lsm="
    )]
    NoLandlock(&'static str),
    /// Landlock refuses.
    #[error(
        "Landlock: {0}; a path of the configuration may have vanished: see the log, and start again"
    )]
    Landlock(String),
    /// The filter of system calls cannot be made or installed.
    #[error("system calls: {0}; a kernel with seccomp filters (CONFIG_SECCOMP_FILTER) is needed")]
    Calls(#[from] seccompiler::Error),
}

impl Process {
    fn refused(self, step: impl Into<StepError>) -> ConfineError {
        ConfineError {
            process: self,
            what: step.into().to_string(),
        }
    }
}

/// Takes privileges and files from the sender. To be called before it has any other thread, and when
/// everything is open. Gives the version of Landlock.
///
/// # Errors
/// See [`ConfineError`].
pub fn sender_privileges() -> Result<u32, ConfineError> {
    let refused = |step| Process::Sender.refused(step);
    privileges::keep(0)
        .map_err(StepError::Privileges)
        .map_err(refused)?;
    files::allow(&[], false).map_err(refused)
}

/// Takes all system calls from the sender but those that sealing and sending need, in all its threads.
///
/// # Errors
/// See [`ConfineError`].
pub fn sender_calls(handles: &SenderHandles) -> Result<(), ConfineError> {
    calls::confine_sender(handles).map_err(|e| Process::Sender.refused(e))
}

/// Confines the reader to what the sources of `config` need. To be called before it has any other
/// thread. Gives the version of Landlock.
///
/// # Errors
/// See [`ConfineError`].
pub fn reader(config: &Config) -> Result<u32, ConfineError> {
    let needs = Needs::of(config);
    reader_with(&needs)
}

/// The same by what is needed.
///
/// # Errors
/// See [`ConfineError`].
pub fn reader_with(needs: &Needs) -> Result<u32, ConfineError> {
    let refused = |step| Process::Reader.refused(step);
    privileges::keep(needs.capabilities)
        .map_err(StepError::Privileges)
        .map_err(refused)?;
    let landlock = files::allow(&needs.files, needs.network).map_err(refused)?;
    calls::confine_reader(needs).map_err(|e| Process::Reader.refused(e))?;
    Ok(landlock)
}
