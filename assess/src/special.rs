//! The few functions of probability that the tests need, under the names of SP 800-22.

pub use libm::erfc;

use qrng::distribution::{Tail, ln_gamma, ln_gamma_tail};

/// The upper incomplete gamma function Q(a, x), regularized: the probability that a chi-square of 2a degrees of freedom
/// exceeds 2x (SP 800-22 section 5.5.3, `igamc`).
pub fn igamc(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    ln_gamma_tail(a, x, Tail::Upper).exp()
}

/// The lower incomplete gamma function P(a, x), regularized: 1 - [`igamc`], exact where that is close to 1.
pub fn igam(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    ln_gamma_tail(a, x, Tail::Lower).exp()
}

/// The probability that a standard normal is below `x`.
pub fn normal(x: f64) -> f64 {
    erfc(-x / std::f64::consts::SQRT_2) / 2.0
}

/// The probability that a standard normal is at least as far from 0 as `z`.
pub fn two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The probability of at least `k` successes in `n` trials that each succeed with probability `p`.
pub fn binomial_tail(n: u64, k: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let log_choose =
        |k: f64| ln_gamma(n as f64 + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n as f64 - k + 1.0);
    let terms = (k..=n)
        .map(|k| k as f64)
        .map(|k| (log_choose(k) + k * p.ln() + (n as f64 - k) * (-p).ln_1p()).exp());
    let mut sum = 0.0;
    for (i, term) in terms.enumerate() {
        sum += term;
        // Past the middle the terms only fall.
        if (k + i as u64) as f64 > n as f64 * p && term < sum * 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12 * b.abs().max(1e-3), "{a} is not {b}");
    }

    #[test]
    fn the_gamma_functions_have_their_closed_forms() {
        for x in [0.1, 1.0, 3.0, 10.0, 50.0] {
            near(igamc(1.0, x), (-x).exp());
            near(igamc(2.0, x), (-x).exp() * (1.0 + x));
            near(igamc(0.5, x), erfc(x.sqrt()));
            near(igam(3.0, x), 1.0 - (-x).exp() * (1.0 + x + x * x / 2.0));
        }
        assert_eq!(igamc(3.0, 0.0), 1.0);
        // Far out in the tail it is small, not zero, and not negative.
        assert!((1e-44..1e-43).contains(&igamc(1.0, 100.0)));
    }

    #[test]
    fn the_binomial_tail_is_exact() {
        near(binomial_tail(3, 2, 0.5), 0.5);
        near(binomial_tail(4, 4, 0.5), 1.0 / 16.0);
        near(binomial_tail(10, 1, 0.01), 1.0 - 0.99_f64.powi(10));
        assert_eq!(binomial_tail(10, 0, 0.01), 1.0);
    }
}
