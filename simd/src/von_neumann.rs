//! Von Neumann's rule: of each pair of bits, the first one if they differ, nothing if they are equal.
//!
//! Pairs are bits (0, 1), (2, 3), (4, 5), (6, 7) of each byte, the lower bit being the first: 01 gives 0 and 10 gives
//! 1, written first bit first. The output is packed from bit 0 of each byte on.

use crate::Path;
use zeroize::Zeroize;

const FIRST_OF_PAIR: u64 = 0x5555_5555_5555_5555;

/// Selects bits by von Neumann's rule, and keeps those that do not fill a byte yet.
#[derive(Clone)]
pub struct Selector {
    /// Invariant: the processor has its instructions.
    path: Path,
    /// Bits that wait for the rest of their byte, from bit 0 on.
    waiting: u64,
    /// How many, less than 8.
    count: u32,
}

impl Selector {
    /// The ways to select, best first.
    pub const PATHS: &'static [Path] = &[Path::Pext, Path::Portable];

    /// An empty selector that uses the best way.
    #[must_use]
    pub fn new() -> Self {
        Selector {
            path: Path::best_of(Self::PATHS),
            waiting: 0,
            count: 0,
        }
    }

    /// The way in use.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Takes another way from now on. False, and no change, if it is not one of [`Self::PATHS`] or the processor
    /// lacks it.
    pub fn choose(&mut self, path: Path) -> bool {
        let possible = path.is_one_of(Self::PATHS);
        if possible {
            self.path = path;
        }
        possible
    }

    /// Forgets the bits that wait.
    pub fn reset(&mut self) {
        self.waiting.zeroize();
        self.count.zeroize();
    }

    /// The most bytes that `input_len` bytes of input can yield now.
    #[must_use]
    pub const fn max_output(&self, input_len: usize) -> usize {
        input_len / 2 + 1
    }

    /// Appends the bytes that `input` completes to `out`.
    pub fn select(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        // Eight bytes more, for words are written whole.
        out.resize(start + self.max_output(input.len()) + 8, 0);
        let room = &mut out[start..];
        let written = match self.path {
            #[cfg(target_arch = "x86_64")]
            Path::Pext => {
                #[expect(unsafe_code, reason = "calls a function compiled for BMI2")]
                // SAFETY: `path` is `Pext` only if the processor has BMI2 and POPCNT (invariant of the field).
                unsafe {
                    select_pext(input, room, &mut self.waiting, &mut self.count)
                }
            }
            _ => select_with(
                compress_pairs,
                input,
                room,
                &mut self.waiting,
                &mut self.count,
            ),
        };
        out[start + written..].zeroize();
        out.truncate(start + written);
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        self.reset();
    }
}

/// The loop that all ways share; `compress(word, mask)` moves the bits of `word` under `mask` to the lower end.
#[inline(always)]
fn select_with(
    compress: impl Fn(u64, u64) -> u64,
    input: &[u8],
    out: &mut [u8],
    waiting: &mut u64,
    count: &mut u32,
) -> usize {
    let mut written = 0;
    let (words, rest) = input.as_chunks::<8>();
    let mut last = [0u8; 8];
    // Zeros are pairs of equal bits: they yield nothing.
    last[..rest.len()].copy_from_slice(rest);
    for bytes in words.iter().chain(std::iter::once(&last)) {
        let word = u64::from_le_bytes(*bytes);
        let mask = (word ^ (word >> 1)) & FIRST_OF_PAIR;
        *waiting |= compress(word, mask) << *count;
        *count += mask.count_ones();
        out[written..written + 8].copy_from_slice(&waiting.to_le_bytes());
        written += (*count / 8) as usize;
        *waiting >>= *count & !7;
        *count &= 7;
    }
    written
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2,popcnt")]
fn select_pext(input: &[u8], out: &mut [u8], waiting: &mut u64, count: &mut u32) -> usize {
    select_with(
        |word, mask| std::arch::x86_64::_pext_u64(word, mask),
        input,
        out,
        waiting,
        count,
    )
}

/// What `PEXT` does, for masks within [`FIRST_OF_PAIR`]. Each bit moves down by the number of zeros of the mask below
/// it, one binary digit of that number at a time (after Warren, "Hacker's Delight", section 7-4).
#[inline(always)]
fn compress_pairs(word: u64, mask: u64) -> u64 {
    let mut mask = squeeze_pairs(mask);
    let mut bits = squeeze_pairs(word) & mask;
    let mut zeros = !mask << 1;
    for step in 0..5 {
        // Bit i of `odd`: whether the count of zeros below i is odd, among those not yet dealt with.
        let mut odd = zeros ^ (zeros << 1);
        odd ^= odd << 2;
        odd ^= odd << 4;
        odd ^= odd << 8;
        odd ^= odd << 16;
        let moving = odd & mask;
        mask = (mask ^ moving) | (moving >> (1 << step));
        let moving_bits = bits & moving;
        bits = (bits ^ moving_bits) | (moving_bits >> (1 << step));
        zeros &= !odd;
    }
    u64::from(bits)
}

/// Bits 0, 2, 4 .. of `word` as bits 0, 1, 2 ..
#[inline(always)]
fn squeeze_pairs(word: u64) -> u32 {
    let mut bits = word & FIRST_OF_PAIR;
    bits = (bits | (bits >> 1)) & 0x3333_3333_3333_3333;
    bits = (bits | (bits >> 2)) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | (bits >> 4)) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | (bits >> 8)) & 0x0000_ffff_0000_ffff;
    ((bits | (bits >> 16)) & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule, bit by bit; the bits that do not fill a byte are left out.
    fn reference(input: &[u8]) -> Vec<u8> {
        let bit = |i: usize| (input[i / 8] >> (i % 8)) & 1;
        let bits: Vec<u8> = (0..input.len() * 4)
            .filter(|pair| bit(2 * pair) != bit(2 * pair + 1))
            .map(|pair| bit(2 * pair))
            .collect();
        let bytes = bits.chunks_exact(8);
        bytes
            .map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | bit))
            .collect()
    }

    fn available() -> impl Iterator<Item = Path> {
        let all = Selector::PATHS.iter().copied();
        all.filter(|path| path.is_available())
    }

    #[test]
    fn the_first_bit_of_unequal_pairs_comes_out() {
        for path in available() {
            let mut selector = Selector::new();
            assert!(selector.choose(path));
            let mut out = Vec::new();
            // First bit 1, second bit 0, in every pair: ones. The other way round: zeros. Equal pairs: nothing.
            selector.select(&[0x55, 0x55, 0xaa, 0xaa, 0xff, 0x00], &mut out);
            assert_eq!(out, [0xff, 0x00], "{path:?}");
            // Three bits wait, and five more fill the byte: 1 0 1, then 0 0 0 0 1.
            selector.select(&[0b00_01_10_01], &mut out);
            selector.select(&[0b10_10_10_10, 0b01], &mut out);
            assert_eq!(out, [0xff, 0x00, 0b1000_0101], "{path:?}");
        }
    }

    #[test]
    fn foreign_ways_are_refused() {
        assert!(!Selector::new().choose(Path::Gfni));
        assert!(Selector::new().choose(Path::Portable));
    }

    proptest! {
        #[test]
        fn all_ways_agree_with_the_rule(
            input in prop::collection::vec(any::<u8>(), 0..600),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected = reference(&input);
            let cut = cut.index(input.len() + 1);
            for path in available() {
                let mut selector = Selector::new();
                prop_assert!(selector.choose(path));
                let mut out = Vec::new();
                selector.select(&input[..cut], &mut out);
                selector.select(&input[cut..], &mut out);
                prop_assert_eq!(&out, &expected, "{:?}", path);
                prop_assert!(selector.count < 8 && selector.waiting >> selector.count == 0);
            }
        }
    }
}
