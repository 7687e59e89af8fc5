//! Sizes of a linear extractor's blocks.

use thiserror::Error;

/// Bits of an input block and of an output block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    input: usize,
    output: usize,
}

/// Why a pair of block sizes is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// Not a positive multiple of 64.
    #[error("block sizes must be positive multiples of 64 bits, and {0} is not")]
    NotWords(usize),
    /// Nothing would be given up.
    #[error("an extractor must put out fewer bits than it takes in, not {output} for {input}")]
    NotShorter {
        /// Input bits.
        input: usize,
        /// Output bits.
        output: usize,
    },
    /// Beyond [`Sizes::MAX_BITS`].
    #[error("input blocks have at most {max} bits, not {0}", max = Sizes::MAX_BITS)]
    TooLarge(usize),
}

impl Sizes {
    /// 1024 bits in, 768 out: the default of the vendor's library.
    pub const DEFAULT: Sizes = Sizes {
        input: 1024,
        output: 768,
    };
    /// 2048 bits in, 1792 out: also in use with the vendor's library.
    pub const LARGE: Sizes = Sizes {
        input: 2048,
        output: 1792,
    };
    /// The largest input block, in bits; bounds memory and the time of the rank test.
    pub const MAX_BITS: usize = 4096;

    /// Checks sizes in bits: positive multiples of 64, the output shorter than the input.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub const fn new(input: usize, output: usize) -> Result<Self, SizeError> {
        if input == 0 || !input.is_multiple_of(64) {
            return Err(SizeError::NotWords(input));
        }
        if output == 0 || !output.is_multiple_of(64) {
            return Err(SizeError::NotWords(output));
        }
        if output >= input {
            return Err(SizeError::NotShorter { input, output });
        }
        if input > Self::MAX_BITS {
            return Err(SizeError::TooLarge(input));
        }
        Ok(Sizes { input, output })
    }

    /// Bits of an input block.
    #[must_use]
    pub const fn input_bits(self) -> usize {
        self.input
    }

    /// Bits of an output block.
    #[must_use]
    pub const fn output_bits(self) -> usize {
        self.output
    }

    /// Bytes of a dense matrix of these sizes.
    #[must_use]
    pub const fn matrix_len(self) -> usize {
        self.input * self.output / 8
    }

    /// Bytes of a Toeplitz seed of these sizes; its last bit is not used.
    #[must_use]
    pub const fn seed_len(self) -> usize {
        (self.input + self.output) / 8
    }
}
