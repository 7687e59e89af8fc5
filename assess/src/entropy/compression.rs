//! Section 6.3.4: the compression estimate.

use super::{Z, crossing};

/// Bits of one value.
const WIDTH: usize = 6;
const VALUES: usize = 1 << WIDTH;
/// Values that only fill the dictionary.
const FILL: usize = 1000;

/// Compression (section 6.3.4): how far back the same six bits were last seen. Needs more than 6006 bits.
pub fn compression(bits: &[u8]) -> f64 {
    let mut last = [0_usize; VALUES];
    let blocks = bits.len() / WIDTH;
    let logs: Vec<f64> = (0..=blocks).map(|i| (i.max(1) as f64).log2()).collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    for (i, block) in bits.chunks_exact(WIDTH).enumerate() {
        let value = block
            .iter()
            .fold(0, |value, &bit| value << 1 | usize::from(bit));
        if i >= FILL {
            let distance = logs[i + 1 - last[value]];
            sum += distance;
            squares += distance * distance;
        }
        last[value] = i + 1;
    }
    let tested = (blocks - FILL) as f64;
    let mean = sum / tested;
    let deviation = 0.5907 * (squares / (tested - 1.0) - mean * mean).max(0.0).sqrt();
    let bound = mean - Z * deviation / tested.sqrt();

    let expected = |p: f64| {
        let rest = (1.0 - p) / (VALUES - 1) as f64;
        distance(p, &logs) + (VALUES - 1) as f64 * distance(rest, &logs)
    };
    let even = 1.0 / VALUES as f64;
    if expected(even) <= bound {
        return 1.0;
    }
    (-crossing(even, bound, expected).log2() / WIDTH as f64).max(0.0)
}

/// The standard's G(z): what a value of probability `z` adds to the expected log2 distance.
fn distance(z: f64, logs: &[f64]) -> f64 {
    let blocks = logs.len() - 1;
    // seen: the sum, over u < t, of log2(u) z^2 (1-z)^(u-1). power: (1-z)^(t-1).
    let (mut total, mut seen, mut power) = (0.0, 0.0, 1.0);
    for (t, log) in logs.iter().enumerate().skip(1) {
        if t > FILL {
            if power < 1e-30 {
                // All further terms are the same.
                total += (blocks + 1 - t) as f64 * seen;
                break;
            }
            total += seen + log * z * power;
        }
        seen += log * z * z * power;
        power *= 1.0 - z;
    }
    total / (blocks - FILL) as f64
}
