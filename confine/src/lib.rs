//! With what a process gives up for ever what it does not need: a step a module.
//!
//! | Step | File | After it |
//! |---|---|---|
//! | privileges | [`privileges`] | no capability but those that are kept, and no way to new ones |
//! | memory | [`memory`] | nothing is written to swap |
//! | files | [`files`] | by Landlock, nothing can be opened, made or removed but what is allowed |
//! | system calls | [`calls`] | by seccomp, what is not allowed, or what is forbidden, kills the process |
//!
//! What each process needs, and so keeps, is said where the process is: in the collector and in the gateway.
//!
//! A process that cannot be confined does not start, unless the configuration says so by the name of what that is.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub mod calls;
pub mod files;
pub mod memory;
#[allow(unsafe_code)] // Capabilities, which no crate in use wraps.
pub mod privileges;

/// Whether a process is confined, as the section `[confinement]` of its configuration says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// It is, or it does not start.
    #[default]
    Enforced,
    /// It is not. For kernels that cannot do it, where something else keeps the host apart.
    OffInsecure,
}

impl Confinement {
    /// Its name, as in the configuration and in status documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::OffInsecure => "off-insecure",
        }
    }
}

/// A process that is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// Of the collector, the one with the devices.
    Reader,
    /// Of the collector, the one with the keys and the sockets.
    Sender,
    /// Of the collector, the one that pushes by HTTPS, if there is one.
    Pusher,
    /// The gateway.
    Gateway,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Sender => "sender",
            Self::Pusher => "pusher",
            Self::Gateway => "gateway",
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
    Calls(#[from] calls::Error),
}

impl Process {
    /// This process, which cannot be confined because of `step`.
    pub fn refused(self, step: impl Into<StepError>) -> ConfineError {
        ConfineError {
            process: self,
            what: step.into().to_string(),
        }
    }

    /// What is said in the log at each start of a process that is not confined.
    pub fn tell_off(self) {
        log::warn!(
            "THE {} IS NOT CONFINED, because of {self} = \"off-insecure\" in [confinement]: \
             whoever takes it over has all that this user has",
            self.to_string().to_uppercase()
        );
    }
}
