//! Autocorrelation of bits at lags 1 to 64 over 64 KiB: an online test (AIS 20/31, PTG.2.3 to PTG.2.5).
//!
//! The statistic of lag k is `rho = 1 - 2 D / n`, with D the number of places, of n, whose bit
//! differs from the bit k places further on. For independent fair bits it is normal with mean 0 and
//! standard deviation `1 / sqrt(n)`; its limits divide the false-alarm rate by the 64 lags
//! (Bonferroni).
//!
//! After an eighth, a quarter and a half of the 64 KiB, a lag whose statistic so far lies within
//! 1.2, 1.7 and 2.2 standard deviations is looked at no further and passes. This can only remove
//! false alarms. It also lets pass 11 % of what would lie just at the 2^-30 limit over the whole
//! 64 KiB, 5.5 % of what would lie just at the 2^-40 limit, and 0.1 % at one and a half times that;
//! each of the next 64 KiB has the same chance to find it.

use qrng_simd::Vectors;

use super::BLOCK;
use super::alarm::{Finding, Test, worst};
use super::disagreements::{LAGS, PAIRS, PIECE, count};
use super::limits::Limits;

/// Pieces in the 64 KiB that are judged together.
const PIECES: usize = BLOCK / PIECE;

/// After how many pieces a lag is left out whose statistic lies within how many deviations.
const SCREENS: [(usize, f64); 3] = [(PIECES / 8, 1.2), (PIECES / 4, 1.7), (PIECES / 2, 2.2)];

/// Counts disagreements at every lag until 64 KiB have been seen.
#[derive(Clone)]
pub struct Autocorrelation {
    limits: Limits,
    vectors: Vectors,
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
            vectors: Vectors::best(),
            pieces: 0,
            disagreements: [0; LAGS],
            watched: [true; LAGS],
        }
    }

    /// Takes the next piece. After the last of 64 KiB, judges and begins anew.
    pub fn piece(&mut self, piece: &[u8; PIECE]) -> Option<Finding> {
        count(self.vectors, piece, &self.watched, &mut self.disagreements);
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
