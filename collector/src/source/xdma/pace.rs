//! When to look for bytes again.
//!
//! Looking costs a wake-up, and looking in vain a register read too, so a look is due when the bytes that are wanted should
//! have come at the rate of late. It does not come so late that the ring could be full.

use std::time::{Duration, Instant};

/// The shortest pause: the time of some buffers even of the fastest card.
const SHORTEST: Duration = Duration::from_micros(500);
/// The longest pause: less than a third of what the ring holds of the fastest card.
const LONGEST: Duration = Duration::from_millis(10);
/// The share that a new measurement has in the rate.
const SHARE: f64 = 0.125;

/// The rate of late.
#[derive(Debug)]
pub struct Pace {
    seconds_per_byte: f64,
    /// When bytes last came.
    last: Instant,
}

impl Pace {
    /// Begins at the time `now` with the rate that is expected, in bytes a second.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self {
            seconds_per_byte: 1.0 / f64::from(rate.max(1)),
            last: now,
        }
    }

    /// Notes that `bytes` have come by the time `now`.
    pub fn came(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            let time = now.saturating_duration_since(self.last).as_secs_f64();
            self.seconds_per_byte += SHARE * (time / bytes as f64 - self.seconds_per_byte);
            self.last = now;
        }
    }

    /// When `missing` bytes should have come, seen from the time `now`.
    pub fn due(&self, missing: usize, now: Instant) -> Instant {
        let seconds = self.seconds_per_byte * missing as f64;
        let pause = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
        now + pause.clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_rate_within_bounds() {
        let start = Instant::now();
        let mut pace = Pace::new(30_000_000, start);
        let pause = |pace: &Pace, missing| pace.due(missing, start) - start;
        assert_eq!(
            pause(&pace, 60_000).as_secs_f64().mul_add(1e3, 0.5).floor(),
            2.0
        );
        assert_eq!(pause(&pace, 1), SHORTEST);
        assert_eq!(pause(&pace, 1 << 20), LONGEST);
        // A third of that: the pauses become three times as long.
        let mut now = start;
        for _ in 0..100 {
            now += Duration::from_millis(1);
            pace.came(10_000, now);
        }
        let pause = pause(&pace, 60_000);
        assert!((pause.as_secs_f64() - 6e-3).abs() < 1e-4, "{pause:?}");
    }
}
