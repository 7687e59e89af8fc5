//! What is known of the link: written by the receiving thread, read by everyone else.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use qrng::report::{Kinds, Report};

use crate::admit::SessionInfo;
use crate::counters::Counters;

/// Counters, the present session and what the collector reports of its sources.
#[derive(Debug, Default)]
pub struct Link {
    /// Counters of the receiving side.
    pub counters: Counters,
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
    /// The collector's last report.
    pub report: Option<Report>,
}

impl Link {
    /// Notes that bytes made by `kinds` were verified at `now_us`.
    pub fn verified(&self, now_us: u64, kinds: Kinds) {
        self.counters.packets.add(1);
        self.counters.last_verified_us.set(now_us);
        if self.last_kinds.load(Ordering::Relaxed) != kinds.bits() {
            self.last_kinds.store(kinds.bits(), Ordering::Relaxed);
            self.kinds_since_start
                .fetch_or(kinds.bits(), Ordering::Relaxed);
        }
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

    /// Notes a verified report.
    pub fn set_report(&self, report: Report) {
        self.told().report = Some(report);
    }

    /// The last session and report.
    pub fn snapshot(&self) -> Told {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // The data are replaced whole, so a panic elsewhere cannot leave them half-written.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(bits: &AtomicU8) -> Kinds {
    Kinds::from_bits(bits.load(Ordering::Relaxed)).unwrap_or(Kinds::NONE)
}
