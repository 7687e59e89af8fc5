//! The status document: one JSON object, what `status` in the mount gives.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qrng::health::{Alarm, START_UP_BYTES, State};
use qrng::report::{Kind, Kinds};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::admit::{Reject, SKEW_ALARM_US};
use crate::bound::Durable;
use crate::buffer::{Buffer, Counts, Overflow};
use crate::health::{self, ClearRequest, Health};
use crate::keyring::Keyring;
use crate::link::{Link, Told};
use crate::receive::now_us;
use crate::shares::QuotaFile;
use crate::stream::StreamCounters;
use crate::watch::Rates;

/// Silence that is worth telling: announcements come every second.
pub const SILENCE: Duration = Duration::from_secs(5);

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
    /// The key files.
    pub keyring: Arc<Keyring>,
    /// The restart bound on disk, if there is one.
    pub durable: Option<Arc<Durable>>,
    /// Where the use of quotas is kept, if it is.
    pub quotas: Option<QuotaFile>,
    /// What the stream socket has counted, if there is one.
    pub stream: Option<Arc<StreamCounters>>,
    /// After how many seconds of silence waiting reads fail.
    pub stall_limit_s: Option<u64>,
    /// How this process is confined, once it is.
    pub confined: OnceLock<Confined>,
}

/// How the gateway's process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Confined {
    /// By which name.
    pub gateway: &'static str,
    /// The version of Landlock that it is under, if it is.
    pub landlock: Option<u32>,
}

impl Status {
    /// The document.
    pub fn document(&self) -> String {
        // A `Value` always has a text.
        serde_json::to_string_pretty(&self.value()).unwrap_or_default()
    }

    fn value(&self) -> Value {
        let told = self.link.snapshot();
        let health = self.health.told();
        let counts = self.buffer.counts();
        let counters = &self.link.counters;
        let fill = counts.fill;
        let capacity = self.buffer.capacity();
        let sources = sources(&told);
        let (state, reasons) = self.state(fill, &told, &health, &sources);
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
                "set_capacity_bytes": self.buffer.set_capacity(),
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
                "from_this_host": counters.from_this_host.get(),
                "admitted": counters.packets.get(),
                "announcements": counters.announcements.get(),
                "reports": counters.reports.get(),
                "lost": counters.lost.get(),
                "socket_drops": counters.socket_drops.get(),
            },
            "rejected": rejected,
            "keys": self.keyring.told(now_us()),
            "session": told.session.as_ref().map(|s| json!({
                "key_id": s.key_id.to_string(),
                "day": s.day.map(|day| day.to_string()),
                "epoch": s.epoch,
                "slot": s.slot,
            })),
            "clock_skew_seconds": told.skew_us.map(|us| us as f64 / 1e6),
            "kinds": names(kinds),
            "kinds_since_start": names(kinds_since_start),
            "sources": sources,
            "last_verified_age_seconds": self.link.age().map(|age| age.as_secs_f64()),
            "confinement": self.confined.get(),
            "stream": self.stream.as_deref().map(StreamCounters::value),
            "users": self.buffer.queue().users().value(),
            "readers": {
                "waiting": self.buffer.waiting(),
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
            "in_flight": counts.in_flight,
            "overflow_discarded": counts.overflow_discarded,
            "overflow_replaced": counts.overflow_replaced,
            "released": counts.released,
            "generated": self.buffer.generated(),
        })
    }

    /// Whether the collector has reported that none of its sources delivers until an operator acts.
    pub fn source_latched(&self) -> bool {
        let sources = sources(&self.link.snapshot());
        !sources.is_empty() && sources.iter().all(is_latched)
    }

    fn state(
        &self,
        fill: u64,
        told: &Told,
        health: &health::Told,
        sources: &[Value],
    ) -> (&'static str, Vec<String>) {
        let mut reasons = Vec::new();
        if let Some(alarm) = &health.latch {
            reasons.push(format!(
                "{alarm}; an operator can clear it with `qrng clear --gateway`"
            ));
        }
        reasons.extend(sources.iter().filter_map(reported_alarm));
        if self.quiet() >= SILENCE {
            reasons.push(format!(
                "no verified bytes for {} s",
                self.quiet().as_secs()
            ));
            reasons.extend(self.refused_for_their_time());
            reasons.extend(self.refused_for_their_key());
        }
        if let Some(skew_us) = told.skew_us
            && skew_us.unsigned_abs() > SKEW_ALARM_US
        {
            reasons.push(format!(
                "this host's clock is {} s ahead of the collector's",
                skew_us / 1_000_000
            ));
        }
        reasons.extend(self.keyring.reasons(now_us()));
        if health.latch.is_some() {
            return ("latched", reasons);
        }
        if fill > 0 {
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

    /// A clock that is far off shows in what is refused alone, as nothing is verified then. Nobody
    /// vouches for those timestamps, so it is a hint.
    fn refused_for_their_time(&self) -> Option<String> {
        let refused = self.refused(is_about_time)?;
        Some(format!(
            "datagrams were refused for their time ({refused}): compare the clocks of both hosts"
        ))
    }

    /// Keys that the two hosts do not share show in the same way.
    fn refused_for_their_key(&self) -> Option<String> {
        let refused = self.refused(is_about_keys)?;
        Some(format!(
            "announcements were refused for their key ({refused}): the collector's key file is not the one that belongs to this \
             gateway's, or one of the clocks is on another day"
        ))
    }

    /// What was refused for these reasons, counted, if anything was.
    fn refused(&self, is_wanted: fn(Reject) -> bool) -> Option<String> {
        let rejected = self.link.counters.rejected();
        let refused: Vec<_> = rejected
            .filter(|(reason, n)| is_wanted(*reason) && *n > 0)
            .map(|(reason, n)| format!("{n} {}", reason.name()))
            .collect();
        (!refused.is_empty()).then(|| refused.join(", "))
    }
}

/// Whether a datagram refused for this may mean that a clock is wrong.
pub fn is_about_time(reason: Reject) -> bool {
    matches!(reason, Reject::Expired | Reject::Future)
}

/// Whether an announcement refused for this may mean that the two hosts have different keys.
pub fn is_about_keys(reason: Reject) -> bool {
    matches!(reason, Reject::UnknownKey | Reject::PastKey)
}

/// The collectors' sources as they reported them, with the key and the age of the report. What they say of health may be
/// absent, and is looked at by name.
fn sources(told: &Told) -> Vec<Value> {
    let reports = told.reports.iter();
    let sources = reports.flat_map(|(key_id, report, came)| {
        let sources = report.sources.iter();
        sources.map(move |source| (key_id, source, came))
    });
    sources
        .filter_map(|(key_id, source, came)| {
            let mut value = serde_json::to_value(source).ok()?;
            value["kind"] = source.kind.name().into();
            value["key_id"] = key_id.to_string().into();
            value["age_seconds"] = came.elapsed().as_secs_f64().into();
            Some(value)
        })
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
