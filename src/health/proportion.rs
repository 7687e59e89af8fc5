//! The adaptive proportion test (SP 800-90B section 4.4.2), over bits and over bytes.
//!
//! A window's first sample is counted through the window; a count that reaches a tier's cutoff is an
//! alarm. Windows follow one another without gap or overlap. They are judged when complete, which
//! decides the same as judging each sample, since the count only grows.

use qrng_simd::Vectors;

use super::alarm::{Finding, Test, Tier, worst};
use super::cutoff::{WINDOW_BITS, WINDOW_BYTES, adaptive_proportion};

/// Cutoffs and place in the stream.
#[derive(Clone)]
struct Judge {
    test: Test,
    /// Of the intermittent and the permanent tier.
    cutoffs: [u32; 2],
    samples: u64,
}

impl Judge {
    /// Takes the count of one complete window.
    fn window(&mut self, samples: u32, count: u32) -> Option<Finding> {
        self.samples += u64::from(samples);
        let tiers = [Tier::Intermittent, Tier::Permanent];
        worst(
            tiers
                .into_iter()
                .zip(self.cutoffs)
                .filter_map(|(tier, cutoff)| {
                    (count >= cutoff).then_some(Finding {
                        test: self.test,
                        tier,
                        statistic: f64::from(count),
                        limit: f64::from(cutoff),
                        sample: self.samples - 1,
                        lag: None,
                    })
                }),
        )
    }
}

/// A window that a block boundary has cut.
#[derive(Clone, Default)]
struct Partial {
    first: u8,
    bytes: usize,
    count: u32,
}

/// Feeds `data` to whole windows of `N` bytes; what a boundary cuts goes through `partial`.
fn windows<const N: usize>(
    partial: &mut Partial,
    mut data: &[u8],
    count: impl Fn(u8, &[u8]) -> u32,
    mut judge: impl FnMut(u8, u32) -> Option<Finding>,
) -> Option<Finding> {
    let mut found = None;
    let mut keep = |new: Option<Finding>| found = worst(found.take().into_iter().chain(new));
    while !data.is_empty() {
        if partial.bytes == 0 {
            let (whole, rest) = data.as_chunks::<N>();
            whole.iter().for_each(|w| keep(judge(w[0], count(w[0], w))));
            let Some(&first) = rest.first() else { break };
            data = rest;
            partial.first = first;
        }
        let (now, later) = data.split_at(data.len().min(N - partial.bytes));
        partial.count += count(partial.first, now);
        partial.bytes += now.len();
        data = later;
        if partial.bytes == N {
            keep(judge(partial.first, partial.count));
            *partial = Partial::default();
        }
    }
    found
}

/// Adaptive proportion over bits; the lowest bit of a byte comes first.
#[derive(Clone)]
pub struct BitProportion {
    judge: Judge,
    vectors: Vectors,
    partial: Partial,
}

impl BitProportion {
    /// A test for the claimed entropy per bit and the false-alarm rates of the two tiers.
    pub fn new(entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self {
            judge: Judge {
                test: Test::ProportionBits,
                cutoffs: log2_alpha.map(|e| adaptive_proportion(WINDOW_BITS, entropy, e)),
                samples: 0,
            },
            vectors: Vectors::best(),
            partial: Partial::default(),
        }
    }

    /// Takes the next bytes. The finding's sample counts bits since the test was made.
    pub fn update(&mut self, data: &[u8]) -> Option<Finding> {
        const BYTES: usize = WINDOW_BITS as usize / 8;
        let vectors = self.vectors;
        windows::<BYTES>(
            &mut self.partial,
            data,
            |_, part| vectors.run(|| ones(part)),
            |first, ones| {
                let like_the_first = if first & 1 == 1 {
                    ones
                } else {
                    WINDOW_BITS - ones
                };
                self.judge.window(WINDOW_BITS, like_the_first)
            },
        )
    }

    /// Forgets the window in progress.
    pub fn reset(&mut self) {
        self.judge.samples += 8 * self.partial.bytes as u64;
        self.partial = Partial::default();
    }
}

/// Adaptive proportion over bytes.
#[derive(Clone)]
pub struct ByteProportion {
    judge: Judge,
    vectors: Vectors,
    partial: Partial,
}

impl ByteProportion {
    /// A test for the claimed entropy per byte and the false-alarm rates of the two tiers.
    pub fn new(entropy: f64, log2_alpha: [f64; 2]) -> Self {
        Self {
            judge: Judge {
                test: Test::ProportionBytes,
                cutoffs: log2_alpha.map(|e| adaptive_proportion(WINDOW_BYTES, entropy, e)),
                samples: 0,
            },
            vectors: Vectors::best(),
            partial: Partial::default(),
        }
    }

    /// Takes the next bytes. The finding's sample counts bytes since the test was made.
    pub fn update(&mut self, data: &[u8]) -> Option<Finding> {
        let vectors = self.vectors;
        windows::<{ WINDOW_BYTES as usize }>(
            &mut self.partial,
            data,
            |value, part| vectors.run(|| occurrences(value, part)),
            |_, count| self.judge.window(WINDOW_BYTES, count),
        )
    }

    /// Forgets the window in progress.
    pub fn reset(&mut self) {
        self.judge.samples += self.partial.bytes as u64;
        self.partial = Partial::default();
    }
}

/// Ones among the bits of `data`.
#[inline(always)]
fn ones(data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<8>();
    let words = words
        .iter()
        .map(|word| u64::from_le_bytes(*word).count_ones());
    words.sum::<u32>() + rest.iter().map(|byte| byte.count_ones()).sum::<u32>()
}

/// How often `value` occurs in `data`; runs of 128 are counted within a byte.
#[inline(always)]
fn occurrences(value: u8, data: &[u8]) -> u32 {
    let (runs, rest) = data.as_chunks::<128>();
    let count = |run: &[u8]| {
        run.iter()
            .fold(0_u8, |n, &byte| n + u8::from(byte == value))
    };
    runs.iter().map(|run| u32::from(count(run))).sum::<u32>() + u32::from(count(rest))
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    const TIERS: [f64; 2] = [-40.0, -60.0];

    /// A window with just so many samples like its first, in good data, at window `at`.
    fn with_ones(at: usize, count: usize) -> Vec<u8> {
        let mut data = testdata::good(11, 128 * 8);
        let start = 1024 * at;
        testdata::set_bits(&mut data, start..start + count, true);
        testdata::set_bits(&mut data, start + count..start + 1024, false);
        data
    }

    fn with_bytes(at: usize, count: usize) -> Vec<u8> {
        let mut data = testdata::good(12, 512 * 8);
        let window = &mut data[512 * at..512 * (at + 1)];
        window
            .iter_mut()
            .filter(|byte| **byte == 0x33)
            .for_each(|byte| *byte = 0x34);
        (0..count).for_each(|i| window[25 * i % 512] = 0x33);
        data
    }

    fn cut(
        mut update: impl FnMut(&[u8]) -> Option<Finding>,
        data: &[u8],
        size: usize,
    ) -> Option<Finding> {
        worst(data.chunks(size).filter_map(&mut update))
    }

    #[test]
    fn bits_at_each_cutoff_and_boundary() {
        let tiers = [
            (631, None),
            (632, Some(Tier::Intermittent)),
            (658, Some(Tier::Intermittent)),
            (659, Some(Tier::Permanent)),
        ];
        for (count, tier) in tiers {
            let data = with_ones(5, count);
            for size in [1, 7, 127, 128, 129, 200, 1024] {
                let mut test = BitProportion::new(0.98, TIERS);
                let found = cut(|part| test.update(part), &data, size);
                assert_eq!(found.map(|f| f.tier), tier, "{count} {size}");
                assert!(
                    found.is_none_or(|f| f.statistic == count as f64 && f.sample == 6 * 1024 - 1)
                );
            }
        }
    }

    #[test]
    fn zeros_count_when_the_window_begins_with_zero() {
        let data: Vec<u8> = with_ones(5, 659).iter().map(|byte| !byte).collect();
        let found = BitProportion::new(0.98, TIERS).update(&data);
        assert_eq!(found.map(|f| f.tier), Some(Tier::Permanent));
    }

    #[test]
    fn bytes_at_each_cutoff_and_boundary() {
        let tiers = [
            (19, None),
            (20, Some(Tier::Intermittent)),
            (25, Some(Tier::Intermittent)),
            (26, Some(Tier::Permanent)),
        ];
        for (count, tier) in tiers {
            let data = with_bytes(3, count);
            for size in [1, 100, 511, 512, 513, 4096] {
                let mut test = ByteProportion::new(7.84, TIERS);
                let found = cut(|part| test.update(part), &data, size);
                assert_eq!(found.map(|f| f.tier), tier, "{count} {size}");
                assert!(
                    found.is_none_or(|f| f.statistic == count as f64 && f.sample == 4 * 512 - 1)
                );
            }
        }
    }

    #[test]
    fn counts_agree_by_every_way_at_every_length() {
        let data = testdata::good(13, 600);
        for vectors in Vectors::all() {
            for length in 0..data.len() {
                let data = &data[..length];
                let bits: u32 = data.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(vectors.run(|| ones(data)), bits, "{length} {vectors:?}");
                let equal = data.iter().filter(|&&byte| byte == 0x33).count() as u32;
                assert_eq!(vectors.run(|| occurrences(0x33, data)), equal, "{length}");
            }
            assert_eq!(vectors.run(|| occurrences(7, &[7; 512])), 512);
        }
    }

    #[test]
    fn a_reset_begins_a_window() {
        let mut test = ByteProportion::new(7.84, TIERS);
        for _ in 0..100 {
            assert_eq!(test.update(&[1; 25]), None);
            test.reset();
        }
        let found = test.update(&[1; 512]).unwrap();
        assert_eq!(found.sample, 2500 + 511);
    }
}
