//! Sections 2.7 and 2.8: how often given patterns come.

use super::goodness_of_fit;
use crate::special::igamc;

/// Patterns of `len` bits that can't overlap themselves, in numerical order: no prefix is also a suffix.
pub fn aperiodic(len: u32) -> Vec<usize> {
    let overlaps = |pattern: usize, by: u32| pattern >> (len - by) == pattern & ((1 << by) - 1);
    (0..1 << len)
        .filter(|&pattern| !(1..len).any(|by| overlaps(pattern, by)))
        .collect()
}

/// Each non-periodic pattern of `len` bits in `blocks` blocks (section 2.7): one P-value a pattern.
pub fn non_overlapping(bits: &[u8], len: u32, blocks: usize) -> Vec<f64> {
    let block = bits.len() / blocks;
    let counts: Vec<_> = bits
        .chunks_exact(block)
        .take(blocks)
        .map(|bits| pattern_counts(bits, len))
        .collect();
    let (m, size) = (f64::from(len), 2_f64.powi(len as i32));
    let mean = (block as f64 - m + 1.0) / size;
    let variance = block as f64 * (1.0 / size - (2.0 * m - 1.0) / (size * size));
    let p_value = |pattern: usize| {
        // A pattern that can't overlap itself is found as often by a scan that starts again after each find.
        let chi: f64 = counts
            .iter()
            .map(|counts| (f64::from(counts[pattern]) - mean).powi(2) / variance)
            .sum();
        igamc(blocks as f64 / 2.0, chi / 2.0)
    };
    aperiodic(len).into_iter().map(p_value).collect()
}

fn pattern_counts(bits: &[u8], len: u32) -> Vec<u32> {
    let mut counts = vec![0; 1 << len];
    let mut window = 0;
    for (i, &bit) in bits.iter().enumerate() {
        window = (window << 1 | usize::from(bit)) & ((1 << len) - 1);
        if i + 1 >= len as usize {
            counts[window] += 1;
        }
    }
    counts
}

/// Probabilities of 0, 1, 2, 3, 4 and more runs of nine ones in 1032 bits (section 3.8; exact to the last digit).
const OVERLAPPING: [f64; 6] = [0.364091, 0.185659, 0.139381, 0.100571, 0.070432, 0.139866];

/// Runs of nine ones in blocks of 1032 bits, counted with overlaps (section 2.8).
pub fn overlapping(bits: &[u8]) -> f64 {
    overlapping_against(bits, &OVERLAPPING)
}

pub(super) fn overlapping_against(bits: &[u8], probabilities: &[f64; 6]) -> f64 {
    let mut counts = [0; 6];
    for block in bits.chunks_exact(1032) {
        let (mut run, mut found) = (0_usize, 0_usize);
        for &bit in block {
            run = (run + 1) * usize::from(bit);
            found += usize::from(run >= 9);
        }
        counts[found.min(5)] += 1;
    }
    goodness_of_fit(&counts, probabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes through the block bit by bit, with the probability of each run length and number of finds.
    #[test]
    fn the_probabilities_are_those_of_1032_fair_bits() {
        let mut now = [[0.0; 6]; 10];
        now[0][0] = 1.0;
        for _ in 0..1032 {
            let mut next = [[0.0; 6]; 10];
            for (run, finds) in now.iter().enumerate() {
                for (found, p) in finds.iter().enumerate() {
                    next[0][found] += p / 2.0;
                    let run = (run + 1).min(9);
                    next[run][(found + usize::from(run == 9)).min(5)] += p / 2.0;
                }
            }
            now = next;
        }
        for (found, constant) in OVERLAPPING.iter().enumerate() {
            let exact: f64 = now.iter().map(|finds| finds[found]).sum();
            assert!((exact - constant).abs() < 6e-7, "{found}: {exact}");
        }
    }
}
