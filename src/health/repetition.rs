//! The repetition count test (SP 800-90B section 4.4.1), over bits and over bytes at once.
//!
//! A run of equal samples as long as a tier's cutoff is an alarm. Data is passed over in pieces of
//! 1 KiB that hold no four equal bytes in a row: no run of bytes there is longer than three, and none
//! of bits longer than 38, as 39 bits cover four whole bytes. Only how such pieces begin and end is
//! followed exactly. Both are below any cutoff of the tiers (41 bits and 6 bytes at the highest
//! claims), and where a cutoff is lower nothing is passed over.

use qrng_simd::Vectors;

use super::alarm::{Finding, Test, Tier, worst};
use super::cutoff::repetition_count;

/// Bytes that are searched at a time for anything that could be part of a long run.
const PIECE: usize = 1024;

/// The longest run of bits without four equal bytes in a row.
const SHORT_BITS: u32 = 38;

/// The longest run of bytes without four equal bytes in a row.
const SHORT_BYTES: u32 = 3;

/// The run in progress.
#[derive(Clone)]
struct Run {
    test: Test,
    /// Of the intermittent and the permanent tier.
    cutoffs: [u32; 2],
    value: Option<u8>,
    length: u64,
    samples: u64,
    found: Option<Finding>,
}

impl Run {
    fn new(test: Test, entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self {
            test,
            cutoffs: log2_alpha.map(|exponent| repetition_count(entropy, exponent)),
            value: None,
            length: 0,
            samples: 0,
            found: None,
        }
    }

    /// Takes `count` samples of one `value`, and keeps the worst finding so far.
    #[inline]
    fn extend(&mut self, value: u8, count: u32) {
        if self.value != Some(value) {
            self.value = Some(value);
            self.length = 0;
        }
        let before = self.length;
        self.length += u64::from(count);
        self.samples += u64::from(count);
        if self.length >= u64::from(self.cutoffs[0]) {
            self.judge(before);
        }
    }

    /// Judges a run that has just grown from `before`.
    fn judge(&mut self, before: u64) {
        for (tier, cutoff) in [Tier::Intermittent, Tier::Permanent]
            .into_iter()
            .zip(self.cutoffs)
        {
            let cutoff = u64::from(cutoff);
            if before < cutoff && cutoff <= self.length {
                let finding = Finding {
                    test: self.test,
                    tier,
                    statistic: cutoff as f64,
                    limit: cutoff as f64,
                    sample: self.samples - (self.length - cutoff) - 1,
                    lag: None,
                };
                self.found = worst(self.found.take().into_iter().chain([finding]));
            }
        }
    }

    /// Passes over samples that hold no run to speak of but the one that they end with.
    fn skip_to(&mut self, samples: u64, value: u8, length: u32) {
        self.samples = samples;
        self.value = Some(value);
        self.length = u64::from(length);
    }
}

/// Repetition count over bits, the lowest bit of a byte first, and over bytes.
#[derive(Clone)]
pub struct Repetition {
    bits: Run,
    bytes: Run,
    may_skip: bool,
    vectors: Vectors,
}

impl Repetition {
    /// A test for the claimed entropy per bit and per byte and the false-alarm rates of the tiers.
    pub fn new(per_bit: f64, per_byte: f64, log2_alpha: [f64; 2]) -> Self {
        let bits = Run::new(Test::RepetitionBits, per_bit, log2_alpha);
        let bytes = Run::new(Test::RepetitionBytes, per_byte, log2_alpha);
        let may_skip = bits.cutoffs[0] > SHORT_BITS && bytes.cutoffs[0] > SHORT_BYTES;
        Self {
            bits,
            bytes,
            may_skip,
            vectors: Vectors::best(),
        }
    }

    /// Takes the next bytes; the worst finding over bits, and over bytes. Their samples count bits
    /// and bytes since the test was made.
    pub fn update(&mut self, data: &[u8]) -> [Option<Finding>; 2] {
        let (pieces, rest) = data.as_chunks::<PIECE>();
        for piece in pieces {
            if self.may_skip && !self.vectors.run(|| holds_four_equal(piece)) {
                self.skip(piece);
            } else {
                self.each(piece);
            }
        }
        self.each(rest);
        [self.bits.found.take(), self.bytes.found.take()]
    }

    /// Forgets the runs in progress.
    pub fn reset(&mut self) {
        self.bits.value = None;
        self.bytes.value = None;
    }

    fn each(&mut self, data: &[u8]) {
        for &byte in data {
            self.bytes.extend(byte, 1);
            for place in 0..8 {
                self.bits.extend((byte >> place) & 1, 1);
            }
        }
    }

    /// Takes a piece without four equal bytes in a row.
    fn skip(&mut self, piece: &[u8; PIECE]) {
        let end = self.bytes.samples + PIECE as u64;
        let (head, tail) = (piece[0], piece[PIECE - 1]);
        let head_length = piece.iter().take_while(|&&byte| byte == head).count();
        let tail_length = piece.iter().rev().take_while(|&&byte| byte == tail).count();
        self.bytes.extend(head, head_length as u32);
        self.bytes.skip_to(end, tail, tail_length as u32);

        let first = u64::from_le_bytes(std::array::from_fn(|i| piece[i]));
        let last = u64::from_le_bytes(std::array::from_fn(|i| piece[PIECE - 8 + i])).reverse_bits();
        let low_run = |word: u64| word.trailing_ones().max(word.trailing_zeros());
        self.bits.extend((first & 1) as u8, low_run(first));
        self.bits.skip_to(8 * end, (last & 1) as u8, low_run(last));
    }
}

/// Places that are searched in one step; the bytes that this takes.
const PLACES: usize = 64;
const REACH: usize = PLACES + 3;

/// Whether any four bytes in a row are equal.
#[inline(always)]
fn holds_four_equal(piece: &[u8; PIECE]) -> bool {
    // The last step begins earlier, so that each has its fixed length, which compilers make vectors of.
    let steps = (0..PIECE).step_by(PLACES).map(|at| at.min(PIECE - REACH));
    let found = steps.filter_map(|at| piece[at..].first_chunk::<REACH>());
    found.fold(0, |any, step| any | begins_four_equal(step)) != 0
}

/// Not zero if at any place the first of four equal bytes stands.
#[inline(always)]
fn begins_four_equal(step: &[u8; REACH]) -> u8 {
    (0..PLACES).fold(0, |any, i| {
        let first = step[i];
        let differing = (first ^ step[i + 1]) | (first ^ step[i + 2]) | (first ^ step[i + 3]);
        any | u8::from(differing == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    const TIERS: [f64; 2] = [-40.0, -60.0];

    fn summary(found: Option<Finding>) -> Option<(Tier, u64)> {
        found.map(|finding| (finding.tier, finding.sample))
    }

    /// Every sample by itself, as the standard writes the test.
    fn by_the_letter(samples: impl Iterator<Item = u8>, cutoffs: [u32; 2]) -> Option<(Tier, u64)> {
        let (mut last, mut run, mut worst) = (None, 0, None);
        for (at, sample) in samples.enumerate() {
            run = if last == Some(sample) { run + 1 } else { 1 };
            last = Some(sample);
            if run == cutoffs[0] && worst.is_none() {
                worst = Some((Tier::Intermittent, at as u64));
            }
            if run == cutoffs[1] && worst.is_none_or(|(tier, _)| tier < Tier::Permanent) {
                worst = Some((Tier::Permanent, at as u64));
            }
        }
        worst
    }

    fn bits(data: &[u8]) -> impl Iterator<Item = u8> {
        data.iter()
            .flat_map(|byte| (0..8).map(move |place| (byte >> place) & 1))
    }

    /// Runs of every length around the cutoffs, at many places, cut by many boundaries.
    #[test]
    fn agrees_with_the_letter_at_every_place_and_boundary() {
        let good = testdata::good(3, 4096);
        for start in (8 * 900..8 * 1100).step_by(7) {
            for length in [37, 39, 41, 42, 43, 62, 63, 64, 80] {
                let mut data = good.clone();
                testdata::set_bits(&mut data, start..start + length, (start / 7) % 2 == 0);
                let mut whole = Repetition::new(0.98, 7.84, TIERS);
                let expected = [
                    by_the_letter(bits(&data), [42, 63]),
                    by_the_letter(data.iter().copied(), [7, 9]),
                ];
                assert_eq!(whole.update(&data).map(summary), expected);
                let mut cut = Repetition::new(0.98, 7.84, TIERS);
                let mut found = [None, None];
                for part in data.chunks(1 + start % 1500) {
                    for (kept, new) in found.iter_mut().zip(cut.update(part)) {
                        *kept = worst(kept.take().into_iter().chain(new));
                    }
                }
                assert_eq!(found.map(summary), expected);
            }
        }
    }

    /// Four equal bytes at every place, and three, by every way.
    #[test]
    fn four_equal_bytes_are_seen_at_every_place() {
        let mut plain: [u8; PIECE] = std::array::from_fn(|i| (i % 251) as u8);
        for vectors in Vectors::all() {
            assert!(!vectors.run(|| holds_four_equal(&plain)));
            for (count, at) in [3, 4]
                .into_iter()
                .flat_map(|n| (0..=PIECE - n).map(move |at| (n, at)))
            {
                let kept = plain;
                plain[at..at + count].fill(0xff);
                assert_eq!(
                    vectors.run(|| holds_four_equal(&plain)),
                    count == 4,
                    "{at} {vectors:?}"
                );
                plain = kept;
            }
        }
    }

    #[test]
    fn a_reset_forgets_the_run() {
        let mut test = Repetition::new(1.0, 8.0, TIERS);
        for _ in 0..10 {
            assert_eq!(test.update(&[0; 5]), [None, None]);
            test.reset();
        }
        assert_eq!(
            summary(test.update(&[0; 8])[0]),
            Some((Tier::Permanent, 8 * 50 + 60))
        );
    }
}
