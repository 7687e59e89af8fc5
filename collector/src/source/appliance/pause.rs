//! How long an appliance, or a gateway that is pushed to, is left alone when it fails.

use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::TryRng;

/// The longest pause after a first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause of all.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// Pauses that double with each failure in a row. Each is shortened by up to a half at random, so that
/// collectors which have failed together do not all come back together.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Without a random number there is no harm in the whole.
        let random = SysRng.try_next_u32().unwrap_or(u32::MAX);
        jittered(whole, random)
    }

    /// There was an answer.
    pub(crate) fn end(&mut self) {
        self.failures = 0;
    }
}

/// From a half of `whole` to all of it.
fn jittered(whole: Duration, random: u32) -> Duration {
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut pauses = Pauses::default();
        let mut most = FIRST;
        for _ in 0..100 {
            let pause = pauses.next();
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
            most = LONGEST.min(most * 2);
        }
        pauses.end();
        assert!(pauses.next() <= FIRST);
    }

    #[test]
    fn pauses_are_anything_between_the_half_and_the_whole() {
        let whole = Duration::from_secs(8);
        assert_eq!(jittered(whole, 0), Duration::from_secs(4));
        assert_eq!(jittered(whole, u32::MAX), whole);
        let half = jittered(whole, u32::MAX / 2);
        assert!(half.abs_diff(Duration::from_secs(6)) < Duration::from_micros(1));
    }
}
