//! The files: names, inodes, records, streams. Knows no kernel structs.
//!
//! ```text
//! /               1
//! ├── raw         3   endless bytes, verified
//! ├── random      11  endless bytes: verified ones XOR those of a local generator
//! ├── urandom     12  endless bytes of a generator that verified bytes seed
//! ├── hex         4   one record per open: 64 digits and a newline
//! ├── base64      5   one record per open: 44 characters and a newline
//! ├── uuid        6   one record per open: a version 4 UUID and a newline
//! ├── status      7   one JSON document per open, for the owner and the group only
//! ├── README      13  what each file promises
//! └── stream/     2   the endless forms, one record a line
//!     ├── hex     8
//!     ├── base64  9
//!     └── uuid    10
//! ```
//!
//! A read takes bytes from the [`Buffer`] (but for `urandom`, which takes seeds), makes what the file shows of them, and gives it to a `deliver` function, which
//! says whether the reader got it. What was not delivered is destroyed.

mod generators;
mod nodes;
mod open;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qrng::drbg::{MATERIAL_LEN, MAX_REQUEST};
use thiserror::Error;

use self::generators::{Generators, Root};
pub use self::nodes::{Attributes, Entry, NODES, Node, ROOT, STREAM_SIZE};
use self::open::{Open, Opens};
use crate::buffer::{Buffer, Claim, MAX_CLAIM, MAX_PIECES, Memory, Space};
use crate::shares::Known;

/// Makes the status document, one JSON object, without a newline at its end.
pub type StatusSource = Arc<dyn Fn() -> String + Send + Sync>;

/// What the file `README` says.
pub const README: &str = include_str!("tree/readme.txt");

/// The handle of a `urandom` opened with O_SYNC: each answer has a seed of its own. Its other opens have 0.
const FRESH: u64 = 1;

/// The security strength of the generators in bits: AES-256 (SP 800-90A, table 3).
const GENERATOR_BITS: i32 = 256;

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
    /// The supply has failed: all sources are latched, or nothing was verified for longer than the stall limit.
    #[error("the supply of random bytes has failed")]
    Stalled,
    /// A health test has failed for good: no file gives random bytes until an operator clears the alarm.
    #[error("a health test has failed for good")]
    Latched,
    /// The part of a record or document that was read before belongs to a run of the gateway that has ended.
    #[error("what was read of it before is no longer known")]
    LeftOver,
    /// A generator could not be seeded by the kernel, or refused an answer.
    #[error("a generator has failed")]
    NoGenerator,
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// `deliver` was called.
    Answered {
        /// Bytes that left the buffer for it, whatever became of them.
        taken: usize,
    },
    /// There are not enough bytes now: nothing was taken and `deliver` was not called.
    Empty,
}

/// What a thread needs to serve reads, made once: a claim's memory, generators of its own, and room for answers that are
/// not a claim as it is, once there is one.
#[derive(Debug)]
pub struct Desk {
    space: Space,
    text: Option<Memory>,
    generators: Generators,
    /// The users whom the thread has met last.
    pub(crate) known: Known,
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
            generators: Generators::new(),
            known: Known::default(),
        })
    }
}

/// The files and the buffer behind them.
pub struct Tree {
    buffer: Arc<Buffer>,
    status: StatusSource,
    opens: Opens,
    root: Root,
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
    /// Files over `buffer`, owned by `owner` (user id, group id), with `now_us` (microseconds since the Unix epoch) as their time.
    /// No two trees that serve one mount, one after the other, may have the same.
    pub fn new(buffer: Arc<Buffer>, status: StatusSource, owner: (u32, u32), now_us: u64) -> Self {
        Self {
            buffer,
            status,
            opens: Opens::new(now_us),
            root: Root::new(),
            stalled: AtomicBool::new(false),
            owner,
            born: now_us / 1_000_000,
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

    /// Whether those who wait have an error to get, not bytes.
    pub fn failing(&self) -> bool {
        self.buffer.latched() || self.stalled()
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
            Node::Raw | Node::Random | Node::Urandom | Node::Stream(_) => (STREAM_SIZE, 0),
            Node::Record(record) => (record.line_len() as u64, 1),
            Node::Status => sized(self.document().len()),
            Node::Readme => sized(README.len()),
        };
        Attributes {
            size,
            blocks,
            owner: self.owner,
            born: self.born,
        }
    }

    /// Opens the file `inode` and returns the handle for its reads. `fresh` asks `urandom` for prediction resistance: a
    /// reseed with raw bytes before each answer.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::IsDirectory`], [`TreeError::TooManyOpen`].
    pub fn open(&self, inode: u64, fresh: bool) -> Result<u64, TreeError> {
        match self.entry(inode)?.node {
            Node::Root | Node::StreamDirectory => Err(TreeError::IsDirectory),
            Node::Urandom if fresh => Ok(FRESH),
            Node::Raw | Node::Random | Node::Urandom | Node::Readme => Ok(0),
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
            Node::Raw | Node::Random => Ok(1),
            Node::Urandom if handle != FRESH && self.root.is_seeded(&self.buffer) => Ok(0),
            Node::Urandom => Ok(MATERIAL_LEN),
            Node::Readme => Ok(0),
            Node::Record(record) | Node::Stream(record) if self.opens.is_left_over(handle) => {
                Ok(record.random_len())
            }
            Node::Status if self.opens.is_left_over(handle) => Ok(0),
            Node::Record(_) | Node::Stream(_) | Node::Status => {
                self.opens.with(handle, |open| open.need())
            }
        }
    }

    /// Begins the state of a file anew that was opened in an earlier run: at its beginning, or of a stream anywhere.
    fn take_over(&self, node: Node, handle: u64, offset: u64) -> Result<(), TreeError> {
        if !self.opens.is_left_over(handle) {
            return Ok(());
        }
        let open = match node {
            Node::Stream(record) => Open::stream_from(record, offset),
            Node::Record(record) if offset == 0 => Open::record(record),
            Node::Status if offset == 0 => Open::document(self.document()),
            _ => return Err(TreeError::LeftOver),
        };
        self.opens.adopt(handle, open)
    }

    /// Whether a read would be answered at once, be it with an error.
    ///
    /// # Errors
    /// As [`Tree::need`].
    pub fn ready(&self, inode: u64, handle: u64) -> Result<bool, TreeError> {
        let need = self.need(inode, handle)?;
        Ok(need == 0 || self.failing() || self.buffer.fill() >= need)
    }

    /// Whether poll(2) should show an error: a read would fail now.
    ///
    /// # Errors
    /// [`TreeError::NotFound`].
    pub fn fails(&self, inode: u64) -> Result<bool, TreeError> {
        let empty = || self.stalled() && self.buffer.fill() == 0;
        Ok(self.entry(inode)?.is_random() && (self.buffer.latched() || empty()))
    }

    /// How many random bits a read could give now without waiting, as the kernel's random devices count them (random(4),
    /// RNDGETENTCNT). A generator has at most as many as its seed, however many bytes come out of it.
    ///
    /// # Errors
    /// [`TreeError::NotFound`].
    pub fn bits(&self, inode: u64) -> Result<i32, TreeError> {
        let entry = self.entry(inode)?;
        if !entry.is_random() || self.buffer.latched() {
            return Ok(0);
        }
        if entry.node == Node::Urandom {
            let seeded = self.root.is_seeded(&self.buffer);
            return Ok(if seeded { GENERATOR_BITS } else { 0 });
        }
        Ok(i32::try_from(self.buffer.fill().saturating_mul(8)).unwrap_or(i32::MAX))
    }

    /// Reads up to `want` bytes, for which it takes up to `most` from the buffer, or nothing if the least that it needs
    /// is more. `deliver` gets the pieces and their length and says whether the reader got them.
    ///
    /// # Errors
    /// All but [`TreeError::TooManyOpen`].
    pub fn read(
        &self,
        inode: u64,
        handle: u64,
        offset: u64,
        (want, most): (usize, usize),
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        let entry = self.entry(inode)?;
        if entry.is_random() && self.buffer.latched() {
            return Err(TreeError::Latched);
        }
        let reading = match entry.node {
            Node::Raw => self.read_raw(want.min(most), desk, deliver),
            Node::Random => self.read_random(want.min(most), desk, deliver)?,
            Node::Urandom if handle == FRESH && most < MATERIAL_LEN => Reading::Empty,
            Node::Urandom => self.read_urandom(handle == FRESH, want, desk, deliver)?,
            Node::Readme => {
                let piece = open::part(README.as_bytes(), offset, want);
                deliver(&[IoSlice::new(piece)], piece.len());
                Reading::Answered { taken: 0 }
            }
            Node::Root | Node::StreamDirectory => return Err(TreeError::IsDirectory),
            Node::Record(_) | Node::Stream(_) | Node::Status => {
                self.take_over(entry.node, handle, offset)?;
                self.opens.with(handle, |open| {
                    open.read(&self.buffer, offset, (want, most), desk, deliver)
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
        deliver_claim(claim, deliver)
    }

    fn read_random(
        &self,
        want: usize,
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        // Seeded first, so that a kernel that refuses costs no bytes.
        desk.generators.prepare_local(&self.root, want)?;
        let scratch = &mut open::room_for_text(&mut desk.text)?[..MAX_REQUEST];
        let Some(mut claim) = self.buffer.claim(want, &mut desk.space) else {
            return Ok(Reading::Empty);
        };
        desk.generators
            .mix(&mut claim, scratch)
            .map_err(|_| TreeError::NoGenerator)?;
        Ok(deliver_claim(claim, deliver))
    }

    fn read_urandom(
        &self,
        fresh: bool,
        want: usize,
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        // One seed is good for one request to the generator, and no more of it is answered.
        let want = want.min(if fresh { MAX_REQUEST } else { MAX_CLAIM });
        let (generators, space) = (&mut desk.generators, &mut desk.space);
        let ready = if fresh {
            generators.refresh(&self.root, &self.buffer, space)
        } else {
            generators.prepare(want, &self.root, &self.buffer, space)
        };
        if !ready {
            return Ok(Reading::Empty);
        }
        let answer = &mut open::room_for_text(&mut desk.text)?[..want];
        let filled = generators.fill(answer);
        if filled.is_ok() && deliver(&[IoSlice::new(answer)], want) {
            self.buffer.add_generated(want as u64);
        }
        // An answer must not be found in memory later.
        qrng::wipe(answer);
        filled.map_err(|_| TreeError::NoGenerator)?;
        // Seeds that all share are nobody's.
        Ok(Reading::Answered {
            taken: if fresh { MATERIAL_LEN } else { 0 },
        })
    }

    /// The status document, one JSON object and a newline.
    pub(crate) fn document(&self) -> String {
        let mut document = (self.status)();
        document.push('\n');
        document
    }
}

/// Hands a claim over as it is, straight from the buffer's memory.
fn deliver_claim(claim: Claim<'_>, deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool) -> Reading {
    let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
    let count = claim.gather(&mut pieces);
    let taken = claim.len();
    if deliver(&pieces[..count], taken) {
        claim.delivered();
    }
    Reading::Answered { taken }
}

/// Size and blocks of a text.
fn sized(length: usize) -> (u64, u64) {
    (length as u64, (length as u64).div_ceil(512))
}

#[cfg(test)]
mod tests;
