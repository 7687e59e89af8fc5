//! The Troyer-Renner extractor: `y = M x` over GF(2), block by block, always with the same matrix.
//!
//! A matrix file has no header: row after row, `input_bits / 8` bytes each, bits from the least significant end. Row
//! `r` AND `x` has the parity that is bit `r` of `y`. A file may be longer than the matrix; only its beginning counts.
//!
//! Method: M. Troyer and R. Renner, "A randomness extractor for the Quantis device" (ID Quantique, 2012). Not a vetted
//! component (NIST SP 800-90B section 3.1.5.2). The bound holds if the matrix was drawn uniformly and independently of
//! the source.

use super::blocks::Blocks;
use super::{Conditioner, Method, Sizes};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Why a matrix is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MatrixError {
    /// The file ends within the matrix.
    #[error(
        "the matrix needs {needed} bytes and the file has {have}: is it the right file, and do the sizes fit it?"
    )]
    TooShort {
        /// Bytes of the file.
        have: usize,
        /// Bytes of the matrix.
        needed: usize,
    },
    /// Some output bits would be sums of others.
    #[error(
        "the matrix has rank {rank}, not {rows}: some output bits would depend on others; this is no extractor's matrix"
    )]
    Dependent {
        /// Independent rows.
        rank: usize,
        /// All rows.
        rows: usize,
    },
}

/// The extractor with one matrix.
pub struct Matrix {
    sizes: Sizes,
    matrix: qrng_simd::matrix::Matrix,
    blocks: Blocks,
}

impl Matrix {
    /// Takes the first [`Sizes::matrix_len`] bytes of `file` for the matrix, whose rows must be independent.
    ///
    /// # Errors
    /// If `file` is too short or the rows depend on each other.
    pub fn new(sizes: Sizes, file: &[u8]) -> Result<Self, MatrixError> {
        let short = MatrixError::TooShort {
            have: file.len(),
            needed: sizes.matrix_len(),
        };
        let rows = file.get(..sizes.matrix_len()).ok_or(short)?;
        let rank = rank(rows, sizes.input_bits() / 8);
        if rank < sizes.output_bits() {
            let rows = sizes.output_bits();
            return Err(MatrixError::Dependent { rank, rows });
        }
        let (n, k) = (sizes.input_bits(), sizes.output_bits());
        Ok(Matrix {
            sizes,
            matrix: qrng_simd::matrix::Matrix::new(n, k, rows).ok_or(short)?,
            blocks: Blocks::of(sizes),
        })
    }
}

impl Conditioner for Matrix {
    fn method(&self) -> Method {
        Method::Matrix(self.sizes)
    }

    fn max_output(&self, input_len: usize) -> usize {
        self.blocks.max_output(input_len)
    }

    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.blocks.feed(input, out, |blocks, out| {
            self.matrix.multiply(blocks, out);
        });
    }

    fn reset(&mut self) {
        self.blocks.reset();
    }
}

/// A matrix that anybody can make again: SHA-256 of `label` and a 64-bit big-endian counter from 0, digest after
/// digest. [`Matrix::new`] still checks its rank.
#[must_use]
pub fn generate(sizes: Sizes, label: &str) -> Vec<u8> {
    let digests = (0u64..).flat_map(|counter| {
        let digest = Sha256::new()
            .chain_update(label)
            .chain_update(counter.to_be_bytes());
        <[u8; 32]>::from(digest.finalize())
    });
    digests.take(sizes.matrix_len()).collect()
}

/// The number of independent rows, each `width` bytes long, by Gauss's elimination.
fn rank(rows: &[u8], width: usize) -> usize {
    let words = |row: &[u8]| -> Vec<u64> {
        let (words, _) = row.as_chunks::<8>();
        words.iter().map(|word| u64::from_le_bytes(*word)).collect()
    };
    let mut rows: Vec<Vec<u64>> = rows.chunks_exact(width).map(words).collect();
    let mut rank = 0;
    for column in 0..8 * width {
        let (word, bit) = (column / 64, column % 64);
        let has_bit = |row: &Vec<u64>| row[word] >> bit & 1 == 1;
        let Some(pivot) = (rank..rows.len()).find(|&row| has_bit(&rows[row])) else {
            continue;
        };
        rows.swap(rank, pivot);
        let (done, below) = rows.split_at_mut(rank + 1);
        for row in below.iter_mut().filter(|row| has_bit(row)) {
            // Columns before this one are zero already.
            for (a, b) in row[word..].iter_mut().zip(&done[rank][word..]) {
                *a ^= b;
            }
        }
        rank += 1;
    }
    rank
}
