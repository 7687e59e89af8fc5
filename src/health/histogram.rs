//! How often each byte comes in 64 KiB, and what follows from it: chi-square, the proportion of
//! ones, and the min-entropy that the most common byte leaves. Online tests, and the total failure
//! test, of AIS 20/31 (PTG.2.1, PTG.2.3 to PTG.2.5).

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

    /// Counts the bytes of `data`, two tables side by side so that equal bytes in a row do not wait
    /// for one another.
    pub fn add(&mut self, data: &[u8]) {
        let mut tables = [[0_u32; 256]; 2];
        let (words, rest) = data.as_chunks::<8>();
        for word in words {
            let word = u64::from_le_bytes(*word);
            for i in 0..8 {
                tables[i % 2][usize::from((word >> (8 * i)) as u8)] += 1;
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
        let ones = self
            .counts
            .iter()
            .zip(bytes)
            .map(|(&count, byte)| u64::from(count) * u64::from(byte.count_ones()));
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

    /// Total failure: less than half of the claimed entropy is there (AIS 20/31, PTG.2.1).
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
        self.chi_square
            .judge(Test::ChiSquare, histogram.chi_square(), sample)
    }

    /// The proportion of ones.
    pub fn bias(&self, histogram: &Histogram) -> Option<Finding> {
        let sample = BLOCK as u64;
        self.proportion
            .judge(Test::Bias, histogram.proportion_of_ones(), sample)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::BLOCK_LOG2_ALPHA;
    use super::super::testdata;
    use super::*;

    fn histogram(data: &[u8]) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.add(data);
        histogram
    }

    #[test]
    fn counts_every_byte_whatever_the_boundaries() {
        let data = testdata::good(8, 5000);
        let mut cut = Histogram::new();
        data.chunks(77).for_each(|part| cut.add(part));
        for value in 0..=u8::MAX {
            let expected = data.iter().filter(|&&byte| byte == value).count();
            assert_eq!(cut.counts[usize::from(value)], expected as u32);
        }
        assert_eq!(cut.counts, histogram(&data).counts);
    }

    #[test]
    fn statistics_of_a_known_histogram() {
        let mut data = vec![0_u8; 768];
        data.extend(0..=255);
        let histogram = histogram(&data);
        assert_eq!(histogram.chi_square(), (765.0 * 765.0 + 255.0 * 9.0) / 4.0);
        assert_eq!(histogram.proportion_of_ones(), 1024.0 / 8192.0);
        let p = 769.0 / 1024.0_f64;
        let upper = p + 2.576 * (p * (1.0 - p) / 1023.0).sqrt();
        assert!((histogram.min_entropy() + upper.log2()).abs() < 1e-12);
    }

    /// 6.12 standard deviations for 2^-30, 7.14 for 2^-40.
    #[test]
    fn limits_of_the_proportion() {
        let limits = HistogramTests::new(7.84, BLOCK_LOG2_ALPHA).proportion;
        let deviations = |p: f64| (p - 0.5) * 2.0 * (8.0 * BLOCK as f64).sqrt();
        assert!((deviations(limits.intermittent.1) - 6.12).abs() < 0.01);
        assert!((deviations(limits.intermittent.0) + 6.12).abs() < 0.01);
        assert!((deviations(limits.permanent.1) - 7.14).abs() < 0.01);
    }

    #[test]
    fn good_data_passes_and_a_counter_is_too_even() {
        let tests = HistogramTests::new(7.84, BLOCK_LOG2_ALPHA);
        let good = histogram(&testdata::good(9, BLOCK));
        assert_eq!(tests.chi_square(&good), None);
        assert_eq!(tests.bias(&good), None);
        assert_eq!(tests.total_failure(&good), None);
        let counter = histogram(&(0..BLOCK).map(|i| i as u8).collect::<Vec<_>>());
        let found = tests.chi_square(&counter).unwrap();
        assert_eq!((found.tier, found.statistic), (Tier::Permanent, 0.0));
        assert_eq!(found.limit, tests.chi_square.permanent.0);
    }
}
