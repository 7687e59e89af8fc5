//! What an open file of its own state remembers: its record, the rest of a line, or its document.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qrng::record::{MAX_LINE, Record};
use qrng::wipe;

use super::{Desk, Reading, TreeError};
use crate::buffer::{Buffer, Claim, MAX_CLAIM, Memory};

/// The most files with a state that are open at once; further opens fail.
const MAX_OPEN: usize = 65_536;

/// Handles up to this one are never given to an open file with a state.
const LAST_FIXED_HANDLE: u64 = super::FRESH;

/// Bytes of a thread's room for text: the largest read, the rest of a line before it, and what the last line leaves over.
const TEXT: usize = MAX_CLAIM + 2 * MAX_LINE;

/// The state of one open.
#[derive(Debug)]
pub(super) enum Open {
    /// One record, drawn at the first read.
    Record(Record, Line),
    /// The part of the last line that the reader has not had yet.
    Stream(Record, Line),
    /// A text made when the file was opened.
    Document(String),
}

/// Up to one line of text, wiped when dropped.
pub(super) struct Line {
    text: [u8; MAX_LINE],
    len: usize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Line {
    const EMPTY: Self = Self {
        text: [0; MAX_LINE],
        len: 0,
    };

    fn get(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Makes the one record of `claim` the text.
    fn draw(&mut self, record: Record, claim: &Claim<'_>) {
        self.len = claim.write_records(record, &mut self.text);
    }

    /// Replaces the text; the old one is wiped. `text` is never longer than a line.
    fn set(&mut self, text: &[u8]) {
        wipe(&mut self.text);
        self.text[..text.len()].copy_from_slice(text);
        self.len = text.len();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        wipe(&mut self.text);
    }
}

impl Open {
    pub(super) fn record(record: Record) -> Self {
        Self::Record(record, Line::EMPTY)
    }

    pub(super) fn stream(record: Record) -> Self {
        Self::Stream(record, Line::EMPTY)
    }

    pub(super) fn document(text: String) -> Self {
        Self::Document(text)
    }

    /// Bytes that the buffer must hold for the next read to be answered.
    pub(super) fn need(&self) -> usize {
        match self {
            Self::Record(record, line) | Self::Stream(record, line) if line.len == 0 => {
                record.random_len()
            }
            _ => 0,
        }
    }

    pub(super) fn read(
        &mut self,
        buffer: &Buffer,
        offset: u64,
        want: usize,
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        match self {
            Self::Record(record, line) => Ok(read_record(
                *record, line, buffer, offset, want, desk, deliver,
            )),
            Self::Stream(record, line) => read_stream(*record, line, buffer, want, desk, deliver),
            Self::Document(text) => {
                let piece = part(text.as_bytes(), offset, want);
                deliver(&[IoSlice::new(piece)], piece.len());
                Ok(Reading::Answered)
            }
        }
    }
}

/// The bytes of `text` that a read by offset gets.
pub(super) fn part(text: &[u8], offset: u64, want: usize) -> &[u8] {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|from| text.get(from..))
        .unwrap_or_default();
    &rest[..want.min(rest.len())]
}

/// A thread's room for [`TEXT`] bytes, mapped at its first use.
pub(super) fn room_for_text(text: &mut Option<Memory>) -> Result<&mut [u8], TreeError> {
    let memory = match text {
        Some(memory) => memory,
        none => none.insert(Memory::new(TEXT).map_err(|_| TreeError::NoMemory)?),
    };
    Ok(memory.bytes_mut())
}

fn read_record(
    record: Record,
    line: &mut Line,
    buffer: &Buffer,
    offset: u64,
    want: usize,
    desk: &mut Desk,
    deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
) -> Reading {
    if line.len == 0 && offset < record.line_len() as u64 {
        let Some(claim) = buffer.claim_exact(record.random_len(), &mut desk.space) else {
            return Reading::Empty;
        };
        line.draw(record, &claim);
        let piece = part(line.get(), offset, want);
        if deliver(&[IoSlice::new(piece)], piece.len()) {
            claim.delivered();
        } else {
            line.set(&[]);
        }
        return Reading::Answered;
    }
    let piece = part(line.get(), offset, want);
    deliver(&[IoSlice::new(piece)], piece.len());
    Reading::Answered
}

fn read_stream(
    record: Record,
    line: &mut Line,
    buffer: &Buffer,
    want: usize,
    desk: &mut Desk,
    deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
) -> Result<Reading, TreeError> {
    let want = want.min(MAX_CLAIM);
    let lines = want.saturating_sub(line.len).div_ceil(record.line_len());
    let text = room_for_text(&mut desk.text)?;
    let claim = buffer.claim_units(record.random_len(), lines, &mut desk.space);
    if claim.is_none() && line.len == 0 {
        return Ok(Reading::Empty);
    }
    text[..line.len].copy_from_slice(line.get());
    let len = line.len
        + claim.as_ref().map_or(0, |claim| {
            claim.write_records(record, &mut text[line.len..])
        });
    let now = len.min(want);
    if deliver(&[IoSlice::new(&text[..now])], now) {
        line.set(&text[now..len]);
        if let Some(claim) = claim {
            claim.delivered();
        }
    } else {
        line.set(&[]);
    }
    wipe(&mut text[..len]);
    Ok(Reading::Answered)
}

/// The open files that have a state.
#[derive(Debug, Default)]
pub(super) struct Opens(Mutex<Table>);

#[derive(Debug)]
struct Table {
    last: u64,
    open: HashMap<u64, Arc<Mutex<Open>>>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            last: LAST_FIXED_HANDLE,
            open: HashMap::new(),
        }
    }
}

impl Opens {
    /// Remembers `open` and returns its handle, which is above [`LAST_FIXED_HANDLE`].
    pub(super) fn add(&self, open: Open) -> Result<u64, TreeError> {
        let mut table = lock(&self.0);
        if table.open.len() >= MAX_OPEN {
            return Err(TreeError::TooManyOpen);
        }
        table.last += 1;
        let handle = table.last;
        table.open.insert(handle, Arc::new(Mutex::new(open)));
        Ok(handle)
    }

    pub(super) fn remove(&self, handle: u64) {
        lock(&self.0).open.remove(&handle);
    }

    /// Calls `with` on the open file, alone; other files are not held up.
    pub(super) fn with<R>(
        &self,
        handle: u64,
        with: impl FnOnce(&mut Open) -> R,
    ) -> Result<R, TreeError> {
        let open = lock(&self.0)
            .open
            .get(&handle)
            .cloned()
            .ok_or(TreeError::BadHandle)?;
        let mut open = lock(&open);
        Ok(with(&mut open))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a line was being made leaves at worst a wrong line in that one open file.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
