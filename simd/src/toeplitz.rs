//! `y = T x` over GF(2) for a Toeplitz matrix, which is the same along each diagonal.
//!
//! For `n` input bits and `k` output bits the matrix is made of `n + k - 1` bits `s`: row `r`, column `j` holds
//! `s[r - j + n - 1]`. So `y[r]` is the coefficient of `z^(r + n)` in the product of polynomials
//! `z * s(z) * x(z)`: the words from `n / 64` on of a carry-less product, `k / 64` of them, and no shift at the end.
//!
//! ```text
//!  z*s:  word 0 ............................. (n + k)/64 - 1
//!  x:    word 0 ........... n/64 - 1
//!  product:     .... n/64 ............. (n + k)/64 - 1 ....
//!                    └────── y ──────┘
//! ```
//!
//! The portable way multiplies by the written-out matrix ([`crate::matrix`]).

#[cfg(target_arch = "x86_64")]
mod clmul;

use crate::Path;
use crate::matrix::Matrix;
use crate::shape::Shape;
use crate::words::word;
use zeroize::Zeroizing;

/// A Toeplitz matrix, prepared for multiplication.
pub struct Toeplitz {
    shape: Shape,
    /// A word of zero, then the words of `z * s(z)`.
    seed: Vec<u64>,
    /// Invariant: the processor has its instructions.
    path: Path,
    /// The written-out matrix, if the portable way is in use.
    matrix: Option<Matrix>,
    /// The blocks under way; wiped when the matrix goes.
    scratch: Zeroizing<Vec<u64>>,
}

impl Toeplitz {
    /// The ways to multiply, best first.
    pub const PATHS: &'static [Path] = &[Path::Vpclmul, Path::Pclmul, Path::Portable];

    /// Prepares the matrix of `seed`, whose last bit is not used. `None` if a size is zero or no multiple of 64, or if
    /// the seed is not `(input_bits + output_bits) / 8` bytes long.
    #[must_use]
    pub fn new(input_bits: usize, output_bits: usize, seed: &[u8]) -> Option<Self> {
        let shape = Shape::of_bits(input_bits, output_bits)?;
        if Some(8 * seed.len()) != input_bits.checked_add(output_bits) {
            return None;
        }
        let mut shifted = vec![0];
        let mut carry = 0;
        for index in 0..seed.len() / 8 {
            let bits = word(seed, index);
            shifted.push(bits << 1 | carry);
            carry = bits >> 63;
        }
        let mut toeplitz = Toeplitz {
            shape,
            seed: shifted,
            path: Path::Portable,
            matrix: None,
            scratch: Zeroizing::new(Vec::new()),
        };
        toeplitz.choose(Path::best_of(Self::PATHS));
        Some(toeplitz)
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
        self.matrix = match path {
            Path::Portable => {
                let (n, k) = (64 * self.shape.input_words, 64 * self.shape.output_words);
                let mut matrix = Matrix::new(n, k, &self.rows());
                // Portable to the end, also where the matrix would have a faster way.
                if let Some(matrix) = &mut matrix {
                    matrix.choose(Path::Portable);
                }
                matrix
            }
            _ => None,
        };
        self.path = path;
        true
    }

    /// The matrix, row after row.
    fn rows(&self) -> Vec<u8> {
        let n = 64 * self.shape.input_words;
        // Bit t of s is bit t + 1 behind the word of zero.
        let bit = |t: usize| (self.seed[1 + (t + 1) / 64] >> ((t + 1) % 64)) & 1;
        let mut rows = vec![0; self.shape.output_words * 64 * n / 8];
        for (r, row) in rows.chunks_exact_mut(n / 8).enumerate() {
            for j in 0..n {
                row[j / 8] |= (bit(r + n - 1 - j) as u8) << (j % 8);
            }
        }
        rows
    }

    /// Multiplies whole blocks of `input` into whole blocks of `out`, as many as both hold; returns how many.
    pub fn multiply(&mut self, input: &[u8], out: &mut [u8]) -> usize {
        let (blocks, input, out) = self.shape.whole(input, out);
        if let Some(matrix) = &mut self.matrix {
            return matrix.multiply(input, out);
        }
        #[cfg(target_arch = "x86_64")]
        if self.path == Path::Vpclmul {
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for VPCLMULQDQ and AVX-512"
            )]
            // SAFETY: `path` is `Vpclmul` only if the processor has VPCLMULQDQ and AVX-512F (invariant of the field).
            unsafe {
                clmul::multiply_4(
                    self.shape.input_words,
                    self.shape.output_words,
                    &self.seed,
                    input,
                    out,
                    &mut self.scratch,
                );
            }
        } else if self.path == Path::Pclmul {
            #[expect(unsafe_code, reason = "calls a function compiled for PCLMULQDQ")]
            // SAFETY: `path` is `Pclmul` only if the processor has PCLMULQDQ (invariant of the field).
            unsafe {
                clmul::multiply_1(
                    self.shape.input_words,
                    self.shape.output_words,
                    &self.seed,
                    input,
                    out,
                    &mut self.scratch,
                );
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    /// Bit by bit, from the definition.
    fn reference(n: usize, k: usize, seed: &[u8], input: &[u8]) -> Vec<u8> {
        let bit = |bytes: &[u8], i: usize| (bytes[i / 8] >> (i % 8)) & 1;
        let mut out = Vec::new();
        for x in input.chunks_exact(n / 8) {
            let mut y = vec![0; k / 8];
            for r in 0..k {
                let sum = (0..n).fold(0, |sum, j| sum ^ (bit(seed, r + n - 1 - j) & bit(x, j)));
                y[r / 8] |= sum << (r % 8);
            }
            out.extend(y);
        }
        out
    }

    fn available() -> impl Iterator<Item = Path> {
        let all = Toeplitz::PATHS.iter().copied();
        all.filter(|path| path.is_available())
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for (n, k, len) in [
            (0, 64, 8),
            (64, 0, 8),
            (100, 64, 20),
            (128, 64, 23),
            (128, 64, 25),
        ] {
            assert!(
                Toeplitz::new(n, k, &vec![0; len]).is_none(),
                "{n} {k} {len}"
            );
        }
        let mut toeplitz = Toeplitz::new(128, 64, &[1; 24]).unwrap();
        assert!(!toeplitz.choose(Path::Pext));
        assert_eq!(toeplitz.multiply(&[0; 15], &mut [0; 8]), 0);
        assert_eq!(toeplitz.multiply(&[0; 32], &mut [0; 15]), 1);
    }

    #[test]
    fn the_last_seed_bit_is_not_used() {
        let mut seed = [0; 24];
        seed[23] = 0x80;
        for path in available() {
            let mut toeplitz = Toeplitz::new(128, 64, &seed).unwrap();
            assert!(toeplitz.choose(path));
            let mut out = [1; 8];
            toeplitz.multiply(&[0xff; 16], &mut out);
            assert_eq!(out, [0; 8], "{path:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn all_ways_agree_with_the_definition(
            n in 1usize..=17,
            k in 1usize..=13,
            blocks in 0usize..=9,
            start in any::<u64>(),
        ) {
            let mut bytes = noise(start);
            let seed: Vec<u8> = bytes.by_ref().take(8 * (n + k)).collect();
            let input: Vec<u8> = bytes.take(blocks * n * 8).collect();
            let expected = reference(64 * n, 64 * k, &seed, &input);
            let mut toeplitz = Toeplitz::new(64 * n, 64 * k, &seed).unwrap();
            for path in available() {
                prop_assert!(toeplitz.choose(path));
                let mut out = vec![0xa5; expected.len()];
                prop_assert_eq!(toeplitz.multiply(&input, &mut out), blocks);
                prop_assert!(out == expected, "{:?}", path);
            }
        }
    }
}
