//! Data for tests: good bytes from a cipher, and faults put into them.

use std::ops::Range;

use aes::cipher::{KeyIvInit, StreamCipher};

/// An endless stream of good bytes.
pub struct Good(ctr::Ctr128BE<aes::Aes256>);

impl Good {
    /// The same stream for the same seed.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ctr::Ctr128BE::new(&key.into(), &[0; 16].into()))
    }

    /// Overwrites `bytes` with the next of the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }
}

/// Good bytes of a seed.
pub fn good(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Good::new(seed).fill(&mut bytes);
    bytes
}

/// Sets the bits of `range`, the lowest bit of a byte first, to `value`.
pub fn set_bits(bytes: &mut [u8], range: Range<usize>, value: bool) {
    for bit in range {
        let mask = 1 << (bit % 8);
        if value {
            bytes[bit / 8] |= mask;
        } else {
            bytes[bit / 8] &= !mask;
        }
    }
}
