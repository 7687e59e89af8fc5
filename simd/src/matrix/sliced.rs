//! The portable way: bit slices of many blocks, and sums of slices looked up by bytes of the matrix.

use crate::words::{set_word, transpose_bits, word};

/// Slices are this many words wide where there are blocks enough: 256 blocks at once.
const WIDE: usize = 4;

/// The matrix, byte column after byte column: byte `r` of a column holds the eight bits of row `r`.
pub(super) struct Columns {
    bytes: Vec<u8>,
    /// Rows of the matrix.
    rows: usize,
}

impl Columns {
    /// Reorders a matrix whose rows are `width` bytes long.
    pub(super) fn new(width: usize, matrix: &[u8]) -> Self {
        let column = |c: usize| matrix.iter().skip(c).step_by(width).copied();
        Columns {
            bytes: (0..width).flat_map(column).collect(),
            rows: matrix.len() / width,
        }
    }

    /// Multiplies whole blocks of `input_words` words.
    #[inline(always)]
    pub(super) fn multiply(
        &self,
        input_words: usize,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut Vec<u64>,
    ) {
        let wide = 64 * WIDE;
        let block_in = 8 * input_words;
        let block_out = self.rows / 8;
        let whole = input.len() / block_in / wide * wide;
        let (input, input_rest) = input.split_at(whole * block_in);
        let (out, out_rest) = out.split_at_mut(whole * block_out);
        let batches = input
            .chunks(wide * block_in)
            .zip(out.chunks_mut(wide * block_out));
        for (input, out) in batches {
            self.batch::<WIDE>(input_words, input, out, scratch);
        }
        let batches = input_rest
            .chunks(64 * block_in)
            .zip(out_rest.chunks_mut(64 * block_out));
        for (input, out) in batches {
            self.batch::<1>(input_words, input, out, scratch);
        }
    }

    /// Multiplies at most `64 * L` blocks.
    #[inline(always)]
    fn batch<const L: usize>(
        &self,
        input_words: usize,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut Vec<u64>,
    ) {
        let output_words = self.rows / 64;
        scratch.clear();
        scratch.resize((64 * input_words + self.rows + 2 * 256) * L, 0);
        let (slices, _) = scratch.as_chunks_mut::<L>();
        let (x, rest) = slices.split_at_mut(64 * input_words);
        let (y, rest) = rest.split_at_mut(self.rows);
        let (tables, _) = rest.as_chunks_mut::<256>();
        let [first_sums, second_sums] = tables else {
            return;
        };

        for w in 0..input_words {
            for lane in 0..L {
                let mut square = [0; 64];
                for (b, row) in square.iter_mut().enumerate() {
                    *row = word(input, (64 * lane + b) * input_words + w);
                }
                transpose_bits(&mut square);
                for (slice, bits) in x[64 * w..].iter_mut().zip(square) {
                    slice[lane] = bits;
                }
            }
        }
        let columns = self.bytes.chunks_exact(2 * self.rows);
        for (slices, columns) in x.chunks_exact(16).zip(columns) {
            // Two byte columns at a time, so that each sum of a row is fetched and stored half as often.
            let (first, second) = columns.split_at(self.rows);
            let (first_slices, second_slices) = slices.split_at(8);
            tabulate(first_slices, first_sums);
            tabulate(second_slices, second_sums);
            for ((row, &a), &b) in y.iter_mut().zip(first).zip(second) {
                let (a, b) = (first_sums[usize::from(a)], second_sums[usize::from(b)]);
                for (lane, sum) in row.iter_mut().enumerate() {
                    *sum ^= a[lane] ^ b[lane];
                }
            }
        }
        for w in 0..output_words {
            for lane in 0..L {
                let mut square = [0; 64];
                for (bits, slice) in square.iter_mut().zip(&y[64 * w..]) {
                    *bits = slice[lane];
                }
                transpose_bits(&mut square);
                for (b, &row) in square.iter().enumerate() {
                    set_word(out, (64 * lane + b) * output_words + w, row);
                }
            }
        }
    }
}

/// All sums of eight slices: sum `i` is that of the slices whose bit is set in `i`.
#[inline(always)]
fn tabulate<const L: usize>(slices: &[[u64; L]], sums: &mut [[u64; L]; 256]) {
    for (bit, slice) in slices.iter().enumerate() {
        let (known, new) = sums.split_at_mut(1 << bit);
        for (sum, without) in new.iter_mut().zip(known) {
            *sum = std::array::from_fn(|lane| without[lane] ^ slice[lane]);
        }
    }
}
