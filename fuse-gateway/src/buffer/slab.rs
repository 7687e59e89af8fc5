//! A slab: 64 KiB of locked memory that is wiped before it is used again.
//!
//! ```text
//! 0        start              end          SLAB
//! | wiped   | bytes to hand out | wiped      |
//! ```

use std::io;

use memmap2::{Advice, MmapMut};
use qrng::wipe;

/// Bytes in a slab.
pub const SLAB: usize = 64 * 1024;

/// Private memory kept out of core dumps and children, locked if the limit allows; it is wiped when dropped.
#[derive(Debug)]
pub struct Memory {
    map: MmapMut,
    locked: bool,
}

impl Memory {
    /// Maps `len` bytes of zeros.
    ///
    /// # Errors
    /// The mapping failed (no memory). A refused lock is no error: see [`Memory::locked`].
    pub fn new(len: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(len)?;
        // Advice only: a kernel without it costs nothing but the advice.
        let _ = map.advise(Advice::DontDump);
        let _ = map.advise(Advice::DontFork);
        let locked = map.lock().is_ok();
        Ok(Self { map, locked })
    }

    /// Whether the kernel promised never to write this memory to swap.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// The memory.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The memory, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        wipe(&mut self.map);
    }
}

/// One slab of the buffer. Everything outside `start..end` is zero.
#[derive(Debug)]
pub(super) struct Slab {
    memory: Memory,
    start: usize,
    end: usize,
}

impl Slab {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            memory: Memory::new(SLAB)?,
            start: 0,
            end: 0,
        })
    }

    pub(super) fn locked(&self) -> bool {
        self.memory.locked()
    }

    /// Bytes not handed out yet.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Room behind the last byte.
    pub(super) fn room(&self) -> usize {
        SLAB - self.end
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[self.start..self.end]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.bytes_mut()[self.start..self.end]
    }

    /// Appends as much of `from` as there is room for and returns how much that was.
    pub(super) fn append(&mut self, from: &[u8]) -> usize {
        let n = from.len().min(self.room());
        self.memory.bytes_mut()[self.end..self.end + n].copy_from_slice(&from[..n]);
        self.end += n;
        n
    }

    /// Moves the first `to.len()` bytes out; their place is wiped.
    pub(super) fn take(&mut self, to: &mut [u8]) {
        let from = &mut self.memory.bytes_mut()[self.start..self.start + to.len()];
        to.copy_from_slice(from);
        wipe(from);
        self.start += to.len();
    }

    /// Destroys the first `n` bytes.
    pub(super) fn destroy(&mut self, n: usize) {
        wipe(&mut self.memory.bytes_mut()[self.start..self.start + n]);
        self.start += n;
    }

    /// Destroys what is left and makes the slab as new.
    pub(super) fn reset(&mut self) {
        self.destroy(self.len());
        self.start = 0;
        self.end = 0;
    }

    /// Whether every byte outside `start..end` is zero.
    #[cfg(test)]
    pub(super) fn is_clean_outside(&self) -> bool {
        let all = self.memory.bytes();
        all[..self.start]
            .iter()
            .chain(&all[self.end..])
            .all(|&b| b == 0)
    }
}
