//! What an open file of its own state remembers: its record, the rest of a line, or its document.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Desk, Format, Reading, TreeError};
use crate::buffer::{Buffer, Claim, MAX_CLAIM, Memory, wipe};

/// The most files with a state that are open at once; further opens fail.
const MAX_OPEN: usize = 65_536;

/// Bytes of a thread's room for text: the largest read, the rest of a line before it, and what the last line leaves over.
const TEXT: usize = MAX_CLAIM + 2 * Format::MAX_LINE;

/// The state of one open.
#[derive(Debug)]
pub(super) enum Open {
    /// One record, drawn at the first read.
    Record(Format, Line),
    /// The part of the last line that the reader has not had yet.
    Stream(Format, Line),
    /// A text made when the file was opened.
    Document(String),
}

/// Up to one line of text, wiped when dropped.
pub(super) struct Line {
    text: [u8; Format::MAX_LINE],
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
        text: [0; Format::MAX_LINE],
        len: 0,
    };

    fn get(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Makes the one record of `claim` the text.
    fn draw(&mut self, format: Format, claim: &Claim<'_>) {
        self.len = format.write(claim, &mut self.text);
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
    pub(super) fn record(format: Format) -> Self {
        Self::Record(format, Line::EMPTY)
    }

    pub(super) fn stream(format: Format) -> Self {
        Self::Stream(format, Line::EMPTY)
    }

    pub(super) fn document(text: String) -> Self {
        Self::Document(text)
    }

    /// Bytes that the buffer must hold for the next read to be answered.
    pub(super) fn need(&self) -> usize {
        match self {
            Self::Record(format, line) | Self::Stream(format, line) if line.len == 0 => {
                format.bytes()
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
            Self::Record(format, line) => Ok(read_record(
                *format, line, buffer, offset, want, desk, deliver,
            )),
            Self::Stream(format, line) => read_stream(*format, line, buffer, want, desk, deliver),
            Self::Document(text) => {
                let piece = part(text.as_bytes(), offset, want);
                deliver(&[IoSlice::new(piece)], piece.len());
                Ok(Reading::Answered)
            }
        }
    }
}

/// The bytes of `text` that a read by offset gets.
fn part(text: &[u8], offset: u64, want: usize) -> &[u8] {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|from| text.get(from..))
        .unwrap_or_default();
    &rest[..want.min(rest.len())]
}

fn read_record(
    format: Format,
    line: &mut Line,
    buffer: &Buffer,
    offset: u64,
    want: usize,
    desk: &mut Desk,
    deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
) -> Reading {
    if line.len == 0 && offset < format.line() as u64 {
        let Some(claim) = buffer.claim_exact(format.bytes(), &mut desk.space) else {
            return Reading::Empty;
        };
        line.draw(format, &claim);
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
    format: Format,
    line: &mut Line,
    buffer: &Buffer,
    want: usize,
    desk: &mut Desk,
    deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
) -> Result<Reading, TreeError> {
    let want = want.min(MAX_CLAIM);
    let lines = want.saturating_sub(line.len).div_ceil(format.line());
    let text = match &mut desk.text {
        Some(text) => text,
        none => none.insert(Memory::new(TEXT).map_err(|_| TreeError::NoMemory)?),
    };
    let text = text.bytes_mut();
    let claim = buffer.claim_units(format.bytes(), lines, &mut desk.space);
    if claim.is_none() && line.len == 0 {
        return Ok(Reading::Empty);
    }
    text[..line.len].copy_from_slice(line.get());
    let len = line.len
        + claim
            .as_ref()
            .map_or(0, |claim| format.write(claim, &mut text[line.len..]));
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

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Arc<Mutex<Open>>>,
}

impl Opens {
    /// Remembers `open` and returns its handle, never 0.
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
