//! Another capacity while bytes come and go: memory that is not needed goes back to the kernel.
//!
//! Slabs in claims stay with their readers, and go when these are done, so nobody waits for anybody.

use std::io;
use std::sync::atomic::Ordering;

use super::slab::{SLAB, Slab};
use super::{Buffer, State};

/// Slabs for this many bytes: one more because the oldest may be partly empty, and one for a claim in flight.
pub(super) const fn slabs_for(capacity: usize) -> usize {
    capacity.div_ceil(SLAB) + 2
}

impl Buffer {
    /// Makes the capacity `to` bytes, from 1 to what it was made with. The oldest of what does not fit any more are destroyed,
    /// and counted; how many.
    ///
    /// # Errors
    /// There is no memory for more: the capacity is then what it was.
    pub fn resize(&self, to: usize) -> io::Result<u64> {
        let to = to.clamp(1, self.set);
        let wanted = slabs_for(to);
        // One thread alone resizes, so there are not more slabs when they are counted than when they are made.
        let missing = wanted.saturating_sub(self.lock().slabs);
        let more = (0..missing)
            .map(|_| Slab::new())
            .collect::<io::Result<Vec<_>>>()?;
        let locked = more.iter().filter(|slab| slab.locked()).count();
        self.locked.fetch_add(locked * SLAB, Ordering::Relaxed);
        let mut state = self.lock();
        state.slabs += more.len();
        state.free.extend(more);
        state.capacity = to;
        let released = state.release();
        let surplus = state.surplus();
        drop(state);
        self.let_go(surplus);
        Ok(released)
    }

    /// Gives the memory of slabs back to the kernel, outside the lock. They are wiped.
    pub(super) fn let_go(&self, surplus: Vec<Slab>) {
        let locked = surplus.iter().filter(|slab| slab.locked()).count();
        self.locked.fetch_sub(locked * SLAB, Ordering::Relaxed);
    }
}

impl State {
    /// Destroys the oldest bytes beyond the capacity; how many.
    fn release(&mut self) -> u64 {
        let mut released = 0;
        while self.fill() > self.capacity {
            released += self.destroy_oldest(self.fill() - self.capacity) as u64;
        }
        self.counts.released += released;
        released
    }

    /// Takes out free slabs that the capacity does not need.
    pub(super) fn surplus(&mut self) -> Vec<Slab> {
        let many = self.slabs.saturating_sub(slabs_for(self.capacity));
        let many = many.min(self.free.len());
        self.slabs -= many;
        self.free.split_off(self.free.len() - many)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Overflow, Space};
    use super::*;

    fn balance(buffer: &Buffer) -> u64 {
        let c = buffer.counts();
        assert_eq!(
            c.admitted,
            c.served
                + c.seeding
                + c.destroyed
                + c.overflow_discarded
                + c.overflow_replaced
                + c.released
                + c.fill
                + c.in_flight,
            "{c:?}"
        );
        c.released
    }

    fn slabs(buffer: &Buffer) -> (usize, usize) {
        let state = buffer.lock();
        (state.slabs, state.free.len() + state.filled.len())
    }

    #[test]
    fn a_smaller_one_keeps_the_newest_and_gives_memory_back() {
        let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
        let bytes: Vec<u8> = (0..1 << 20)
            .map(|n: u32| (n / 251) as u8 ^ n as u8)
            .collect();
        buffer.push(&bytes);
        let locked = buffer.locked_bytes();
        let kept = 100_000;
        assert_eq!(buffer.resize(kept).unwrap(), (1 << 20) - 100_000);
        assert_eq!(balance(&buffer), (1 << 20) - 100_000);
        assert_eq!(slabs(&buffer), (4, 4));
        assert!(buffer.locked_bytes() <= locked.min(4 * SLAB));
        assert_eq!((buffer.capacity(), buffer.set_capacity()), (kept, 1 << 20));
        let mut space = Space::new().unwrap();
        let claim = buffer.claim(1 << 20, &mut space).unwrap();
        let mut out = vec![0; claim.len()];
        claim.copy_to(&mut out);
        claim.delivered();
        assert_eq!(out, bytes[bytes.len() - kept..]);
        // And it is as full as it says.
        buffer.push(&bytes);
        assert_eq!(buffer.counts().fill, kept as u64);
        balance(&buffer);
    }

    #[test]
    fn it_grows_again_and_no_further_than_it_was_made() {
        let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
        buffer.resize(1).unwrap();
        assert_eq!(slabs(&buffer), (3, 3));
        buffer.resize(usize::MAX).unwrap();
        assert_eq!(slabs(&buffer), (18, 18));
        buffer.push(&vec![1; 2 << 20]);
        assert_eq!(buffer.counts().fill, 1 << 20);
        balance(&buffer);
    }

    #[test]
    fn claims_keep_their_memory_until_they_are_done() {
        let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
        buffer.push(&vec![7; 1 << 20]);
        let mut space = Space::new().unwrap();
        let claim = buffer.claim(1 << 20, &mut space).unwrap();
        assert_eq!(buffer.resize(SLAB).unwrap(), 0);
        let mut out = vec![0; claim.len()];
        claim.copy_to(&mut out);
        assert_eq!(out, vec![7; 1 << 20]);
        assert_eq!(slabs(&buffer).0, 16);
        claim.delivered();
        assert_eq!(slabs(&buffer), (3, 3));
        balance(&buffer);
    }

    #[test]
    fn nothing_is_lost_or_doubled_while_it_breathes() {
        let buffer = Buffer::new(1 << 20, Overflow::Replace).unwrap();
        std::thread::scope(|scope| {
            let buffer = &buffer;
            let filling = scope.spawn(move || (0..400).for_each(|n| buffer.push(&[n as u8; 9000])));
            scope.spawn(move || {
                let mut space = Space::new().unwrap();
                while !filling.is_finished() {
                    if let Some(claim) = buffer.claim(70_000, &mut space) {
                        claim.delivered();
                    }
                }
            });
            for size in (1..200).map(|n| n * 37_000 % (1 << 20)) {
                buffer.resize(size).unwrap();
                balance(buffer);
            }
        });
        buffer.resize(SLAB).unwrap();
        balance(&buffer);
        assert_eq!(slabs(&buffer), (3, 3));
    }
}
