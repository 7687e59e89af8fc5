//! The formulas behind the claims. Exponents are in bits: `-117.0` stands for 2^-117.

/// Leftover hash lemma: the base-2 logarithm of the distance from uniform of `output_bits` extracted from
/// `input_bits` that have `min_entropy` bits of min-entropy each, by a hash drawn from a universal family with a seed
/// independent of them: `-(min_entropy * input_bits - output_bits) / 2`.
///
/// (Impagliazzo, Levin, Luby 1989. The lemma has one more factor of 1/2, left out here.) Not below zero means that
/// nothing is promised.
#[must_use]
pub fn leftover_hash_log2(input_bits: usize, min_entropy: f64, output_bits: usize) -> f64 {
    -(min_entropy * input_bits as f64 - output_bits as f64) / 2.0
}

/// `Output_Entropy(n_in, n_out, nw, h_in)` of NIST SP 800-90B section 3.1.5.1.2: the min-entropy in bits of a
/// conditioning component's output of `n_out` bits, for `n_in` bits of input that have `h_in` bits of min-entropy in
/// all and a narrowest internal width of `nw` bits.
#[must_use]
pub fn output_entropy(n_in: usize, n_out: usize, nw: usize, h_in: f64) -> f64 {
    let (n_in, n) = (n_in as f64, n_out.min(nw) as f64);
    // Everything as a base-2 logarithm, for 2^n_in does not fit a float.
    let p_high = -h_in;
    let p_low = (-(p_high.exp2())).ln_1p() / std::f64::consts::LN_2
        - (n_in + (-((-n_in).exp2())).ln_1p() / std::f64::consts::LN_2);
    let psi = log2_sum(n_in - n + p_low, p_high);
    let deviation = ((2.0 * n * std::f64::consts::LN_2).log2() + n_in - n) / 2.0;
    let omega = log2_sum(n_in - n, deviation) + p_low;
    (-psi.max(omega)).clamp(0.0, n)
}

/// The logarithm of the sum of two numbers given by their logarithms.
fn log2_sum(a: f64, b: f64) -> f64 {
    let (larger, smaller) = if a >= b { (a, b) } else { (b, a) };
    larger + (smaller - larger).exp2().ln_1p() / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftover_hash_bounds_are_the_published_ones() {
        assert_eq!(leftover_hash_log2(1024, 0.95, 768).ceil(), -102.0);
        assert_eq!(leftover_hash_log2(2048, 0.95, 1792).round(), -77.0);
        assert_eq!(leftover_hash_log2(1024, 0.98, 768).ceil(), -117.0);
        assert!(leftover_hash_log2(1024, 0.7, 768) > 0.0);
    }

    /// The formula as it stands in the standard, which floats can hold for few bits.
    fn literally(n_in: i32, n_out: i32, nw: i32, h_in: f64) -> f64 {
        let p_high = 2f64.powf(-h_in);
        let p_low = (1.0 - p_high) / (2f64.powi(n_in) - 1.0);
        let n = n_out.min(nw);
        let rest = 2f64.powi(n_in - n);
        let psi = rest * p_low + p_high;
        let u = rest + (2.0 * f64::from(n) * rest * 2f64.ln()).sqrt();
        -psi.max(u * p_low).log2()
    }

    #[test]
    fn output_entropy_is_the_standard_s_formula() {
        for (n_in, n_out, nw) in [(8, 4, 4), (16, 8, 12), (40, 32, 16), (48, 40, 40)] {
            for h in [0.01, 0.5, 1.0, 3.0, 7.5] {
                let expected = literally(n_in, n_out, nw, h);
                let found = output_entropy(n_in as usize, n_out as usize, nw as usize, h);
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{n_in} {n_out} {h}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn output_entropy_at_both_ends() {
        assert!((output_entropy(1024, 768, 768, 1003.0) - 768.0).abs() < 1e-9);
        assert!((output_entropy(1024, 256, 256, 10.0) - 10.0).abs() < 1e-9);
        assert_eq!(output_entropy(1024, 256, 256, 0.0), 0.0);
    }
}
