//! Section 2.10: linear complexity.

use super::goodness_of_fit;

/// Probabilities of the seven classes (section 3.10). The table of section 2.10.4 has 0.01047 for the first, a misprint
/// of 1/96.
const CLASSES: [f64; 7] = [1.0 / 96.0, 0.03125, 0.125, 0.5, 0.25, 0.0625, 1.0 / 48.0];

/// Linear complexity of blocks of `block` bits (section 2.10).
pub fn linear_complexity(bits: &[u8], block: usize) -> f64 {
    linear_complexity_against(bits, block, &CLASSES)
}

pub(super) fn linear_complexity_against(bits: &[u8], block: usize, classes: &[f64; 7]) -> f64 {
    let m = block as f64;
    let sign = if block.is_multiple_of(2) { 1.0 } else { -1.0 };
    let mean = m / 2.0 + (9.0 - sign) / 36.0 - (m / 3.0 + 2.0 / 9.0) / 2_f64.powf(m);
    let mut counts = [0; 7];
    for bits in bits.chunks_exact(block) {
        let t = sign * (complexity(bits) as f64 - mean) + 2.0 / 9.0;
        let class = (t + 2.5).ceil().clamp(0.0, 6.0);
        counts[class as usize] += 1;
    }
    goodness_of_fit(&counts, classes)
}

/// The shortest linear feedback shift register that makes `bits` (Berlekamp and Massey), 64 coefficients a word.
fn complexity(bits: &[u8]) -> usize {
    let words = bits.len() / 64 + 1;
    // Bit i of these is the coefficient of x^i; `window` holds the sequence backwards, the newest bit at 0.
    let mut connection = vec![0_u64; words];
    let mut previous = vec![0_u64; words];
    let mut window = vec![0_u64; words];
    let mut saved = vec![0_u64; words];
    connection[0] = 1;
    previous[0] = 1;
    let mut length = 0;
    for (n, &bit) in bits.iter().enumerate() {
        shift(&mut window);
        window[0] |= u64::from(bit);
        shift(&mut previous);
        let parity = connection
            .iter()
            .zip(&window)
            .fold(0, |sum, (c, w)| sum ^ (c & w));
        if parity.count_ones().is_multiple_of(2) {
            continue;
        }
        let longer = 2 * length <= n;
        if longer {
            saved.copy_from_slice(&connection);
        }
        connection
            .iter_mut()
            .zip(&previous)
            .for_each(|(c, p)| *c ^= p);
        if longer {
            length = n + 1 - length;
            std::mem::swap(&mut previous, &mut saved);
        }
    }
    length
}

fn shift(words: &mut [u64]) {
    let mut carry = 0;
    for word in words {
        (*word, carry) = (*word << 1 | carry, *word >> 63);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complexities() {
        // The example of section 2.10.4.
        assert_eq!(complexity(&[1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1]), 4);
        assert_eq!(complexity(&[0; 500]), 0);
        assert_eq!(complexity(&[1; 500]), 1);
        let mut last = [0; 500];
        last[499] = 1;
        assert_eq!(complexity(&last), 500);
        // x^7 + x + 1 makes a period of 127.
        let mut register = vec![1, 0, 0, 0, 0, 0, 0];
        while register.len() < 500 {
            register.push(register[register.len() - 7] ^ register[register.len() - 6]);
        }
        assert_eq!(complexity(&register), 7);
    }
}
