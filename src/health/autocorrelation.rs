//! Autocorrelation of bits at lags 1 to 64 over 64 KiB.
//!
//! The statistic of lag k is `rho = 1 - 2 D / n`, with D the number of places, of n, whose bit
//! differs from the bit k places further on. For independent fair bits it is normal with mean 0 and
//! standard deviation `1 / sqrt(n)`; its limits divide the false-alarm rate by the 64 lags
//! (Bonferroni).
//!
//! Data is taken in pieces of 8 KiB, each by itself, which loses the 64 pairs that end beyond each
//! piece. For each of the eight shifts below a byte the piece is shifted once; whole bytes of lag are
//! then offsets into the shifted copy, so that 128 pairs cost two loads, an exclusive or and a share
//! of a carry-save adder.
//!
//! After an eighth, a quarter and a half of the 64 KiB, a lag whose statistic so far lies within
//! 1.2, 1.7 and 2.2 standard deviations is looked at no further and passes. This can only remove
//! false alarms. It also lets pass 11 % of what would lie just at the 2^-30 limit over the whole
//! 64 KiB, 5.5 % of what would lie just at the 2^-40 limit, and 0.1 % at one and a half times that;
//! each of the next 64 KiB has the same chance to find it.

use super::BLOCK;
use super::alarm::{Finding, Test, worst};
use super::limits::Limits;

/// Bytes examined at a time.
pub const PIECE: usize = 8192;

/// The greatest lag, in bits.
const LAGS: usize = 64;

/// Bytes of a piece whose bits all have their partner at every lag within the piece.
const BASE: usize = PIECE - LAGS / 8;

/// Pairs that a piece contributes to each lag.
const PAIRS: usize = BASE * 8;

/// Pieces in the 64 KiB that are judged together.
const PIECES: usize = BLOCK / PIECE;

/// After how many pieces a lag is left out whose statistic lies within how many deviations.
const SCREENS: [(usize, f64); 3] = [(PIECES / 8, 1.2), (PIECES / 4, 1.7), (PIECES / 2, 2.2)];

/// Counts disagreements at every lag until 64 KiB have been seen.
#[derive(Clone)]
pub struct Autocorrelation {
    limits: Limits,
    pieces: usize,
    disagreements: [u32; LAGS],
    watched: [bool; LAGS],
}

/// The limits of `rho` for the given false-alarm rates over all lags together, with `pairs` pairs.
pub fn rho_limits(pairs: usize, log2_alpha: [f64; 2]) -> Limits {
    let bonferroni = (LAGS as f64).log2();
    let deviation = 1.0 / (pairs as f64).sqrt();
    Limits::normal(0.0, deviation, log2_alpha.map(|e| e - bonferroni))
}

impl Autocorrelation {
    /// A test with the given false-alarm rates over 64 KiB, all lags together.
    pub fn new(log2_alpha: [f64; 2]) -> Self {
        Self {
            limits: rho_limits(PIECES * PAIRS, log2_alpha),
            pieces: 0,
            disagreements: [0; LAGS],
            watched: [true; LAGS],
        }
    }

    /// Takes the next piece. After the last of 64 KiB, judges and begins anew.
    pub fn piece(&mut self, piece: &[u8; PIECE]) -> Option<Finding> {
        self.count(piece);
        self.pieces += 1;
        for (pieces, deviations) in SCREENS {
            if pieces == self.pieces {
                self.screen(deviations);
            }
        }
        if self.pieces < PIECES {
            return None;
        }
        let found = worst((0..LAGS).filter(|&i| self.watched[i]).filter_map(|i| {
            let rho = 1.0 - 2.0 * f64::from(self.disagreements[i]) / (PIECES * PAIRS) as f64;
            let finding = self
                .limits
                .judge(Test::Autocorrelation, rho, BLOCK as u64)?;
            Some(Finding {
                lag: Some(i as u8 + 1),
                ..finding
            })
        }));
        self.reset();
        found
    }

    /// Forgets the data seen so far.
    pub fn reset(&mut self) {
        self.pieces = 0;
        self.disagreements = [0; LAGS];
        self.watched = [true; LAGS];
    }

    fn screen(&mut self, deviations: f64) {
        let pairs = (self.pieces * PAIRS) as f64;
        for (watched, &count) in self.watched.iter_mut().zip(&self.disagreements) {
            *watched &= (pairs - 2.0 * f64::from(count)).abs() >= deviations * pairs.sqrt();
        }
    }

    fn count(&mut self, piece: &[u8; PIECE]) {
        let mut shifted = [0; PIECE];
        for shift in 0..8 {
            let lags = (0..=LAGS / 8).map(|byte| byte * 8 + shift);
            let lags = lags.filter(|lag| (1..=LAGS).contains(lag) && self.watched[lag - 1]);
            let mut made = false;
            for lag in lags {
                if !made {
                    shift_down(piece, shift as u32, &mut shifted);
                    made = true;
                }
                let partner = &shifted[lag / 8..][..BASE];
                self.disagreements[lag - 1] += differing_bits(&piece[..BASE], partner);
            }
        }
    }
}

/// Moves every bit of `from` down by `shift` places, 0 to 7; what comes in at the end is zero.
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

/// Words that a step of the adder handles side by side; two make the best use of 128-bit registers.
const WIDE: usize = 2;

type Wide = [u64; WIDE];

/// Adds three bits in each place: their sum and their carry.
#[inline(always)]
fn add(a: Wide, b: Wide, c: Wide) -> (Wide, Wide) {
    let (mut sum, mut carry) = ([0; WIDE], [0; WIDE]);
    for i in 0..WIDE {
        let half = a[i] ^ b[i];
        sum[i] = half ^ c[i];
        carry[i] = (a[i] & b[i]) | (half & c[i]);
    }
    (sum, carry)
}

#[inline(always)]
fn ones(x: Wide) -> u32 {
    x.iter().map(|word| word.count_ones()).sum()
}

#[inline(always)]
fn word_difference(a: &[u8; 8], b: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)
}

#[inline(always)]
fn difference(a: &[u8; 8 * WIDE], b: &[u8; 8 * WIDE]) -> Wide {
    let (a, _) = a.as_chunks::<8>();
    let (b, _) = b.as_chunks::<8>();
    let mut difference = [0; WIDE];
    for i in 0..WIDE {
        difference[i] = word_difference(&a[i], &b[i]);
    }
    difference
}

/// The number of bits in which two slices of equal length differ, by carry-save addition of sixteen
/// words in each place before any bits are counted (Harley and Seal). A multiple of 8 bytes long.
fn differing_bits(a: &[u8], b: &[u8]) -> u32 {
    const STEP: usize = 8 * WIDE;
    let zero = [0; WIDE];
    let (mut one, mut two, mut four, mut eight) = (zero, zero, zero, zero);
    let mut total = 0;
    let (a_groups, a_rest) = a.as_chunks::<{ 16 * STEP }>();
    let (b_groups, b_rest) = b.as_chunks::<{ 16 * STEP }>();
    for (x, y) in a_groups.iter().zip(b_groups) {
        let (x, _) = x.as_chunks::<STEP>();
        let (y, _) = y.as_chunks::<STEP>();
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
        total += 16 * ones(sixteens);
    }
    total += 8 * ones(eight) + 4 * ones(four) + 2 * ones(two) + ones(one);
    let (a_words, _) = a_rest.as_chunks::<8>();
    let (b_words, _) = b_rest.as_chunks::<8>();
    let rest = a_words.iter().zip(b_words);
    total
        + rest
            .map(|(x, y)| word_difference(x, y).count_ones())
            .sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::super::alarm::Tier;
    use super::super::limits::BLOCK_LOG2_ALPHA;
    use super::super::testdata;
    use super::*;

    fn judge(data: &[u8]) -> Option<Finding> {
        let mut test = Autocorrelation::new(BLOCK_LOG2_ALPHA);
        let (pieces, _) = data.as_chunks::<PIECE>();
        worst(pieces.iter().filter_map(|piece| test.piece(piece)))
    }

    #[test]
    fn stated_limits_over_64_kib() {
        let limits = rho_limits(8 * BLOCK, BLOCK_LOG2_ALPHA);
        assert!((limits.intermittent.1 - 0.00933).abs() < 0.000_005);
        assert!((limits.permanent.1 - 0.01063).abs() < 0.000_005);
        let limits = Autocorrelation::new(BLOCK_LOG2_ALPHA).limits;
        assert!((limits.intermittent.1 - 0.00933).abs() < 0.000_01);
        assert!((limits.permanent.1 - 0.01063).abs() < 0.000_01);
    }

    /// Counts of every lag against one bit at a time.
    #[test]
    fn counts_agree_with_the_definition() {
        let data = testdata::good(5, PIECE);
        let bit = |i: usize| (data[i / 8] >> (i % 8)) & 1;
        let mut test = Autocorrelation::new(BLOCK_LOG2_ALPHA);
        test.count(data.first_chunk().unwrap());
        for lag in 1..=LAGS {
            let expected = (0..PAIRS).filter(|&i| bit(i) != bit(i + lag)).count();
            assert_eq!(test.disagreements[lag - 1], expected as u32, "lag {lag}");
        }
    }

    /// Copies a bit from `lag` places before with a small probability: only that lag, and weakly its
    /// multiples, are correlated.
    #[test]
    fn finds_each_lag() {
        let good = testdata::good(6, BLOCK);
        let choice = testdata::good(7, 8 * BLOCK);
        for lag in [1, 2, 7, 8, 9, 31, 33, 56, 63, 64] {
            let mut data = good.clone();
            for i in (lag..8 * BLOCK).filter(|&i| choice[i] < 8) {
                let earlier = (data[(i - lag) / 8] >> ((i - lag) % 8)) & 1 == 1;
                testdata::set_bits(&mut data, i..i + 1, earlier);
            }
            let found = judge(&data).expect("rho is about 0.03");
            assert_eq!((found.tier, found.lag), (Tier::Permanent, Some(lag as u8)));
            assert!(
                (found.statistic - 8.0 / 256.0).abs() < 0.01,
                "{}",
                found.statistic
            );
        }
    }

    #[test]
    fn good_data_passes() {
        for seed in 100..104 {
            assert_eq!(judge(&testdata::good(seed, BLOCK)), None);
        }
    }
}
