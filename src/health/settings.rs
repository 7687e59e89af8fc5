//! What is claimed of a source, and so what its data is judged by.

use thiserror::Error;

use super::BLOCK;
use super::disagreements::PIECE;

/// What a [`Monitor`](super::Monitor) holds a source to.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The source's configured name, for alarms.
    pub source: String,
    /// Min-entropy claimed for each bit: above 0, at most 1.
    pub entropy_per_bit: f64,
    /// Min-entropy claimed for each byte, in bits: above 0, at most 8.
    pub entropy_per_byte: f64,
    /// Whether the data is claimed to be uniform, so that chi-square, bias and autocorrelation apply.
    /// Without, a source whose raw bits are biased (to be conditioned) is judged by the other tests.
    pub uniform: bool,
    /// Bytes judged and served at a time: 8, 16, 32 or 64 KiB. Below 64 KiB, the tests of SP 800-90B
    /// still judge every byte before it is served, but the statistics, which need 64 KiB, judge at
    /// the last block of each 64 KiB, and only that block is withheld: for sources so slow that
    /// waiting for 64 KiB (65 seconds at 1 KB/s) would be worse.
    pub block_bytes: usize,
    /// Bytes a second that the source makes, [`Self::least_rate`] or more; `None` if nobody knows.
    pub expected_rate: Option<u64>,
}

impl Settings {
    /// What the project claims of a quantum source: 0.98 bit a bit, 7.84 bits a byte, uniform, judged
    /// in blocks of 64 KiB, at no particular rate.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            entropy_per_bit: 0.98,
            entropy_per_byte: 7.84,
            uniform: true,
            block_bytes: BLOCK,
            expected_rate: None,
        }
    }

    /// The slowest rate that can be expected. Bytes are counted by whole blocks, so a window of the rate's test sees up to
    /// one block more or less than came; at a block in 4 seconds that is 40 % of what 10 seconds bring, and passes.
    pub fn least_rate(&self) -> u64 {
        self.block_bytes as u64 / 4
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first value that is outside its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(self.entropy_per_bit > 0.0 && self.entropy_per_bit <= 1.0) {
            return Err(SettingsError::EntropyPerBit(self.entropy_per_bit));
        }
        if !(self.entropy_per_byte > 0.0 && self.entropy_per_byte <= 8.0) {
            return Err(SettingsError::EntropyPerByte(self.entropy_per_byte));
        }
        let block = self.block_bytes;
        if !(block.is_power_of_two() && (PIECE..=BLOCK).contains(&block)) {
            return Err(SettingsError::BlockBytes(block));
        }
        match self.expected_rate {
            Some(0) => Err(SettingsError::ExpectedRate),
            Some(rate) if rate < self.least_rate() => Err(SettingsError::TooSlow {
                rate,
                block,
                least: self.least_rate(),
            }),
            _ => Ok(()),
        }
    }
}

/// Settings that no monitor can be built from.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SettingsError {
    /// The claim for a bit is out of range.
    #[error("min-entropy per bit is {0}: give a number above 0 and at most 1")]
    EntropyPerBit(f64),
    /// The claim for a byte is out of range.
    #[error("min-entropy per byte is {0}: give a number above 0 and at most 8")]
    EntropyPerByte(f64),
    /// The block has a length that the statistics cannot be made of.
    #[error("health tests on blocks of {0} bytes: give 8, 16, 32 or 64 KiB")]
    BlockBytes(usize),
    /// No source makes nothing.
    #[error("an expected rate of 0: give bytes a second, or leave it out")]
    ExpectedRate,
    /// Blocks come too seldom for the rate to be measured.
    #[error(
        "an expected rate of {rate} B/s cannot be measured in blocks of {block} bytes: expect {least} B/s or more, take smaller blocks, or leave it out"
    )]
    TooSlow {
        /// Bytes a second that were expected.
        rate: u64,
        /// Bytes in a block.
        block: usize,
        /// The least rate for these.
        least: u64,
    },
}
