//! The files: names, inodes, records, streams. Knows no kernel structs.
//!
//! ```text
//! /               1
//! ├── raw         3   endless bytes
//! ├── hex         4   one record per open: 64 digits and a newline
//! ├── base64      5   one record per open: 44 characters and a newline
//! ├── uuid        6   one record per open: a version 4 UUID and a newline
//! ├── status      7   one JSON document per open, for the owner and the group only
//! └── stream/     2   the endless forms, one record a line
//!     ├── hex     8
//!     ├── base64  9
//!     └── uuid    10
//! ```
//!
//! A read takes bytes from the [`Buffer`], makes what the file shows of them, and gives it to a `deliver` function, which
//! says whether the reader got it. What was not delivered is destroyed.

mod nodes;
mod open;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

pub use self::nodes::{Attributes, Entry, NODES, Node, ROOT, STREAM_SIZE};
use self::open::{Open, Opens};
use crate::buffer::{Buffer, MAX_PIECES, Memory, Space};

/// Makes the status document, one JSON object, without a newline at its end.
pub type StatusSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Why a file could not be used.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// There is no such file or inode.
    #[error("no such file")]
    NotFound,
    /// A directory was used as a file.
    #[error("is a directory")]
    IsDirectory,
    /// The handle was never given out, or was released.
    #[error("no such handle")]
    BadHandle,
    /// As many files with a state of their own are open as there may be.
    #[error("too many open files")]
    TooManyOpen,
    /// There is no memory for the text of a stream.
    #[error("no memory")]
    NoMemory,
    /// The supply has failed: a source is latched, or nothing was verified for longer than the stall limit.
    #[error("the supply of random bytes has failed")]
    Stalled,
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// `deliver` was called.
    Answered,
    /// There are not enough bytes now: nothing was taken and `deliver` was not called.
    Empty,
}

/// What a thread needs to serve reads, made once: a claim's memory, and room for the text of streams once one is read.
#[derive(Debug)]
pub struct Desk {
    space: Space,
    text: Option<Memory>,
}

impl Desk {
    /// Maps the memory for claims.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            space: Space::new()?,
            text: None,
        })
    }
}

/// The files and the buffer behind them.
pub struct Tree {
    buffer: Arc<Buffer>,
    status: StatusSource,
    opens: Opens,
    stalled: AtomicBool,
    owner: (u32, u32),
    born: u64,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// Files over `buffer`, owned by `owner` (user id, group id), with `born` (seconds since the Unix epoch) as their time.
    pub fn new(buffer: Arc<Buffer>, status: StatusSource, owner: (u32, u32), born: u64) -> Self {
        Self {
            buffer,
            status,
            opens: Opens::default(),
            stalled: AtomicBool::new(false),
            owner,
            born,
        }
    }

    /// The buffer that all files share.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// From now on reads that find no bytes fail with [`TreeError::Stalled`], or wait again. Waiting readers are told.
    pub fn set_stalled(&self, stalled: bool) {
        if self.stalled.swap(stalled, Ordering::SeqCst) != stalled {
            self.buffer.alert();
        }
    }

    /// Whether reads that find no bytes fail.
    pub fn stalled(&self) -> bool {
        self.stalled.load(Ordering::SeqCst)
    }

    /// The entry `name` in the directory `parent`.
    ///
    /// # Errors
    /// [`TreeError::NotFound`].
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<&'static Entry, TreeError> {
        NODES
            .iter()
            .find(|e| e.parent == parent && e.inode != ROOT && e.name.as_bytes() == name)
            .ok_or(TreeError::NotFound)
    }

    /// The entry with the number `inode`.
    ///
    /// # Errors
    /// [`TreeError::NotFound`].
    pub fn entry(&self, inode: u64) -> Result<&'static Entry, TreeError> {
        nodes::by_inode(inode).ok_or(TreeError::NotFound)
    }

    /// What stat(2) shows of `entry`.
    pub fn attributes(&self, entry: &Entry) -> Attributes {
        let (size, blocks) = match entry.node {
            Node::Root | Node::StreamDirectory => (0, 0),
            // No blocks: cp(1) takes the file for sparse, asks for data up to the size, and ends.
            Node::Raw | Node::Stream(_) => (STREAM_SIZE, 0),
            Node::Record(record) => (record.line_len() as u64, 1),
            Node::Status => {
                let length = self.document().len() as u64;
                (length, length.div_ceil(512))
            }
        };
        Attributes {
            size,
            blocks,
            owner: self.owner,
            born: self.born,
        }
    }

    /// Opens the file `inode` and returns the handle for its reads; 0 for a file without a state of its own.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::IsDirectory`], [`TreeError::TooManyOpen`].
    pub fn open(&self, inode: u64) -> Result<u64, TreeError> {
        match self.entry(inode)?.node {
            Node::Root | Node::StreamDirectory => Err(TreeError::IsDirectory),
            Node::Raw => Ok(0),
            Node::Record(record) => self.opens.add(Open::record(record)),
            Node::Stream(record) => self.opens.add(Open::stream(record)),
            Node::Status => self.opens.add(Open::document(self.document())),
        }
    }

    /// Forgets a handle; its text is wiped.
    pub fn release(&self, handle: u64) {
        self.opens.remove(handle);
    }

    /// Bytes that the buffer must hold for the next read to be answered; 0 if it needs none.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::IsDirectory`], [`TreeError::BadHandle`].
    pub fn need(&self, inode: u64, handle: u64) -> Result<usize, TreeError> {
        match self.entry(inode)?.node {
            Node::Root | Node::StreamDirectory => Err(TreeError::IsDirectory),
            Node::Raw => Ok(1),
            Node::Record(_) | Node::Stream(_) | Node::Status => {
                self.opens.with(handle, |open| open.need())
            }
        }
    }

    /// Whether a read would be answered at once, be it with an error.
    ///
    /// # Errors
    /// As [`Tree::need`].
    pub fn ready(&self, inode: u64, handle: u64) -> Result<bool, TreeError> {
        let need = self.need(inode, handle)?;
        Ok(need == 0 || self.stalled() || self.buffer.fill() >= need)
    }

    /// Reads up to `want` bytes. `deliver` gets the pieces and their length and says whether the reader got them.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::IsDirectory`], [`TreeError::BadHandle`], [`TreeError::NoMemory`],
    /// [`TreeError::Stalled`].
    pub fn read(
        &self,
        inode: u64,
        handle: u64,
        offset: u64,
        want: usize,
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        let reading = match self.entry(inode)?.node {
            Node::Raw => self.read_raw(want, desk, deliver),
            Node::Root | Node::StreamDirectory => return Err(TreeError::IsDirectory),
            Node::Record(_) | Node::Stream(_) | Node::Status => {
                self.opens.with(handle, |open| {
                    open.read(&self.buffer, offset, want, desk, deliver)
                })??
            }
        };
        if reading == Reading::Empty && self.stalled() {
            return Err(TreeError::Stalled);
        }
        Ok(reading)
    }

    fn read_raw(
        &self,
        want: usize,
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Reading {
        let Some(claim) = self.buffer.claim(want, &mut desk.space) else {
            return Reading::Empty;
        };
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let count = claim.gather(&mut pieces);
        if deliver(&pieces[..count], claim.len()) {
            claim.delivered();
        }
        Reading::Answered
    }

    fn document(&self) -> String {
        let mut document = (self.status)();
        document.push('\n');
        document
    }
}

#[cfg(test)]
mod tests;
