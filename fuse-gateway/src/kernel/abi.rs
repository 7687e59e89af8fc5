//! The kernel's structs as bytes, in the machine's own byte order (linux/fuse.h, protocol 7.40).
//!
//! A request is one read from the descriptor, an answer one write:
//!
//! ```text
//! request  0      4        8        16       24    28    32    36   40
//!          | len  | opcode | unique | nodeid | uid | gid | pid | -- | body ...
//! answer   0      4        8        16
//!          | len  | -errno | unique | body ...            (a notification: code in errno's place, unique 0)
//!
//! READ     | fh 8 | offset 8 | size 4 | read_flags 4 | lock_owner 8 | flags 4 | -- |     (READDIR, READDIRPLUS too)
//! POLL     | fh 8 | kh 8 | flags 4 | events 4 |
//! OPEN     | flags 4 | -- |          RELEASE | fh 8 | ...          INTERRUPT | unique 8 |
//! LOOKUP   | name, 0 |               ACCESS  | mask 4 | -- |
//! ```
//!
//! [`Request::new_checked`] and [`Request::body`] are the one door: what has passed them is in range.

use std::fmt;

use crate::tree::{Attributes, Entry};

/// Bytes of the header of a request.
pub(super) const IN_HEADER: usize = 40;
/// Bytes of the header of an answer.
pub(super) const OUT_HEADER: usize = 16;

mod field {
    use std::ops::Range;

    pub(super) const LEN: Range<usize> = 0..4;
    pub(super) const OPCODE: Range<usize> = 4..8;
    pub(super) const UNIQUE: Range<usize> = 8..16;
    pub(super) const NODEID: Range<usize> = 16..24;
    pub(super) const UID: Range<usize> = 24..28;
    pub(super) const GID: Range<usize> = 28..32;

    pub(super) const READ_FH: Range<usize> = 0..8;
    pub(super) const READ_OFFSET: Range<usize> = 8..16;
    pub(super) const READ_SIZE: Range<usize> = 16..20;
    pub(super) const READ_FLAGS: Range<usize> = 20..24;
    pub(super) const READ_OPEN_FLAGS: Range<usize> = 32..36;
    pub(super) const READ_LEN: usize = 40;

    pub(super) const POLL_FH: Range<usize> = 0..8;
    pub(super) const POLL_KH: Range<usize> = 8..16;
    pub(super) const POLL_FLAGS: Range<usize> = 16..20;
    pub(super) const POLL_LEN: usize = 24;

    pub(super) const OPEN_FLAGS: Range<usize> = 0..4;
    pub(super) const OPEN_LEN: usize = 8;

    pub(super) const RELEASE_FH: Range<usize> = 0..8;
    pub(super) const RELEASE_LEN: usize = 24;

    pub(super) const INTERRUPT_UNIQUE: Range<usize> = 0..8;
    pub(super) const INTERRUPT_LEN: usize = 8;

    pub(super) const ACCESS_MASK: Range<usize> = 0..4;
    pub(super) const ACCESS_LEN: usize = 8;
}

/// `open_out.open_flags`: reads go straight here, past the page cache.
const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// `open_out.open_flags`: close(2) needs no FLUSH.
const FOPEN_NOFLUSH: u32 = 1 << 5;
/// `read_in.read_flags`: a read(2) by a process; page-cache fills never have it.
const FUSE_READ_LOCKOWNER: u32 = 1 << 1;
/// `poll_in.flags`: the kernel wants to be told when the file becomes ready.
const FUSE_POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;
/// Code of the notification that wakes pollers.
const FUSE_NOTIFY_POLL: i32 = 1;

/// The request type, `in_header.opcode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Lookup,
    Forget,
    Getattr,
    Readlink,
    Open,
    Read,
    Statfs,
    Release,
    Flush,
    Opendir,
    Readdir,
    Releasedir,
    Access,
    Interrupt,
    Destroy,
    Ioctl,
    Poll,
    BatchForget,
    Readdirplus,
    /// Anything else.
    Other(u32),
}

impl From<u32> for Opcode {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Lookup,
            2 => Self::Forget,
            3 => Self::Getattr,
            5 => Self::Readlink,
            14 => Self::Open,
            15 => Self::Read,
            17 => Self::Statfs,
            18 => Self::Release,
            25 => Self::Flush,
            27 => Self::Opendir,
            28 => Self::Readdir,
            29 => Self::Releasedir,
            34 => Self::Access,
            36 => Self::Interrupt,
            38 => Self::Destroy,
            39 => Self::Ioctl,
            40 => Self::Poll,
            42 => Self::BatchForget,
            44 => Self::Readdirplus,
            other => Self::Other(other),
        }
    }
}

/// Bytes that are no request: too short, or not as long as they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the kernel sent a request that is shorter than its kind, or not as long as it says",
        )
    }
}

/// One request whose header was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    bytes: &'a [u8],
}

fn u32_at(bytes: &[u8], at: std::ops::Range<usize>) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at]);
    u32::from_ne_bytes(number)
}

fn u64_at(bytes: &[u8], at: std::ops::Range<usize>) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at]);
    u64::from_ne_bytes(number)
}

impl<'a> Request<'a> {
    /// The door: `bytes` is what one read from the descriptor gave.
    pub(super) fn new_checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < IN_HEADER || u32_at(bytes, field::LEN) as usize != bytes.len() {
            return Err(Malformed);
        }
        Ok(Self { bytes })
    }

    pub(super) fn opcode(&self) -> Opcode {
        u32_at(self.bytes, field::OPCODE).into()
    }

    /// The number that the answer must carry.
    pub(super) fn unique(&self) -> u64 {
        u64_at(self.bytes, field::UNIQUE)
    }

    /// The inode.
    pub(super) fn inode(&self) -> u64 {
        u64_at(self.bytes, field::NODEID)
    }

    /// User id and group id of the process that asks.
    pub(super) fn who(&self) -> (u32, u32) {
        (
            u32_at(self.bytes, field::UID),
            u32_at(self.bytes, field::GID),
        )
    }

    /// The body, at least `len` bytes of it.
    fn body(&self, len: usize) -> Result<&'a [u8], Malformed> {
        let body = &self.bytes[IN_HEADER..];
        if body.len() < len {
            Err(Malformed)
        } else {
            Ok(body)
        }
    }

    /// LOOKUP: the name, without its closing zero.
    pub(super) fn name(&self) -> Result<&'a [u8], Malformed> {
        match self.body(1)? {
            [name @ .., 0] if !name.contains(&0) => Ok(name),
            _ => Err(Malformed),
        }
    }

    /// READ, READDIR, READDIRPLUS.
    pub(super) fn read(&self) -> Result<Read, Malformed> {
        let body = self.body(field::READ_LEN)?;
        Ok(Read {
            handle: u64_at(body, field::READ_FH),
            offset: u64_at(body, field::READ_OFFSET),
            size: u32_at(body, field::READ_SIZE) as usize,
            by_process: u32_at(body, field::READ_FLAGS) & FUSE_READ_LOCKOWNER != 0,
            open_flags: u32_at(body, field::READ_OPEN_FLAGS) as i32,
        })
    }

    /// POLL.
    pub(super) fn poll(&self) -> Result<Poll, Malformed> {
        let body = self.body(field::POLL_LEN)?;
        Ok(Poll {
            handle: u64_at(body, field::POLL_FH),
            kernel_handle: u64_at(body, field::POLL_KH),
            notify: u32_at(body, field::POLL_FLAGS) & FUSE_POLL_SCHEDULE_NOTIFY != 0,
        })
    }

    /// OPEN, OPENDIR: the flags of open(2).
    pub(super) fn open_flags(&self) -> Result<i32, Malformed> {
        Ok(u32_at(self.body(field::OPEN_LEN)?, field::OPEN_FLAGS) as i32)
    }

    /// RELEASE: the handle.
    pub(super) fn released(&self) -> Result<u64, Malformed> {
        Ok(u64_at(self.body(field::RELEASE_LEN)?, field::RELEASE_FH))
    }

    /// INTERRUPT: the number of the request that is to end.
    pub(super) fn interrupted(&self) -> Result<u64, Malformed> {
        Ok(u64_at(
            self.body(field::INTERRUPT_LEN)?,
            field::INTERRUPT_UNIQUE,
        ))
    }

    /// ACCESS: the mask of access(2).
    pub(super) fn access_mask(&self) -> Result<u32, Malformed> {
        Ok(u32_at(self.body(field::ACCESS_LEN)?, field::ACCESS_MASK))
    }
}

/// The body of READ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) handle: u64,
    pub(super) offset: u64,
    /// Bytes wanted.
    pub(super) size: usize,
    /// A process reads; otherwise the page cache would be filled, and bytes be seen twice.
    pub(super) by_process: bool,
    /// The flags of the open file now: O_NONBLOCK may have changed since open(2).
    pub(super) open_flags: i32,
}

/// The body of POLL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Poll {
    pub(super) handle: u64,
    /// The kernel's name for the open file in [`poll_notification`].
    pub(super) kernel_handle: u64,
    /// The kernel wants that notification.
    pub(super) notify: bool,
}

/// A body being written: fixed-size fields, one after the other, zero where nothing was put.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Body<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            at: 0,
        }
    }

    fn put(mut self, field: &[u8]) -> Self {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_ne_bytes())
    }

    /// The bytes; all fields must have been put.
    fn done(self) -> [u8; N] {
        debug_assert_eq!(self.at, N, "a field is missing");
        self.bytes
    }
}

/// `fuse_out_header` for a body of `len` bytes; `errno` 0 is success.
pub(super) fn out_header(unique: u64, errno: i32, len: usize) -> [u8; OUT_HEADER] {
    // Never longer than a request's 1 MiB and this header.
    Body::new()
        .u32((OUT_HEADER + len) as u32)
        .u32(-errno as u32)
        .u64(unique)
        .done()
}

/// A whole FUSE_NOTIFY_POLL message.
pub(super) fn poll_notification(kernel_handle: u64) -> [u8; 24] {
    Body::new()
        .u32(24)
        .u32(FUSE_NOTIFY_POLL as u32)
        .u64(0)
        .u64(kernel_handle)
        .done()
}

/// How long the kernel may believe an entry, in seconds: as good as for ever, the tree never changes.
const LONG: u64 = 1 << 30;

/// `fuse_attr`.
fn attr<const N: usize>(to: Body<N>, entry: &Entry, attributes: &Attributes) -> Body<N> {
    let mode = file_type(entry) << 12 | entry.permissions();
    let times = attributes.born;
    to.u64(entry.inode)
        .u64(attributes.size)
        .u64(attributes.blocks)
        .u64(times)
        .u64(times)
        .u64(times)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(mode)
        .u32(entry.links())
        .u32(attributes.owner.0)
        .u32(attributes.owner.1)
        .u32(0)
        .u32(4096)
        .u32(0)
}

/// The type of a file as in a directory entry; shifted by 12 as in a mode.
fn file_type(entry: &Entry) -> u32 {
    if entry.is_directory() { 4 } else { 8 }
}

fn lifetime(entry: &Entry) -> u64 {
    if entry.is_constant() { LONG } else { 0 }
}

/// `fuse_attr_out`.
pub(super) fn attr_out(entry: &Entry, attributes: &Attributes) -> [u8; 104] {
    attr(
        Body::new().u64(lifetime(entry)).u32(0).u32(0),
        entry,
        attributes,
    )
    .done()
}

/// `fuse_entry_out`.
pub(super) fn entry_out(entry: &Entry, attributes: &Attributes) -> [u8; 128] {
    let head = Body::new()
        .u64(entry.inode)
        .u64(0)
        .u64(LONG)
        .u64(lifetime(entry))
        .u32(0)
        .u32(0);
    attr(head, entry, attributes).done()
}

/// `fuse_open_out` for a file.
pub(super) fn open_out(handle: u64) -> [u8; 16] {
    Body::new()
        .u64(handle)
        .u32(FOPEN_DIRECT_IO | FOPEN_NOFLUSH)
        .u32(0)
        .done()
}

/// `fuse_open_out` for a directory.
pub(super) fn opendir_out() -> [u8; 16] {
    [0; 16]
}

/// `fuse_poll_out`.
pub(super) fn poll_out(events: u32) -> [u8; 8] {
    Body::new().u32(events).u32(0).done()
}

/// `fuse_statfs_out`: nothing stored, `files` names.
pub(super) fn statfs_out(files: u64) -> [u8; 80] {
    let counts = Body::new().u64(0).u64(0).u64(0).u64(files).u64(0);
    counts.u32(4096).u32(255).u32(4096).put(&[0; 28]).done()
}

/// Appends a `fuse_dirent`, or a `fuse_direntplus` if `plus` is given, unless that would make `to` longer than `limit`.
/// `next` is the offset at which a later READDIR goes on.
pub(super) fn push_dirent(
    to: &mut Vec<u8>,
    limit: usize,
    inode: u64,
    next: u64,
    directory: bool,
    name: &str,
    plus: Option<[u8; 128]>,
) -> bool {
    let plus = plus.as_ref().map_or(&[][..], |plus| &plus[..]);
    let padded = name.len().next_multiple_of(8);
    if to.len() + plus.len() + 24 + padded > limit {
        return false;
    }
    let kind = if directory { 4 } else { 8 };
    let head: [u8; 24] = Body::new()
        .u64(inode)
        .u64(next)
        .u32(name.len() as u32)
        .u32(kind)
        .done();
    to.extend_from_slice(plus);
    to.extend_from_slice(&head);
    to.extend_from_slice(name.as_bytes());
    to.resize(to.len() + padded - name.len(), 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NODES;

    /// A READ request: 64 bytes from inode 3, O_NONBLOCK, by a process.
    fn read_request() -> Vec<u8> {
        let header: [u8; 40] = Body::new()
            .u32(80)
            .u32(15)
            .u64(2)
            .u64(3)
            .u32(1000)
            .u32(1001)
            .u32(99)
            .u32(0)
            .done();
        let body: [u8; 40] = Body::new()
            .u64(7)
            .u64(9)
            .u32(64)
            .u32(2)
            .u64(5)
            .u32(0o4000)
            .u32(0)
            .done();
        [header, body].concat()
    }

    #[test]
    fn a_read_request_is_parsed() {
        let bytes = read_request();
        let request = Request::new_checked(&bytes).unwrap();
        assert_eq!(
            (request.opcode(), request.unique(), request.inode()),
            (Opcode::Read, 2, 3)
        );
        assert_eq!(request.who(), (1000, 1001));
        let read = request.read().unwrap();
        assert_eq!(
            (
                read.handle,
                read.offset,
                read.size,
                read.by_process,
                read.open_flags
            ),
            (7, 9, 64, true, 0o4000)
        );
    }

    #[test]
    fn no_length_passes_but_the_right_one() {
        let bytes = read_request();
        for len in 0..bytes.len() {
            assert!(Request::new_checked(&bytes[..len]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Request::new_checked(&longer).is_err());
    }

    #[test]
    fn short_bodies_are_malformed_for_every_kind() {
        for len in 0..field::READ_LEN {
            let mut bytes = read_request();
            bytes.truncate(IN_HEADER + len);
            bytes[..4].copy_from_slice(&((IN_HEADER + len) as u32).to_ne_bytes());
            let request = Request::new_checked(&bytes).unwrap();
            assert!(request.read().is_err());
            assert_eq!(request.poll().is_ok(), len >= field::POLL_LEN);
            assert_eq!(request.open_flags().is_ok(), len >= field::OPEN_LEN);
            assert_eq!(request.released().is_ok(), len >= field::RELEASE_LEN);
            assert_eq!(request.interrupted().is_ok(), len >= field::INTERRUPT_LEN);
            assert_eq!(request.access_mask().is_ok(), len >= field::ACCESS_LEN);
        }
    }

    #[test]
    fn names_end_with_their_only_zero() {
        let named = |name: &[u8]| {
            let header: [u8; 40] = Body::new()
                .u32(40 + name.len() as u32)
                .u32(1)
                .put(&[0; 32])
                .done();
            let bytes = [&header[..], name].concat();
            Request::new_checked(&bytes)
                .unwrap()
                .name()
                .map(<[u8]>::to_vec)
        };
        assert_eq!(named(b"raw\0"), Ok(b"raw".to_vec()));
        assert_eq!(named(b"\0"), Ok(Vec::new()));
        for bad in [&b""[..], b"raw", b"ra\0w\0"] {
            assert_eq!(named(bad), Err(Malformed));
        }
    }

    #[test]
    fn answers_have_the_kernels_layout() {
        assert_eq!(
            out_header(0x0102, 11, 0),
            [16, 0, 0, 0, 0xf5, 0xff, 0xff, 0xff, 2, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            poll_notification(5)[..16],
            [24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            open_out(6),
            [6, 0, 0, 0, 0, 0, 0, 0, 0b10_0001, 0, 0, 0, 0, 0, 0, 0]
        );
        let attributes = Attributes {
            size: 65,
            blocks: 1,
            owner: (10, 11),
            born: 12,
        };
        let out = entry_out(&NODES[3], &attributes);
        assert_eq!(
            (
                u64_at(&out, 0..8),
                u64_at(&out, 40..48),
                u64_at(&out, 48..56)
            ),
            (4, 4, 65)
        );
        assert_eq!(u32_at(&out, 100..104), 0o100_444, "mode");
        assert_eq!(
            (u32_at(&out, 108..112), u32_at(&out, 112..116)),
            (10, 11),
            "owner"
        );
        let out = attr_out(&NODES[6], &attributes);
        assert_eq!(
            (u64_at(&out, 0..8), u32_at(&out, 76..80)),
            (0, 0o100_440),
            "status is asked for each time"
        );
    }

    #[test]
    fn directory_entries_are_padded_and_stop_at_the_limit() {
        let mut out = Vec::new();
        assert!(push_dirent(&mut out, 64, 9, 1, false, "base64", None));
        assert_eq!(
            (out.len(), &out[16..20], &out[24..32]),
            (32, &6u32.to_ne_bytes()[..], &b"base64\0\0"[..])
        );
        assert!(push_dirent(&mut out, 64, 9, 2, true, "stream", None));
        assert!(!push_dirent(&mut out, 64, 9, 3, false, "x", None));
        assert_eq!(out.len(), 64);
    }
}
