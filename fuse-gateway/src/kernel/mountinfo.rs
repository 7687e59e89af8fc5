//! What is mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)).
//!
//! ```text
//! 36 35 0:41 / /qrng ro,nosuid - fuse.qrng qrng ro,user_id=0,...
//!       device  point            type     source
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    /// Device number of the file system, `major:minor`: no two that are alive share it.
    pub(super) device: String,
    /// Type of the file system.
    pub(super) kind: String,
}

impl Mounted {
    /// Whether it is a file system of this program.
    pub(super) fn is_qrng(&self) -> bool {
        self.kind == "fuse.qrng"
    }

    /// The number of the connection in /sys/fs/fuse/connections.
    pub(super) fn connection(&self) -> Option<&str> {
        self.device.split_once(':').map(|(_, minor)| minor)
    }
}

/// The topmost mount whose mount point is exactly `point`.
///
/// # Errors
/// /proc is not there.
pub(super) fn at(point: &Path) -> io::Result<Option<Mounted>> {
    Ok(find(&std::fs::read("/proc/self/mountinfo")?, point))
}

fn find(table: &[u8], point: &Path) -> Option<Mounted> {
    let mut mounts = table.split(|&b| b == b'\n').filter_map(parse);
    mounts
        .rfind(|(at, _)| at == point.as_os_str())
        .map(|(_, mounted)| mounted)
}

fn parse(line: &[u8]) -> Option<(OsString, Mounted)> {
    let mut fields = line.split(|&b| b == b' ');
    let device = fields.nth(2)?;
    let point = fields.nth(1)?;
    let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((
        OsString::from_vec(unescape(point)),
        Mounted {
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
        garbage\n";

    #[test]
    fn the_topmost_is_found_by_its_exact_point() {
        let at = |point: &str| find(TABLE, Path::new(point));
        assert_eq!(at("/qrng").unwrap().kind, "fuse.sshfs");
        assert_eq!(at("/qrng").unwrap().connection(), Some("43"));
        assert_eq!(at("/a b\\").unwrap().device, "0:42");
        assert_eq!(at("/qr"), None);
        let first = TABLE
            .split(|&b| b == b'\n')
            .nth(1)
            .and_then(parse)
            .unwrap()
            .1;
        assert!(first.is_qrng());
    }
}
