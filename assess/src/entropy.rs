//! The min-entropy estimators of NIST SP 800-90B section 6.3, for binary samples.
//!
//! Each gives a lower bound, at 99 % confidence, on the bits of min-entropy in one bit of the sample, by looking for one
//! way of guessing. The least of them is the estimate. It is an estimate of what these ten ways can guess, not a proof:
//! bits from any good generator, secret or not, come out near 1.

mod compression;
mod count;
mod predict;
#[cfg(test)]
mod tests;
mod tuple;

pub use compression::compression;
pub use count::{collision, markov, most_common, most_common_byte};
pub use predict::{lag, lz78y, multi_mcw, multi_mmc};
pub use tuple::tuples;

/// 2.576: the two-sided 99 % point of the normal distribution, as the standard has it, in full.
const Z: f64 = 2.575_829_303_548_901;

/// Fewest bits for the estimators to be meant at all (SP 800-90B section 3.1.1).
pub const LEAST_BITS: usize = 1_000_000;

/// One estimator's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimator, with its section.
    pub name: &'static str,
    /// Bits of min-entropy in one bit.
    pub min_entropy: f64,
}

/// Upper end of the 99 % interval of a proportion that was seen as `p` in `n` samples.
fn upper(p: f64, n: f64) -> f64 {
    (p + Z * (p * (1.0 - p) / (n - 1.0)).sqrt()).min(1.0)
}

/// -log2, without a negative zero.
fn entropy_of(p: f64) -> f64 {
    (-p.log2()).max(0.0)
}

/// Where a falling function of 0 <= x <= 1 crosses `target`, between `low` and 1, by bisection.
fn crossing(low: f64, target: f64, falling: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if falling(middle) > target {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Names of the estimators, in the order in which [`estimates`] runs them.
pub const NAMES: [&str; 9] = [
    "most common value (6.3.1)",
    "collision (6.3.2)",
    "Markov (6.3.3)",
    "compression (6.3.4)",
    "t-tuple and longest repeated substring (6.3.5, 6.3.6)",
    "multi most common in window (6.3.7)",
    "lag (6.3.8)",
    "multi Markov model with counting (6.3.9)",
    "LZ78Y (6.3.10)",
];

/// All estimators on `bits` (bytes that are 0 or 1), `before` told which of [`NAMES`] comes next. An estimator that
/// has nothing to work with (such as no repeated tuple) is left out. Fewer than 8192 bits give none.
pub fn estimates(bits: &[u8], mut before: impl FnMut(usize)) -> Vec<Estimate> {
    if bits.len() < 8192 {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (i, name) in NAMES.into_iter().enumerate() {
        before(i);
        let mut found = |name, min_entropy: Option<f64>| {
            all.extend(min_entropy.map(|min_entropy| Estimate { name, min_entropy }));
        };
        match i {
            0 => found(name, Some(most_common(bits))),
            1 => found(name, Some(collision(bits))),
            2 => found(name, Some(markov(bits))),
            3 => found(name, Some(compression(bits))),
            4 => {
                let (t_tuple, longest) = tuples(bits);
                found("t-tuple (6.3.5)", t_tuple);
                found("longest repeated substring (6.3.6)", longest);
            }
            5 => found(name, Some(multi_mcw(bits))),
            6 => found(name, Some(lag(bits))),
            7 => found(name, Some(multi_mmc(bits))),
            _ => found(name, Some(lz78y(bits))),
        }
    }
    all
}
