//! The status document: one JSON object, what `status` in the mount gives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use qrng::report::{Kind, Kinds};
use serde_json::{Map, Value, json};

use crate::buffer::{Buffer, Overflow};
use crate::link::Link;
use crate::receive::now_us;
use crate::watch::Rates;

/// Silence that is worth telling, in seconds: announcements come every second.
pub const SILENCE_S: u64 = 5;

/// Everything that the document is made from.
pub struct Status {
    /// The receiving side.
    pub link: Arc<Link>,
    /// The buffer.
    pub buffer: Arc<Buffer>,
    /// Rates of the last second.
    pub rates: Arc<Rates>,
    /// After how many seconds of silence waiting reads fail.
    pub stall_limit_s: Option<u64>,
    /// When the process started.
    pub started: Instant,
}

impl Status {
    /// The document, ending in a newline.
    pub fn document(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.value()).unwrap_or_default();
        text.push('\n');
        text
    }

    fn value(&self) -> Value {
        let told = self.link.snapshot();
        let counts = self.buffer.counts();
        let counters = &self.link.counters;
        let fill = self.buffer.fill();
        let capacity = self.buffer.capacity();
        let (state, reasons) = self.state();
        let rejected: Map<String, Value> = counters
            .rejected()
            .map(|(reason, n)| (reason.name().to_owned(), n.into()))
            .collect();
        let (kinds, kinds_since_start) = self.link.kinds();
        json!({
            "state": state,
            "reasons": reasons,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "buffer": {
                "capacity_bytes": capacity,
                "fill_bytes": fill,
                "fill_percent": (fill as f64 / capacity as f64 * 1000.0).round() / 10.0,
                "overflow_policy": match self.buffer.overflow() {
                    Overflow::Discard => "discard",
                    Overflow::Replace => "replace",
                },
                "locked_bytes": self.buffer.locked_bytes(),
            },
            "bytes": {
                "admitted": counts.admitted,
                "served": counts.served,
                "destroyed": counts.destroyed,
                "overflow_discarded": counts.overflow_discarded,
                "overflow_replaced": counts.overflow_replaced,
            },
            "rates": {
                "admitted_bytes_per_second": self.rates.admitted.load(Ordering::Relaxed),
                "served_bytes_per_second": self.rates.served.load(Ordering::Relaxed),
            },
            "packets": {
                "datagrams": counters.datagrams.get(),
                "admitted": counters.packets.get(),
                "announcements": counters.announcements.get(),
                "reports": counters.reports.get(),
                "lost": counters.lost.get(),
                "socket_drops": counters.socket_drops.get(),
            },
            "rejected": rejected,
            "session": told.session.as_ref().map(|s| json!({
                "key_id": s.key_id.to_string(),
                "epoch": s.epoch,
                "slot": s.slot,
            })),
            "clock_skew_seconds": told.skew_us.map(|us| us as f64 / 1e6),
            "kinds": names(kinds),
            "kinds_since_start": names(kinds_since_start),
            "sources": told.report.map(|r| r.sources).unwrap_or_default(),
            "last_verified_age_seconds": self.age_us().map(|us| us as f64 / 1e6),
            "readers": {
                "waiting": self.buffer.readers().load(Ordering::Relaxed),
            },
        })
    }

    /// Time since the last verified packet, in microseconds.
    fn age_us(&self) -> Option<u64> {
        match self.link.counters.last_verified_us.get() {
            0 => None,
            last => Some(now_us().saturating_sub(last)),
        }
    }

    /// Whether nothing was verified for longer than the stall limit.
    pub fn stalled(&self) -> bool {
        self.stall_limit_s
            .is_some_and(|limit| self.quiet_us() >= limit.saturating_mul(1_000_000))
    }

    /// Time without a verified packet, at the most since the start, in microseconds.
    pub fn quiet_us(&self) -> u64 {
        self.age_us().unwrap_or_else(|| {
            u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
        })
    }

    fn state(&self) -> (&'static str, Vec<String>) {
        let mut reasons = Vec::new();
        let quiet_s = self.quiet_us() / 1_000_000;
        if quiet_s >= SILENCE_S {
            reasons.push(format!("no verified bytes for {quiet_s} s"));
        }
        if self.buffer.fill() > 0 {
            return ("serving", reasons);
        }
        reasons.push("the buffer is empty".into());
        (if self.stalled() { "stalled" } else { "waiting" }, reasons)
    }
}

fn names(kinds: Kinds) -> Vec<&'static str> {
    kinds.iter().map(Kind::name).collect()
}
