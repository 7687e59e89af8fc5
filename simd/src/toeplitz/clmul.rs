//! With `PCLMULQDQ`, one block at a time, or four in the lanes of one vector.
//!
//! `sums[d]` is the sum of `x[i] * s[d - i]`, 128 bits wide; output word `w` is its lower half at `d = n/64 + w` and
//! its upper half one before. The words of `x` go in pairs, each against an adjacent pair of `s`.

use crate::words::{set_word, word};
use std::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_setzero_si128,
    _mm_unpackhi_epi64, _mm_xor_si128, _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128,
    _mm512_extracti32x4_epi32, _mm512_set_epi64, _mm512_setzero_si512, _mm512_ternarylogic_epi64,
};

/// A xor b xor c, as a truth table.
const XOR3: i32 = 0x96;

/// Two words as a vector.
#[inline]
#[target_feature(enable = "sse2")]
fn pair(words: [u64; 2]) -> __m128i {
    _mm_set_epi64x(words[1].cast_signed(), words[0].cast_signed())
}

/// Lower half and upper half.
#[inline]
#[target_feature(enable = "sse2")]
fn halves(sum: __m128i) -> (u64, u64) {
    let upper = _mm_unpackhi_epi64(sum, sum);
    (
        _mm_cvtsi128_si64(sum).cast_unsigned(),
        _mm_cvtsi128_si64(upper).cast_unsigned(),
    )
}

/// Multiplies whole blocks, one at a time. `seed` is a word of zero and the words of `z * s`.
#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn multiply_1(
    input_words: usize,
    output_words: usize,
    seed: &[u64],
    input: &[u8],
    out: &mut [u8],
    scratch: &mut Vec<u64>,
) {
    let pairs = input_words.div_ceil(2);
    scratch.clear();
    scratch.resize(2 * pairs, 0);
    let (x, _) = scratch.as_chunks_mut::<2>();
    let blocks = input.chunks_exact(8 * input_words);
    for (block, out) in blocks.zip(out.chunks_exact_mut(8 * output_words)) {
        // Last pair first, as the seed runs forward.
        for (p, x) in x.iter_mut().rev().enumerate() {
            *x = [word(block, 2 * p), word(block, 2 * p + 1)];
        }
        let mut upper_before = 0;
        for w in 0..=output_words {
            let d = input_words + w - 1;
            let (seed, _) = seed[d + 2 - 2 * pairs..d + 2].as_chunks::<2>();
            let (lower, upper) = halves(sum_1(x, seed));
            if w > 0 {
                set_word(out, w - 1, lower ^ upper_before);
            }
            upper_before = upper;
        }
    }
}

/// The sum of one place.
#[inline]
#[target_feature(enable = "pclmulqdq,sse2")]
fn sum_1(x: &[[u64; 2]], seed: &[[u64; 2]]) -> __m128i {
    let mut sum = _mm_setzero_si128();
    let mut other = _mm_setzero_si128();
    for (x, s) in x.iter().zip(seed) {
        let (x, s) = (pair(*x), pair(*s));
        sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0x10>(x, s));
        other = _mm_xor_si128(other, _mm_clmulepi64_si128::<0x01>(x, s));
    }
    _mm_xor_si128(sum, other)
}

/// Multiplies whole blocks, four at a time. `seed` is a word of zero and the words of `z * s`.
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn multiply_4(
    input_words: usize,
    output_words: usize,
    seed: &[u64],
    input: &[u8],
    out: &mut [u8],
    scratch: &mut Vec<u64>,
) {
    let pairs = input_words.div_ceil(2);
    scratch.clear();
    scratch.resize(8 * pairs, 0);
    let (x, _) = scratch.as_chunks_mut::<8>();
    let batches = input.chunks(4 * 8 * input_words);
    for (input, out) in batches.zip(out.chunks_mut(4 * 8 * output_words)) {
        for (lane, block) in input.chunks_exact(8 * input_words).enumerate() {
            // Last pair first, as the seed runs forward.
            for (p, x) in x.iter_mut().rev().enumerate() {
                x[2 * lane] = word(block, 2 * p);
                x[2 * lane + 1] = word(block, 2 * p + 1);
            }
        }
        let mut upper_before = [0; 4];
        for w in 0..=output_words {
            let d = input_words + w - 1;
            let (seed, _) = seed[d + 2 - 2 * pairs..d + 2].as_chunks::<2>();
            let sum = sum_4(x, seed);
            for (lane, out) in out.chunks_exact_mut(8 * output_words).enumerate() {
                let (lower, upper) = halves(sum[lane]);
                if w > 0 {
                    set_word(out, w - 1, lower ^ upper_before[lane]);
                }
                upper_before[lane] = upper;
            }
        }
    }
}

/// The sums of one place, of four blocks.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn sum_4(x: &[[u64; 8]], seed: &[[u64; 2]]) -> [__m128i; 4] {
    let mut sum = _mm512_setzero_si512();
    for (x, s) in x.iter().zip(seed) {
        let [a, b, c, d, e, f, g, h] = x.map(u64::cast_signed);
        let x = _mm512_set_epi64(h, g, f, e, d, c, b, a);
        let s = _mm512_broadcast_i32x4(pair(*s));
        let one = _mm512_clmulepi64_epi128::<0x10>(x, s);
        let other = _mm512_clmulepi64_epi128::<0x01>(x, s);
        sum = _mm512_ternarylogic_epi64::<XOR3>(sum, one, other);
    }
    [
        _mm512_extracti32x4_epi32::<0>(sum),
        _mm512_extracti32x4_epi32::<1>(sum),
        _mm512_extracti32x4_epi32::<2>(sum),
        _mm512_extracti32x4_epi32::<3>(sum),
    ]
}
