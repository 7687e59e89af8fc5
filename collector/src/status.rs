//! Status: what the collector does, as the file `status.json` in the runtime directory, each second.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qrng::report::State;
use qrng_daemon::write_atomically;
use serde::Serialize;

use crate::config::{Config, SendConfig};
use crate::source::Identity;
use crate::stats::{GatewayStats, Stats};

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);
/// How often errors of sending are logged at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Writes the status file.
pub struct StatusFile {
    path: PathBuf,
    start: Instant,
    stats: Arc<Stats>,
    source: Identity,
    gateways: Vec<Peer>,
    pacing: Option<Pacing>,
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
    address: String,
    key_id: String,
}

#[derive(Serialize)]
struct Status<'s> {
    state: &'s str,
    version: &'s str,
    uptime_seconds: u64,
    source: SourceStatus<'s>,
    gateways: Vec<GatewayStatus<'s>>,
    send_errors: BTreeMap<String, u64>,
    pacing: Option<Pacing>,
}

#[derive(Serialize)]
struct SourceStatus<'s> {
    kind: &'s str,
    name: &'s str,
    serial: Option<&'s str>,
    error: Option<String>,
    bytes_per_second: u64,
    bytes_acquired: u64,
    bytes_discarded: u64,
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
    /// A status file for a collector with this configuration, source and counters.
    pub fn new(config: &Config, source: Identity, stats: Arc<Stats>) -> Self {
        let now = Instant::now();
        let peers = config.gateways.iter().map(|gateway| Peer {
            address: gateway.address.to_string(),
            key_id: gateway.key.key_id().to_string(),
        });
        Self {
            path: config.runtime_directory.join("status.json"),
            start: now,
            stats,
            source,
            gateways: peers.collect(),
            pacing: pacing(&config.send),
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

    /// Writes the file each second, for ever. A failure is logged when it begins; the collector
    /// goes on without the file.
    ///
    /// # Errors
    /// None.
    pub fn run(mut self) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            self.log_errors(now);
            let document = self.document(now);
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
        if let Some(directory) = self.path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)?;
        }
        write_atomically(&self.path, document.as_bytes(), 0o644, false)
    }

    /// Logs which errors of sending there were since the last time.
    fn log_errors(&mut self, now: Instant) {
        for (name, count) in self.told.news(now, &self.stats.errors()) {
            log::warn!("{count} datagrams could not be sent: {name}");
        }
    }

    /// The document at the time `now`.
    fn document(&mut self, now: Instant) -> String {
        let bytes = self.stats.bytes_acquired();
        let rate = rate(bytes - self.last.bytes, now - self.last.at);
        (self.last.at, self.last.bytes) = (now, bytes);
        let condition = self.stats.source();
        let peers = self.gateways.iter().zip(self.stats.gateways());
        let status = Status {
            state: state(condition.state, rate),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: (now - self.start).as_secs(),
            source: SourceStatus {
                kind: self.source.kind.name(),
                name: &self.source.name,
                serial: self.source.serial.as_deref(),
                error: condition.error,
                bytes_per_second: rate,
                bytes_acquired: bytes,
                bytes_discarded: self.stats.bytes_discarded(),
            },
            gateways: peers.map(|(peer, stats)| gateway(peer, stats)).collect(),
            send_errors: self.stats.errors(),
            pacing: self.pacing,
        };
        // Strings and numbers only: this cannot fail.
        let mut document = serde_json::to_string_pretty(&status).unwrap_or_default();
        document.push('\n');
        document
    }
}

fn lock(closed: &Mutex<bool>) -> MutexGuard<'_, bool> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pacing(send: &SendConfig) -> Option<Pacing> {
    send.rate.map(|rate| Pacing {
        bytes_per_second: rate.get(),
        burst_bytes: send.burst,
    })
}

fn gateway<'s>(peer: &'s Peer, stats: &'s GatewayStats) -> GatewayStatus<'s> {
    GatewayStatus {
        name: stats.name(),
        address: &peer.address,
        key_id: &peer.key_id,
        epoch: stats.epoch(),
        sealed_packets: stats.packets(),
        announcements: stats.announcements(),
        reports: stats.reports(),
        sent_datagrams: stats.datagrams(),
        sent_bytes: stats.bytes(),
        failed_datagrams: stats.failed(),
        segmentation_offload: stats.offloads(),
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// The source's state in a word; one that runs and gives nothing is `silent`.
fn state(state: State, rate: u64) -> &'static str {
    match state {
        State::Running if rate == 0 => "silent",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_a_second() {
        assert_eq!(rate(500, Duration::from_millis(500)), 1000);
        assert_eq!(rate(0, Duration::ZERO), 0);
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
        assert_eq!(state(State::Running, 0), "silent");
        assert_eq!(state(State::Running, 1), "running");
        assert_eq!(state(State::Ended, 0), "ended");
        assert_eq!(state(State::Failed, 0), "failed");
    }
}
