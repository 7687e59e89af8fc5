//! The status document: one JSON object, what `status` in the mount gives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use qrng::health::{Alarm, START_UP_BYTES, State};
use qrng::report::{Kind, Kinds};
use serde_json::{Map, Value, json};

use crate::buffer::{Buffer, Counts, Overflow};
use crate::health::{self, ClearRequest, Health};
use crate::link::{self, Link};
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
    /// The tests before the buffer.
    pub health: Arc<Health>,
    /// How an operator clears a permanent alarm of theirs.
    pub clear_request: ClearRequest,
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
        let health = self.health.told();
        let counts = self.buffer.counts();
        let counters = &self.link.counters;
        let fill = self.buffer.fill();
        let capacity = self.buffer.capacity();
        let sources = sources(&told);
        let (state, reasons) = self.state(&health, &sources);
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
            "bytes": self.bytes(&health, &counts),
            "health": tests(&health),
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
            "sources": sources,
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

    /// Where the bytes went. Bytes of generators are no part of the balance.
    fn bytes(&self, health: &health::Told, counts: &Counts) -> Value {
        json!({
            "verified": health.books.verified,
            "withheld": health.books.withheld,
            "held": health.books.held,
            "admitted": counts.admitted,
            "served": counts.served,
            "seeding": counts.seeding,
            "destroyed": counts.destroyed,
            "overflow_discarded": counts.overflow_discarded,
            "overflow_replaced": counts.overflow_replaced,
            "generated": self.buffer.generated(),
        })
    }

    /// Whether the collector has reported that none of its sources delivers until an operator acts.
    pub fn source_latched(&self) -> bool {
        let sources = sources(&self.link.snapshot());
        !sources.is_empty() && sources.iter().all(is_latched)
    }

    fn state(&self, health: &health::Told, sources: &[Value]) -> (&'static str, Vec<String>) {
        let mut reasons = Vec::new();
        if let Some(alarm) = &health.latch {
            reasons.push(format!(
                "{alarm}; an operator can clear it with `qrng clear --gateway`"
            ));
        }
        reasons.extend(sources.iter().filter_map(reported_alarm));
        let quiet_s = self.quiet_us() / 1_000_000;
        if quiet_s >= SILENCE_S {
            reasons.push(format!("no verified bytes for {quiet_s} s"));
        }
        if health.latch.is_some() {
            return ("latched", reasons);
        }
        if self.buffer.fill() > 0 {
            return ("serving", reasons);
        }
        reasons.push("the buffer is empty".into());
        if health
            .summary
            .as_ref()
            .is_some_and(|s| s.state == State::Starting)
        {
            reasons.push(format!(
                "the health tests need {START_UP_BYTES} bytes before the first is served"
            ));
        }
        let state = if !sources.is_empty() && sources.iter().all(is_latched) {
            "latched"
        } else if self.stalled() {
            "stalled"
        } else {
            "waiting"
        };
        (state, reasons)
    }
}

/// The collector's sources as it reported them. What they say of health may be absent, and is looked at by name.
fn sources(told: &link::Told) -> Vec<Value> {
    let sources = told.report.iter().flat_map(|report| &report.sources);
    sources
        .filter_map(|source| serde_json::to_value(source).ok())
        .collect()
}

fn is_latched(source: &Value) -> bool {
    [source.get("state"), source.pointer("/health/state")]
        .into_iter()
        .flatten()
        .any(|state| state == "latched")
}

/// What a source's report says of an alarm, in words, for as long as it stands.
fn reported_alarm(source: &Value) -> Option<String> {
    if !is_latched(source) {
        return None;
    }
    let alarm = source
        .pointer("/health/last-alarm")
        .and_then(|alarm| serde_json::from_value::<Alarm>(alarm.clone()).ok());
    let name = source.get("name").and_then(Value::as_str).unwrap_or("?");
    Some(match alarm {
        Some(alarm) => format!("the collector has latched: {alarm}"),
        None => format!("the collector has latched source {name}"),
    })
}

/// The tests in numbers, under the names that reports of sources have, too.
fn tests(health: &health::Told) -> Value {
    let Some(summary) = &health.summary else {
        return json!({ "enabled": false, "state": "off" });
    };
    let mut tests = serde_json::to_value(summary).unwrap_or_default();
    tests["enabled"] = true.into();
    tests["latch"] = health.latch.clone().into();
    tests
}

fn names(kinds: Kinds) -> Vec<&'static str> {
    kinds.iter().map(Kind::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_says_of_health_may_be_absent() {
        assert_eq!(
            reported_alarm(&json!({"name": "a", "state": "running"})),
            None
        );
        assert_eq!(
            reported_alarm(
                &json!({"name": "a", "state": "running", "health": {"state": "passing"}})
            ),
            None
        );
        let latched = json!({"name": "a", "state": "latched"});
        assert_eq!(
            reported_alarm(&latched).unwrap(),
            "the collector has latched source a"
        );
        let alarm = json!({"name": "a", "state": "unknown", "health": {"state": "latched", "last-alarm": {
            "source": "a", "test": "chi-square", "tier": "permanent", "statistic": 9.5, "limit": 8.5,
            "sample": 65535, "at-us": 1,
        }}});
        assert!(
            reported_alarm(&alarm)
                .unwrap()
                .contains("permanent alarm of the chi-square test at byte 65535")
        );
    }
}
