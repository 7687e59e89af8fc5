//! Pacing: a token bucket, without a clock of its own.
//!
//! There is no feedback from the gateways, so the rate is configured and kept here.

use std::num::NonZeroU64;
use std::time::Duration;

/// A token bucket: fills at a rate, holds at most a burst, and is full at the start.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second.
    rate: NonZeroU64,
    /// The most bytes that may go at once.
    burst: u64,
    /// When the bucket would be full, as time since the start. What is missing from the bucket is
    /// what flows in until then, so this one value is its whole state and no fraction is lost.
    full_at: Duration,
}

impl Pace {
    /// A bucket for `rate` bytes a second and bursts of up to `burst` bytes.
    pub fn new(rate: NonZeroU64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            full_at: Duration::ZERO,
        }
    }

    /// Spends `bytes` at the time `now` since the start, and says how long to wait before
    /// sending them. Zero if the burst allows them now. More than a burst at once waits until
    /// the bucket has been full.
    pub fn spend(&mut self, bytes: u64, now: Duration) -> Duration {
        // The bucket holds `bytes` once it lacks no more than burst - bytes.
        let may_lack = self.time(self.burst.saturating_sub(bytes));
        let wait = self.full_at.saturating_sub(may_lack).saturating_sub(now);
        self.full_at = self.full_at.max(now + wait) + self.time(bytes);
        wait
    }

    /// The time in which `bytes` flow in, rounded up to nanoseconds.
    fn time(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.rate.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn pace(rate: u64, burst: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate).unwrap(), burst)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut p = pace(1_000_000, 3000);
        assert_eq!(p.spend(1000, ms(0)), ms(0));
        assert_eq!(p.spend(1000, ms(0)), ms(0));
        assert_eq!(p.spend(1000, ms(0)), ms(0));
        assert_eq!(p.spend(1000, ms(0)), ms(1));
        assert_eq!(p.spend(1000, ms(1)), ms(1));
        assert_eq!(p.spend(1000, ms(2)), ms(1));
    }

    #[test]
    fn an_idle_bucket_fills_to_the_burst_only() {
        let mut p = pace(1_000_000, 2000);
        assert_eq!(p.spend(2000, ms(0)), ms(0));
        assert_eq!(p.spend(2000, ms(60_000)), ms(0));
        assert_eq!(p.spend(1000, ms(60_000)), ms(1));
    }

    #[test]
    fn a_partly_filled_bucket_gives_what_it_has() {
        let mut p = pace(1_000_000, 2000);
        assert_eq!(p.spend(2000, ms(0)), ms(0));
        assert_eq!(p.spend(500, ms(1)), ms(0));
        assert_eq!(p.spend(500, ms(1)), ms(0));
        assert_eq!(p.spend(500, ms(1)), Duration::from_micros(500));
    }

    #[test]
    fn more_than_a_burst_waits_for_a_full_bucket() {
        let mut p = pace(1000, 10);
        assert_eq!(p.spend(100, ms(0)), ms(0));
        assert_eq!(p.spend(10, ms(0)), ms(100));
    }

    #[test]
    fn the_rate_is_kept_over_a_long_time() {
        // Each send follows its wait: 1 GiB at 40 MB/s less the burst takes 26.8 seconds.
        let mut p = pace(40_000_000, 65_536);
        let mut now = Duration::ZERO;
        for _ in 0..16_384 {
            now += p.spend(65_536, now);
        }
        let exact = Duration::from_secs_f64(16_383.0 * 65_536.0 / 40e6);
        assert!(now >= exact, "{now:?} < {exact:?}");
        assert!(now < exact + ms(1), "{now:?} > {exact:?}");
    }
}
