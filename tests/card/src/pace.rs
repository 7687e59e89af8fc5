//! How many bytes a card makes in a time.

use std::time::Duration;

/// How fast a card makes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// So many bytes a second, while there is time.
    BytesPerSecond(u64),
    /// As many as are fetched: the FIFO is always full and never overflows.
    Unlimited,
}

/// What happens to bytes made when there is no room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// They are lost, as in a real device.
    Overflows,
    /// None are made until there is room: for tests that must not lose bytes on a busy machine.
    Waits,
}

const BILLION: u64 = 1_000_000_000;

/// Turns times into bytes made, without losing fractions. The rate may change at any time.
#[derive(Debug, Default)]
pub struct Pace {
    now: Duration,
    /// Billionths of a byte that were made beside whole ones.
    rest: u64,
}

impl Pace {
    /// The time that it was last told.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whole bytes made since the last call at `rate` bytes a second. A time before the last one counts as the same.
    pub fn advance(&mut self, now: Duration, rate: u64) -> u64 {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        let made = u128::from(rate) * passed.as_nanos() + u128::from(self.rest);
        // Short division, because this is called for every access.
        if let Ok(made) = u64::try_from(made) {
            self.rest = made % BILLION;
            return made / BILLION;
        }
        self.rest = (made % u128::from(BILLION)) as u64;
        u64::try_from(made / u128::from(BILLION)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_add_up_and_time_never_goes_back() {
        let mut pace = Pace::default();
        let made: u64 = (1..=1000)
            .map(|ms| pace.advance(Duration::from_micros(ms * 1000), 500_001))
            .sum();
        assert_eq!(made, 500_001);
        assert_eq!(pace.advance(Duration::from_millis(10), 500_001), 0);
        assert_eq!(pace.advance(Duration::from_secs(2), 500_001), 500_001);
        let far = Duration::from_secs(1_000_002);
        assert_eq!(pace.advance(far, 30_000_001), 30_000_001_000_000);
    }
}
