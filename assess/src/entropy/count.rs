//! Sections 6.3.1 to 6.3.3: estimators that count.

use super::{Z, entropy_of, upper};

/// Most common value (section 6.3.1) of bits.
pub fn most_common(bits: &[u8]) -> f64 {
    let ones = bits.iter().filter(|&&bit| bit == 1).count();
    most_common_of(ones.max(bits.len() - ones) as f64, bits.len() as f64)
}

/// Most common value (section 6.3.1) of bytes, from how often each came: bits of min-entropy in one byte. None for
/// fewer than two bytes.
pub fn most_common_byte(counts: &[u64; 256]) -> Option<f64> {
    let n: u64 = counts.iter().sum();
    let most = counts.iter().max()?;
    (n >= 2).then(|| most_common_of(*most as f64, n as f64))
}

fn most_common_of(count: f64, n: f64) -> f64 {
    entropy_of(upper(count / n, n))
}

/// Collision (section 6.3.2): how soon a value comes again.
pub fn collision(bits: &[u8]) -> f64 {
    let (mut at, mut count, mut squares) = (0, 0.0, 0.0);
    while let [first, second, rest @ ..] = &bits[at..] {
        // Of three bits two are equal.
        let wait = if first == second { 2 } else { 3 };
        if wait == 3 && rest.is_empty() {
            break;
        }
        at += wait;
        count += 1.0;
        squares += (wait * wait) as f64;
    }
    let mean = at as f64 / count;
    let deviation = ((squares - at as f64 * mean).max(0.0) / (count - 1.0)).sqrt();
    let bound = (mean - Z * deviation / count.sqrt()).max(2.0);
    // For bits the standard's equation for p is bound = 2 + 2 p (1 - p).
    if bound < 2.5 {
        entropy_of(0.5 + (1.25 - 0.5 * bound).sqrt())
    } else {
        1.0
    }
}

/// Markov (section 6.3.3): the likeliest sequence of 128 bits if each bit depends on the one before.
pub fn markov(bits: &[u8]) -> f64 {
    let mut pairs = [[0.0_f64; 2]; 2];
    for pair in bits.windows(2) {
        pairs[usize::from(pair[0])][usize::from(pair[1])] += 1.0;
    }
    let ones = bits.iter().filter(|&&bit| bit == 1).count() as f64 / bits.len() as f64;
    let first = [1.0 - ones, ones];
    // log2 of a transition's probability; one that never came can't be part of the likeliest sequence.
    let step = |from: usize, to: usize| {
        (pairs[from][to] / (pairs[from][0] + pairs[from][1]).max(1.0)).log2()
    };
    let sequences = [
        first[0].log2() + 127.0 * step(0, 0),
        first[0].log2() + 64.0 * step(0, 1) + 63.0 * step(1, 0),
        first[0].log2() + step(0, 1) + 126.0 * step(1, 1),
        first[1].log2() + step(1, 0) + 126.0 * step(0, 0),
        first[1].log2() + 64.0 * step(1, 0) + 63.0 * step(0, 1),
        first[1].log2() + 127.0 * step(1, 1),
    ];
    let likeliest = sequences.into_iter().fold(f64::NEG_INFINITY, f64::max);
    (-likeliest / 128.0).clamp(0.0, 1.0)
}
