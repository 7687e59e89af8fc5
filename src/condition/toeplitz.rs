//! The Toeplitz extractor: `y = T x` over GF(2), the matrix being the same along each diagonal.
//!
//! For `n` bits in and `k` out the seed has `n + k - 1` bits `s` (and one more, not used, to fill its last byte). Row
//! `r`, column `j` of `T` holds `s[r - j + n - 1]`:
//!
//! ```text
//!            column 0    column 1   ...   column n-1
//!  row 0     s[n-1]      s[n-2]           s[0]
//!  row 1     s[n]        s[n-1]           s[1]
//!  ...
//!  row k-1   s[n+k-2]    s[n+k-3]         s[k-1]
//! ```
//!
//! These matrices are a universal family, so the leftover hash lemma holds for a seed that is uniform and independent
//! of the source: [`crate::condition::entropy::leftover_hash_log2`]. The seed is drawn once and may be known to
//! anybody. Not a vetted component (NIST SP 800-90B section 3.1.5.2).

use super::blocks::Blocks;
use super::{Conditioner, Method, Sizes};
use thiserror::Error;

/// Why a seed is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeedError {
    /// Not as long as the sizes ask for.
    #[error("the Toeplitz seed must have {needed} bytes and has {have}")]
    Length {
        /// Bytes of the seed.
        have: usize,
        /// Bytes that the sizes ask for.
        needed: usize,
    },
    /// All bytes are the same.
    #[error(
        "all bytes of the Toeplitz seed are the same: draw it from a random generator that is not this source"
    )]
    Constant,
}

/// The extractor with one seed.
pub struct Toeplitz {
    sizes: Sizes,
    toeplitz: qrng_simd::toeplitz::Toeplitz,
    blocks: Blocks,
}

impl Toeplitz {
    /// Takes `seed`, [`Sizes::seed_len`] bytes that are uniform and independent of the source.
    ///
    /// # Errors
    /// If it has another length, or if its bytes are all the same.
    pub fn new(sizes: Sizes, seed: &[u8]) -> Result<Self, SeedError> {
        let length = SeedError::Length {
            have: seed.len(),
            needed: sizes.seed_len(),
        };
        let (n, k) = (sizes.input_bits(), sizes.output_bits());
        let toeplitz = qrng_simd::toeplitz::Toeplitz::new(n, k, seed).ok_or(length)?;
        if seed.iter().all(|byte| *byte == seed[0]) {
            return Err(SeedError::Constant);
        }
        Ok(Toeplitz {
            sizes,
            toeplitz,
            blocks: Blocks::of(sizes),
        })
    }
}

impl Conditioner for Toeplitz {
    fn method(&self) -> Method {
        Method::Toeplitz(self.sizes)
    }

    fn max_output(&self, input_len: usize) -> usize {
        self.blocks.max_output(input_len)
    }

    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.blocks.feed(input, out, |blocks, out| {
            self.toeplitz.multiply(blocks, out);
        });
    }

    fn reset(&mut self) {
        self.blocks.reset();
    }
}
