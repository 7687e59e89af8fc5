//! The bytes that wait for the next requests: at most a block and a rest that was too short for one.

use qrng::wipe;
use zeroize::Zeroizing;

use crate::supply::BLOCK;

/// A store of at most two blocks. What leaves it is wiped in it.
pub(super) struct Held {
    store: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            store: Zeroizing::new(vec![0; 2 * BLOCK]),
            start: 0,
            end: 0,
        }
    }
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Adds at most a block; there is room for it, as nothing is fetched while a block is held.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if self.end + bytes.len() > self.store.len() {
            let len = self.len();
            self.store.copy_within(self.start..self.end, 0);
            wipe(&mut self.store[len..self.end]);
            (self.start, self.end) = (0, len);
        }
        let end = self.end + bytes.len();
        self.store[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// `len` bytes, if there are as many.
    pub(super) fn cut(&mut self, len: usize) -> Option<Zeroizing<Vec<u8>>> {
        if len > self.len() {
            return None;
        }
        let part = &mut self.store[self.start..self.start + len];
        let bytes = Zeroizing::new(part.to_vec());
        wipe(part);
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Some(bytes)
    }

    /// Wipes all; returns how many.
    pub(super) fn wipe(&mut self) -> usize {
        let len = self.len();
        wipe(&mut self.store[self.start..self.end]);
        (self.start, self.end) = (0, 0);
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_comes_out_once_in_order_and_leaves_nothing() {
        let mut held = Held::default();
        let mut next: u64 = 0;
        let mut expected: u64 = 0;
        for round in 0..200_usize {
            let block: Vec<u8> = (0..(round * 7919) % BLOCK + 1)
                .map(|_| {
                    next += 1;
                    (next % 251) as u8 + 1
                })
                .collect();
            held.add(&block);
            while let Some(bytes) = held.cut((round * 31) % 9000 + 1) {
                for byte in bytes.iter() {
                    expected += 1;
                    assert_eq!(*byte, (expected % 251) as u8 + 1);
                }
            }
            let held_now = held.start..held.end;
            let rest = held.store.iter().enumerate();
            assert!(
                rest.filter(|(i, _)| !held_now.contains(i))
                    .all(|(_, byte)| *byte == 0)
            );
        }
        assert_eq!(next - expected, held.len() as u64);
        held.wipe();
        assert!(held.store.iter().all(|byte| *byte == 0));
    }
}
