//! Sections 2.11 and 2.12: all patterns of a length, with overlaps.

use crate::special::igamc;

/// How often each pattern of `len` bits comes, the sequence taken as a ring.
fn ring_counts(bits: &[u8], len: u32) -> Vec<u32> {
    let mut counts = vec![0; 1 << len];
    let mask = (1_usize << len) - 1;
    let ring = bits.iter().chain(bits);
    let mut window = 0;
    for (i, &bit) in ring.take(bits.len() + len as usize - 1).enumerate() {
        window = (window << 1 | usize::from(bit)) & mask;
        if i + 1 >= len as usize {
            counts[window] += 1;
        }
    }
    counts
}

/// The counts of patterns one bit shorter: on a ring each pattern is the start of its two continuations.
fn shorter(counts: &[u32]) -> Vec<u32> {
    counts
        .chunks_exact(2)
        .map(|pair| pair[0] + pair[1])
        .collect()
}

fn psi_square(counts: &[u32], n: f64) -> f64 {
    let squares: f64 = counts.iter().map(|&count| f64::from(count).powi(2)).sum();
    squares * counts.len() as f64 / n - n
}

/// Serial, patterns of `len` bits (section 2.11): two P-values.
pub fn serial(bits: &[u8], len: u32) -> [f64; 2] {
    let n = bits.len() as f64;
    let whole = ring_counts(bits, len);
    let less = shorter(&whole);
    let psi = |counts: &[u32]| psi_square(counts, n);
    // For patterns of two bits the shortest are of none: psi is 0.
    let (a, b, c) = (psi(&whole), psi(&less), psi(&shorter(&less)));
    let size = 2_f64.powi(len as i32 - 3);
    [
        igamc(size * 2.0, (a - b) / 2.0),
        igamc(size, (a - 2.0 * b + c) / 2.0),
    ]
}

/// Approximate entropy, patterns of `len` and `len` + 1 bits (section 2.12).
pub fn approximate_entropy(bits: &[u8], len: u32) -> f64 {
    let n = bits.len() as f64;
    let phi = |counts: &[u32]| -> f64 {
        let seen = counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| f64::from(count) / n);
        seen.map(|share| share * share.ln()).sum()
    };
    let longer = ring_counts(bits, len + 1);
    let entropy = phi(&shorter(&longer)) - phi(&longer);
    igamc(
        2_f64.powi(len as i32 - 1),
        n * (std::f64::consts::LN_2 - entropy),
    )
}
