//! Two-sided limits in two tiers.

use super::alarm::{Finding, Test, Tier};
use crate::distribution::{Tail, chi_square_limit, normal_limit_two_sided};

/// Probability of a false alarm of a block test, two-sided, as a power of two: the intermittent
/// tier, then the permanent tier. The one place that both block limits come from.
pub const BLOCK_LOG2_ALPHA: [f64; 2] = [-30.0, -40.0];

/// A statistic passes within `low..=high`, separately for each tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Least and greatest value without an intermittent alarm.
    pub intermittent: (f64, f64),
    /// Least and greatest value without a permanent alarm.
    pub permanent: (f64, f64),
}

impl Limits {
    /// Limits of a chi-square statistic, with half of each probability on either side.
    pub fn chi_square(freedom: f64, log2_alpha: [f64; 2]) -> Self {
        let pair = |exponent: f64| {
            (
                chi_square_limit(freedom, exponent - 1.0, Tail::Lower),
                chi_square_limit(freedom, exponent - 1.0, Tail::Upper),
            )
        };
        Self {
            intermittent: pair(log2_alpha[0]),
            permanent: pair(log2_alpha[1]),
        }
    }

    /// Limits of a normal statistic of the given mean and standard deviation, with half of each
    /// probability on either side.
    pub fn normal(mean: f64, deviation: f64, log2_alpha: [f64; 2]) -> Self {
        let pair = |exponent: f64| {
            let z = normal_limit_two_sided(exponent);
            (mean - z * deviation, mean + z * deviation)
        };
        Self {
            intermittent: pair(log2_alpha[0]),
            permanent: pair(log2_alpha[1]),
        }
    }

    /// The finding, if `statistic` lies outside. `sample` is passed on.
    pub fn judge(&self, test: Test, statistic: f64, sample: u64) -> Option<Finding> {
        let outside = |(low, high): (f64, f64)| {
            if statistic < low {
                Some(low)
            } else if statistic > high {
                Some(high)
            } else {
                None
            }
        };
        let (tier, limit) = match outside(self.permanent) {
            Some(limit) => (Tier::Permanent, limit),
            None => (Tier::Intermittent, outside(self.intermittent)?),
        };
        Some(Finding {
            test,
            tier,
            statistic,
            limit,
            sample,
            lag: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_each_side_and_tier() {
        let limits = Limits {
            intermittent: (2.0, 8.0),
            permanent: (1.0, 9.0),
        };
        let judge = |x| {
            limits
                .judge(Test::ChiSquare, x, 0)
                .map(|f| (f.tier, f.limit))
        };
        assert_eq!(judge(2.0), None);
        assert_eq!(judge(8.0), None);
        assert_eq!(judge(1.5), Some((Tier::Intermittent, 2.0)));
        assert_eq!(judge(8.5), Some((Tier::Intermittent, 8.0)));
        assert_eq!(judge(0.5), Some((Tier::Permanent, 1.0)));
        assert_eq!(judge(9.5), Some((Tier::Permanent, 9.0)));
    }
}
