//! Autocorrelation of bits at lags 1 to 64 over 64 KiB.
//!
//! The statistic of lag k is `rho = 1 - 2 D / n`, with D the number of places, of n, whose bit
//! differs from the bit k places further on. For independent fair bits it is normal with mean 0 and
//! standard deviation `1 / sqrt(n)`; its limits divide the false-alarm rate by the 64 lags
//! (Bonferroni).
//!
//! Data is taken in pieces of 4 KiB, each by itself, which loses the 64 pairs that end beyond each
//! piece. For each of the eight shifts below a byte the piece is shifted once; whole bytes of lag are
//! then offsets into the shifted copy, so that one place of 64 pairs costs a load, an exclusive or,
//! and a share of a carry-save adder.
//!
//! After a quarter of the 64 KiB, a lag whose statistic so far lies within 1.5 standard deviations is
//! looked at no further and passes. This can only remove false alarms. Of correlations that reach
//! the 2^-30 limit over the whole 64 KiB it lets 1.5 % pass, at the 2^-40 limit 0.34 %, at twice the
//! limit none worth a number; they are found in the next 64 KiB if they stay.

use super::BLOCK;
use super::alarm::{Finding, Test, worst};
use super::limits::Limits;

/// Bytes examined at a time.
pub const PIECE: usize = 4096;

/// The greatest lag, in bits.
const LAGS: usize = 64;

/// Bytes of a piece whose bits all have their partner at every lag within the piece.
const BASE: usize = PIECE - LAGS / 8;

/// Pairs that a piece contributes to each lag.
const PAIRS: usize = BASE * 8;

/// Pieces in the 64 KiB that are judged together.
const PIECES: usize = BLOCK / PIECE;

/// Pieces after which lags without any sign of correlation are left out.
const SCREEN_PIECES: usize = PIECES / 4;

/// Standard deviations below which a lag is left out after the screen.
const SCREEN_DEVIATIONS: f64 = 1.5;

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
        if self.pieces == SCREEN_PIECES {
            self.screen();
        }
        if self.pieces < PIECES {
            return None;
        }
        let found = worst((0..LAGS).filter(|&i| self.watched[i]).filter_map(|i| {
            let rho = 1.0 - 2.0 * f64::from(self.disagreements[i]) / (PIECES * PAIRS) as f64;
            let finding = self.limits.judge(Test::Autocorrelation, rho, BLOCK as u64)?;
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

    fn screen(&mut self) {
        let pairs = (SCREEN_PIECES * PAIRS) as f64;
        for (watched, &count) in self.watched.iter_mut().zip(&self.disagreements) {
            let deviations = (pairs - 2.0 * f64::from(count)) / pairs.sqrt();
            *watched = deviations.abs() >= SCREEN_DEVIATIONS;
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

/// Moves every bit of `from` down by `shift` places, 0 to 7; the last bits come out as zero.
fn shift_down(from: &[u8; PIECE], shift: u32, to: &mut [u8; PIECE]) {
    if shift == 0 {
        *to = *from;
        return;
    }
    for i in 0..PIECE - 1 {
        to[i] = (from[i] >> shift) | (from[i + 1] << (8 - shift));
    }
    to[PIECE - 1] = from[PIECE - 1] >> shift;
}

/// Words that a step of the adder handles side by side.
const WIDE: usize = 4;

type Wide = [u64; WIDE];

#[inline(always)]
fn each(f: impl Fn(usize) -> u64) -> Wide {
    std::array::from_fn(f)
}

/// Adds three bits in each place: the sum replaces `sum`, the carry is returned.
#[inline(always)]
fn add(sum: &mut Wide, b: Wide, c: Wide) -> Wide {
    let a = *sum;
    let half = each(|i| a[i] ^ b[i]);
    *sum = each(|i| half[i] ^ c[i]);
    each(|i| (a[i] & b[i]) | (half[i] & c[i]))
}

#[inline(always)]
fn ones(x: Wide) -> u32 {
    x.iter().map(|word| word.count_ones()).sum()
}

#[inline(always)]
fn difference(a: &[u8; 8 * WIDE], b: &[u8; 8 * WIDE]) -> Wide {
    let word = |bytes: &[u8; 8 * WIDE], i: usize| {
        u64::from_le_bytes(std::array::from_fn(|k| bytes[8 * i + k]))
    };
    each(|i| word(a, i) ^ word(b, i))
}

/// The number of bits in which two slices of equal length differ, by carry-save addition of sixteen
/// words in each place before any bits are counted (Harley and Seal).
fn differing_bits(a: &[u8], b: &[u8]) -> u32 {
    const STEP: usize = 8 * WIDE;
    let (mut one, mut two, mut four, mut eight) = ([0; WIDE], [0; WIDE], [0; WIDE], [0; WIDE]);
    let mut total = 0;
    let (a_groups, a_rest) = a.as_chunks::<{ 16 * STEP }>();
    let (b_groups, b_rest) = b.as_chunks::<{ 16 * STEP }>();
    for (x, y) in a_groups.iter().zip(b_groups) {
        let (x, _) = x.as_chunks::<STEP>();
        let (y, _) = y.as_chunks::<STEP>();
        let d = |i: usize| difference(&x[i], &y[i]);
        let mut fours = [[0; WIDE]; 4];
        for (i, fours) in fours.iter_mut().enumerate() {
            let carry_a = add(&mut one, d(4 * i), d(4 * i + 1));
            let carry_b = add(&mut one, d(4 * i + 2), d(4 * i + 3));
            *fours = add(&mut two, carry_a, carry_b);
        }
        let carry_a = add(&mut four, fours[0], fours[1]);
        let carry_b = add(&mut four, fours[2], fours[3]);
        total += 16 * ones(add(&mut eight, carry_a, carry_b));
    }
    total += 8 * ones(eight) + 4 * ones(four) + 2 * ones(two) + ones(one);
    let rest = a_rest.iter().zip(b_rest);
    total + rest.map(|(x, y)| (x ^ y).count_ones()).sum::<u32>()
}
