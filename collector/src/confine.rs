//! Confinement: what makes the collector one way, and keeps its two processes apart.
//!
//! The sender, in this order:
//!
//! | Step | File | After it |
//! |---|---|---|
//! | deaf sockets | [`socket`] | nothing that arrives is ever queued, and no ICMP message is told or changes the size of a datagram |
//! | privileges | [`qrng_confine::privileges`] | no capability, no supplementary group, and no way to new ones |
//! | files | [`qrng_confine::files`] | nothing can be opened, made or removed; what is open stays so |
//! | system calls | [`calls`] | all but a score of them kill the process, `read` of anything but its pipe among them |
//!
//! The reader gives up what its sources do not need ([`needs`]): privileges, all other files, and the
//! system calls with which a process gets at networks, other processes and the kernel.
//!
//! The pusher, which is there only if a gateway is pushed to, gives up all files but what looking up names reads, TCP but to the ports that
//! are configured, and the same system calls as a reader that asks an appliance.
//!
//! A process that cannot be confined does not start, unless the configuration says so by the name of
//! what that is. The sockets are deaf even then.

use std::os::fd::RawFd;

use qrng_confine::files::Connects;
pub use qrng_confine::{ConfineError, Process, StepError};
use qrng_confine::{files, privileges};

use crate::config::Config;

pub mod calls;
pub mod needs;
#[allow(unsafe_code)] // Socket options that no crate in use wraps.
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
    /// The pipe to the pusher, if there is one: written.
    pub pusher: Option<RawFd>,
    /// The epoch file: written in place and synced.
    pub epochs: RawFd,
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
    files::allow(&[], Connects::Nowhere).map_err(refused)
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
    let connects = match needs.network {
        true => Connects::Anywhere,
        false => Connects::Nowhere,
    };
    let landlock = files::allow(&needs.files, connects).map_err(refused)?;
    calls::confine_reader(needs).map_err(|e| Process::Reader.refused(e))?;
    Ok(landlock)
}

/// Confines the pusher, which connects to these ports, and looks up names if it `looks_up`. To be called before it has any other
/// thread. Gives the version of Landlock.
///
/// # Errors
/// See [`ConfineError`].
pub fn pusher(ports: &[u16], looks_up: bool) -> Result<u32, ConfineError> {
    let refused = |step| Process::Pusher.refused(step);
    let needs = Needs::of_pusher(looks_up);
    privileges::keep(needs.capabilities)
        .map_err(StepError::Privileges)
        .map_err(refused)?;
    let landlock = files::allow(&needs.files, Connects::To(ports)).map_err(refused)?;
    calls::confine_reader(&needs).map_err(|e| Process::Pusher.refused(e))?;
    Ok(landlock)
}
