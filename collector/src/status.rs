//! Status: what the collector does, as the file `status.json` in the runtime directory, each second.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qrng::condition::combine::Policy;
use qrng::health::Summary;
use qrng::report::State;
use qrng_daemon::write_atomically;
use serde::Serialize;

use crate::config::{CombineConfig, Config, SendConfig, SourceConfig};
use crate::counters::GatewayCounters;
use crate::latch::ClearLatch;
use crate::source::Sensors;
use crate::stats::{SourceStats, Stats};

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);
/// How often errors of sending are logged at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Writes the status file.
pub struct StatusFile {
    path: PathBuf,
    start: Instant,
    latch: ClearLatch,
    conditioning: Vec<Conditioned>,
    combining: Option<Combining>,
    gateways: Vec<Peer>,
    pacing: Option<Pacing>,
    confinement: Confined,
    last: Last,
    told: Told,
    failing: bool,
    /// Whether the process ends, and the file is gone for good.
    closed: Arc<Mutex<bool>>,
}

/// Removes the status file at the end of the process.
pub struct Remover {
    path: PathBuf,
    closed: Arc<Mutex<bool>>,
}

impl Remover {
    /// Removes the file, so that nobody takes an old one for news. It is not written again.
    pub fn remove(self) {
        // Held while the file is written, too: none is written half now and appears later.
        let mut closed = lock(&self.closed);
        *closed = true;
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} cannot be removed: {e}", self.path.display());
            }
            _ => {}
        }
    }
}

/// What was told last, to tell what has changed.
struct Last {
    at: Instant,
    bytes: u64,
}

/// The errors of sending that were logged: how many of each name, and when.
#[derive(Default)]
struct Told {
    errors: BTreeMap<String, u64>,
    at: Option<Instant>,
}

impl Told {
    /// What there is to log at the time `now`: how many of each error came since the last time.
    /// Nothing within [`LOG_EVERY`] of it: a network that is down stays so for long.
    fn news(&mut self, now: Instant, errors: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
        if self.at.is_some_and(|at| now - at < LOG_EVERY) {
            return Vec::new();
        }
        let before = |name: &String| self.errors.get(name).copied().unwrap_or(0);
        let news: Vec<_> = errors
            .iter()
            .map(|(name, count)| (name.clone(), count - before(name)))
            .filter(|(_, more)| *more > 0)
            .collect();
        if !news.is_empty() {
            self.errors.clone_from(errors);
            self.at = Some(now);
        }
        news
    }
}

/// A gateway, as far as the configuration describes it.
struct Peer {
    name: String,
    address: String,
    key_id: String,
}

#[derive(Serialize)]
struct Status<'s> {
    state: &'s str,
    reasons: Vec<String>,
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

/// Which processes are confined.
#[derive(Serialize, Debug, Clone, Copy)]
pub struct Confined {
    /// `enforced` or `off-insecure`.
    pub sender: &'static str,
    /// `enforced` or `off-insecure`.
    pub reader: &'static str,
    /// The version of Landlock, if any is.
    #[serde(rename = "landlock_version")]
    pub landlock: Option<u32>,
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
    health: Option<Summary>,
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
    key_id: &'s str,
    epoch: u64,
    sealed_packets: u64,
    announcements: u64,
    reports: u64,
    sent_datagrams: u64,
    sent_bytes: u64,
    failed_datagrams: u64,
    segmentation_offload: bool,
}

#[derive(Serialize, Clone, Copy)]
struct Pacing {
    bytes_per_second: u64,
    burst_bytes: u64,
}

impl StatusFile {
    /// A status file for a collector with this configuration, confined so.
    pub fn new(config: &Config, confinement: Confined) -> Self {
        let now = Instant::now();
        let peers = config.gateways.iter().map(|gateway| Peer {
            name: gateway.name.clone(),
            address: gateway.address.to_string(),
            key_id: gateway.key_id.clone(),
        });
        Self {
            path: config.runtime_directory.join("status.json"),
            start: now,
            latch: ClearLatch::new(&config.runtime_directory),
            conditioning: config.sources.iter().map(conditioned).collect(),
            combining: config.combine.as_ref().map(combining),
            gateways: peers.collect(),
            pacing: pacing(&config.send),
            confinement,
            last: Last { at: now, bytes: 0 },
            told: Told::default(),
            failing: false,
            closed: Arc::default(),
        }
    }

    /// What removes the file in the end.
    pub fn remover(&self) -> Remover {
        Remover {
            path: self.path.clone(),
            closed: Arc::clone(&self.closed),
        }
    }

    /// Each second, for ever, writes the file and looks for the operator's word. A failure is logged when it begins; the collector
    /// goes on without the file.
    ///
    /// # Errors
    /// None.
    pub fn run(mut self, stats: &Stats) -> anyhow::Result<()> {
        loop {
            self.latch.look(stats);
            let now = Instant::now();
            self.log_errors(&stats.sent().errors, now);
            let document = self.document(stats, now);
            match self.write(&document) {
                Ok(()) => self.failing = false,
                Err(e) if !self.failing => {
                    self.failing = true;
                    let path = self.path.display();
                    log::warn!(
                        "{path} cannot be written: {e}; \
                         make its directory writable, or name another runtime-directory"
                    );
                }
                Err(_) => {}
            }
            thread::sleep(EVERY);
        }
    }

    fn write(&self, document: &str) -> io::Result<()> {
        let closed = lock(&self.closed);
        if *closed {
            return Ok(());
        }
        write_atomically(&self.path, document.as_bytes(), 0o644, false)
    }

    /// Logs which errors of sending there were since the last time.
    fn log_errors(&mut self, errors: &BTreeMap<String, u64>, now: Instant) {
        for (name, count) in self.told.news(now, errors) {
            log::warn!("{count} datagrams could not be sent: {name}");
        }
    }

    /// The document at the time `now`.
    fn document(&mut self, stats: &Stats, now: Instant) -> String {
        let bytes = stats.bytes_acquired();
        let rate = rate(bytes - self.last.bytes, now - self.last.at);
        (self.last.at, self.last.bytes) = (now, bytes);
        let sent = stats.sent();
        let peers = self.gateways.iter().zip(&sent.gateways);
        let sources = stats.sources().iter().zip(&self.conditioning);
        let sources: Vec<_> = sources.map(|(s, c)| source(s, c)).collect();
        let combined = self.combining.as_ref().zip(stats.combined());
        let status = Status {
            state: state(stats, rate),
            reasons: reasons(stats),
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
            gateways: peers.map(|(peer, sent)| gateway(peer, sent)).collect(),
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

/// Makes the runtime directory if there is none; a collector goes on without it.
pub fn make_directory(directory: &Path) {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory);
    if let Err(e) = made {
        log::warn!("runtime directory {}: {e}", directory.display());
    }
}

fn lock(closed: &Mutex<bool>) -> MutexGuard<'_, bool> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
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
        health: stats.health(),
    }
}

/// Why less comes than could, in words: one for each source that gives nothing.
fn reasons(stats: &Stats) -> Vec<String> {
    let mut reasons = Vec::new();
    for source in stats.sources() {
        let (name, condition) = (&source.identity().name, source.condition());
        let alarm = source.health().and_then(|health| health.last_alarm);
        match condition.state {
            State::Latched => reasons.push(match alarm {
                Some(alarm) => format!("{alarm}; latched until an operator clears it"),
                None => format!("source {name}: latched until an operator clears it"),
            }),
            State::Failed => {
                let error = condition.error.unwrap_or_default();
                reasons.push(format!("source {name}: {error}"));
            }
            _ => {}
        }
    }
    let stopped = stats.combined().and_then(|combined| combined.stopped);
    reasons.extend(stopped.map(|reason| format!("nothing is combined: {reason}")));
    reasons
}

fn pacing(send: &SendConfig) -> Option<Pacing> {
    send.rate.map(|rate| Pacing {
        bytes_per_second: rate.get(),
        burst_bytes: send.burst,
    })
}

fn gateway<'s>(peer: &'s Peer, sent: &GatewayCounters) -> GatewayStatus<'s> {
    GatewayStatus {
        name: &peer.name,
        address: &peer.address,
        key_id: &peer.key_id,
        epoch: sent.epoch,
        sealed_packets: sent.packets,
        announcements: sent.announcements,
        reports: sent.reports,
        sent_datagrams: sent.datagrams,
        sent_bytes: sent.bytes,
        failed_datagrams: sent.failed,
        segmentation_offload: sent.offloads,
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// The collector's state in a word: what its source does; `silent` if it runs and gives nothing. Of
/// several sources the worst says it, unless the others go on: that is `degraded`.
fn state(stats: &Stats, rate: u64) -> &'static str {
    let states = stats.sources().iter().map(|s| s.condition().state);
    let badness = |state: &State| match state {
        State::Latched => 4,
        State::Failed => 3,
        State::Ended => 2,
        State::Starting => 1,
        State::Running | State::Unknown => 0,
    };
    let worst = states.max_by_key(badness).unwrap_or(State::Running);
    match (worst, rate) {
        (State::Running, 0) => "silent",
        (State::Latched | State::Failed | State::Ended, 1..) if stats.sources().len() > 1 => {
            "degraded"
        }
        (other, _) => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use qrng::report::Kind;

    use super::*;
    use crate::source::Identity;

    #[test]
    fn rates_are_bytes_a_second() {
        assert_eq!(rate(500, Duration::from_millis(500)), 1000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }

    fn sources(states: &[State]) -> Stats {
        let identity = Identity {
            kind: Kind::Usb,
            name: "card".into(),
            serial: None,
        };
        let stats = Stats::new(vec![identity; states.len()]);
        for (source, state) in stats.sources().iter().zip(states) {
            source.is(*state);
        }
        stats
    }

    #[test]
    fn errors_of_sending_are_summed_up() {
        let errors = |count: u64| BTreeMap::from([("ENETUNREACH".to_owned(), count)]);
        let news = |count: u64| vec![("ENETUNREACH".to_owned(), count)];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut told = Told::default();
        assert!(told.news(at(0), &BTreeMap::new()).is_empty());
        assert_eq!(told.news(at(1), &errors(3)), news(3));
        for second in 2..11 {
            assert!(told.news(at(second), &errors(3 + second)).is_empty());
        }
        assert_eq!(told.news(at(11), &errors(20)), news(17));
        // The first after a quiet time is told at once.
        assert!(told.news(at(30), &errors(20)).is_empty());
        assert_eq!(told.news(at(31), &errors(21)), news(1));
    }

    #[test]
    fn a_running_source_without_bytes_is_silent() {
        let one = |of, rate| state(&sources(&[of]), rate);
        assert_eq!(one(State::Running, 0), "silent");
        assert_eq!(one(State::Running, 1), "running");
        assert_eq!(one(State::Ended, 0), "ended");
        assert_eq!(one(State::Failed, 0), "failed");
        assert_eq!(one(State::Latched, 0), "latched");
    }

    #[test]
    fn of_several_sources_the_worst_counts() {
        let two = |other, rate| state(&sources(&[State::Running, other]), rate);
        assert_eq!(two(State::Running, 1), "running");
        assert_eq!(two(State::Latched, 0), "latched");
        assert_eq!(two(State::Latched, 1), "degraded");
        let stats = sources(&[State::Running, State::Latched]);
        stats.sources()[0].failed("gone".into());
        assert_eq!(
            reasons(&stats),
            [
                "source card: gone",
                "source card: latched until an operator clears it"
            ]
        );
    }
}
