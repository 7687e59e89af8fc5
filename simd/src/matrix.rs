//! `y = M x` over GF(2), for one dense matrix and many blocks `x`.
//!
//! The matrix comes row after row, `input_bits / 8` bytes each. Bit `r` of `y` is the parity of row `r` AND `x`.
//!
//! Many blocks are multiplied at once. The portable way ("four Russians") turns 64 blocks into bit slices, word `i` of
//! which holds bit `i` of each block; for each eight slices it tabulates all 256 sums, and a row then adds one of
//! them, chosen by eight bits of the matrix (compiled a second time for AVX2):
//!
//! ```text
//!  blocks ── transpose ─> slices ── 8 at a time ─> 256 sums ── sum[matrix byte] ─> row's slice ── transpose ─> blocks
//! ```

#[cfg(target_arch = "x86_64")]
mod gfni;
mod sliced;

use crate::shape::Shape;
use crate::{Path, Vectors};
use zeroize::Zeroizing;

/// A matrix, prepared for multiplication.
pub struct Matrix {
    shape: Shape,
    /// The rows as they came.
    rows: Vec<u8>,
    /// The kernel is the one for it.
    path: Path,
    kernel: Kernel,
    /// The blocks under way, in the kernel's order; wiped when the matrix goes.
    scratch: Zeroizing<Vec<u64>>,
}

/// The matrix in the order in which a way of multiplication reads it.
enum Kernel {
    Sliced(sliced::Columns, Vectors),
    /// Invariant: the processor has GFNI and AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Gfni(gfni::Tiles),
}

impl Matrix {
    /// The ways to multiply, best first.
    pub const PATHS: &'static [Path] = &[Path::Gfni, Path::Avx2, Path::Portable];

    /// Prepares a matrix of `output_bits` rows and `input_bits` columns. `None` if a size is zero or no multiple of
    /// 64, or if `rows` does not hold exactly the matrix.
    #[must_use]
    pub fn new(input_bits: usize, output_bits: usize, rows: &[u8]) -> Option<Self> {
        let shape = Shape::of_bits(input_bits, output_bits)?;
        if Some(rows.len()) != (input_bits / 8).checked_mul(output_bits) {
            return None;
        }
        let mut matrix = Matrix {
            shape,
            rows: rows.to_vec(),
            path: Path::Portable,
            kernel: sliced(input_bits / 8, rows, Path::Portable)?,
            scratch: Zeroizing::new(Vec::new()),
        };
        matrix.choose(Path::best_of(Self::PATHS));
        Some(matrix)
    }

    /// The way in use.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Takes another way from now on. False, and no change, if it is not one of [`Self::PATHS`] or the processor
    /// lacks it.
    pub fn choose(&mut self, path: Path) -> bool {
        if !path.is_one_of(Self::PATHS) {
            return false;
        }
        let kernel = match path {
            #[cfg(target_arch = "x86_64")]
            Path::Gfni => Some(Kernel::Gfni(gfni::Tiles::new(
                self.shape.input_words,
                self.shape.output_words,
                &self.rows,
            ))),
            _ => sliced(8 * self.shape.input_words, &self.rows, path),
        };
        let Some(kernel) = kernel else {
            return false;
        };
        (self.kernel, self.path) = (kernel, path);
        true
    }

    /// Multiplies whole blocks of `input` into whole blocks of `out`, as many as both hold; returns how many.
    pub fn multiply(&mut self, input: &[u8], out: &mut [u8]) -> usize {
        let (blocks, input, out) = self.shape.whole(input, out);
        match &self.kernel {
            Kernel::Sliced(columns, vectors) => {
                let (words, scratch) = (self.shape.input_words, &mut self.scratch);
                vectors.run(|| columns.multiply(words, input, out, scratch));
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Gfni(tiles) => {
                #[expect(unsafe_code, reason = "calls a function compiled for GFNI and AVX-512")]
                // SAFETY: the processor has GFNI and AVX-512F (invariant of this kernel, kept by `choose`).
                unsafe {
                    tiles.multiply(
                        self.shape.input_words,
                        self.shape.output_words,
                        input,
                        out,
                        &mut self.scratch,
                    );
                }
            }
        }
        blocks
    }
}

/// The portable kernel for rows of `width` bytes, with the vectors of `path`.
fn sliced(width: usize, rows: &[u8], path: Path) -> Option<Kernel> {
    let vectors = Vectors::of(path)?;
    Some(Kernel::Sliced(sliced::Columns::new(width, rows), vectors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    /// Row by row, bit by bit.
    fn reference(input_bits: usize, rows: &[u8], input: &[u8]) -> Vec<u8> {
        let width = input_bits / 8;
        let output_bits = rows.len() / width;
        let mut out = Vec::new();
        for block in input.chunks_exact(width) {
            let mut y = vec![0u8; output_bits / 8];
            for (r, row) in rows.chunks_exact(width).enumerate() {
                let ones: u32 = row
                    .iter()
                    .zip(block)
                    .map(|(m, x)| (m & x).count_ones())
                    .sum();
                y[r / 8] |= ((ones % 2) as u8) << (r % 8);
            }
            out.extend(y);
        }
        out
    }

    fn available() -> impl Iterator<Item = Path> {
        let all = Matrix::PATHS.iter().copied();
        all.filter(|path| path.is_available())
    }

    #[test]
    fn one_bit_of_the_matrix_moves_one_bit() {
        for path in available() {
            let mut rows = vec![0u8; 128 * 64 / 8];
            // Row 11, column 100.
            rows[11 * 16 + 100 / 8] = 1 << (100 % 8);
            let mut matrix = Matrix::new(128, 64, &rows).unwrap();
            assert!(matrix.choose(path));
            let mut out = [0u8; 16];
            let mut input = [0u8; 32];
            input[16 + 12] = 1 << 4;
            assert_eq!(matrix.multiply(&input, &mut out), 2);
            let mut expected = [0u8; 16];
            expected[8 + 1] = 1 << 3;
            assert_eq!(out, expected, "{path:?}");
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for (n, k, len) in [
            (0, 64, 0),
            (64, 0, 0),
            (100, 64, 800),
            (128, 64, 1023),
            (128, 64, 1025),
        ] {
            assert!(Matrix::new(n, k, &vec![0; len]).is_none(), "{n} {k} {len}");
        }
        let mut matrix = Matrix::new(128, 64, &[1; 1024]).unwrap();
        assert!(!matrix.choose(Path::Vpclmul));
        assert_eq!(matrix.multiply(&[0; 15], &mut [0; 8]), 0);
        assert_eq!(matrix.multiply(&[0; 32], &mut [0; 15]), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn all_ways_agree_with_the_definition(
            n in 1usize..=9,
            k in 1usize..=9,
            blocks in prop::sample::select(vec![0usize, 1, 7, 8, 31, 32, 33, 63, 64, 65, 256, 300]),
            seed in any::<u64>(),
        ) {
            let mut bytes = noise(seed);
            let rows: Vec<u8> = bytes.by_ref().take(n * 64 * k * 8).collect();
            let input: Vec<u8> = bytes.take(blocks * n * 8).collect();
            let expected = reference(64 * n, &rows, &input);
            let mut matrix = Matrix::new(64 * n, 64 * k, &rows).unwrap();
            for path in available() {
                prop_assert!(matrix.choose(path));
                let mut out = vec![0xa5; expected.len()];
                prop_assert_eq!(matrix.multiply(&input, &mut out), blocks);
                prop_assert!(out == expected, "{:?}", path);
            }
        }
    }
}
