//! What is counted over the whole input, however long.

use crate::finding::{Finding, show_p};
use crate::special::{igam, igamc, two_sided};
use std::collections::HashSet;

/// Lags of the autocorrelation, in bits.
pub(crate) const LAGS: usize = 64;
/// Marks kept of the search for repeats: with one mark in 64 bytes, those of 64 MiB.
const MOST_MARKS: usize = 1 << 20;
/// Bytes of the bitmap.
pub(crate) const BITMAP: usize = 8192;

/// Counts over all bytes read so far.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub bytes: u64,
    pub histogram: [u64; 256],
    /// The first bytes, for the picture.
    pub first: Vec<u8>,
    /// After each block: bits so far, and ones more than zeros.
    pub bias: Vec<(u64, i64)>,
    ones: u64,
    /// Pairs of unequal bits at each lag, from 1.
    unequal: [u64; LAGS],
    last_word: Option<u64>,
    words: u64,
    recent: u128,
    marks: HashSet<u128>,
    repeats: u64,
    bias_block: usize,
}

impl Stream {
    /// For at most `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            bytes: 0,
            histogram: [0; 256],
            first: Vec::new(),
            bias: vec![(0, 0)],
            ones: 0,
            unequal: [0; LAGS],
            last_word: None,
            words: 0,
            recent: 0,
            marks: HashSet::new(),
            repeats: 0,
            bias_block: (max_bytes / 2048).clamp(64, 1 << 16) as usize,
        }
    }

    /// Counts more bytes. Only the last piece may have a length that is not a multiple of eight.
    pub fn add(&mut self, bytes: &[u8]) {
        let room = BITMAP - self.first.len();
        self.first
            .extend_from_slice(&bytes[..room.min(bytes.len())]);
        for block in bytes.chunks(self.bias_block) {
            for &byte in block {
                self.histogram[usize::from(byte)] += 1;
                self.ones += u64::from(byte.count_ones());
                self.look_for_repeats(byte);
            }
            self.bytes += block.len() as u64;
            self.note_bias();
        }
        for word in bytes.chunks_exact(8) {
            self.add_word(u64::from_be_bytes(word.try_into().expect("8 bytes")));
        }
    }

    /// Keeps at most 4096 points: every other one goes, from then on half as many come.
    fn note_bias(&mut self) {
        self.bias
            .push((self.bytes * 8, 2 * self.ones as i64 - 8 * self.bytes as i64));
        if self.bias.len() > 4096 {
            let mut at = 0;
            self.bias.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.bias_block = (self.bias_block * 2).min(1 << 20);
        }
    }

    /// Keeps the 16 bytes before each place that their own content marks, so that a block is found again wherever and
    /// however far on it comes.
    fn look_for_repeats(&mut self, byte: u8) {
        self.recent = self.recent << 8 | u128::from(byte);
        let hash = ((self.recent ^ self.recent >> 61) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if hash >> 58 == 0 && (self.marks.len() < MOST_MARKS || self.marks.contains(&self.recent)) {
            self.repeats += u64::from(!self.marks.insert(self.recent));
        }
    }

    fn add_word(&mut self, word: u64) {
        if let Some(last) = self.last_word {
            let both = u128::from(last) << 64 | u128::from(word);
            for (lag, unequal) in self.unequal.iter_mut().enumerate() {
                *unequal += u64::from((word ^ (both >> (lag + 1)) as u64).count_ones());
            }
            self.words += 1;
        }
        self.last_word = Some(word);
    }

    /// Correlation of bits at each lag, from 1; 0 for an input of less than 16 bytes.
    pub fn autocorrelation(&self) -> [f64; LAGS] {
        let pairs = (self.words * 64).max(1) as f64;
        self.unequal.map(|unequal| {
            if self.words == 0 {
                0.0
            } else {
                1.0 - 2.0 * unequal as f64 / pairs
            }
        })
    }

    /// One standard deviation of [`Stream::autocorrelation`].
    pub fn autocorrelation_deviation(&self) -> f64 {
        1.0 / ((self.words * 64).max(1) as f64).sqrt()
    }

    /// The checks on the counts.
    pub fn findings(&self, alpha: f64) -> Vec<Finding> {
        const OURS: &str = "whole input";
        let bits = 8.0 * self.bytes as f64;
        let z = (2.0 * self.ones as f64 - bits) / bits.sqrt();
        let share = format!(
            "{:.4} % ones, {z:+.1} standard deviations",
            100.0 * self.ones as f64 / bits
        );
        let ones = Finding::of_p("ones among all bits", OURS, two_sided(z), alpha, share);

        let expected = self.bytes as f64 / 256.0;
        let chi: f64 = self
            .histogram
            .iter()
            .map(|&count| (count as f64 - expected).powi(2) / expected)
            .sum();
        // Too even is as unlikely as too uneven: a counter is.
        let p = (2.0 * igamc(127.5, chi / 2.0).min(igam(127.5, chi / 2.0))).min(1.0);
        let seen = format!("chi-square {chi:.1}, expected 255 +- 23");
        let bytes = Finding::of_p(
            "all byte values equally often, not too evenly",
            OURS,
            p,
            alpha,
            seen,
        );

        let deviation = self.autocorrelation_deviation();
        let farthest = self
            .autocorrelation()
            .into_iter()
            .enumerate()
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let (lag, rho) = farthest.unwrap_or((0, 0.0));
        let p = (two_sided(rho / deviation) * LAGS as f64).min(1.0);
        let seen = format!(
            "largest {rho:+.6} at lag {}, one standard deviation is {deviation:.6}",
            lag + 1
        );
        let lags = Finding::of_p(
            "autocorrelation of bits, lags 1 to 64",
            OURS,
            p,
            alpha,
            seen,
        );

        // 2^128 values: even one repeat is out of the question.
        let pairs = (self.marks.len() as f64).powi(2) / 2.0;
        let p = if self.repeats == 0 {
            1.0
        } else {
            (pairs * 2_f64.powi(-128)).min(1.0)
        };
        let seen = match self.repeats {
            0 => format!("none among {} marks", self.marks.len()),
            n => format!("{n} marks seen before (probability {})", show_p(p)),
        };
        let repeats = Finding::of_p("blocks that come again", OURS, p, alpha, seen);
        vec![ones, bytes, lags, repeats]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn stream(bytes: &[u8]) -> Stream {
        let mut stream = Stream::new(1 << 20);
        bytes.chunks(1000).for_each(|piece| stream.add(piece));
        stream
    }

    #[test]
    fn lags_are_those_that_counting_finds() {
        let bytes = crate::testing::random(1, 4000);
        let bits = crate::testing::bits_of(&bytes);
        let stream = stream(&bytes);
        for (i, rho) in stream.autocorrelation().into_iter().enumerate() {
            let lag = i + 1;
            // Pairs whose later bit is not in the first word.
            let pairs = bits.len() - 64;
            let equal = (64..bits.len())
                .filter(|&at| bits[at] == bits[at - lag])
                .count();
            let want = (2.0 * equal as f64 - pairs as f64) / pairs as f64;
            assert!((rho - want).abs() < 1e-12, "lag {lag}");
        }
    }

    #[test]
    fn a_block_that_comes_again_is_found_wherever_it_comes() {
        let mut bytes = crate::testing::random(2, 300_000);
        let verdict = |bytes: &[u8]| stream(bytes).findings(1e-6)[3].verdict;
        assert_eq!(verdict(&bytes), Verdict::Passed);
        bytes.copy_within(1_001..5_001, 200_003);
        assert_eq!(verdict(&bytes), Verdict::Failed);
    }

    #[test]
    fn the_points_of_the_bias_stay_few() {
        let mut stream = Stream::new(1 << 16);
        (0..100).for_each(|_| stream.add(&[0xFF; 8000]));
        assert!(stream.bias.len() <= 4097);
        assert_eq!(*stream.bias.last().unwrap(), (6_400_000, 6_400_000));
        assert!(stream.bias.is_sorted());
    }
}
