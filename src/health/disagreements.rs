//! How many bits of a piece differ from the bit so many places further on, for many distances (lags).
//!
//! Pairs are counted within a piece of 8 KiB, which loses those that end beyond it: the first [`BASE`] bytes are
//! compared with their partners.
//!
//! With vectors that count bits (VPOPCNTDQ), each lag is one pass: partners are shifted out of two words, compared and
//! counted. Without, the piece is shifted once for each of the eight shifts below a byte, whole bytes of lag are
//! offsets into the shifted copy, and differences go through a carry-save adder before any bits are counted.

use qrng_simd::{Path, Vectors};

/// Bytes of a piece.
pub const PIECE: usize = 8192;

/// The greatest lag, in bits.
pub const LAGS: usize = 64;

/// Bytes of a piece whose bits all have their partner at every lag within the piece.
const BASE: usize = PIECE - LAGS / 8;

/// Pairs that a piece contributes to each lag.
pub const PAIRS: usize = BASE * 8;

/// Adds to `counts[k - 1]` the number of pairs of `piece` that differ at lag `k`, for each lag with
/// `watched[k - 1]`.
pub fn count(
    vectors: Vectors,
    piece: &[u8; PIECE],
    watched: &[bool; LAGS],
    counts: &mut [u32; LAGS],
) {
    match vectors.path() {
        Path::Avx512 => vectors.run(|| lag_by_lag(piece, watched, counts)),
        Path::Avx2 => vectors.run(|| shift_by_shift::<4>(piece, watched, counts)),
        // Two words make the best use of 128-bit registers.
        _ => shift_by_shift::<2>(piece, watched, counts),
    }
}

#[inline(always)]
fn lag_by_lag(piece: &[u8; PIECE], watched: &[bool; LAGS], counts: &mut [u32; LAGS]) {
    let (words, _) = piece.as_chunks::<8>();
    for (lag, count) in (1..).zip(counts).filter(|(lag, _)| watched[lag - 1]) {
        let (down, up) = (lag as u32 - 1, (LAGS - lag) as u32);
        let mut differing = 0;
        for (word, next) in words.iter().zip(&words[1..]) {
            let (word, next) = (u64::from_le_bytes(*word), u64::from_le_bytes(*next));
            let partner = (word >> down >> 1) | (next << up);
            differing += u64::from((word ^ partner).count_ones());
        }
        *count += differing as u32;
    }
}

#[inline(always)]
fn shift_by_shift<const WIDE: usize>(
    piece: &[u8; PIECE],
    watched: &[bool; LAGS],
    counts: &mut [u32; LAGS],
) {
    let mut shifted = [0; PIECE];
    for shift in 0..8 {
        let lags = (0..=LAGS / 8).map(|byte| byte * 8 + shift);
        let lags = lags.filter(|lag| (1..=LAGS).contains(lag) && watched[lag - 1]);
        let mut made = false;
        for lag in lags {
            if !made {
                shift_down(piece, shift as u32, &mut shifted);
                made = true;
            }
            let partner = &shifted[lag / 8..][..BASE];
            counts[lag - 1] += differing_bits::<WIDE>(&piece[..BASE], partner);
        }
    }
    crate::wipe(&mut shifted);
}

/// Moves every bit of `from` down by `shift` places, 0 to 7; what comes in at the end is zero.
#[inline(always)]
fn shift_down(from: &[u8; PIECE], shift: u32, to: &mut [u8; PIECE]) {
    let (from, _) = from.as_chunks::<8>();
    let (to, _) = to.as_chunks_mut::<8>();
    let last = from.len() - 1;
    for i in 0..last {
        let word = u64::from_le_bytes(from[i]);
        let next = u64::from_le_bytes(from[i + 1]);
        to[i] = ((word >> shift) | (next << 1 << (63 - shift))).to_le_bytes();
    }
    to[last] = (u64::from_le_bytes(from[last]) >> shift).to_le_bytes();
}

/// Adds three bits in each place: their sum and their carry.
#[inline(always)]
fn add<const WIDE: usize>(
    a: [u64; WIDE],
    b: [u64; WIDE],
    c: [u64; WIDE],
) -> ([u64; WIDE], [u64; WIDE]) {
    let (mut sum, mut carry) = ([0; WIDE], [0; WIDE]);
    for i in 0..WIDE {
        let half = a[i] ^ b[i];
        sum[i] = half ^ c[i];
        carry[i] = (a[i] & b[i]) | (half & c[i]);
    }
    (sum, carry)
}

#[inline(always)]
fn ones(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

#[inline(always)]
fn word_difference(a: &[u8; 8], b: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)
}

/// The number of bits in which two slices of equal length differ, by carry-save addition of sixteen
/// words in each place before any bits are counted (Harley and Seal). A multiple of 8 bytes long.
#[inline(always)]
fn differing_bits<const WIDE: usize>(a: &[u8], b: &[u8]) -> u32 {
    let zero = [0; WIDE];
    let (mut one, mut two, mut four, mut eight) = (zero, zero, zero, zero);
    let mut total = 0;
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let (a_steps, a_rest) = a_words.as_chunks::<WIDE>();
    let (b_steps, b_rest) = b_words.as_chunks::<WIDE>();
    let (a_groups, a_few) = a_steps.as_chunks::<16>();
    let (b_groups, b_few) = b_steps.as_chunks::<16>();
    for (x, y) in a_groups.iter().zip(b_groups) {
        let mut fours = [zero; 4];
        for (i, carry) in fours.iter_mut().enumerate() {
            let d = |k: usize| difference(&x[4 * i + k], &y[4 * i + k]);
            let (sum, carry_a) = add(one, d(0), d(1));
            let (sum, carry_b) = add(sum, d(2), d(3));
            one = sum;
            (two, *carry) = add(two, carry_a, carry_b);
        }
        let (sum, carry_a) = add(four, fours[0], fours[1]);
        let (sum, carry_b) = add(sum, fours[2], fours[3]);
        four = sum;
        let (sum, sixteens) = add(eight, carry_a, carry_b);
        eight = sum;
        total += 16 * ones(&sixteens);
    }
    total += 8 * ones(&eight) + 4 * ones(&four) + 2 * ones(&two) + ones(&one);
    let few = a_few.iter().zip(b_few);
    total += few.map(|(x, y)| ones(&difference(x, y))).sum::<u32>();
    let rest = a_rest.iter().zip(b_rest);
    total
        + rest
            .map(|(x, y)| word_difference(x, y).count_ones())
            .sum::<u32>()
}

#[inline(always)]
fn difference<const WIDE: usize>(a: &[[u8; 8]; WIDE], b: &[[u8; 8]; WIDE]) -> [u64; WIDE] {
    std::array::from_fn(|i| word_difference(&a[i], &b[i]))
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    /// Every lag against one bit at a time, by every way, and added to what was there.
    #[test]
    fn all_ways_agree_with_the_definition() {
        let data = testdata::good(5, PIECE);
        let bit = |i: usize| (data[i / 8] >> (i % 8)) & 1;
        let differing = |lag: usize| (0..PAIRS).filter(|&i| bit(i) != bit(i + lag)).count();
        let expected: [u32; LAGS] = std::array::from_fn(|i| 7 + differing(i + 1) as u32);
        for vectors in Vectors::all() {
            let mut counts = [7; LAGS];
            let piece = data.first_chunk().unwrap();
            count(vectors, piece, &[true; LAGS], &mut counts);
            assert_eq!(counts, expected, "{vectors:?}");
        }
    }

    /// All bits differ, or none does, at lags that are watched; others stay as they were.
    #[test]
    fn extremes_and_lags_that_nobody_watches() {
        let watched = std::array::from_fn(|i| i % 3 == 0);
        for vectors in Vectors::all() {
            let mut counts = [0; LAGS];
            count(vectors, &[0x55; PIECE], &watched, &mut counts);
            for (i, &count) in counts.iter().enumerate() {
                let differs = i % 3 == 0 && i % 2 == 0;
                assert_eq!(
                    count,
                    if differs { PAIRS as u32 } else { 0 },
                    "lag {}",
                    i + 1
                );
            }
        }
    }
}
