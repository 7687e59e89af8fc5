//! Answers: bodies built field by field.

use crate::tree::{Attributes, Entry};

/// Bytes of the header of an answer.
pub(in crate::kernel) const OUT_HEADER: usize = 16;
/// Code of the notification that wakes pollers.
const FUSE_NOTIFY_POLL: i32 = 1;
/// Code of the notification that asks for all unanswered requests again (protocol 7.40).
const FUSE_NOTIFY_RESEND: i32 = 7;
/// `open_out.open_flags`: close(2) needs no FLUSH.
const FOPEN_NOFLUSH: u32 = 1 << 5;
/// `open_out.open_flags`: reads go straight here, past the page cache.
const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// A body being written: fixed-size fields, one after the other, zero where nothing was put.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Body<N> {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; N],
            at: 0,
        }
    }

    pub(super) fn put(mut self, field: &[u8]) -> Self {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.put(&value.to_ne_bytes())
    }

    /// The bytes; all fields must have been put.
    pub(super) fn done(self) -> [u8; N] {
        debug_assert_eq!(self.at, N, "a field is missing");
        self.bytes
    }
}

/// `fuse_out_header` for a body of `len` bytes; `errno` 0 is success.
pub(in crate::kernel) fn out_header(unique: u64, errno: i32, len: usize) -> [u8; OUT_HEADER] {
    // Never longer than a request's 1 MiB and this header.
    Body::new()
        .u32((OUT_HEADER + len) as u32)
        .u32(-errno as u32)
        .u64(unique)
        .done()
}

/// A whole FUSE_NOTIFY_POLL message.
pub(in crate::kernel) fn poll_notification(kernel_handle: u64) -> [u8; 24] {
    Body::new()
        .u32(24)
        .u32(FUSE_NOTIFY_POLL as u32)
        .u64(0)
        .u64(kernel_handle)
        .done()
}

/// A whole FUSE_NOTIFY_RESEND message.
pub(in crate::kernel) fn resend_notification() -> [u8; OUT_HEADER] {
    // The code stands where an answer has its error, and is not negated.
    out_header(0, -FUSE_NOTIFY_RESEND, 0)
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
pub(in crate::kernel) fn attr_out(entry: &Entry, attributes: &Attributes) -> [u8; 104] {
    attr(
        Body::new().u64(lifetime(entry)).u32(0).u32(0),
        entry,
        attributes,
    )
    .done()
}

/// `fuse_entry_out`.
pub(in crate::kernel) fn entry_out(entry: &Entry, attributes: &Attributes) -> [u8; 128] {
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
pub(in crate::kernel) fn open_out(handle: u64) -> [u8; 16] {
    Body::new()
        .u64(handle)
        .u32(FOPEN_DIRECT_IO | FOPEN_NOFLUSH)
        .u32(0)
        .done()
}

/// `fuse_open_out` for a directory.
pub(in crate::kernel) fn opendir_out() -> [u8; 16] {
    [0; 16]
}

/// `fuse_poll_out`.
pub(in crate::kernel) fn poll_out(events: u32) -> [u8; 8] {
    Body::new().u32(events).u32(0).done()
}

/// `fuse_ioctl_out` of success, and the number that the caller gets.
pub(in crate::kernel) fn ioctl_out(number: i32) -> [u8; 20] {
    Body::new().put(&[0; 16]).put(&number.to_ne_bytes()).done()
}

/// `cuse_init_out` in protocol 7.`minor`, and what the device is called. Nothing is ever written to it, so only the size of
/// reads matters; ioctls are restricted: their commands say how long their arguments are. The kernel chooses the number.
pub(in crate::kernel) fn cuse_init_out(minor: u32, max_read: u32, name: &str) -> Vec<u8> {
    let head = Body::new().u32(super::CUSE_MAJOR).u32(minor).u32(0).u32(0);
    let out: [u8; 72] = head
        .u32(max_read)
        .u32(4096)
        .u32(0)
        .u32(0)
        .put(&[0; 40])
        .done();
    [&out[..], b"DEVNAME=", name.as_bytes(), b"\0"].concat()
}

/// `fuse_statfs_out`: nothing stored, `files` names.
pub(in crate::kernel) fn statfs_out(files: u64) -> [u8; 80] {
    let counts = Body::new().u64(0).u64(0).u64(0).u64(files).u64(0);
    counts.u32(4096).u32(255).u32(4096).put(&[0; 28]).done()
}

/// Appends a `fuse_dirent`, or a `fuse_direntplus` if `plus` is given, unless that would make `to` longer than `limit`.
/// `next` is the offset at which a later READDIR goes on.
pub(in crate::kernel) fn push_dirent(
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
