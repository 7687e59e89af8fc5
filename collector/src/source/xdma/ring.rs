//! The ring of buffers that the card fills, in memory that both sides see (product guide PG195, "Descriptors" and
//! "DMA C2H Stream").
//!
//! ```text
//!  0x000000  256 descriptors of 32 bytes: control, length │ where to tell the length │ buffer │ next descriptor
//!  0x002000  256 results of 32 bytes:     magic, end of packet, length │ unused
//!  0x004000  count of completed descriptors (poll-mode writeback)
//!  0x005000  256 buffers of 4096 bytes
//! ```
//!
//! The descriptors lead to each other in a circle. Each buffer belongs to one side at a time:
//!
//! ```text
//!            ours: read, wiped                the engine's, in this order
//!  ──┬───────────────────────────────┬────────────────────────────────────────┬──
//!    taken                           completed                      granted   │ the last one stops the engine
//! ```
//!
//! The last descriptor of the engine's has the stop bit, so the engine never gets to a buffer that is not its own, however
//! late it is read. Buffers are granted by giving the stop bit to a later descriptor and then taking it from the one that
//! had it. The order holds because the engine fetches each descriptor by itself after the one that leads to it (no adjacent
//! ones are announced): when it finds the old one without the bit, it can't have fetched the later one before. If it had
//! found the bit, it has stopped, and is started again at the next descriptor. Credits, the engine's other way to hold back,
//! would need an option of the engine that is not known of these cards.
//!
//! 256 buffers of 4096 bytes are as in the vendor's driver, and 35 ms of a 240M: longer than this process is usually kept
//! from running, and short enough that nothing old is kept.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::function::DmaMemory;
use crate::source::{Failure, Fault};

/// Buffers, and so descriptors and results.
pub const BUFFERS: usize = 256;
/// Bytes of a buffer; the stream's packets are as long or shorter.
pub const BUFFER: usize = 4096;

/// Bytes of a descriptor, and of a result.
const ENTRY: usize = 32;
const DESCRIPTORS_AT: usize = 0;
const RESULTS_AT: usize = DESCRIPTORS_AT + BUFFERS * ENTRY;
const COUNT_AT: usize = RESULTS_AT + BUFFERS * ENTRY;
const BUFFERS_AT: usize = COUNT_AT + 4096;
/// Bytes of memory that a ring needs.
pub const MEMORY: usize = BUFFERS_AT + BUFFERS * BUFFER;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// A descriptor's control: the magic number.
const MAGIC: u32 = 0xAD4B_0000;
/// A descriptor's control: the engine stops after it.
const STOP: u32 = 1;
/// A descriptor's control: its completion is counted in memory.
const COMPLETED: u32 = 1 << 1;
/// The upper half of a result's first word.
const RESULT_MAGIC: u32 = 0x52B4;
/// The count of completed descriptors is told modulo this.
const COUNT_MASK: u32 = 0x00ff_ffff;
/// The count's word says that the engine has met an error.
const COUNT_ERROR: u32 = 1 << 31;

/// A ring. Numbers of buffers rise for ever; the buffer's place is the number modulo [`BUFFERS`].
///
/// Invariant: `taken <= completed <= granted <= taken + BUFFERS`.
#[derive(Debug)]
pub struct Ring {
    /// Buffers read, wiped, and not yet granted anew.
    taken: u64,
    /// Bytes read of the buffer number `taken`.
    offset: usize,
    /// Bytes in each completed buffer, by its place.
    lengths: Box<[u16; BUFFERS]>,
    /// Bytes completed and not read.
    available: usize,
    completed: u64,
    granted: u64,
    /// The number at which the engine was last started, where its count is 0.
    started: u64,
}

impl Ring {
    /// Makes the memory a ring of which all buffers are the engine's, which must be idle.
    pub fn new(memory: &dyn DmaMemory) -> Self {
        for place in 0..BUFFERS {
            describe(memory, place);
            store(memory, RESULTS_AT + place * ENTRY, 0);
            wipe(memory, buffer(place));
        }
        set_stop(memory, BUFFERS - 1, true);
        let mut ring = Self {
            taken: 0,
            offset: 0,
            lengths: Box::new([0; BUFFERS]),
            available: 0,
            completed: 0,
            granted: BUFFERS as u64,
            started: 0,
        };
        ring.restart(memory);
        ring
    }

    /// Prepares for a start of the engine, which must be idle and have nothing under way. Gives the bus addresses of the
    /// first descriptor and of the count.
    pub fn restart(&mut self, memory: &dyn DmaMemory) -> (u64, u64) {
        self.started = self.completed;
        word(memory, COUNT_AT).store(0, Release);
        let first = DESCRIPTORS_AT + place(self.completed) * ENTRY;
        (
            memory.address() + first as u64,
            memory.address() + COUNT_AT as u64,
        )
    }

    /// Bytes that can be taken.
    pub fn available(&self) -> usize {
        self.available
    }

    /// Buffers completed and not read to their end.
    pub fn unread(&self) -> usize {
        (self.completed - self.taken) as usize
    }

    /// Whether the engine has a buffer to fill.
    pub fn engine_has_room(&self) -> bool {
        self.granted > self.completed
    }

    /// Whether the count in memory says that the engine has met an error. The engine's status then says which.
    pub fn error_told(&self, memory: &dyn DmaMemory) -> bool {
        count(memory) & COUNT_ERROR != 0
    }

    /// Looks which buffers were completed since the last time; gives how many.
    ///
    /// A buffer is complete when it is counted and its result is there. The count is loaded first, then results, then bytes,
    /// each `Acquire`: what the engine wrote before is then visible.
    ///
    /// # Errors
    /// The engine tells what can't be: more buffers than it has, a length that no buffer has.
    pub fn advance(&mut self, memory: &dyn DmaMemory) -> Result<usize, Failure> {
        let counted = self.counted(memory)?;
        let before = self.completed;
        while self.completed < counted {
            let place = place(self.completed);
            let result = word(memory, RESULTS_AT + place * ENTRY).load(Acquire);
            let result = u64::from_le(result);
            let [status, length] = [result as u32, (result >> 32) as u32];
            if status >> 16 != RESULT_MAGIC {
                // Counted, but the result is still on its way.
                break;
            }
            if length == 0 || length as usize > BUFFER {
                return Err(nonsense(&format!(
                    "a transfer of {length} bytes into a buffer of {BUFFER}"
                )));
            }
            self.lengths[place] = length as u16;
            self.available += length as usize;
            self.completed += 1;
        }
        Ok((self.completed - before) as usize)
    }

    /// Whether all counted buffers have their results.
    ///
    /// # Errors
    /// As [`Ring::advance`].
    pub fn settled(&self, memory: &dyn DmaMemory) -> Result<bool, Failure> {
        Ok(self.counted(memory)? == self.completed)
    }

    /// The number up to which the engine has counted.
    fn counted(&self, memory: &dyn DmaMemory) -> Result<u64, Failure> {
        let known = (self.completed - self.started) as u32;
        let more = count(memory).wrapping_sub(known) & COUNT_MASK;
        let counted = self.completed + u64::from(more);
        if counted > self.granted {
            return Err(nonsense(&format!(
                "{more} transfers more, and {} were asked for",
                self.granted - self.completed
            )));
        }
        Ok(counted)
    }

    /// Moves bytes out in order and wipes buffers that are read to their end; gives how many bytes.
    pub fn take(&mut self, memory: &dyn DmaMemory, out: &mut [u8]) -> usize {
        let mut count = 0;
        while count < out.len() && self.taken < self.completed {
            let place = place(self.taken);
            let start = buffer(place).start;
            let left = usize::from(self.lengths[place]) - self.offset;
            let part = left.min(out.len() - count);
            copy(memory, start + self.offset, &mut out[count..count + part]);
            count += part;
            self.pass(memory, part);
        }
        count
    }

    /// Wipes up to `most` bytes unread, in order; gives how many.
    pub fn discard(&mut self, memory: &dyn DmaMemory, most: u64) -> usize {
        let mut count = 0;
        while (count as u64) < most && self.taken < self.completed {
            let left = usize::from(self.lengths[place(self.taken)]) - self.offset;
            let part = usize::try_from(most - count as u64).map_or(left, |most| most.min(left));
            count += part;
            self.pass(memory, part);
        }
        count
    }

    /// Counts `part` bytes of the oldest buffer as read; when that was all, wipes it.
    fn pass(&mut self, memory: &dyn DmaMemory, part: usize) {
        self.available -= part;
        self.offset += part;
        let place = place(self.taken);
        if self.offset == usize::from(self.lengths[place]) {
            // All of it, whatever length was told.
            wipe(memory, buffer(place));
            store(memory, RESULTS_AT + place * ENTRY, 0);
            self.offset = 0;
            self.taken += 1;
        }
    }

    /// Gives buffers that were read to the engine, if there are at least `least`.
    pub fn grant(&mut self, memory: &dyn DmaMemory, least: usize) {
        let until = self.taken + BUFFERS as u64;
        if until - self.granted < least.max(1) as u64 {
            return;
        }
        let [last, former] = [place(until - 1), place(self.granted - 1)];
        // `Release` in both: the engine must not find the former last one without its bit and what follows as it was.
        set_stop(memory, last, true);
        if former != last {
            set_stop(memory, former, false);
        }
        self.granted = until;
    }
}

/// Wipes all of the memory.
pub fn wipe_all(memory: &dyn DmaMemory) {
    wipe(memory, 0..MEMORY);
}

fn nonsense(what: &str) -> Failure {
    Failure::new(
        Fault::Nonsense,
        format!("the DMA engine tells of {what}; its ring is set up anew"),
    )
}

/// The place of the buffer `number`.
fn place(number: u64) -> usize {
    (number % BUFFERS as u64) as usize
}

/// Where the buffer at `place` is.
fn buffer(place: usize) -> Range<usize> {
    let start = BUFFERS_AT + place * BUFFER;
    start..start + BUFFER
}

/// Writes the descriptor at `place`, without its stop bit.
fn describe(memory: &dyn DmaMemory, place: usize) {
    let at = DESCRIPTORS_AT + place * ENTRY;
    let address = |offset: usize| memory.address() + offset as u64;
    let next = DESCRIPTORS_AT + (place + 1) % BUFFERS * ENTRY;
    // A stream has no source address; there stands where the result goes.
    let fields = [
        control(false),
        address(RESULTS_AT + place * ENTRY),
        address(buffer(place).start),
        address(next),
    ];
    for (index, field) in fields.into_iter().enumerate() {
        store(memory, at + index * WORD, field);
    }
}

/// The first word of a descriptor: its control, and the length of its buffer.
fn control(stop: bool) -> u64 {
    let control = MAGIC | COMPLETED | if stop { STOP } else { 0 };
    u64::from(control) | (BUFFER as u64) << 32
}

/// Gives the descriptor at `place` the stop bit, or takes it away.
fn set_stop(memory: &dyn DmaMemory, place: usize, stop: bool) {
    word(memory, DESCRIPTORS_AT + place * ENTRY).store(control(stop).to_le(), Release);
}

/// The count's word, of which the engine writes the low half.
fn count(memory: &dyn DmaMemory) -> u32 {
    u64::from_le(word(memory, COUNT_AT).load(Acquire)) as u32
}

fn word(memory: &dyn DmaMemory, offset: usize) -> &AtomicU64 {
    &memory.words()[offset / WORD]
}

fn store(memory: &dyn DmaMemory, offset: usize, value: u64) {
    word(memory, offset).store(value.to_le(), Relaxed);
}

fn wipe(memory: &dyn DmaMemory, bytes: Range<usize>) {
    for word in &memory.words()[bytes.start / WORD..bytes.end / WORD] {
        word.store(0, Relaxed);
    }
}

/// Copies the bytes at `offset` to `out`.
fn copy(memory: &dyn DmaMemory, offset: usize, out: &mut [u8]) {
    let words = &memory.words()[offset / WORD..];
    // The bytes of a word that an earlier copy has taken.
    let skip = offset % WORD;
    let (head, body) = out.split_at_mut(out.len().min((WORD - skip) % WORD));
    let words = if head.is_empty() {
        words
    } else {
        let bytes = words[0].load(Relaxed).to_ne_bytes();
        head.copy_from_slice(&bytes[skip..skip + head.len()]);
        &words[1..]
    };
    let (whole, tail) = body.as_chunks_mut::<WORD>();
    for (to, word) in whole.iter_mut().zip(words) {
        *to = word.load(Relaxed).to_ne_bytes();
    }
    if !tail.is_empty() {
        let bytes = words[whole.len()].load(Relaxed).to_ne_bytes();
        tail.copy_from_slice(&bytes[..tail.len()]);
    }
}

#[cfg(test)]
mod tests;
