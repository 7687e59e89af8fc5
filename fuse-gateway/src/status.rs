//! The status document: one JSON object, what `status` in the mount gives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use qrng::report::{Kind, Kinds};
use serde_json::{Map, Value, json};

use crate::admit::{Reject, SKEW_ALARM_US};
use crate::buffer::{Buffer, Overflow};
use crate::link::{Link, Told};
use crate::watch::Rates;

/// Silence that is worth telling: announcements come every second.
pub const SILENCE: Duration = Duration::from_secs(5);

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
}

impl Status {
    /// The document.
    pub fn document(&self) -> String {
        // A `Value` always has a text.
        serde_json::to_string_pretty(&self.value()).unwrap_or_default()
    }

    fn value(&self) -> Value {
        let told = self.link.snapshot();
        let counts = self.buffer.counts();
        let counters = &self.link.counters;
        let fill = counts.fill;
        let capacity = self.buffer.capacity();
        let (state, reasons) = self.state(fill, &told);
        let rejected: Map<String, Value> = counters
            .rejected()
            .map(|(reason, n)| (reason.name().to_owned(), n.into()))
            .collect();
        let (kinds, kinds_since_start) = self.link.kinds();
        json!({
            "state": state,
            "reasons": reasons,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.link.uptime().as_secs(),
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
                "in_flight": counts.in_flight,
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
            "sources": sources(&told),
            "last_verified_age_seconds": self.link.age().map(|age| age.as_secs_f64()),
            "readers": {
                "waiting": self.buffer.readers().load(Ordering::Relaxed),
            },
        })
    }

    /// Whether nothing was verified for longer than the stall limit.
    pub fn stalled(&self) -> bool {
        self.stall_limit_s
            .is_some_and(|limit| self.quiet() >= Duration::from_secs(limit))
    }

    /// Time without verified bytes, at the most since the start.
    pub fn quiet(&self) -> Duration {
        self.link.age().unwrap_or_else(|| self.link.uptime())
    }

    fn state(&self, fill: u64, told: &Told) -> (&'static str, Vec<String>) {
        let mut reasons = Vec::new();
        if self.quiet() >= SILENCE {
            reasons.push(format!(
                "no verified bytes for {} s",
                self.quiet().as_secs()
            ));
            reasons.extend(self.refused_for_their_time());
        }
        if let Some(skew_us) = told.skew_us
            && skew_us.unsigned_abs() > SKEW_ALARM_US
        {
            reasons.push(format!(
                "this host's clock is {} s ahead of the collector's",
                skew_us / 1_000_000
            ));
        }
        if fill > 0 {
            return ("serving", reasons);
        }
        reasons.push("the buffer is empty".into());
        (if self.stalled() { "stalled" } else { "waiting" }, reasons)
    }

    /// A clock that is far off shows in what is refused alone, as nothing is verified then. Nobody
    /// vouches for those timestamps, so it is a hint.
    fn refused_for_their_time(&self) -> Option<String> {
        let refused: Vec<_> = self
            .link
            .counters
            .rejected()
            .filter(|(reason, n)| is_about_time(*reason) && *n > 0)
            .map(|(reason, n)| format!("{n} {}", reason.name()))
            .collect();
        (!refused.is_empty()).then(|| {
            format!(
                "datagrams were refused for their time ({}): compare the clocks of both hosts",
                refused.join(", ")
            )
        })
    }
}

/// Whether a datagram refused for this may mean that a clock is wrong.
pub fn is_about_time(reason: Reject) -> bool {
    matches!(reason, Reject::Expired | Reject::Future)
}

fn sources(told: &Told) -> Vec<Value> {
    told.reports
        .iter()
        .flat_map(|(key_id, report, came)| {
            report.sources.iter().map(move |source| {
                json!({
                    "kind": source.kind.name(),
                    "name": source.name,
                    "serial": source.serial,
                    "state": source.state,
                    "key_id": key_id.to_string(),
                    "age_seconds": came.elapsed().as_secs_f64(),
                })
            })
        })
        .collect()
}

fn names(kinds: Kinds) -> Vec<&'static str> {
    kinds.iter().map(Kind::name).collect()
}
