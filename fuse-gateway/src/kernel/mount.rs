//! Mounting and unmounting: fuser mounts and negotiates; the checks before, and the end, are our own.

use std::io;
use std::path::{Path, PathBuf};

use fuser::{MountOption, SessionACL};
use nix::errno::Errno;
use qrng_daemon::mounts::{Mounted, detach, is_dead, mount_helper, mounted_at};
use thiserror::Error;

use super::connection::{Connection, Negotiator};

/// Why the file system could not be mounted. Each says how to mend it.
#[derive(Debug, Error)]
pub enum MountError {
    /// The directory is missing.
    #[error("mount point {0} does not exist: make the directory (mkdir -p {0})")]
    Missing(PathBuf),
    /// It is a file.
    #[error("mount point {0} is not a directory: name a directory")]
    NotADirectory(PathBuf),
    /// It can't be looked at.
    #[error("mount point {0} can't be used: {1}")]
    Unusable(PathBuf, #[source] io::Error),
    /// Another gateway serves there.
    #[error(
        "another gateway already serves at {0}: stop that one first, or choose another mount point"
    )]
    Live(PathBuf),
    /// A dead mount of something else, or one that this user may not unmount.
    #[error(
        "a dead mount is in the way at {0}: unmount it as its owner (umount -l {0}, or fusermount3 -u -z {0})"
    )]
    Dead(PathBuf),
    /// No FUSE in the kernel, or not in this container.
    #[error(
        "/dev/fuse does not exist: load the module (modprobe fuse), or pass the device into the container"
    )]
    NoDevice,
    /// The device's permissions.
    #[error(
        "/dev/fuse may not be opened by this user: run as root, or give access (chmod 0666 /dev/fuse)"
    )]
    DeviceDenied,
    /// An ordinary user needs the setuid helper.
    #[error(
        "fusermount3 was not found, which ordinary users need to mount: install the package fuse3, or run as root"
    )]
    NoHelper,
    /// An ordinary user asked for access by others.
    #[error(
        "other users may only be let in by root, or after the line `user_allow_other` was added to /etc/fuse.conf: \
         {0}"
    )]
    AllowOther(String),
    /// Anything else that mount(2) or fusermount3 said.
    #[error("mounting at {0} failed: {1}")]
    Refused(PathBuf, #[source] io::Error),
    /// A connection kept from an earlier run cannot be used.
    #[error(
        "the connection kept from an earlier run is not that of {0}, or this kernel cannot send its requests again \
         (Linux 6.9 can): its readers end, and the file system is mounted anew"
    )]
    NotKept(PathBuf),
    /// No memory or no threads.
    #[error("the request loop could not be started: {0}")]
    Start(#[source] io::Error),
}

/// A mounted file system whose requests nobody answers yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) connection: Connection,
    pub(super) place: Place,
}

/// Where a file system is mounted, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) point: PathBuf,
    mounted: Option<Mounted>,
}

/// Mounts at `point`, over a dead mount of our own if there is one.
pub(super) fn mount(point: &Path, allow_other: bool) -> Result<Fresh, MountError> {
    let point = settle(point)?;
    check_device()?;
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName("qrng".to_owned()),
        // As a kernel option: with `Subtype` fuser would leave it out when it mounts without fusermount3.
        MountOption::CUSTOM("subtype=qrng".to_owned()),
    ];
    config.acl = acl(allow_other);
    let session =
        fuser::Session::new(Negotiator, &point, &config).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if error.to_string().contains("user_allow_other") => {
                MountError::AllowOther(error.to_string().trim().to_owned())
            }
            _ => MountError::Refused(point.clone(), error),
        })?;
    let connection =
        Connection::of_session(session).map_err(|e| MountError::Refused(point.clone(), e))?;
    Ok(Fresh {
        connection,
        place: Place::at(point),
    })
}

/// Who may read.
pub(super) fn acl(allow_other: bool) -> SessionACL {
    if allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    }
}

/// Makes sure that `point` is a directory without a living gateway, and returns its canonical path. A dead mount of an
/// earlier gateway is removed.
///
/// # Errors
/// See [`MountError`].
pub fn settle(point: &Path) -> Result<PathBuf, MountError> {
    let canonical = canonical(point)?;
    // Each turn removes one dead mount.
    for _ in 0..16 {
        let mounted =
            mounted_at(&canonical).map_err(|e| MountError::Unusable(canonical.clone(), e))?;
        let ours = mounted.is_some_and(|mounted| mounted.is_qrng());
        match probe(&canonical, ours) {
            Ok(_) if ours => return Err(MountError::Live(canonical)),
            Ok(metadata) if !metadata.is_dir() => return Err(MountError::NotADirectory(canonical)),
            Ok(_) => return Ok(canonical),
            Err(error) if error.raw_os_error() == Some(Errno::ENOTCONN as i32) => {
                if !ours {
                    return Err(MountError::Dead(canonical));
                }
                log::warn!(
                    "removing the dead mount of an earlier gateway at {}",
                    canonical.display()
                );
                detach(&canonical, false).map_err(|_| MountError::Dead(canonical.clone()))?;
            }
            Err(error) if ours && error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(MountError::Live(canonical));
            }
            Err(error) => return Err(MountError::Unusable(canonical, error)),
        }
    }
    Err(MountError::Dead(canonical))
}

/// Looks at the mount point; the attributes of a dead mount of ours may still be in the kernel's cache.
fn probe(point: &Path, ours: bool) -> io::Result<std::fs::Metadata> {
    if ours && is_dead(point) {
        return Err(Errno::ENOTCONN.into());
    }
    std::fs::metadata(point)
}

/// The path as mountinfo shows it. A dead mount point itself can't be resolved, its directory can.
fn canonical(point: &Path) -> Result<PathBuf, MountError> {
    let error = match point.canonicalize() {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound => Err(MountError::Missing(point.to_owned())),
        io::ErrorKind::NotADirectory => Err(MountError::NotADirectory(point.to_owned())),
        _ => match (std::path::absolute(point).ok(), point.file_name()) {
            (Some(absolute), Some(name)) => match absolute.parent().map(Path::canonicalize) {
                Some(Ok(parent)) => Ok(parent.join(name)),
                _ => Err(MountError::Unusable(point.to_owned(), error)),
            },
            _ => Err(MountError::Unusable(point.to_owned(), error)),
        },
    }
}

fn check_device() -> Result<(), MountError> {
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
    {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(MountError::DeviceDenied);
        }
        Err(_) => return Err(MountError::NoDevice),
    }
    if !is_root() && mount_helper().is_none() {
        Err(MountError::NoHelper)
    } else {
        Ok(())
    }
}

pub(super) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Place {
    /// The file system of ours that is mounted at `point` now, if one is.
    pub(super) fn at(point: PathBuf) -> Self {
        let mounted = mounted_at(&point).ok().flatten().filter(Mounted::is_qrng);
        Self { point, mounted }
    }

    /// Whether our file system, and no other, is what one sees at the mount point.
    pub(super) fn is_ours(&self) -> bool {
        self.mounted.is_some() && mounted_at(&self.point).is_ok_and(|now| now == self.mounted)
    }

    /// Unmounts, and ends the connection as root may: then all requests fail and all loop threads end.
    pub(super) fn unmount(&self) -> io::Result<()> {
        detach(&self.point, true)
    }

    /// Ends the connection by the kernel's control file system, where that is mounted and open to this user.
    pub(super) fn abort(&self) -> bool {
        let connection = self.mounted.as_ref().and_then(Mounted::connection);
        let file = connection.map(|number| format!("/sys/fs/fuse/connections/{number}/abort"));
        file.is_some_and(|file| std::fs::write(file, "1").is_ok())
    }
}
