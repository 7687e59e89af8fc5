//! Cutoffs of the repetition count and adaptive proportion tests, by formula.
//!
//! `h` is the min-entropy claimed per sample, in bits; the probability of a false alarm is
//! `2^log2_alpha` per sample (repetition count) or per window (adaptive proportion).

use crate::distribution::ln_gamma;

/// Samples in a window of the adaptive proportion test over bits (SP 800-90B section 4.4.2).
pub const WINDOW_BITS: u32 = 1024;

/// Samples in a window of the adaptive proportion test over bytes (SP 800-90B section 4.4.2).
pub const WINDOW_BYTES: u32 = 512;

/// Cutoff of the repetition count test: `1 + ceil(-log2(alpha) / h)` (SP 800-90B section 4.4.1).
pub fn repetition_count(h: f64, log2_alpha: f64) -> u32 {
    1 + (-log2_alpha / h).ceil() as u32
}

/// Cutoff of the adaptive proportion test: `1 + CRITBINOM(window, 2^-h, 1 - alpha)`
/// (SP 800-90B section 4.4.2).
pub fn adaptive_proportion(window: u32, h: f64, log2_alpha: f64) -> u32 {
    1 + critical_binomial(window, (-h).exp2(), log2_alpha)
}

/// The least `k` for which at most `k` successes of `n`, each with probability `p`, come with
/// probability `1 - 2^log2_alpha` or more.
///
/// The upper tail is summed from its far end, in units of alpha, so nothing cancels or underflows.
fn critical_binomial(n: u32, p: f64, log2_alpha: f64) -> u32 {
    if p >= 1.0 {
        return n;
    }
    let ln_alpha = log2_alpha * std::f64::consts::LN_2;
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    let ln_factorial = |k: u32| ln_gamma(f64::from(k) + 1.0);
    let ln_n = ln_factorial(n);
    let mut tail = 0.0;
    for k in (1..=n).rev() {
        let ln_ways = ln_n - ln_factorial(k) - ln_factorial(n - k);
        let ln_term = ln_ways + f64::from(k) * ln_p + f64::from(n - k) * ln_q;
        tail += (ln_term - ln_alpha).exp();
        if tail > 1.0 {
            return k;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (window, entropy per sample, (repetition, proportion) for 2^-20, 2^-30, 2^-40, 2^-60).
    type Row = (u32, f64, [(u32, u32); 4]);

    const EXPONENTS: [f64; 4] = [-20.0, -30.0, -40.0, -60.0];

    const STATED: [Row; 4] = [
        (
            WINDOW_BITS,
            1.0,
            [(21, 589), (31, 609), (41, 625), (61, 652)],
        ),
        (
            WINDOW_BITS,
            0.98,
            [(22, 596), (32, 616), (42, 632), (63, 659)],
        ),
        (WINDOW_BYTES, 8.0, [(4, 13), (5, 16), (6, 19), (9, 25)]),
        (WINDOW_BYTES, 7.84, [(4, 13), (5, 17), (7, 20), (9, 26)]),
    ];

    /// The distribution of the number of successes, built one trial at a time: no logarithm, no
    /// gamma function, nothing shared with the code under test.
    fn binomial_by_trials(n: u32, p: f64) -> Vec<f64> {
        let mut chance = vec![0.0; n as usize + 1];
        chance[0] = 1.0;
        for trial in 1..=n as usize {
            for k in (1..=trial).rev() {
                chance[k] = chance[k] * (1.0 - p) + chance[k - 1] * p;
            }
            chance[0] *= 1.0 - p;
        }
        chance
    }

    /// The least cutoff that a window of samples reaches with probability alpha or less.
    fn proportion_by_trials(window: u32, h: f64, alpha: f64) -> u32 {
        let chance = binomial_by_trials(window, 0.5_f64.powf(h));
        let mut tail = 0.0;
        let mut cutoff = window + 1;
        while cutoff > 0 && tail + chance[cutoff as usize - 1] <= alpha {
            cutoff -= 1;
            tail += chance[cutoff as usize];
        }
        cutoff
    }

    /// The least run whose probability, given its first sample, is alpha or less.
    fn repetition_by_trials(h: f64, alpha: f64) -> u32 {
        let p = 0.5_f64.powf(h);
        let (mut run, mut chance) = (1, 1.0);
        while chance > alpha * (1.0 + 1e-12) {
            run += 1;
            chance *= p;
        }
        run
    }

    #[test]
    fn the_whole_table_is_stated_and_recomputed() {
        for (window, h, row) in STATED {
            for (log2_alpha, (repetition, proportion)) in EXPONENTS.into_iter().zip(row) {
                let alpha = log2_alpha.exp2();
                assert_eq!(
                    repetition_count(h, log2_alpha),
                    repetition,
                    "{h} {log2_alpha}"
                );
                assert_eq!(
                    repetition_by_trials(h, alpha),
                    repetition,
                    "{h} {log2_alpha}"
                );
                assert_eq!(adaptive_proportion(window, h, log2_alpha), proportion);
                assert_eq!(proportion_by_trials(window, h, alpha), proportion);
            }
        }
    }

    #[test]
    fn other_claims_agree_with_the_independent_formula() {
        for (window, claims) in [
            (WINDOW_BITS, [0.05, 0.3, 0.5, 0.75, 0.9]),
            (WINDOW_BYTES, [0.5, 1.0, 4.0, 6.5, 7.99]),
        ] {
            for h in claims {
                for log2_alpha in EXPONENTS {
                    let alpha = log2_alpha.exp2();
                    let cutoff = adaptive_proportion(window, h, log2_alpha);
                    assert_eq!(cutoff, proportion_by_trials(window, h, alpha), "{h}");
                    let cutoff = repetition_count(h, log2_alpha);
                    assert_eq!(cutoff, repetition_by_trials(h, alpha), "{h}");
                }
            }
        }
    }

    #[test]
    fn a_claim_of_nothing_can_never_fail() {
        assert_eq!(
            adaptive_proportion(WINDOW_BITS, 0.0, -40.0),
            WINDOW_BITS + 1
        );
    }
}
