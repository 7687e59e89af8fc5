//! Section 2.5: the rank of 32 by 32 binary matrices.

use super::goodness_of_fit;

/// Probabilities of rank 32, 31 and less (section 3.5).
fn probabilities() -> [f64; 3] {
    let factor = |i: i32| 1.0 - 2_f64.powi(-i);
    let full: f64 = (1..=32).map(factor).product();
    // Of rank r = 31: 2^-1 * prod (1 - 2^(i-32))^2 / (1 - 2^(i-31)), i from 0 to 30.
    let one_less: f64 = (0..31)
        .map(|i| factor(32 - i).powi(2) / factor(31 - i))
        .product::<f64>()
        / 2.0;
    [full, one_less, 1.0 - full - one_less]
}

/// Rank of the 32 by 32 matrices that the bits fill (section 2.5).
pub fn rank(bits: &[u8]) -> f64 {
    let mut counts = [0; 3];
    for matrix in bits.chunks_exact(32 * 32) {
        let mut rows = [0_u32; 32];
        for (row, bits) in rows.iter_mut().zip(matrix.chunks_exact(32)) {
            *row = bits.iter().fold(0, |row, &bit| row << 1 | u32::from(bit));
        }
        counts[(32 - rank_of(rows)).min(2)] += 1;
    }
    goodness_of_fit(&counts, &probabilities())
}

/// Gauss: each row that is left gives its lowest bit's column away.
fn rank_of(mut rows: [u32; 32]) -> usize {
    let mut rank = 0;
    for i in 0..32 {
        let pivot = rows[i];
        if pivot == 0 {
            continue;
        }
        rank += 1;
        let column = pivot & pivot.wrapping_neg();
        for row in &mut rows[i + 1..] {
            if *row & column != 0 {
                *row ^= pivot;
            }
        }
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_their_probabilities() {
        assert_eq!(rank_of([0; 32]), 0);
        assert_eq!(rank_of([7; 32]), 1);
        assert_eq!(rank_of(std::array::from_fn(|i| 1 << i)), 32);
        assert_eq!(
            rank_of(std::array::from_fn(|i| if i < 2 {
                3 << i
            } else {
                1 << (i % 31)
            })),
            31
        );
        let [full, less, rest] = probabilities();
        assert!(
            (full - 0.2888).abs() < 1e-4
                && (less - 0.5776).abs() < 1e-4
                && (rest - 0.1336).abs() < 1e-4
        );
    }
}
