//! The document: everything that status tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qrng::condition::combine::Policy;
use qrng::health::Summary;
use qrng::keys::Day;
use serde::Serialize;

use super::keys::{self, KeyStatus};
use super::{Confined, summary};
use crate::config::{CombineConfig, Config, Gateway, SendConfig, SourceConfig};
use crate::counters::GatewayCounters;
use crate::pusher::PushCounters;
use crate::source::{Part, Sensors};
use crate::stats::{SourceStats, Stats};

/// What the configuration says of the document, and what was told last, to tell what has changed.
pub(super) struct Document {
    start: Instant,
    warnings: Vec<String>,
    conditioning: Vec<Conditioned>,
    combining: Option<Combining>,
    gateways: Vec<Peer>,
    pacing: Option<Pacing>,
    confinement: Confined,
    last: Last,
    log: keys::Log,
}

/// What was told last.
struct Last {
    at: Instant,
    bytes: u64,
}

/// A gateway, as far as the configuration describes it.
struct Peer {
    name: String,
    address: String,
    key_id: String,
    pushed: bool,
}

#[derive(Serialize)]
struct Status<'s> {
    state: &'s str,
    reasons: Vec<String>,
    /// What is configured so that somebody should know of it.
    warnings: &'s [String],
    version: &'s str,
    uptime_seconds: u64,
    /// The first of the sources, with what leaves of all together.
    source: FirstSource<'s>,
    sources: Vec<SourceStatus<'s>>,
    combining: Option<CombiningStatus<'s>>,
    gateways: Vec<GatewayStatus<'s>>,
    send_errors: BTreeMap<String, u64>,
    pacing: Option<Pacing>,
    confinement: Confined,
}

#[derive(Serialize)]
struct FirstSource<'s> {
    kind: &'s str,
    name: &'s str,
    serial: Option<&'s str>,
    error: Option<String>,
    bytes_per_second: u64,
    bytes_acquired: u64,
    bytes_discarded: u64,
}

#[derive(Serialize)]
struct SourceStatus<'s> {
    kind: &'s str,
    name: &'s str,
    serial: Option<&'s str>,
    state: &'s str,
    error: Option<String>,
    conditioning: &'s Conditioned,
    bytes_discarded: u64,
    faults: BTreeMap<&'static str, u64>,
    sensors: Sensors,
    parts: Vec<PartStatus>,
    health: Option<Summary>,
}

/// One of several devices that a source is made of.
#[derive(Serialize)]
struct PartStatus {
    name: String,
    error: Option<String>,
    bytes: u64,
    faults: BTreeMap<&'static str, u64>,
}

/// What is claimed of a source.
#[derive(Serialize)]
struct Conditioned {
    method: &'static str,
    min_entropy_per_bit_before: f64,
    min_entropy_per_bit_after: f64,
}

/// How several sources are combined.
#[derive(Serialize, Clone, Copy)]
struct Combining {
    method: &'static str,
    on_failure: &'static str,
}

#[derive(Serialize)]
struct CombiningStatus<'s> {
    #[serde(flatten)]
    config: &'s Combining,
    sources_working: usize,
    stopped: Option<String>,
}

#[derive(Serialize)]
struct GatewayStatus<'s> {
    name: &'s str,
    address: &'s str,
    #[serde(flatten)]
    key: KeyStatus,
    epoch: u64,
    sealed_packets: u64,
    announcements: u64,
    reports: u64,
    sent_datagrams: u64,
    sent_bytes: u64,
    failed_datagrams: u64,
    segmentation_offload: bool,
    /// What was pushed; none if datagrams are sent.
    push: Option<PushCounters>,
}

#[derive(Serialize, Clone, Copy)]
struct Pacing {
    bytes_per_second: u64,
    burst_bytes: u64,
}

impl Document {
    /// For a collector with this configuration, confined so, which starts at `now`.
    pub(super) fn new(config: &Config, confinement: Confined, now: Instant) -> Self {
        let peers = config.gateways.iter().map(|gateway| Peer {
            name: gateway.name.clone(),
            address: gateway.place(),
            key_id: gateway.key_id.clone(),
            pushed: gateway.push().is_some(),
        });
        Self {
            start: now,
            warnings: all_warnings(config),
            conditioning: config.sources.iter().map(conditioned).collect(),
            combining: config.combine.as_ref().map(combining),
            gateways: peers.collect(),
            pacing: pacing(&config.send),
            confinement,
            last: Last { at: now, bytes: 0 },
            log: keys::Log::default(),
        }
    }

    /// The document at the time `now`, which is in the day `today`. What is new of the keys is logged.
    pub(super) fn at(&mut self, stats: &Stats, now: Instant, today: Day) -> String {
        let bytes = stats.bytes_acquired();
        let rate = rate(bytes - self.last.bytes, now - self.last.at);
        (self.last.at, self.last.bytes) = (now, bytes);
        let sent = stats.sent();
        let peers = self.gateways.iter().zip(&sent.gateways);
        let keys: Vec<_> = peers
            .clone()
            .filter_map(|(peer, sent)| keys::reason(&peer.name, sent, today))
            .collect();
        let mut reasons = summary::reasons(stats);
        reasons.extend(keys.iter().cloned());
        let mut told = stats.pushed().into_iter();
        // In the order of those that are pushed to; zeros before the pusher has told anything.
        let pushed: Vec<_> = self
            .gateways
            .iter()
            .map(|peer| peer.pushed.then(|| told.next().unwrap_or_default()))
            .collect();
        let troubles = self.gateways.iter().zip(&pushed);
        reasons.extend(troubles.filter_map(|(peer, pushed)| {
            let trouble = pushed.as_ref()?.trouble.as_ref()?;
            Some(format!("gateway {} {trouble}", peer.name))
        }));
        let named = peers.clone().map(|(peer, sent)| (&*peer.name, sent));
        self.log.look(keys, named);
        let sources = stats.sources().iter().zip(&self.conditioning);
        let sources: Vec<_> = sources.map(|(s, c)| source(s, c)).collect();
        let combined = self.combining.as_ref().zip(stats.combined());
        let status = Status {
            state: summary::state(stats, rate),
            reasons,
            warnings: &self.warnings,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: (now - self.start).as_secs(),
            source: FirstSource {
                kind: sources.first().map_or("", |s| s.kind),
                name: sources.first().map_or("", |s| s.name),
                serial: sources.first().and_then(|s| s.serial),
                error: sources.first().and_then(|s| s.error.clone()),
                bytes_per_second: rate,
                bytes_acquired: bytes,
                bytes_discarded: sources.iter().map(|s| s.bytes_discarded).sum(),
            },
            sources,
            combining: combined.map(|(config, combined)| CombiningStatus {
                config,
                sources_working: combined.working,
                stopped: combined.stopped,
            }),
            gateways: peers
                .zip(pushed)
                .map(|((peer, sent), push)| gateway(peer, sent, push, today))
                .collect(),
            send_errors: sent.errors,
            pacing: self.pacing,
            confinement: self.confinement,
        };
        // Strings and finite numbers only: this cannot fail.
        let mut document = serde_json::to_string_pretty(&status).unwrap_or_default();
        document.push('\n');
        document
    }
}

/// What is configured so that somebody should know of it.
fn all_warnings(config: &Config) -> Vec<String> {
    let of_sources = config.sources.iter().flat_map(warnings);
    let of_gateways = config.gateways.iter().filter_map(Gateway::warning);
    of_sources.chain(of_gateways).collect()
}

fn warnings(source: &SourceConfig) -> Vec<String> {
    let warnings = source.warnings().into_iter();
    let named = warnings.map(|warning| format!("source {}: {warning}", source.name));
    named.collect()
}

fn conditioned(source: &SourceConfig) -> Conditioned {
    Conditioned {
        method: source.conditioning.method().name(),
        min_entropy_per_bit_before: source.claim.before,
        min_entropy_per_bit_after: source.claim.after,
    }
}

fn combining(config: &CombineConfig) -> Combining {
    Combining {
        method: config.method,
        on_failure: match config.policy {
            Policy::RequireAll => "stop",
            Policy::ContinueWithRest => "continue",
        },
    }
}

fn source<'s>(stats: &'s SourceStats, conditioning: &'s Conditioned) -> SourceStatus<'s> {
    let (identity, condition) = (stats.identity(), stats.condition());
    SourceStatus {
        kind: identity.kind.name(),
        name: &identity.name,
        serial: identity.serial.as_deref(),
        state: condition.state.name(),
        error: condition.error,
        conditioning,
        bytes_discarded: stats.bytes_discarded(),
        faults: stats.faults(),
        sensors: stats.sensors(),
        parts: stats.parts().into_iter().map(part).collect(),
        health: stats.health(),
    }
}

fn part(part: Part) -> PartStatus {
    PartStatus {
        name: part.name,
        error: part.error,
        bytes: part.bytes,
        faults: part.faults.iter().map(|(f, n)| (f.name(), *n)).collect(),
    }
}

fn pacing(send: &SendConfig) -> Option<Pacing> {
    send.rate.map(|rate| Pacing {
        bytes_per_second: rate.get(),
        burst_bytes: send.burst,
    })
}

fn gateway<'s>(
    peer: &'s Peer,
    sent: &GatewayCounters,
    push: Option<PushCounters>,
    today: Day,
) -> GatewayStatus<'s> {
    GatewayStatus {
        name: &peer.name,
        address: &peer.address,
        key: KeyStatus::new(&peer.key_id, sent, today),
        epoch: sent.epoch,
        sealed_packets: sent.packets,
        announcements: sent.announcements,
        reports: sent.reports,
        sent_datagrams: sent.datagrams,
        sent_bytes: sent.bytes,
        failed_datagrams: sent.failed,
        segmentation_offload: sent.offloads,
        push,
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_a_second() {
        assert_eq!(rate(500, Duration::from_millis(500)), 1000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
