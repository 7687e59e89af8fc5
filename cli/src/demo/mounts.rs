//! Mounts: whether this machine can make one, who may mount where, and taking away a dead one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, Uid, access};
use qrng_daemon::mounts::{detach, is_dead, mount_helper, mounted_at};

const DEVICE: &str = "/dev/fuse";
/// Dead mounts taken away at one place.
const MOST_DEAD: usize = 16;

/// Says what is missing here to mount a FUSE file system, and how to mend it.
pub fn check_this_machine() -> Result<()> {
    let device = Path::new(DEVICE);
    if !device.exists() {
        bail!(
            "{DEVICE} is missing: load the kernel's module (sudo modprobe fuse); in a container start it with --device {DEVICE} --cap-add SYS_ADMIN"
        );
    }
    if Uid::effective().is_root() {
        return Ok(());
    }
    if mount_helper().is_none() {
        bail!(
            "fusermount3 is missing and mounting without it needs root: install the package fuse3 (sudo apt-get install fuse3)"
        );
    }
    if access(device, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
        bail!(
            "{DEVICE} is not open to this user: sudo chmod 0666 {DEVICE} (what the package fuse3 sets at start-up), or run this as root"
        );
    }
    Ok(())
}

/// What was left at a mount point after its gateway's end.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing, or nothing any more.
    Nothing,
    /// A mount that is not ours to take away: it lives, or is no gateway's.
    Stranger,
    /// A dead mount that could not be taken away, and why.
    Stuck(String),
}

/// Takes away what a gateway that has ended left at `point`: its mount is dead, for nobody answers
/// there. A mount that lives belongs to somebody else, and so does one of another kind.
pub fn clear(point: &Path) -> Left {
    // Each turn takes one away; a gateway leaves one at most.
    for _ in 0..MOST_DEAD {
        match mounted_at(point) {
            Ok(None) => return Left::Nothing,
            Ok(Some(mounted)) if !mounted.is_qrng() || !is_dead(point) => return Left::Stranger,
            Ok(Some(_)) => {
                if let Err(error) = detach(point, false) {
                    return Left::Stuck(error.to_string());
                }
            }
            Err(error) => return Left::Stuck(error.to_string()),
        }
    }
    Left::Stuck("dead mounts keep appearing".to_owned())
}

/// Keeps other demonstrations away from a mount point while it lives.
pub type Claim = Flock<File>;

/// A directory fit to be mounted on: its absolute path without links, and the claim to it.
pub fn fit_to_mount_on(directory: &Path) -> Result<(PathBuf, Claim)> {
    let shown = directory.display();
    let canonical = match fs::canonicalize(directory) {
        Ok(path) => path,
        Err(error) => bail!("--mount {shown}: {error}"),
    };
    let claim = claim(&canonical)?;
    if mounted_at(&canonical)?.is_some() {
        bail!("--mount {shown}: something is mounted there already; choose another directory");
    }
    match fs::read_dir(&canonical).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok((canonical, claim)),
        Ok(false) => bail!(
            "--mount {shown}: the directory is not empty and its files would be hidden; choose another"
        ),
        Err(error) => bail!("--mount {shown}: {error}"),
    }
}

fn claim(directory: &Path) -> Result<Claim> {
    let shown = directory.display();
    let file = File::open(directory).with_context(|| format!("--mount {shown}"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(claim) => Ok(claim),
        Err((_, Errno::EWOULDBLOCK)) => bail!(
            "--mount {shown}: another demonstration uses this directory; choose another directory"
        ),
        Err((_, error)) => bail!("--mount {shown}: it cannot be locked: {}", error.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_fit() {
        let directory = tempfile::tempdir().unwrap();
        assert!(fit_to_mount_on(directory.path()).is_ok());
        let (_, claim) = fit_to_mount_on(directory.path()).unwrap();
        let error = fit_to_mount_on(directory.path()).unwrap_err().to_string();
        assert!(error.contains("another demonstration"), "{error}");
        drop(claim);
        assert!(fit_to_mount_on(&directory.path().join("missing")).is_err());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(fit_to_mount_on(directory.path()).is_err());
        assert!(fit_to_mount_on(Path::new("/proc")).is_err());
    }

    #[test]
    fn what_lives_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(clear(directory.path()), Left::Nothing);
        assert_eq!(clear(Path::new("/proc")), Left::Stranger);
        assert!(Path::new("/proc/self").exists());
    }
}
