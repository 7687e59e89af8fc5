//! Whether data comes at the rate at which the source makes it; silence is a total failure (AIS 20/31,
//! PTG.2.1).
//!
//! A source that slows down has lost a part of itself; one that is faster than its physics hands out
//! something else. Rates are judged over windows of 10 seconds, which no ordinary hesitation of a
//! host fills. Bytes that come slowly are not worse bytes, so one window is an intermittent alarm,
//! and three in a row are permanent; a window without any byte is intermittent however often it
//! comes, as there is nothing to hold back.

use super::alarm::{Finding, Test, Tier};

/// Length of a window, in microseconds.
pub const WINDOW_US: u64 = 10_000_000;

/// The rates that pass, as parts of the expected one.
const PASSES: (f64, f64) = (0.5, 1.5);

/// Windows in a row outside [`PASSES`] that make a permanent alarm.
const PERMANENT_WINDOWS: u32 = 3;

/// Measures and judges the rate of one source.
#[derive(Clone)]
pub struct Rate {
    expected: Option<f64>,
    window: Option<u64>,
    bytes: u64,
    failed_windows: u32,
    measured: Option<f64>,
}

impl Rate {
    /// Expects so many bytes a second; `None` measures and never alarms.
    pub fn new(expected: Option<u64>) -> Self {
        Self {
            expected: expected.map(|rate| rate as f64),
            window: None,
            bytes: 0,
            failed_windows: 0,
            measured: None,
        }
    }

    /// Bytes a second over the last complete window.
    pub fn measured(&self) -> Option<f64> {
        self.measured
    }

    /// Begins a new first window.
    pub fn reset(&mut self) {
        *self = Self {
            expected: self.expected,
            ..Self::new(None)
        };
    }

    /// Takes the arrival of `bytes`, which may be none, and judges a window that is complete. Time
    /// that runs backwards begins a new window.
    pub fn observe(&mut self, bytes: u64, now_us: u64) -> Option<Finding> {
        let Some(elapsed) = self.window.and_then(|start| now_us.checked_sub(start)) else {
            self.window = Some(now_us);
            self.bytes = 0;
            return None;
        };
        self.bytes += bytes;
        if elapsed < WINDOW_US {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.window = Some(now_us);
        let rate = bytes as f64 * 1e6 / elapsed as f64;
        self.measured = Some(rate);
        self.judge(bytes, rate)
    }

    fn judge(&mut self, bytes: u64, rate: f64) -> Option<Finding> {
        let expected = self.expected?;
        let (low, high) = (PASSES.0 * expected, PASSES.1 * expected);
        let limit = if rate < low { low } else { high };
        if (low..=high).contains(&rate) {
            self.failed_windows = 0;
            return None;
        }
        let (test, tier) = if bytes == 0 {
            (Test::Silence, Tier::Intermittent)
        } else {
            self.failed_windows += 1;
            if self.failed_windows >= PERMANENT_WINDOWS {
                (Test::Rate, Tier::Permanent)
            } else {
                (Test::Rate, Tier::Intermittent)
            }
        };
        Some(Finding {
            test,
            tier,
            statistic: rate,
            limit,
            sample: 0,
            lag: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn run(rate: &mut Rate, from: u64, seconds: u64, bytes: u64) -> Vec<(Test, Tier)> {
        let times = (from + 1..=from + seconds).map(|second| second * SECOND);
        let found = times.filter_map(|now| rate.observe(bytes, now));
        found.map(|finding| (finding.test, finding.tier)).collect()
    }

    #[test]
    fn the_expected_rate_passes_and_is_measured() {
        let mut rate = Rate::new(Some(1000));
        assert_eq!(run(&mut rate, 0, 100, 1000), []);
        assert_eq!(rate.measured(), Some(1000.0));
    }

    #[test]
    fn three_windows_in_a_row_are_permanent() {
        let once = (Test::Rate, Tier::Intermittent);
        let latch = (Test::Rate, Tier::Permanent);
        for wrong in [400, 1600] {
            let mut rate = Rate::new(Some(1000));
            assert_eq!(run(&mut rate, 0, 21, wrong), [once, once]);
            assert_eq!(run(&mut rate, 21, 10, 1000), []);
            assert_eq!(run(&mut rate, 31, 30, wrong), [once, once, latch]);
        }
    }

    #[test]
    fn silence_is_never_permanent() {
        let mut rate = Rate::new(Some(1000));
        assert_eq!(
            run(&mut rate, 0, 41, 0),
            [(Test::Silence, Tier::Intermittent); 4]
        );
        assert_eq!(run(&mut Rate::new(None), 0, 41, 0), []);
    }

    #[test]
    fn a_clock_set_back_begins_anew() {
        let mut rate = Rate::new(Some(1000));
        assert_eq!(run(&mut rate, 1000, 5, 1000), []);
        assert_eq!(run(&mut rate, 0, 100, 1000), []);
    }
}
