//! What the log says of a card: changes, once, and not too many of them.

use std::time::{Duration, Instant};

use super::registers::Modules;

/// How often at most a change of the modules is told.
const EVERY: Duration = Duration::from_secs(1);
/// How often at most overflows are told.
const OVERFLOWS_EVERY: Duration = Duration::from_secs(60);

/// What the log is to say of the modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// These are not healthy.
    Degraded(u8),
    /// All are, after some were not.
    Mended,
    /// A module is in test mode.
    InTest,
}

/// What the log has said.
#[derive(Default)]
pub(super) struct Told {
    change: Option<Change>,
    change_at: Option<Instant>,
    overflows: u64,
    overflows_at: Option<Instant>,
}

impl Told {
    /// What there is to say at the time `now` of the modules: a change, and not too many of them.
    pub(super) fn modules(&mut self, now: Instant, modules: Modules) -> Option<Change> {
        let is = if modules.in_test() {
            Change::InTest
        } else if modules.failed() != 0 {
            Change::Degraded(modules.failed())
        } else {
            Change::Mended
        };
        let known = self.change.unwrap_or(Change::Mended) == is;
        if known || is_recent(self.change_at, now, EVERY) {
            return None;
        }
        (self.change, self.change_at) = (Some(is), Some(now));
        self.change
    }

    /// How many overflows there are to tell at the time `now`, if there have been `overflows`.
    pub(super) fn overflows(&mut self, now: Instant, overflows: u64) -> Option<u64> {
        let more = overflows - self.overflows;
        if more == 0 || is_recent(self.overflows_at, now, OVERFLOWS_EVERY) {
            return None;
        }
        (self.overflows, self.overflows_at) = (overflows, Some(now));
        Some(more)
    }
}

/// Whether `then` is less than `time` before `now`.
fn is_recent(then: Option<Instant>, now: Instant, time: Duration) -> bool {
    then.is_some_and(|then| now.saturating_duration_since(then) < time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_modules_is_told_once() {
        let mut told = Told::default();
        let (good, degraded, test) = (Modules(0xc2c2), Modules(0xc242), Modules(0xc2c6));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.modules(at(0), good), None);
        assert_eq!(told.modules(at(1), degraded), Some(Change::Degraded(1)));
        assert_eq!(told.modules(at(9), degraded), None);
        assert_eq!(told.modules(at(10), good), Some(Change::Mended));
        assert_eq!(told.modules(at(20), good), None);
        assert_eq!(told.modules(at(30), test), Some(Change::InTest));
        assert_eq!(told.modules(at(40), test), None);
    }

    #[test]
    fn modules_that_flicker_do_not_flood_the_log() {
        let mut told = Told::default();
        let now = Instant::now();
        let (good, degraded) = (Modules(0xc2), Modules(0x42c2));
        let at = |ms| now + Duration::from_millis(ms);
        assert!(told.modules(at(0), degraded).is_some());
        for ms in 1..1000 {
            let modules = if ms % 2 == 0 { degraded } else { good };
            assert_eq!(told.modules(at(ms), modules), None);
        }
        assert_eq!(told.modules(at(1000), good), Some(Change::Mended));
    }

    #[test]
    fn overflows_are_summed_up() {
        let mut told = Told::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.overflows(at(0), 0), None);
        assert_eq!(told.overflows(at(1), 2), Some(2));
        assert_eq!(told.overflows(at(2), 3), None);
        assert_eq!(told.overflows(at(60), 7), None);
        assert_eq!(told.overflows(at(61), 7), Some(5));
        assert_eq!(told.overflows(at(200), 7), None);
    }
}
