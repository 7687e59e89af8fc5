//! Cuts a stream into blocks, and holds the last incomplete one back.

use super::Sizes;
use zeroize::{Zeroize, Zeroizing};

/// An incomplete input block, in bytes. Wiped when it is completed or dropped.
pub(super) struct Blocks {
    input_len: usize,
    output_len: usize,
    held: Zeroizing<Vec<u8>>,
}

impl Blocks {
    /// For blocks of these lengths in bytes.
    pub(super) fn new(input_len: usize, output_len: usize) -> Self {
        Blocks {
            input_len,
            output_len,
            // Never grows, so no copy stays behind in freed memory.
            held: Zeroizing::new(Vec::with_capacity(input_len)),
        }
    }

    /// For blocks of these sizes.
    pub(super) fn of(sizes: Sizes) -> Self {
        Self::new(sizes.input_bits() / 8, sizes.output_bits() / 8)
    }

    /// Bytes of an input block.
    pub(super) fn input_len(&self) -> usize {
        self.input_len
    }

    /// The bytes of all blocks that `input_len` more bytes complete.
    pub(super) fn max_output(&self, input_len: usize) -> usize {
        let held_and_new = self.held.len().saturating_add(input_len);
        held_and_new / self.input_len * self.output_len
    }

    /// Gives all complete blocks to `convert`, with as many output blocks to fill at the end of `out`.
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        mut convert: impl FnMut(&[u8], &mut [u8]),
    ) {
        let mut start = out.len();
        out.resize(start + self.max_output(input.len()), 0);
        if !self.held.is_empty() {
            let missing = (self.input_len - self.held.len()).min(input.len());
            let (first, rest) = input.split_at(missing);
            self.held.extend_from_slice(first);
            input = rest;
            if self.held.len() < self.input_len {
                return;
            }
            convert(&self.held, &mut out[start..start + self.output_len]);
            start += self.output_len;
            self.held.zeroize();
        }
        let (blocks, rest) = input.split_at(input.len() / self.input_len * self.input_len);
        if !blocks.is_empty() {
            convert(blocks, &mut out[start..]);
        }
        self.held.extend_from_slice(rest);
    }

    /// Forgets the incomplete block.
    pub(super) fn reset(&mut self) {
        self.held.zeroize();
    }
}
