//! Files: by Landlock, a process opens what it is allowed by path, and nothing else.
//!
//! What is open already stays so. All that the kernel's version of Landlock knows is taken away: also
//! TCP, signals to other processes and abstract sockets, where it knows of these.

use std::fs;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

use crate::StepError;

/// The newest version of which this module knows what it means.
const KNOWN: ABI = ABI::V7;

/// A file, or a directory with all that is in it, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub access: Access,
}

/// What may be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Files may be read.
    Read,
    /// The same, and devices asked (ioctl).
    Ask,
    /// Files may be read, and directories listed.
    List,
    /// Devices may be read and written and asked (ioctl), and directories listed.
    Device,
    /// Files may be read, written, made and removed.
    Own,
}

impl Access {
    fn flags(self) -> BitFlags<AccessFs> {
        match self {
            Self::Read => AccessFs::ReadFile.into(),
            Self::Ask => AccessFs::ReadFile | AccessFs::IoctlDev,
            Self::List => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::Device => {
                AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::IoctlDev
            }
            Self::Own => {
                AccessFs::ReadFile
                    | AccessFs::ReadDir
                    | AccessFs::WriteFile
                    | AccessFs::Truncate
                    | AccessFs::MakeReg
                    | AccessFs::RemoveFile
            }
        }
    }
}

/// To which ports TCP connections are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connects<'p> {
    /// None.
    Nowhere,
    /// These.
    To(&'p [u16]),
    /// All.
    Anywhere,
}

/// Allows this thread and those that it starts what `allowed` says, and nothing else for ever; TCP
/// connections only as far as it `connects`. Paths at which there is nothing are passed over. Gives the
/// kernel's version of Landlock.
///
/// # Errors
/// Landlock is not there, or refuses.
pub fn allow(allowed: &[Allowed], connects: Connects<'_>) -> Result<u32, StepError> {
    let status = restrict(allowed, connects).map_err(|e| StepError::Landlock(e.to_string()))?;
    match status {
        LandlockStatus::NotEnabled => Err(StepError::NoLandlock("it is not enabled")),
        LandlockStatus::NotImplemented => Err(StepError::NoLandlock("this kernel has none")),
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi as u32),
    }
}

fn restrict(allowed: &[Allowed], connects: Connects<'_>) -> Result<LandlockStatus, RulesetError> {
    let mut tcp = AccessNet::from_all(KNOWN);
    if connects == Connects::Anywhere {
        tcp.remove(AccessNet::ConnectTcp);
    }
    // What a kernel with any Landlock can do, it must do; what only newer ones can, if it can.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(tcp)?
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    for Allowed { path, access } in allowed {
        let Ok(target) = PathFd::new(path) else {
            log::debug!("nothing to allow at {}", path.display());
            continue;
        };
        let mut flags = access.flags();
        let of_files = AccessFs::from_file(KNOWN);
        // Looked at only if it matters: a file system of this process's own would not answer yet.
        if !of_files.contains(flags) && !fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
            flags &= of_files;
        }
        ruleset = ruleset.add_rule(PathBeneath::new(target, flags))?;
    }
    if let Connects::To(ports) = connects {
        for port in ports {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(ruleset.restrict_self()?.landlock)
}
