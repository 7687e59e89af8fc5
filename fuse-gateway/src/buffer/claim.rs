//! A claim: bytes that have left the buffer and belong to one reader alone.
//!
//! Whole slabs change hands without a copy; only a piece of a slab is copied. Whatever becomes of a claim, its memory is
//! wiped before the buffer uses it again.

use std::io::{self, IoSlice};

use qrng::record::Record;
use qrng::wipe;

use super::slab::{Memory, SLAB, Slab};
use super::{Buffer, State};

/// The most that one claim takes, in bytes: the largest read that the kernel asks for.
pub const MAX_CLAIM: usize = 1 << 20;

/// The most slabs a claim owns: [`MAX_CLAIM`] in whole slabs, and one that was begun.
const MAX_SLABS: usize = MAX_CLAIM / SLAB + 1;

/// The most pieces that [`Claim::gather`] gives: the slabs and the copied end.
pub const MAX_PIECES: usize = MAX_SLABS + 1;

/// What a thread needs to hold a claim, made once and used again, so that a claim allocates nothing.
#[derive(Debug)]
pub struct Space {
    pub(super) slabs: Vec<Slab>,
    scratch: Memory,
    copied: usize,
}

impl Space {
    /// Maps the memory for the copied piece of a claim.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            slabs: Vec::with_capacity(MAX_SLABS),
            scratch: Memory::new(SLAB)?,
            copied: 0,
        })
    }

    /// Moves up to `want` bytes from the front of `state` here. There is room for the claim by construction.
    pub(super) fn fill(&mut self, state: &mut State, want: usize) -> usize {
        let mut left = want.min(MAX_CLAIM).min(state.fill());
        let taken = left;
        while left > 0 {
            let Some(front) = state.filled.front_mut() else {
                break;
            };
            if front.len() > left {
                front.take(&mut self.scratch.bytes_mut()[..left]);
                self.copied = left;
                break;
            }
            left -= front.len();
            self.slabs.extend(state.filled.pop_front());
        }
        taken
    }
}

/// What has become of a claim's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Served,
    Seeding,
    Destroyed,
    /// Not known yet: they are no longer in the buffer's memory.
    InFlight,
}

/// Bytes of a claim that lie in memory of the reader's side, who wipes it. Dropping it without [`Taken::delivered`] counts
/// them as destroyed.
#[derive(Debug)]
pub struct Taken<'a> {
    buffer: &'a Buffer,
    len: usize,
    fate: Fate,
}

impl<'a> Taken<'a> {
    /// `len` bytes in flight of `buffer`.
    pub(super) fn new(buffer: &'a Buffer, len: usize) -> Self {
        Self {
            buffer,
            len,
            fate: Fate::Destroyed,
        }
    }

    /// How many bytes; never none.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The reader has the bytes: they count as served.
    pub fn delivered(mut self) {
        self.fate = Fate::Served;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.buffer.settle(&mut Vec::new(), self.len, self.fate);
    }
}

/// Bytes handed to one reader. Dropping it without [`Claim::delivered`] destroys them.
#[derive(Debug)]
pub struct Claim<'a> {
    buffer: &'a Buffer,
    space: &'a mut Space,
    len: usize,
    fate: Fate,
}

impl<'a> Claim<'a> {
    pub(super) fn new(buffer: &'a Buffer, space: &'a mut Space, len: usize) -> Self {
        Self {
            buffer,
            space,
            len,
            fate: Fate::Destroyed,
        }
    }

    /// Bytes in the claim; never none.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes in order, as pieces for writev(2). Returns how many of `pieces` were set.
    pub fn gather<'s>(&'s self, pieces: &mut [IoSlice<'s>; MAX_PIECES]) -> usize {
        let mut count = 0;
        for (piece, bytes) in pieces.iter_mut().zip(self.pieces()) {
            *piece = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// Copies the bytes in order to the front of `out`, which must be at least as long as the claim.
    pub fn copy_to(&self, out: &mut [u8]) {
        let mut at = 0;
        for bytes in self.pieces() {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
    }

    /// Writes the bytes as records, a line each, to the front of `text`, and returns the length in bytes.
    ///
    /// The claim must hold whole records' worth of bytes, and `text` room for their lines.
    pub fn write_records(&self, record: Record, text: &mut [u8]) -> usize {
        let mut at = 0;
        let mut line = |bytes: &[u8]| {
            at += record.encode(bytes, &mut text[at..]) * record.line_len();
        };
        match record {
            Record::Hex | Record::Base64 => self.for_each_unit::<32>(|bytes| line(bytes)),
            Record::Uuid => self.for_each_unit::<16>(|bytes| line(bytes)),
        }
        at
    }

    /// Gives the bytes in units of `N`; a claim made by [`Buffer::claim_units`] leaves no rest.
    fn for_each_unit<const N: usize>(&self, mut with: impl FnMut(&[u8; N])) {
        let mut unit = [0; N];
        let mut have = 0;
        for mut bytes in self.pieces() {
            while !bytes.is_empty() {
                let n = (N - have).min(bytes.len());
                unit[have..have + n].copy_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                have += n;
                if have == N {
                    with(&unit);
                    have = 0;
                }
            }
        }
        wipe(&mut unit);
    }

    /// The bytes in order, to be changed in place before they are handed out.
    pub fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let copied = &mut self.space.scratch.bytes_mut()[..self.space.copied];
        self.space
            .slabs
            .iter_mut()
            .map(Slab::bytes_mut)
            .chain(std::iter::once(copied))
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let copied = &self.space.scratch.bytes()[..self.space.copied];
        self.space
            .slabs
            .iter()
            .map(Slab::bytes)
            .chain(std::iter::once(copied))
            .filter(|bytes| !bytes.is_empty())
    }

    /// Copies the bytes to the front of `out`, which must be at least as long as the claim. They stay in flight: the caller
    /// settles them.
    pub(super) fn move_to(mut self, out: &mut [u8]) {
        self.copy_to(out);
        self.fate = Fate::InFlight;
    }

    /// The reader has the bytes: they count as served.
    pub fn delivered(mut self) {
        self.fate = Fate::Served;
    }

    /// The bytes have become a generator's seed: they count as such, not as served.
    pub fn seeded(mut self) {
        self.fate = Fate::Seeding;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        wipe(&mut self.space.scratch.bytes_mut()[..self.space.copied]);
        self.space.copied = 0;
        self.space.slabs.iter_mut().for_each(Slab::reset);
        self.buffer
            .settle(&mut self.space.slabs, self.len, self.fate);
    }
}
