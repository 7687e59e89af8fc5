//! How often each byte comes in 64 KiB, and what follows from it: chi-square, the proportion of
//! ones, and the min-entropy that the most common byte leaves.

use super::BLOCK;
use super::alarm::{Finding, Test, Tier};
use super::limits::Limits;

/// Counts bytes until 64 KiB have been seen.
#[derive(Clone)]
pub struct Histogram {
    counts: [u32; 256],
}

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { counts: [0; 256] }
    }

    /// Counts the bytes of `data`, four tables side by side so that equal bytes in a row do not wait
    /// for one another.
    pub fn add(&mut self, data: &[u8]) {
        let mut tables = [[0_u32; 256]; 4];
        let (words, rest) = data.as_chunks::<8>();
        for word in words {
            let word = u64::from_le_bytes(*word);
            for i in 0..8 {
                tables[i % 4][usize::from((word >> (8 * i)) as u8)] += 1;
            }
        }
        for &byte in rest {
            self.counts[usize::from(byte)] += 1;
        }
        for table in &tables {
            for (count, &more) in self.counts.iter_mut().zip(table) {
                *count += more;
            }
        }
    }

    /// Forgets the data seen so far.
    pub fn reset(&mut self) {
        self.counts = [0; 256];
    }

    fn total(&self) -> f64 {
        self.counts.iter().map(|&count| f64::from(count)).sum()
    }

    /// Pearson's statistic against equal frequencies: 255 degrees of freedom.
    pub fn chi_square(&self) -> f64 {
        let expected = self.total() / 256.0;
        let squares = self.counts.iter().map(|&count| {
            let distance = f64::from(count) - expected;
            distance * distance
        });
        squares.sum::<f64>() / expected
    }

    /// The proportion of ones among the bits.
    pub fn proportion_of_ones(&self) -> f64 {
        let bytes = 0..=u8::MAX;
        let ones = self.counts.iter().zip(bytes).map(|(&count, byte)| {
            u64::from(count) * u64::from(byte.count_ones())
        });
        ones.sum::<u64>() as f64 / (8.0 * self.total())
    }

    /// Min-entropy per byte, in bits, by the most common value estimate: the upper end of a 99 %
    /// confidence interval of the most common byte's probability (SP 800-90B section 6.3.1).
    pub fn min_entropy(&self) -> f64 {
        let total = self.total();
        let most = self.counts.iter().copied().max().unwrap_or(0);
        let p = f64::from(most) / total;
        let upper = p + 2.576 * (p * (1.0 - p) / (total - 1.0)).sqrt();
        -upper.min(1.0).log2()
    }
}

/// The tests of a full histogram.
#[derive(Debug, Clone)]
pub struct HistogramTests {
    chi_square: Limits,
    proportion: Limits,
    least_entropy: f64,
}

impl HistogramTests {
    /// Tests with the given false-alarm rates for 64 KiB, and a claim of min-entropy per byte.
    pub fn new(entropy_per_byte: f64, log2_alpha: [f64; 2]) -> Self {
        let bits = 8.0 * BLOCK as f64;
        Self {
            chi_square: Limits::chi_square(255.0, log2_alpha),
            proportion: Limits::normal(0.5, 0.5 / bits.sqrt(), log2_alpha),
            least_entropy: 0.5 * entropy_per_byte,
        }
    }

    /// Total failure: less than half of the claimed entropy is there (AIS 20/31: total failure test).
    pub fn total_failure(&self, histogram: &Histogram) -> Option<Finding> {
        let entropy = histogram.min_entropy();
        (entropy < self.least_entropy).then_some(Finding {
            test: Test::TotalFailure,
            tier: Tier::Permanent,
            statistic: entropy,
            limit: self.least_entropy,
            sample: BLOCK as u64,
            lag: None,
        })
    }

    /// Chi-square of the frequencies of bytes.
    pub fn chi_square(&self, histogram: &Histogram) -> Option<Finding> {
        let sample = BLOCK as u64;
        self.chi_square.judge(Test::ChiSquare, histogram.chi_square(), sample)
    }

    /// The proportion of ones.
    pub fn bias(&self, histogram: &Histogram) -> Option<Finding> {
        let sample = BLOCK as u64;
        self.proportion.judge(Test::Bias, histogram.proportion_of_ones(), sample)
    }
}
