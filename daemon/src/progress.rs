//! Whether the stages of a daemon get on: each says when it takes up a piece of work and when it waits for the next. A stage
//! that has been at one piece for too long is stuck, however busy the others are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A stage's own mark.
#[derive(Debug, Clone)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds after `begun`, plus one, at which the present piece of work was taken up; 0 while the stage waits.
    since: Arc<AtomicU64>,
}

impl Pulse {
    /// The stage takes up a piece of work.
    pub fn works(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.since.store(now + 1, Ordering::Relaxed);
    }

    /// The stage waits for the next.
    pub fn waits(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    fn at_work_for(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.begun
                .elapsed()
                .saturating_sub(Duration::from_millis(since)),
        )
    }
}

/// The marks of all stages.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    stages: Mutex<Vec<(String, Pulse)>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            stages: Mutex::default(),
        }
    }
}

impl Progress {
    /// A mark for the stage `name`, which waits.
    pub fn stage(&self, name: &str) -> Pulse {
        let pulse = Pulse {
            begun: self.begun,
            since: Arc::default(),
        };
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.push((name.to_owned(), pulse.clone()));
        pulse
    }

    /// A stage that has been at one piece of work for longer than `limit`, and for how long.
    pub fn stuck(&self, limit: Duration) -> Option<(String, Duration)> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let at_work = stages
            .iter()
            .filter_map(|(name, pulse)| Some((name, pulse.at_work_for()?)));
        let (name, time) = at_work.max_by_key(|(_, time)| *time)?;
        (time > limit).then(|| (name.clone(), time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stage_at_work_can_be_stuck() {
        let progress = Progress::default();
        let (one, two) = (progress.stage("one"), progress.stage("two"));
        assert_eq!(progress.stuck(Duration::ZERO), None);
        one.works();
        std::thread::sleep(Duration::from_millis(20));
        two.works();
        let (name, time) = progress.stuck(Duration::from_millis(10)).unwrap();
        assert!(name == "one" && time > Duration::from_millis(10));
        assert_eq!(progress.stuck(Duration::from_secs(3600)), None);
        one.waits();
        two.waits();
        assert_eq!(progress.stuck(Duration::ZERO), None);
    }
}
