//! All tests of the data itself, each given the same bytes.

use super::BLOCK;
use super::alarm::Finding;
use super::autocorrelation::Autocorrelation;
use super::disagreements::PIECE;
use super::histogram::{Histogram, HistogramTests};
use super::limits::BLOCK_LOG2_ALPHA;
use super::proportion::{BitProportion, ByteProportion};
use super::repeated::RepeatedData;
use super::repetition::Repetition;
use super::settings::Settings;

/// False-alarm rates of the tests of SP 800-90B section 4.4, as powers of two, per sample or window:
/// the intermittent tier, then the permanent tier.
pub const SAMPLE_LOG2_ALPHA: [f64; 2] = [-40.0, -60.0];

/// Most findings that one block can make.
pub const FINDINGS: usize = 9;

/// The tests of one source's data.
pub struct Battery {
    repetition: Repetition,
    bit_proportion: BitProportion,
    byte_proportion: ByteProportion,
    repeated: RepeatedData,
    histogram: Histogram,
    histogram_tests: HistogramTests,
    autocorrelation: Autocorrelation,
    uniform: bool,
    bytes: u64,
    window: usize,
    min_entropy: Option<f64>,
}

impl Battery {
    /// Tests with all limits computed for checked settings.
    pub fn new(settings: &Settings) -> Self {
        let (bit, byte) = (settings.entropy_per_bit, settings.entropy_per_byte);
        Self {
            repetition: Repetition::new(bit, byte, SAMPLE_LOG2_ALPHA),
            bit_proportion: BitProportion::new(bit, SAMPLE_LOG2_ALPHA),
            byte_proportion: ByteProportion::new(byte, SAMPLE_LOG2_ALPHA),
            repeated: RepeatedData::new(),
            histogram: Histogram::new(),
            histogram_tests: HistogramTests::new(byte, BLOCK_LOG2_ALPHA),
            autocorrelation: Autocorrelation::new(BLOCK_LOG2_ALPHA),
            uniform: settings.uniform,
            bytes: 0,
            window: 0,
            min_entropy: None,
        }
    }

    /// Bytes examined since the tests were made.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Min-entropy per byte that the most common byte of the last 64 KiB leaves.
    pub fn min_entropy(&self) -> Option<f64> {
        self.min_entropy
    }

    /// Forgets runs and windows in progress. What is remembered of earlier data stays, so that a
    /// repetition is found again.
    pub fn reset(&mut self) {
        self.repetition.reset();
        self.bit_proportion.reset();
        self.byte_proportion.reset();
        self.histogram.reset();
        self.autocorrelation.reset();
        self.window = 0;
    }

    /// Gives a block to every test. Blocks are whole pieces, and divide 64 KiB.
    pub fn examine(&mut self, block: &[u8]) -> impl Iterator<Item = Finding> + use<> {
        let mut found: [Option<Finding>; FINDINGS] = [None; FINDINGS];
        [found[0], found[1]] = self.repetition.update(block);
        found[2] = self.bit_proportion.update(block);
        found[3] = self.byte_proportion.update(block);
        found[4] = self.repeated.update(block);
        self.histogram.add(block);
        if self.uniform {
            let (pieces, _) = block.as_chunks::<PIECE>();
            for piece in pieces {
                found[8] = found[8].or(self.autocorrelation.piece(piece));
            }
        }
        self.bytes += block.len() as u64;
        self.window += block.len();
        if self.window >= BLOCK {
            self.window = 0;
            found[5] = self.histogram_tests.total_failure(&self.histogram);
            if self.uniform {
                found[6] = self.histogram_tests.bias(&self.histogram);
                found[7] = self.histogram_tests.chi_square(&self.histogram);
            }
            self.min_entropy = Some(self.histogram.min_entropy());
            self.histogram.reset();
        }
        for finding in found[5..].iter_mut().flatten() {
            finding.sample = self.bytes - 1;
        }
        found.into_iter().flatten()
    }
}
