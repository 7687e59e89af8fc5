//! Sections 2.1 to 2.4 and 2.13: ones, runs, and the walk they make.

use super::goodness_of_fit;
use crate::special::{erfc, igamc, normal};
use std::f64::consts::SQRT_2;

fn ones(bits: &[u8]) -> u64 {
    bits.iter().map(|&bit| u64::from(bit)).sum()
}

/// Frequency (section 2.1).
pub fn frequency(bits: &[u8]) -> f64 {
    let n = bits.len() as f64;
    let sum = 2.0 * ones(bits) as f64 - n;
    erfc(sum.abs() / n.sqrt() / SQRT_2)
}

/// Frequency within blocks of `block` bits (section 2.2).
pub fn block_frequency(bits: &[u8], block: usize) -> f64 {
    let blocks = bits.chunks_exact(block);
    let count = blocks.len() as f64;
    let sum: f64 = blocks
        .map(|bits| (ones(bits) as f64 / block as f64 - 0.5).powi(2))
        .sum();
    igamc(count / 2.0, 2.0 * block as f64 * sum)
}

/// Runs (section 2.3).
///
/// The standard has 0 for a share of ones four deviations off, so that good bits would fail once in 16,000 sequences.
/// Such bits are [`frequency`]'s to judge; here they are judged by their runs, whose number the statistic expects
/// according to their share of ones. Bits that are all equal have 0.
pub fn runs(bits: &[u8]) -> f64 {
    let n = bits.len() as f64;
    let pi = ones(bits) as f64 / n;
    if pi == 0.0 || pi == 1.0 {
        return 0.0;
    }
    let runs = 1 + bits.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let spread = pi * (1.0 - pi);
    erfc((runs as f64 - 2.0 * n * spread).abs() / (2.0 * (2.0 * n).sqrt() * spread))
}

/// Length of a block, the run length that the first class ends with, and the classes' probabilities (section 3.4).
struct Longest {
    block: usize,
    first: u64,
    probabilities: &'static [f64],
}

const LONGEST: [Longest; 3] = [
    Longest {
        block: 8,
        first: 1,
        probabilities: &[0.21484375, 0.3671875, 0.23046875, 0.1875],
    },
    Longest {
        block: 128,
        first: 4,
        probabilities: &[
            0.1174035788,
            0.242955959,
            0.249363483,
            0.17517706,
            0.102701071,
            0.112398847,
        ],
    },
    Longest {
        block: 10_000,
        first: 10,
        probabilities: &[0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727],
    },
];

/// Longest run of ones in a block (section 2.4). None for fewer than 128 bits.
pub fn longest_run(bits: &[u8]) -> Option<f64> {
    let table = match bits.len() {
        ..128 => return None,
        128..6272 => &LONGEST[0],
        6272..750_000 => &LONGEST[1],
        _ => &LONGEST[2],
    };
    let last = table.probabilities.len() - 1;
    let mut counts = vec![0; last + 1];
    for block in bits.chunks_exact(table.block) {
        let (mut run, mut longest) = (0_u64, 0);
        for &bit in block {
            run = (run + 1) * u64::from(bit);
            longest = longest.max(run);
        }
        counts[(longest.saturating_sub(table.first) as usize).min(last)] += 1;
    }
    Some(goodness_of_fit(&counts, table.probabilities))
}

/// Cumulative sums, forward and backward (section 2.13).
pub fn cumulative_sums(bits: &[u8]) -> [f64; 2] {
    let n = bits.len();
    let forward = farthest(bits.iter());
    let backward = farthest(bits.iter().rev());
    [
        cusum_p(n as f64, forward as f64),
        cusum_p(n as f64, backward as f64),
    ]
}

fn farthest<'b>(bits: impl Iterator<Item = &'b u8>) -> i64 {
    let mut sum = 0_i64;
    bits.map(|&bit| {
        sum += i64::from(bit) * 2 - 1;
        sum.abs()
    })
    .max()
    .unwrap_or(0)
}

fn cusum_p(n: f64, z: f64) -> f64 {
    let step = |k: f64| normal(k * z / n.sqrt());
    // The standard's bounds are cut toward zero, as its reference software does.
    let range = |from: f64| (from as i64..=((n / z - 1.0) / 4.0) as i64).map(|k| k as f64);
    let crossed: f64 = range((-n / z + 1.0) / 4.0)
        .map(|k| step(4.0 * k + 1.0) - step(4.0 * k - 1.0))
        .sum();
    let returned: f64 = range((-n / z - 3.0) / 4.0)
        .map(|k| step(4.0 * k + 3.0) - step(4.0 * k + 1.0))
        .sum();
    (1.0 - crossed + returned).clamp(0.0, 1.0)
}
