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
    /// The part of the last line that the reader has not had yet, and how many characters of the next line it had from
    /// another run of the gateway.
    Stream(Record, Line, usize),
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
        Self::stream_from(record, 0)
    }

    /// A stream of which `offset` characters were read from another run of the gateway: the line that was begun is ended
    /// with characters of a new one, so that each line stays one of its kind.
    pub(super) fn stream_from(record: Record, offset: u64) -> Self {
        // The rest is less than a line.
        let had = offset % record.line_len() as u64;
        Self::Stream(record, Line::EMPTY, had as usize)
    }

    pub(super) fn document(text: String) -> Self {
        Self::Document(text)
    }

    /// Bytes that the buffer must hold for the next read to be answered.
    pub(super) fn need(&self) -> usize {
        match self {
            Self::Record(record, line) | Self::Stream(record, line, _) if line.len == 0 => {
                record.random_len()
            }
            _ => 0,
        }
    }

    pub(super) fn read(
        &mut self,
        buffer: &Buffer,
        offset: u64,
        (want, most): (usize, usize),
        desk: &mut Desk,
        deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
    ) -> Result<Reading, TreeError> {
        if most < self.need() {
            return Ok(Reading::Empty);
        }
        match self {
            Self::Record(record, line) => Ok(read_record(
                *record, line, buffer, offset, want, desk, deliver,
            )),
            Self::Stream(record, line, had) => {
                read_stream(*record, line, had, buffer, (want, most), desk, deliver)
            }
            Self::Document(text) => {
                let piece = part(text.as_bytes(), offset, want);
                deliver(&[IoSlice::new(piece)], piece.len());
                Ok(Reading::Answered { taken: 0 })
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
        return Reading::Answered {
            taken: record.random_len(),
        };
    }
    let piece = part(line.get(), offset, want);
    deliver(&[IoSlice::new(piece)], piece.len());
    Reading::Answered { taken: 0 }
}

fn read_stream(
    record: Record,
    line: &mut Line,
    had: &mut usize,
    buffer: &Buffer,
    (want, most): (usize, usize),
    desk: &mut Desk,
    deliver: impl FnOnce(&[IoSlice<'_>], usize) -> bool,
) -> Result<Reading, TreeError> {
    let want = want.min(MAX_CLAIM);
    let lines = (*had + want).saturating_sub(line.len);
    let lines = lines.div_ceil(record.line_len());
    let lines = lines.min(most / record.random_len());
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
    let end = len.min(*had + want);
    let taken = claim.as_ref().map_or(0, Claim::len);
    if deliver(&[IoSlice::new(&text[*had..end])], end - *had) {
        *had = 0;
        line.set(&text[end..len]);
        if let Some(claim) = claim {
            claim.delivered();
        }
    } else {
        line.set(&[]);
    }
    wipe(&mut text[..len]);
    Ok(Reading::Answered { taken })
}

/// The open files that have a state.
///
/// Handles are counted up from the time of the start in microseconds, so that no two runs give out the same one: opening a
/// file takes longer than a microsecond.
#[derive(Debug)]
pub(super) struct Opens {
    table: Mutex<Table>,
    /// The last handle that an earlier run may have given out.
    last_of_others: u64,
}

#[derive(Debug)]
struct Table {
    last: u64,
    open: HashMap<u64, Arc<Mutex<Open>>>,
}

impl Opens {
    /// None yet, at the time `now_us`.
    pub(super) fn new(now_us: u64) -> Self {
        let last_of_others = now_us.max(LAST_FIXED_HANDLE);
        Self {
            table: Mutex::new(Table {
                last: last_of_others,
                open: HashMap::new(),
            }),
            last_of_others,
        }
    }

    /// Whether `handle` was given out by an earlier run, and nothing is remembered for it.
    pub(super) fn is_left_over(&self, handle: u64) -> bool {
        (LAST_FIXED_HANDLE + 1..=self.last_of_others).contains(&handle)
            && !lock(&self.table).open.contains_key(&handle)
    }

    /// Remembers `open` for a handle that an earlier run gave out.
    pub(super) fn adopt(&self, handle: u64, open: Open) -> Result<(), TreeError> {
        let mut table = lock(&self.table);
        if table.open.len() >= MAX_OPEN {
            return Err(TreeError::TooManyOpen);
        }
        let open = Arc::new(Mutex::new(open));
        table.open.entry(handle).or_insert(open);
        Ok(())
    }

    /// Remembers `open` and returns its handle, which is above [`LAST_FIXED_HANDLE`].
    pub(super) fn add(&self, open: Open) -> Result<u64, TreeError> {
        let mut table = lock(&self.table);
        if table.open.len() >= MAX_OPEN {
            return Err(TreeError::TooManyOpen);
        }
        table.last += 1;
        let handle = table.last;
        table.open.insert(handle, Arc::new(Mutex::new(open)));
        Ok(handle)
    }

    pub(super) fn remove(&self, handle: u64) {
        lock(&self.table).open.remove(&handle);
    }

    /// Calls `with` on the open file, alone; other files are not held up.
    pub(super) fn with<R>(
        &self,
        handle: u64,
        with: impl FnOnce(&mut Open) -> R,
    ) -> Result<R, TreeError> {
        let open = lock(&self.table)
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
