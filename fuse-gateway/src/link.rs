//! What is known of the link: written by the receiving thread, read by everyone else.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qrng::keys::KeyId;
use qrng::report::{Kinds, Report};

use crate::admit::SessionInfo;
use crate::counters::Counters;

/// Counters, the present session and what the collectors report of their sources.
#[derive(Debug)]
pub struct Link {
    /// Counters of the receiving side.
    pub counters: Counters,
    started: Instant,
    /// Microseconds from the start to the last verified bytes, plus 1; 0 for never. Not the time
    /// of day, so that silence is noticed whatever happens to the clock.
    last_verified: AtomicU64,
    last_kinds: AtomicU8,
    kinds_since_start: AtomicU8,
    told: Mutex<Told>,
}

/// What arrives about once a second.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// The present session, if there is one.
    pub session: Option<SessionInfo>,
    /// By how many microseconds this host's clock is ahead of the collector's.
    pub skew_us: Option<i64>,
    /// Each collector's last report, and when it came.
    pub reports: Vec<(KeyId, Report, Instant)>,
}

impl Link {
    /// A link that nothing was received from yet, at the start of the process.
    pub fn new(started: Instant) -> Self {
        Self {
            counters: Counters::default(),
            started,
            last_verified: AtomicU64::new(0),
            last_kinds: AtomicU8::new(0),
            kinds_since_start: AtomicU8::new(0),
            told: Mutex::default(),
        }
    }

    /// Notes that bytes made by `kinds` were verified.
    pub fn verified(&self, now: Instant, kinds: Kinds) {
        self.counters.packets.add(1);
        let since_start = u64::try_from(now.duration_since(self.started).as_micros());
        self.last_verified
            .store(since_start.unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
        if self.last_kinds.load(Ordering::Relaxed) != kinds.bits() {
            self.last_kinds.store(kinds.bits(), Ordering::Relaxed);
            self.kinds_since_start
                .fetch_or(kinds.bits(), Ordering::Relaxed);
        }
    }

    /// Time since the process started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since bytes were verified last; none if they never were.
    pub fn age(&self) -> Option<Duration> {
        let last = self.last_verified.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.uptime().saturating_sub(Duration::from_micros(last)))
    }

    /// Kinds of source of the last verified packet, and of all since the start.
    pub fn kinds(&self) -> (Kinds, Kinds) {
        (read(&self.last_kinds), read(&self.kinds_since_start))
    }

    /// Notes the present session, and by how many microseconds this host's clock is ahead of the
    /// collector's.
    pub fn set_session(&self, session: Option<SessionInfo>, skew_us: Option<i64>) {
        let mut told = self.told();
        told.session = session;
        told.skew_us = skew_us;
    }

    /// Notes a verified report of the collector whose key this is, or the calendar of it.
    pub fn set_report(&self, key_id: KeyId, report: Report, now: Instant) {
        let mut told = self.told();
        // As many as there are keys, so a few.
        told.reports.retain(|(known, _, _)| *known != key_id);
        told.reports.push((key_id, report, now));
    }

    /// Forgets the reports of collectors whose keys are gone.
    pub fn keep_reports_of(&self, collectors: &HashSet<KeyId>) {
        let mut told = self.told();
        told.reports
            .retain(|(known, _, _)| collectors.contains(known));
    }

    /// What arrived last.
    pub fn snapshot(&self) -> Told {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Each part is replaced whole, so a panic elsewhere cannot leave it half-written.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(bits: &AtomicU8) -> Kinds {
    Kinds::from_bits(bits.load(Ordering::Relaxed)).unwrap_or(Kinds::NONE)
}
