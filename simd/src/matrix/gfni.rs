//! With `GF2P8AFFINEQB`: it multiplies eight bytes by one matrix of 8 x 8 bits, in each 64-bit lane of a vector.
//!
//! Byte `c` of eight blocks fills the 64-bit lanes of one vector; the eight matrices that lead from that byte to the
//! eight bytes of an output word fill another. Their products over all `c` add up to that word of eight blocks. Four
//! output words and four times eight blocks are under way at once, in 16 registers.

use crate::words::{set_word, transpose_bytes, word};
use std::arch::x86_64::{
    __m512i, _mm256_extract_epi64, _mm512_extracti64x4_epi64, _mm512_gf2p8affine_epi64_epi8,
    _mm512_set_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_xor_si512,
};

/// Groups of eight blocks at once.
const GROUPS: usize = 4;
/// Output words at once.
const WORDS: usize = 4;

/// The matrix in squares of 8 x 8 bits: for each tile of output words, for each byte of the input, for each word of
/// the tile, the eight squares of its bytes.
pub(super) struct Tiles(Vec<[u64; 8]>);

impl Tiles {
    /// Reorders a matrix.
    pub(super) fn new(input_words: usize, output_words: usize, rows: &[u8]) -> Self {
        let width = 8 * input_words;
        let square = |output_byte: usize, c: usize| {
            let lines = (0..8).map(|i| rows[(8 * output_byte + i) * width + c]);
            // The instruction takes the row for bit i from byte 7 - i.
            lines.fold(0, |square, line| square << 8 | u64::from(line))
        };
        let mut tiles = Vec::with_capacity(output_words * width);
        for (first, words) in tiling(output_words) {
            for c in 0..width {
                for word in first..first + words {
                    tiles.push(std::array::from_fn(|byte| square(8 * word + byte, c)));
                }
            }
        }
        Tiles(tiles)
    }

    /// Multiplies whole blocks.
    #[target_feature(enable = "avx512f,gfni")]
    pub(super) fn multiply(
        &self,
        input_words: usize,
        output_words: usize,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut Vec<u64>,
    ) {
        let blocks = 8 * GROUPS;
        scratch.clear();
        scratch.resize(8 * input_words * GROUPS, 0);
        let (bytes, _) = scratch.as_chunks_mut::<GROUPS>();
        let batches = input
            .chunks(blocks * 8 * input_words)
            .zip(out.chunks_mut(blocks * 8 * output_words));
        for (input, out) in batches {
            gather(input_words, input, bytes);
            let mut squares = self.0.as_slice();
            for (first, words) in tiling(output_words) {
                let (tile, rest) = squares.split_at(8 * input_words * words);
                squares = rest;
                if words == WORDS {
                    let products = multiply_tile::<WORDS>(tile, bytes);
                    scatter(&products, first, output_words, out);
                } else {
                    let products = multiply_tile::<1>(tile, bytes);
                    scatter(&products, first, output_words, out);
                }
            }
        }
    }
}

/// The tiles of `output_words`: first word and number of words, [`WORDS`] or 1.
fn tiling(output_words: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = output_words / WORDS * WORDS;
    let tiles = (0..whole).step_by(WORDS).map(|first| (first, WORDS));
    tiles.chain((whole..output_words).map(|first| (first, 1)))
}

/// Collects each byte of eight blocks into one word, for each group of blocks; missing blocks are zero.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn gather(input_words: usize, input: &[u8], bytes: &mut [[u64; GROUPS]]) {
    for (w, bytes) in bytes.chunks_exact_mut(8).enumerate() {
        for group in 0..GROUPS {
            let mut square = [0; 8];
            for (b, row) in square.iter_mut().enumerate() {
                *row = word(input, (8 * group + b) * input_words + w);
            }
            transpose_bytes(&mut square);
            for (slot, eight) in bytes.iter_mut().zip(square) {
                slot[group] = eight;
            }
        }
    }
}

/// The products of `W` output words and all blocks.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn multiply_tile<const W: usize>(
    tile: &[[u64; 8]],
    bytes: &[[u64; GROUPS]],
) -> [[__m512i; GROUPS]; W] {
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; W];
    let (tile, _) = tile.as_chunks::<W>();
    for (squares, eights) in tile.iter().zip(bytes) {
        for (sums, square) in sums.iter_mut().zip(squares) {
            let square = vector(square);
            for (sum, &eight) in sums.iter_mut().zip(eights) {
                let x = _mm512_set1_epi64(eight.cast_signed());
                *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(x, square));
            }
        }
    }
    sums
}

/// Puts the output words into their places in each block.
#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn scatter<const W: usize>(
    products: &[[__m512i; GROUPS]; W],
    first: usize,
    output_words: usize,
    out: &mut [u8],
) {
    for (w, products) in products.iter().enumerate() {
        for (group, &product) in products.iter().enumerate() {
            let mut square = lanes(product);
            transpose_bytes(&mut square);
            for (b, &row) in square.iter().enumerate() {
                set_word(out, (8 * group + b) * output_words + first + w, row);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn vector(words: &[u64; 8]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn lanes(vector: __m512i) -> [u64; 8] {
    let low = _mm512_extracti64x4_epi64::<0>(vector);
    let high = _mm512_extracti64x4_epi64::<1>(vector);
    [
        _mm256_extract_epi64::<0>(low),
        _mm256_extract_epi64::<1>(low),
        _mm256_extract_epi64::<2>(low),
        _mm256_extract_epi64::<3>(low),
        _mm256_extract_epi64::<0>(high),
        _mm256_extract_epi64::<1>(high),
        _mm256_extract_epi64::<2>(high),
        _mm256_extract_epi64::<3>(high),
    ]
    .map(i64::cast_unsigned)
}
