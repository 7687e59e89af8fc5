//! Mounts: whether this machine can make one, which there are, and taking away a dead one.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::unistd::{AccessFlags, Uid, access};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

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
    if !in_search_path(HELPER) {
        bail!(
            "{HELPER} is missing and mounting without it needs root: install the package fuse3 (sudo apt-get install fuse3)"
        );
    }
    if access(device, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
        bail!(
            "{DEVICE} is not open to this user: sudo chmod 0666 {DEVICE} (what the package fuse3 sets at start-up), or run this as root"
        );
    }
    Ok(())
}

fn in_search_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// How many mounts lie over each other at `point`, an absolute path without links.
pub fn at(point: &Path) -> usize {
    // Names need not be UTF-8.
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    parse(&String::from_utf8_lossy(&table), point)
}

/// Lines of proc_pid_mountinfo(5): the fifth field is the mount point.
fn parse(table: &str, point: &Path) -> usize {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|found| unescape(found) == point.as_os_str().as_bytes())
        .count()
}

/// Undoes the kernel's `\040` for a space, tab, newline and backslash.
fn unescape(field: &str) -> Vec<u8> {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    plain
}

/// Takes the topmost mount at `point` away at once, whoever still has files open there.
pub fn detach(point: &Path) -> Result<(), String> {
    if Uid::effective().is_root() {
        return umount2(point, MntFlags::MNT_DETACH).map_err(|errno| errno.desc().to_owned());
    }
    let status = Command::new(HELPER)
        .args(["-u", "-z", "--"])
        .arg(point)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{HELPER}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{HELPER} -u -z failed ({status})"))
    }
}

/// A directory fit to be mounted on: its absolute path without links.
pub fn fit_to_mount_on(directory: &Path) -> Result<PathBuf> {
    let shown = directory.display();
    let canonical = match fs::canonicalize(directory) {
        Ok(path) => path,
        Err(error) => bail!("--mount {shown}: {error}"),
    };
    if at(&canonical) > 0 {
        bail!(
            "--mount {shown}: something is mounted there already; choose another directory, or: umount {shown}"
        );
    }
    match fs::read_dir(&canonical).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(canonical),
        Ok(false) => bail!(
            "--mount {shown}: the directory is not empty and its files would be hidden; choose another"
        ),
        Err(error) => bail!("--mount {shown}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime - overlay overlay rw
41 22 0:35 / /tmp/a\\040b ro,nosuid,nodev - fuse.qrng qrng ro,user_id=0
42 41 0:36 / /tmp/a\\040b rw - tmpfs tmpfs rw
garbage
";

    #[test]
    fn mounts_are_counted_by_place() {
        assert_eq!(parse(TABLE, Path::new("/tmp/a b")), 2);
        assert_eq!(parse(TABLE, Path::new("/")), 1);
        assert_eq!(parse(TABLE, Path::new("/tmp")), 0);
    }

    #[test]
    fn escapes_are_undone_and_odd_ones_kept() {
        assert_eq!(unescape("a\\040b\\134c"), b"a b\\c");
        assert_eq!(unescape("end\\04"), b"end\\04");
        assert_eq!(unescape("\\999"), b"\\999");
    }

    #[test]
    fn only_an_empty_directory_is_fit() {
        let directory = tempfile::tempdir().unwrap();
        assert!(fit_to_mount_on(directory.path()).is_ok());
        assert!(fit_to_mount_on(&directory.path().join("missing")).is_err());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(fit_to_mount_on(directory.path()).is_err());
        assert!(fit_to_mount_on(Path::new("/proc")).is_err());
    }
}
