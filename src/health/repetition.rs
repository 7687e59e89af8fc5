//! The repetition count test (SP 800-90B section 4.4.1), over bits and over bytes.
//!
//! A run of equal samples as long as a tier's cutoff is an alarm. Nearly all data is passed over in
//! pieces that visibly hold no long run; only how they begin and end is then followed exactly.

use super::alarm::{Finding, Test, Tier, worst};
use super::cutoff::repetition_count;

/// Bytes that are searched at a time for anything that could be part of a long run.
const PIECE: usize = 256;

/// The run in progress.
#[derive(Clone)]
struct Run {
    test: Test,
    /// Of the intermittent and the permanent tier.
    cutoffs: [u32; 2],
    value: Option<u8>,
    length: u64,
    samples: u64,
}

impl Run {
    fn new(test: Test, entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self {
            test,
            cutoffs: log2_alpha.map(|exponent| repetition_count(entropy, exponent)),
            value: None,
            length: 0,
            samples: 0,
        }
    }

    /// Takes `count` samples of one `value`; says which cutoff the run has now reached first.
    fn extend(&mut self, value: u8, count: u64) -> Option<Finding> {
        if self.value != Some(value) {
            self.value = Some(value);
            self.length = 0;
        }
        let before = self.length;
        let start = self.samples;
        self.length += count;
        self.samples += count;
        let tiers = [Tier::Intermittent, Tier::Permanent];
        worst(tiers.into_iter().zip(self.cutoffs).filter_map(|(tier, cutoff)| {
            let cutoff = u64::from(cutoff);
            (before < cutoff && cutoff <= self.length).then(|| Finding {
                test: self.test,
                tier,
                statistic: self.length as f64,
                limit: cutoff as f64,
                sample: start + (cutoff - before) - 1,
                lag: None,
            })
        }))
    }

    /// Passes over samples that hold no run to speak of but the one that they end with.
    fn skip_to(&mut self, samples: u64, value: u8, length: u64) {
        self.samples = samples;
        self.value = Some(value);
        self.length = length;
    }
}

/// Keeps the worst finding seen.
fn keep(found: &mut Option<Finding>, new: Option<Finding>) {
    *found = worst(found.take().into_iter().chain(new));
}

/// Repetition count over bits; the lowest bit of a byte comes first.
#[derive(Clone)]
pub struct BitRepetition(Run);

impl BitRepetition {
    /// A test for the claimed entropy per bit and the false-alarm rates of the two tiers.
    pub fn new(entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self(Run::new(Test::RepetitionBits, entropy, log2_alpha))
    }

    /// Takes the next bytes. The finding's sample counts bits since the test was made.
    pub fn update(&mut self, data: &[u8]) -> Option<Finding> {
        let mut found = None;
        let (pieces, rest) = data.as_chunks::<PIECE>();
        for piece in pieces {
            if holds_long_bit_run(piece) || self.0.cutoffs[0] <= 30 {
                piece.iter().for_each(|&byte| keep(&mut found, self.byte(byte)));
            } else {
                keep(&mut found, self.ordinary(piece));
            }
        }
        rest.iter().for_each(|&byte| keep(&mut found, self.byte(byte)));
        found
    }

    /// Forgets the run in progress.
    pub fn reset(&mut self) {
        self.0.value = None;
    }

    fn byte(&mut self, byte: u8) -> Option<Finding> {
        let mut found = None;
        for place in 0..8 {
            keep(&mut found, self.0.extend((byte >> place) & 1, 1));
        }
        found
    }

    /// Takes a piece without an aligned pair of bytes of equal bits: its runs have 30 bits at most.
    fn ordinary(&mut self, piece: &[u8; PIECE]) -> Option<Finding> {
        let end = self.0.samples + 8 * PIECE as u64;
        let first = u64::from_le_bytes(std::array::from_fn(|i| piece[i]));
        let last = u64::from_le_bytes(std::array::from_fn(|i| piece[PIECE - 8 + i]));
        let head = (first & 1) as u8;
        let tail = (last >> 63) as u8;
        let equal_from_low = |word: u64, bit: u8| match bit {
            0 => word.trailing_zeros(),
            _ => word.trailing_ones(),
        };
        let found = self.0.extend(head, u64::from(equal_from_low(first, head)));
        let length = equal_from_low(last.reverse_bits(), tail);
        self.0.skip_to(end, tail, u64::from(length));
        found
    }
}

/// A run of 31 bits or more covers two bytes at an even place completely.
fn holds_long_bit_run(piece: &[u8; PIECE]) -> bool {
    let (pairs, _) = piece.as_chunks::<2>();
    let all_equal = |pair: &[u8; 2]| {
        let pair = u16::from_le_bytes(*pair);
        u16::from(pair == 0) | u16::from(pair == u16::MAX)
    };
    pairs.iter().fold(0, |any, pair| any | all_equal(pair)) != 0
}

/// Repetition count over bytes.
#[derive(Clone)]
pub struct ByteRepetition(Run);

impl ByteRepetition {
    /// A test for the claimed entropy per byte and the false-alarm rates of the two tiers.
    pub fn new(entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self(Run::new(Test::RepetitionBytes, entropy, log2_alpha))
    }

    /// Takes the next bytes. The finding's sample counts bytes since the test was made.
    pub fn update(&mut self, data: &[u8]) -> Option<Finding> {
        let mut found = None;
        let (pieces, rest) = data.as_chunks::<PIECE>();
        for piece in pieces {
            if holds_long_byte_run(piece) || self.0.cutoffs[0] <= 3 {
                piece.iter().for_each(|&byte| keep(&mut found, self.0.extend(byte, 1)));
            } else {
                keep(&mut found, self.ordinary(piece));
            }
        }
        rest.iter().for_each(|&byte| keep(&mut found, self.0.extend(byte, 1)));
        found
    }

    /// Forgets the run in progress.
    pub fn reset(&mut self) {
        self.0.value = None;
    }

    /// Takes a piece whose runs have 3 bytes at most.
    fn ordinary(&mut self, piece: &[u8; PIECE]) -> Option<Finding> {
        let end = self.0.samples + PIECE as u64;
        let (head, tail) = (piece[0], piece[PIECE - 1]);
        let head_length = piece.iter().take_while(|&&byte| byte == head).count();
        let tail_length = piece.iter().rev().take_while(|&&byte| byte == tail).count();
        let found = self.0.extend(head, head_length as u64);
        self.0.skip_to(end, tail, tail_length as u64);
        found
    }
}

/// Whether any four bytes in a row are equal.
fn holds_long_byte_run(piece: &[u8; PIECE]) -> bool {
    let mut any = 0;
    for i in 0..PIECE - 3 {
        let differing = (piece[i] ^ piece[i + 1])
            | (piece[i + 1] ^ piece[i + 2])
            | (piece[i + 2] ^ piece[i + 3]);
        any |= u8::from(differing == 0);
    }
    any != 0
}
