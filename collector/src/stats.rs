//! Counters of all stages. Each stage counts, only the status stage reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use qrng::report::State;

/// How the noise source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// In a word.
    pub state: State,
    /// Why it gives nothing, if it has failed.
    pub error: Option<String>,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            state: State::Starting,
            error: None,
        }
    }
}

/// All counters of the process.
#[derive(Debug, Default)]
pub struct Stats {
    acquired: AtomicU64,
    discarded: AtomicU64,
    source: Mutex<Condition>,
    gateways: Vec<GatewayStats>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// Counters of one gateway.
#[derive(Debug, Default)]
pub struct GatewayStats {
    name: String,
    epoch: AtomicU64,
    packets: AtomicU64,
    announcements: AtomicU64,
    reports: AtomicU64,
    datagrams: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    no_offload: AtomicBool,
}

impl Stats {
    /// Zeros, for the gateways of these names.
    pub fn new(names: Vec<String>) -> Self {
        let gateways = names.into_iter().map(|name| GatewayStats {
            name,
            ..GatewayStats::default()
        });
        Self {
            gateways: gateways.collect(),
            ..Self::default()
        }
    }

    /// Counts random bytes handed on for sealing.
    pub fn acquired(&self, bytes: usize) {
        self.acquired.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts random bytes destroyed at the end of a file, too few for a packet.
    pub fn discarded(&self, bytes: usize) {
        self.discarded.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes how the source is doing.
    pub fn source_is(&self, state: State) {
        *lock(&self.source) = Condition { state, error: None };
    }

    /// Notes why the source gives nothing.
    pub fn source_failed(&self, error: String) {
        *lock(&self.source) = Condition {
            state: State::Failed,
            error: Some(error),
        };
    }

    /// Counts data packets sealed for a gateway.
    pub fn sealed(&self, gateway: usize, packets: usize) {
        let packets = packets as u64;
        self.gateways[gateway].packets.fetch_add(packets, Relaxed);
    }

    /// Counts an announcement of a gateway's session, whose epoch this is.
    pub fn announced(&self, gateway: usize, epoch: u64) {
        let gateway = &self.gateways[gateway];
        gateway.announcements.fetch_add(1, Relaxed);
        gateway.epoch.store(epoch, Relaxed);
    }

    /// Counts a report for a gateway.
    pub fn reported(&self, gateway: usize) {
        self.gateways[gateway].reports.fetch_add(1, Relaxed);
    }

    /// Counts datagrams that the kernel took, and their bytes.
    pub fn sent(&self, gateway: usize, datagrams: usize, bytes: usize) {
        let gateway = &self.gateways[gateway];
        gateway.datagrams.fetch_add(datagrams as u64, Relaxed);
        gateway.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts datagrams that the kernel refused, and why.
    pub fn failed(&self, gateway: usize, datagrams: usize, error: Errno) {
        let datagrams = datagrams as u64;
        self.gateways[gateway].failed.fetch_add(datagrams, Relaxed);
        // Debug of Errno is its name, such as ENETUNREACH.
        *lock(&self.errors).entry(format!("{error:?}")).or_default() += datagrams;
    }

    /// Notes whether segmentation offload works.
    pub fn offload(&self, gateway: usize, works: bool) {
        self.gateways[gateway].no_offload.store(!works, Relaxed);
    }

    /// Random bytes handed on for sealing.
    pub fn bytes_acquired(&self) -> u64 {
        self.acquired.load(Relaxed)
    }

    /// Random bytes destroyed at the end of a file.
    pub fn bytes_discarded(&self) -> u64 {
        self.discarded.load(Relaxed)
    }

    /// How the source is doing.
    pub fn source(&self) -> Condition {
        lock(&self.source).clone()
    }

    /// Datagrams refused, by the name of the error.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        lock(&self.errors).clone()
    }

    /// The counters of all gateways.
    pub fn gateways(&self) -> &[GatewayStats] {
        &self.gateways
    }

    /// The counters of one gateway.
    pub fn gateway(&self, index: usize) -> &GatewayStats {
        &self.gateways[index]
    }
}

impl GatewayStats {
    /// The gateway's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The epoch of its session.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Data packets sealed.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    /// Announcements made.
    pub fn announcements(&self) -> u64 {
        self.announcements.load(Relaxed)
    }

    /// Reports sealed.
    pub fn reports(&self) -> u64 {
        self.reports.load(Relaxed)
    }

    /// Datagrams that the kernel took, of all sorts.
    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Relaxed)
    }

    /// Bytes of these, without headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Datagrams that the kernel refused.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Whether segmentation offload is in use.
    pub fn offloads(&self) -> bool {
        !self.no_offload.load(Relaxed)
    }
}

/// A lock whose holders cannot leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
