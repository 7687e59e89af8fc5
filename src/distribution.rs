//! The gamma, chi-square and normal distributions, as far as tests of randomness need them.
//!
//! What matters is that tails as small as 2^-60 are computed themselves and never as one minus something. Limits are found
//! once, when a test is built, so plain bisection is fast enough.

/// Upper or lower tail of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The probability of a value at or below the limit.
    Lower,
    /// The probability of a value above the limit.
    Upper,
}

/// The natural logarithm of the gamma function, for `x > 0`: Stirling's series, after shifting `x`
/// above 15 by the recurrence, where six terms leave an error below 1e-15.
pub fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut y = x;
    while y < 15.0 {
        shift += y.ln();
        y += 1.0;
    }
    let inverse_square = 1.0 / (y * y);
    const TERMS: [f64; 6] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
    ];
    let series = TERMS
        .iter()
        .rev()
        .fold(0.0, |sum, term| sum * inverse_square + term)
        / y;
    (y - 0.5) * y.ln() - y + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

/// The natural logarithm of a tail of the gamma distribution with shape `a` and scale 1, at `x > 0`.
///
/// The tail that is small where `x` lies is computed directly: the lower by its power series for
/// `x < a + 1`, the upper by its continued fraction (modified Lentz) beyond. The other one is its
/// complement.
pub fn ln_gamma_tail(a: f64, x: f64, tail: Tail) -> f64 {
    let front = a * x.ln() - x - ln_gamma(a);
    let (direct, value) = if x < a + 1.0 {
        (Tail::Lower, front + lower_series(a, x).ln())
    } else {
        (Tail::Upper, front + upper_fraction(a, x).ln())
    };
    if direct == tail {
        value
    } else {
        (-value.exp()).ln_1p()
    }
}

/// `sum over n of x^n / (a (a+1) ... (a+n))`.
fn lower_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    let mut n = a;
    while term > sum * f64::EPSILON * 0.01 {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    sum
}

/// `1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...)))`.
fn upper_fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..100_000 {
        let i = f64::from(i);
        let factor = -i * (i - a);
        b += 2.0;
        d = factor * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + factor / c;
        c = if c.abs() < TINY { TINY } else { c };
        h *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    h
}

/// The natural logarithm of a tail of the chi-square distribution with `freedom` degrees of freedom.
pub fn ln_chi_square_tail(freedom: f64, x: f64, tail: Tail) -> f64 {
    ln_gamma_tail(freedom / 2.0, x / 2.0, tail)
}

/// The value beyond which a chi-square variable with `freedom` degrees of freedom lies, on the side
/// of `tail`, with probability `2^log2_probability`.
pub fn chi_square_limit(freedom: f64, log2_probability: f64, tail: Tail) -> f64 {
    let target = log2_probability * std::f64::consts::LN_2;
    let mut low = 0.0;
    let mut high = freedom + 1.0;
    while tail == Tail::Upper && ln_chi_square_tail(freedom, high, tail) > target {
        high *= 2.0;
    }
    while tail == Tail::Lower && ln_chi_square_tail(freedom, high, tail) < target {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        let value = ln_chi_square_tail(freedom, middle, tail);
        let too_low = match tail {
            Tail::Upper => value > target,
            Tail::Lower => value < target,
        };
        if too_low {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The number of standard deviations that a normal variable exceeds, to either side, with
/// probability `2^log2_probability`: its square is chi-square with one degree of freedom.
pub fn normal_limit_two_sided(log2_probability: f64) -> f64 {
    chi_square_limit(1.0, log2_probability, Tail::Upper).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_agrees_with_factorials() {
        let mut ln_factorial = 0.0_f64;
        for n in 1..200_u32 {
            assert!((ln_gamma(f64::from(n)) - ln_factorial).abs() < 1e-12 * ln_factorial.max(1.0));
            ln_factorial += f64::from(n).ln();
        }
        assert!((ln_gamma(0.5) - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-14);
    }

    /// With an even number of degrees of freedom the upper tail is a Poisson sum.
    #[test]
    fn tails_agree_with_the_poisson_sum() {
        for (half, x) in [
            (1_u32, 3.0_f64),
            (5, 40.0),
            (127, 420.0),
            (127, 200.0),
            (127, 130.0),
        ] {
            let mean = x / 2.0;
            let mut term = (-mean).exp();
            let (mut upper, mut lower) = (0.0, 0.0);
            for k in 0..4000_u32 {
                if k > 0 {
                    term *= mean / f64::from(k);
                }
                if k < half {
                    upper += term;
                } else {
                    lower += term;
                }
            }
            let freedom = f64::from(2 * half);
            for (tail, sum) in [(Tail::Upper, upper), (Tail::Lower, lower)] {
                let ln = ln_chi_square_tail(freedom, x, tail);
                assert!(
                    (ln - sum.ln()).abs() < 1e-9,
                    "{half} {x} {tail:?} {ln} {}",
                    sum.ln()
                );
            }
        }
    }

    #[test]
    fn limits_invert_the_tails() {
        for tail in [Tail::Lower, Tail::Upper] {
            for exponent in [-1.0, -10.0, -31.0, -60.0] {
                let x = chi_square_limit(255.0, exponent, tail);
                let back = ln_chi_square_tail(255.0, x, tail) / std::f64::consts::LN_2;
                assert!((back - exponent).abs() < 1e-9);
            }
        }
    }

    /// Textbook values: 95 % and 99 % of chi-square with one and ten degrees of freedom.
    #[test]
    fn textbook_values() {
        for (freedom, probability, value) in [
            (1.0, 0.05_f64, 3.841_458_8),
            (1.0, 0.01, 6.634_896_6),
            (10.0, 0.05, 18.307_038),
            (10.0, 0.01, 23.209_251),
        ] {
            let x = chi_square_limit(freedom, probability.log2(), Tail::Upper);
            assert!((x - value).abs() < 1e-6, "{x} {value}");
        }
        assert!((normal_limit_two_sided(0.05_f64.log2()) - 1.959_963_985).abs() < 1e-8);
    }

    /// The limits that the project's documents state, half of the probability on each side.
    #[test]
    fn stated_chi_square_limits() {
        for (exponent, low, high) in [(-30.0, 140.1, 418.4), (-40.0, 125.3, 451.1)] {
            let lower = chi_square_limit(255.0, exponent - 1.0, Tail::Lower);
            let upper = chi_square_limit(255.0, exponent - 1.0, Tail::Upper);
            assert!((lower - low).abs() < 0.051, "{lower} {low}");
            assert!((upper - high).abs() < 0.051, "{upper} {high}");
        }
    }
}
