//! The tests of NIST SP 800-22 Rev. 1a: each takes a sequence of bits and gives P-values, the probability that ideal
//! bits look at least as odd as these.
//!
//! A sequence is a slice of bytes that are 0 or 1, the most significant bit of each input byte first.

use std::fmt;

mod complexity;
mod excursions;
mod frequency;
mod matrix;
mod pattern;
mod spectral;
mod template;
#[cfg(test)]
mod tests;
mod universal;

pub use complexity::linear_complexity;
pub use excursions::{random_excursions, random_excursions_variant};
pub use frequency::{block_frequency, cumulative_sums, frequency, longest_run, runs};
pub use matrix::rank;
pub use pattern::{approximate_entropy, serial};
pub use spectral::dft;
pub use template::{non_overlapping, overlapping};
pub use universal::universal;

/// A test of SP 800-22 section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Test {
    Frequency,
    BlockFrequency,
    Runs,
    LongestRun,
    Rank,
    Dft,
    NonOverlapping,
    Overlapping,
    Universal,
    LinearComplexity,
    Serial,
    ApproximateEntropy,
    CumulativeSums,
    RandomExcursions,
    RandomExcursionsVariant,
}

impl Test {
    /// All tests, in the standard's order.
    pub const ALL: [Test; 15] = [
        Test::Frequency,
        Test::BlockFrequency,
        Test::Runs,
        Test::LongestRun,
        Test::Rank,
        Test::Dft,
        Test::NonOverlapping,
        Test::Overlapping,
        Test::Universal,
        Test::LinearComplexity,
        Test::Serial,
        Test::ApproximateEntropy,
        Test::CumulativeSums,
        Test::RandomExcursions,
        Test::RandomExcursionsVariant,
    ];

    /// The test's name and what it looks at, for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Test::Frequency => "frequency: as many ones as zeros",
            Test::BlockFrequency => "frequency within a block of 128 bits",
            Test::Runs => "runs of equal bits",
            Test::LongestRun => "longest run of ones in a block",
            Test::Rank => "rank of binary matrices (linear dependence)",
            Test::Dft => "spectrum (periodic features)",
            Test::NonOverlapping => "148 non-periodic patterns of 9 bits",
            Test::Overlapping => "runs of nine ones, overlapping",
            Test::Universal => "Maurer's universal test (compressibility)",
            Test::LinearComplexity => "linear complexity (shift registers)",
            Test::Serial => "serial: all patterns of 16 bits",
            Test::ApproximateEntropy => "approximate entropy: patterns of 10 and 11 bits",
            Test::CumulativeSums => "cumulative sums (random walk)",
            Test::RandomExcursions => "random excursions (visits of a walk)",
            Test::RandomExcursionsVariant => "random excursions variant",
        }
    }

    /// The test's section in SP 800-22 Rev. 1a.
    pub fn section(self) -> u8 {
        self as u8 + 1
    }

    /// Runs the test with the parameters that the standard suggests for a million bits. None if the sequence is too
    /// short for it, or (random excursions) has too few cycles.
    pub fn run(self, bits: &[u8]) -> Option<Vec<f64>> {
        let one = |p: f64| Some(vec![p]);
        let n = bits.len();
        match self {
            Test::Frequency if n >= 100 => one(frequency(bits)),
            Test::BlockFrequency if n >= 1280 => one(block_frequency(bits, 128)),
            Test::Runs if n >= 100 => one(runs(bits)),
            Test::LongestRun => longest_run(bits).and_then(one),
            // 38 matrices of 32 by 32.
            Test::Rank if n >= 38_912 => one(rank(bits)),
            Test::Dft if n >= 1000 => one(dft(bits)),
            // 16 expected in each of the eight blocks.
            Test::NonOverlapping if n >= 1 << 16 => Some(non_overlapping(bits, 9, 8)),
            Test::Overlapping if n >= 1_000_000 => one(overlapping(bits)),
            Test::Universal => universal(bits).and_then(one),
            Test::LinearComplexity if n >= 1_000_000 => one(linear_complexity(bits, 500)),
            // m < log2(n) - 2 and m < log2(n) - 5.
            Test::Serial if n > 1 << 18 => Some(serial(bits, 16).to_vec()),
            Test::ApproximateEntropy if n > 1 << 15 => one(approximate_entropy(bits, 10)),
            Test::CumulativeSums if n >= 100 => Some(cumulative_sums(bits).to_vec()),
            Test::RandomExcursions if n >= 1_000_000 => random_excursions(bits).map(|p| p.to_vec()),
            Test::RandomExcursionsVariant if n >= 1_000_000 => {
                random_excursions_variant(bits).map(|p| p.to_vec())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The chi-square statistic of counts against probabilities.
fn chi_square(counts: &[u64], probabilities: &[f64]) -> f64 {
    let n = counts.iter().sum::<u64>() as f64;
    counts
        .iter()
        .zip(probabilities)
        .map(|(&count, p)| (count as f64 - n * p).powi(2) / (n * p))
        .sum()
}

/// The P-value of counts against probabilities, one degree of freedom less than there are counts.
fn goodness_of_fit(counts: &[u64], probabilities: &[f64]) -> f64 {
    crate::special::igamc(
        (counts.len() - 1) as f64 / 2.0,
        chi_square(counts, probabilities) / 2.0,
    )
}
