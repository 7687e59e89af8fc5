//! Mounts: what is mounted where, whether it is dead, and taking it away.
//!
//! ```text
//! 36 35 0:41 / /qrng ro,nosuid - fuse.qrng qrng ro,user_id=0,...      (proc_pid_mountinfo(5))
//! id    device  point            type      source
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::statfs;

/// The setuid program with which ordinary users mount and unmount.
const HELPER: &str = "fusermount3";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The mount's number: no two that exist share it.
    pub id: u64,
    /// Device number of the file system, `major:minor`: no two that are alive share it.
    pub device: String,
    /// Type of the file system.
    pub kind: String,
}

impl Mounted {
    /// Whether it is a gateway's file system.
    pub fn is_qrng(&self) -> bool {
        self.kind == "fuse.qrng"
    }

    /// The number of a FUSE connection in /sys/fs/fuse/connections.
    pub fn connection(&self) -> Option<&str> {
        self.device.split_once(':').map(|(_, minor)| minor)
    }
}

/// The topmost mount whose mount point is exactly `point`, an absolute path without links.
///
/// # Errors
/// /proc is not there.
pub fn mounted_at(point: &Path) -> io::Result<Option<Mounted>> {
    Ok(find(&fs::read("/proc/self/mountinfo")?, point))
}

/// Whether nobody answers for the FUSE file system at `point` any more. It is asked for its
/// statistics, which the kernel does not remember: a dead one's attributes may still be in its cache.
pub fn is_dead(point: &Path) -> bool {
    matches!(statfs(point), Err(Errno::ENOTCONN))
}

/// Where `fusermount3` is: in the search path, or where it usually is.
pub fn mount_helper() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(HELPER))
        .find(|file| file.is_file())
}

/// Takes the topmost mount at `point` out of the tree at once, whoever still has files open there.
/// With `force` the connection ends too, as far as this user may do that.
///
/// # Errors
/// The kernel's; or `fusermount3`'s words, which an ordinary user needs for it.
pub fn detach(point: &Path, force: bool) -> io::Result<()> {
    let mut flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    flags.set(MntFlags::MNT_FORCE, force);
    match umount2(point, flags) {
        Err(Errno::EPERM) => {}
        done => return done.map_err(io::Error::from),
    }
    let helper = mount_helper().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{HELPER} was not found: install the package fuse3"),
        )
    })?;
    let output = Command::new(helper)
        .args(["-u", "-q", "-z", "--"])
        .arg(point)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    Err(io::Error::other(if words.is_empty() {
        format!("{HELPER} -u -z failed ({})", output.status)
    } else {
        words.to_owned()
    }))
}

fn find(table: &[u8], point: &Path) -> Option<Mounted> {
    let mut mounts = table.split(|&b| b == b'\n').filter_map(parse);
    mounts
        .rfind(|(at, _)| at == point.as_os_str())
        .map(|(_, mounted)| mounted)
}

fn parse(line: &[u8]) -> Option<(OsString, Mounted)> {
    let mut fields = line.split(|&b| b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?;
    let point = fields.nth(1)?;
    let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((
        OsString::from_vec(unescape(point)),
        Mounted {
            id,
            device: text(device),
            kind: text(kind),
        },
    ))
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        out.push(first);
        if first == b'\\'
            && let Some((digits @ [b'0'..=b'3', b'0'..=b'7', b'0'..=b'7'], after)) =
                after.split_first_chunk::<3>()
        {
            out.pop();
            out.push(
                digits
                    .iter()
                    .fold(0, |number, digit| number << 3 | (digit - b'0')),
            );
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        36 27 0:41 / /qrng ro,nosuid shared:7 - fuse.qrng qrng ro,user_id=0\n\
        37 27 0:42 / /a\\040b\\134 rw - tmpfs tmpfs rw\n\
        38 36 0:43 / /qrng rw - fuse.sshfs x rw\n\
        x 36 0:43 / /number rw - tmpfs x rw\n\
        39 36 0:44 / /short rw\n\
        garbage\n";

    #[test]
    fn the_topmost_is_found_by_its_exact_point() {
        let at = |point: &str| find(TABLE, Path::new(point));
        let top = at("/qrng").unwrap();
        assert_eq!((top.id, top.kind.as_str()), (38, "fuse.sshfs"));
        assert_eq!(top.connection(), Some("43"));
        assert!(!top.is_qrng());
        assert_eq!(at("/a b\\").unwrap().device, "0:42");
        for none in ["/qr", "/qrng/", "/number", "/short", ""] {
            assert_eq!(at(none), None, "{none}");
        }
        let below = TABLE.split(|&b| b == b'\n').nth(1).and_then(parse);
        assert!(below.unwrap().1.is_qrng());
    }

    #[test]
    fn escapes_are_undone_and_odd_ones_kept() {
        assert_eq!(unescape(b"a\\040b\\134c"), b"a b\\c");
        assert_eq!(unescape(b"end\\04"), b"end\\04");
        assert_eq!(unescape(b"\\999\\477"), b"\\999\\477");
    }

    #[test]
    fn what_is_there_is_seen_and_alive() {
        let proc = mounted_at(Path::new("/proc")).unwrap().unwrap();
        assert_eq!(proc.kind, "proc");
        assert!(!is_dead(Path::new("/proc")));
        assert!(!is_dead(Path::new("/nonexistent")));
    }
}
