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

mod answer;

use std::fmt;

pub(super) use self::answer::*;

/// Bytes of the header of a request.
pub(super) const IN_HEADER: usize = 40;

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

    pub(super) const IOCTL_COMMAND: Range<usize> = 12..16;
    pub(super) const IOCTL_LEN: usize = 32;

    pub(super) const CUSE_INIT_MAJOR: Range<usize> = 0..4;
    pub(super) const CUSE_INIT_MINOR: Range<usize> = 4..8;
    pub(super) const CUSE_INIT_LEN: usize = 16;
}

/// The major number of the protocol.
pub(super) const CUSE_MAJOR: u32 = 7;
/// `read_in.read_flags`: a read(2) by a process; page-cache fills never have it.
const FUSE_READ_LOCKOWNER: u32 = 1 << 1;
/// `poll_in.flags`: the kernel wants to be told when the file becomes ready.
const FUSE_POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

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
    CuseInit,
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
            4096 => Self::CuseInit,
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

    /// IOCTL: the command of ioctl(2), which says how long its argument is and which way it goes.
    pub(super) fn ioctl_command(&self) -> Result<u32, Malformed> {
        Ok(u32_at(self.body(field::IOCTL_LEN)?, field::IOCTL_COMMAND))
    }

    /// CUSE_INIT: the kernel's protocol, major and minor.
    pub(super) fn cuse_init(&self) -> Result<(u32, u32), Malformed> {
        let body = self.body(field::CUSE_INIT_LEN)?;
        Ok((
            u32_at(body, field::CUSE_INIT_MAJOR),
            u32_at(body, field::CUSE_INIT_MINOR),
        ))
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

#[cfg(test)]
mod tests;
