//! The operator's eye: once a second it looks at the counters, measures rates, and writes a log
//! line when something changes: bytes stop, bytes come again, packets are refused or lost. It also
//! clears a permanent alarm when an operator asks for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::admit::SKEW_ALARM_US;
use crate::buffer::Buffer;
use crate::link::Link;
use crate::receive::now_us;
use crate::status::{SILENCE, Status, is_about_time};
use crate::tree::Tree;

/// How often the counters are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Refused and lost packets are summed up at most this often.
const SUMMARY: Duration = Duration::from_secs(10);

/// Rates over the last second, in bytes per second.
#[derive(Debug, Default)]
pub struct Rates {
    /// Verified bytes that came in.
    pub admitted: AtomicU64,
    /// Bytes that readers got.
    pub served: AtomicU64,
}

/// Watches for ever.
///
/// # Errors
/// None: it is fallible only because a supervised thread is.
pub fn run(status: &Status, tree: &Tree) -> anyhow::Result<()> {
    let mut watch = Watch::new(status, Instant::now());
    loop {
        thread::sleep(PERIOD);
        status.health.tick(now_us());
        status.clear_request.look(&status.health);
        status.keyring.erase();
        if let Some(durable) = &status.durable {
            durable.keep_ahead();
        }
        if let Some(quotas) = &status.quotas {
            quotas.keep();
        }
        tree.set_stalled(status.stalled() || status.source_latched());
        for line in watch.look(status, Instant::now()) {
            match line {
                Line::Info(text) => info!("{text}"),
                Line::Warn(text) => warn!("{text}"),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Info(String),
    Warn(String),
}

struct Watch {
    looked: Instant,
    admitted: u64,
    served: u64,
    silent: bool,
    skewed: bool,
    /// What was told of the keys.
    keys: Vec<String>,
    summed: Instant,
    rejected: Vec<u64>,
    lost: u64,
    socket_drops: u64,
    overflow: u64,
}

impl Watch {
    fn new(status: &Status, now: Instant) -> Self {
        let counts = status.buffer.counts();
        Self {
            looked: now,
            admitted: counts.admitted,
            served: counts.served,
            silent: false,
            skewed: false,
            keys: Vec::new(),
            summed: now,
            rejected: status.link.counters.rejected().map(|(_, n)| n).collect(),
            lost: 0,
            socket_drops: 0,
            overflow: 0,
        }
    }

    fn look(&mut self, status: &Status, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.measure(&status.buffer, &status.rates, now);
        self.silence(status, &mut lines);
        self.skew(&status.link, &mut lines);
        self.keys(status, &mut lines);
        if now.duration_since(self.summed) >= SUMMARY {
            self.summed = now;
            self.summary(&status.link, &status.buffer, &mut lines);
        }
        lines
    }

    fn measure(&mut self, buffer: &Buffer, rates: &Rates, now: Instant) {
        let counts = buffer.counts();
        let elapsed = now.duration_since(self.looked).as_secs_f64().max(1e-3);
        let per_second = |new: u64, old: u64| (new.saturating_sub(old) as f64 / elapsed) as u64;
        rates.admitted.store(
            per_second(counts.admitted, self.admitted),
            Ordering::Relaxed,
        );
        rates
            .served
            .store(per_second(counts.served, self.served), Ordering::Relaxed);
        (self.looked, self.admitted, self.served) = (now, counts.admitted, counts.served);
    }

    fn silence(&mut self, status: &Status, lines: &mut Vec<Line>) {
        let quiet_s = status.quiet().as_secs();
        let silent = status.quiet() >= SILENCE;
        if silent && !self.silent {
            lines.push(Line::Warn(format!(
                "no verified bytes for {quiet_s} s: look at the link, the collector, and the refused packets in `status`"
            )));
        } else if !silent && self.silent {
            lines.push(Line::Info("verified bytes come again".into()));
        }
        self.silent = silent;
    }

    fn skew(&mut self, link: &Link, lines: &mut Vec<Line>) {
        let skew_us = link.snapshot().skew_us.unwrap_or(0);
        let skewed = skew_us.unsigned_abs() > SKEW_ALARM_US;
        if skewed && !self.skewed {
            lines.push(Line::Warn(format!(
                "this host's clock is {} s ahead of the collector's; from 300 s on packets are refused: set the clocks right",
                skew_us / 1_000_000
            )));
        } else if !skewed && self.skewed {
            lines.push(Line::Info("the clocks agree again".into()));
        }
        self.skewed = skewed;
    }

    /// Each day anew if a calendar ends soon. What cannot be erased is told by the keyring.
    fn keys(&mut self, status: &Status, lines: &mut Vec<Line>) {
        let few = status.keyring.few_days(now_us());
        let new = few.iter().filter(|few| !self.keys.contains(few));
        lines.extend(new.cloned().map(Line::Warn));
        self.keys = few;
    }

    fn summary(&mut self, link: &Link, buffer: &Buffer, lines: &mut Vec<Line>) {
        let mut parts = Vec::new();
        let mut clocks = false;
        for ((reason, n), before) in link.counters.rejected().zip(&mut self.rejected) {
            if n > *before {
                parts.push(format!("{} {}", n - *before, reason.name()));
                clocks |= is_about_time(reason);
            }
            *before = n;
        }
        if !parts.is_empty() {
            lines.push(Line::Warn(format!(
                "datagrams refused: {}{}",
                parts.join(", "),
                if clocks {
                    "; compare the clocks of both hosts"
                } else {
                    ""
                }
            )));
        }
        let counts = buffer.counts();
        for (what, now, before) in [
            (
                "packets lost on the way",
                link.counters.lost.get(),
                &mut self.lost,
            ),
            (
                "datagrams dropped by the socket (receive buffer full)",
                link.counters.socket_drops.get(),
                &mut self.socket_drops,
            ),
        ] {
            if now > *before {
                lines.push(Line::Warn(format!("{} {what}", now - *before)));
            }
            *before = now;
        }
        // A full buffer is the normal state of a gateway whose readers want little: told once.
        let overflow = counts.overflow_discarded + counts.overflow_replaced;
        if overflow > 0 && self.overflow == 0 {
            lines.push(Line::Info(
                "the buffer is full: bytes beyond it are destroyed (counted in `status`)".into(),
            ));
        }
        self.overflow = overflow;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::admit::Reject;
    use crate::buffer::Overflow;
    use crate::health::{ClearRequest, Health, Testing};
    use crate::keyring::{Keyring, Loaded};
    use qrng::report::{Kind, Kinds};

    fn status(started: Instant, stall_limit_s: Option<u64>) -> Status {
        let buffer = Arc::new(Buffer::new(100, Overflow::Discard).unwrap());
        // No file is made there as long as nothing is tested and nobody asks for a clear.
        let directory = Path::new("/nonexistent");
        Status {
            link: Link::new(started).into(),
            health: Health::new(Testing::OFF, Arc::clone(&buffer), directory)
                .unwrap()
                .into(),
            clear_request: ClearRequest::new(directory),
            buffer,
            rates: Rates::default().into(),
            keyring: Keyring::new(Loaded::default()).into(),
            durable: None,
            quotas: None,
            stream: None,
            stall_limit_s,
            confined: std::sync::OnceLock::new(),
        }
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| match line {
                Line::Info(text) | Line::Warn(text) => text,
            })
            .collect()
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        // As if the process had started a minute ago.
        let started = Instant::now() - Duration::from_secs(60);
        let status = status(started, Some(30));
        let mut watch = Watch::new(&status, started);
        let lines = texts(watch.look(&status, started + Duration::from_secs(1)));
        assert!(lines[0].contains("no verified bytes for 6"), "{lines:?}");
        assert!(status.stalled());
        assert!(texts(watch.look(&status, started + Duration::from_secs(2))).is_empty());
        status
            .link
            .verified(Instant::now(), Kinds::of(Kind::PcieModule));
        let lines = texts(watch.look(&status, started + Duration::from_secs(3)));
        assert_eq!(lines, ["verified bytes come again"]);
        assert!(!status.stalled());
    }

    #[test]
    fn refused_and_overflowed_are_summed_up() {
        let started = Instant::now();
        let status = status(started, None);
        let mut watch = Watch::new(&status, started);
        status.buffer.push(&[7; 250]);
        status.link.counters.reject(Reject::Expired);
        status.link.counters.reject(Reject::Forged);
        status.link.counters.lost.set(3);
        assert!(texts(watch.look(&status, started + Duration::from_secs(1))).is_empty());
        let lines = texts(watch.look(&status, started + SUMMARY));
        assert_eq!(
            lines,
            [
                "datagrams refused: 1 expired, 1 wrong-hmac; compare the clocks of both hosts",
                "3 packets lost on the way",
                "the buffer is full: bytes beyond it are destroyed (counted in `status`)",
            ]
        );
        assert!(texts(watch.look(&status, started + 2 * SUMMARY)).is_empty());
        assert_eq!(status.rates.admitted.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_document_says_state_and_reasons() {
        let started = Instant::now() - Duration::from_secs(60);
        let status = status(started, Some(30));
        status.link.counters.reject(Reject::Future);
        let document: serde_json::Value = serde_json::from_str(&status.document()).unwrap();
        assert_eq!(document["state"], "stalled");
        let reasons = document["reasons"].to_string();
        for words in [
            "no verified bytes for 60 s",
            "1 from-the-future",
            "the buffer is empty",
        ] {
            assert!(reasons.contains(words), "{words:?} is not in {reasons}");
        }
        status.buffer.push(&[7; 50]);
        status.link.verified(Instant::now(), Kinds::of(Kind::Usb));
        let document: serde_json::Value = serde_json::from_str(&status.document()).unwrap();
        assert_eq!(document["state"], "serving");
        assert_eq!(document["reasons"], serde_json::json!([]));
        assert_eq!(document["kinds"], serde_json::json!(["usb"]));
        assert_eq!(document["buffer"]["fill_percent"], 50.0);
    }
}
