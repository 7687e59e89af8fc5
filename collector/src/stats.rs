//! Counters of all stages. Each stage counts, only the status stage reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use qrng::health::Summary;
use qrng::report::{SourceReport, State};

use crate::source::{Failure, Fault, Identity, Part, Sensors};

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

/// Counters and state of one noise source, and the operator's word to it.
#[derive(Debug)]
pub struct SourceStats {
    identity: Identity,
    discarded: AtomicU64,
    condition: Mutex<Condition>,
    faults: Mutex<BTreeMap<Fault, u64>>,
    sensors: Mutex<Sensors>,
    parts: Mutex<Vec<Part>>,
    health: Mutex<Option<Summary>>,
    /// Whether an operator wants the latch cleared.
    clear: Mutex<bool>,
    cleared: Condvar,
}

/// How several sources are combined at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combined {
    /// Sources that contribute.
    pub working: usize,
    /// Why nothing comes out, if so.
    pub stopped: Option<String>,
}

/// All counters of the process.
#[derive(Debug, Default)]
pub struct Stats {
    acquired: AtomicU64,
    sources: Vec<SourceStats>,
    combined: Mutex<Option<Combined>>,
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
    /// Zeros, for these sources and the gateways of these names.
    pub fn new(sources: Vec<Identity>, names: Vec<String>) -> Self {
        let gateways = names.into_iter().map(|name| GatewayStats {
            name,
            ..GatewayStats::default()
        });
        Self {
            sources: sources.into_iter().map(SourceStats::new).collect(),
            gateways: gateways.collect(),
            ..Self::default()
        }
    }

    /// Counts random bytes handed on for sealing.
    pub fn acquired(&self, bytes: usize) {
        self.acquired.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes how the sources are combined.
    pub fn combined_is(&self, combined: Combined) {
        *lock(&self.combined) = Some(combined);
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

    /// How the sources are combined; none if there is but one.
    pub fn combined(&self) -> Option<Combined> {
        lock(&self.combined).clone()
    }

    /// The noise sources.
    pub fn sources(&self) -> &[SourceStats] {
        &self.sources
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

impl SourceStats {
    /// A source of which nothing is known yet.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            discarded: AtomicU64::new(0),
            condition: Mutex::default(),
            faults: Mutex::default(),
            sensors: Mutex::default(),
            parts: Mutex::default(),
            health: Mutex::default(),
            clear: Mutex::default(),
            cleared: Condvar::new(),
        }
    }

    /// What the source is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Counts tested bytes destroyed: too few for a packet, or caught by an alarm.
    pub fn discarded(&self, bytes: usize) {
        self.discarded.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes how the source is doing.
    pub fn is(&self, state: State) {
        *lock(&self.condition) = Condition { state, error: None };
    }

    /// Notes why the source gives nothing.
    pub fn failed(&self, error: String) {
        *lock(&self.condition) = Condition {
            state: State::Failed,
            error: Some(error),
        };
    }

    /// Counts a failure that may end, and notes it as why the source gives nothing.
    pub fn failed_by(&self, failure: &Failure) {
        *lock(&self.faults).entry(failure.fault).or_default() += 1;
        self.failed(failure.text.clone());
    }

    /// Notes what the device says of itself.
    pub fn sensors_are(&self, sensors: Sensors) {
        *lock(&self.sensors) = sensors;
    }

    /// Notes how the devices are doing that it is made of.
    pub fn parts_are(&self, parts: Vec<Part>) {
        *lock(&self.parts) = parts;
    }

    /// Notes its health.
    pub fn health_is(&self, summary: Option<Summary>) {
        *lock(&self.health) = summary;
    }

    /// Tested bytes destroyed.
    pub fn bytes_discarded(&self) -> u64 {
        self.discarded.load(Relaxed)
    }

    /// How the source is doing.
    pub fn condition(&self) -> Condition {
        lock(&self.condition).clone()
    }

    /// How often it failed, by the name of the fault.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        let faults = lock(&self.faults);
        faults.iter().map(|(f, n)| (f.name(), *n)).collect()
    }

    /// What the device said of itself, about a second old at most.
    pub fn sensors(&self) -> Sensors {
        lock(&self.sensors).clone()
    }

    /// The devices that it is made of, if it is made of several, about a second old at most.
    pub fn parts(&self) -> Vec<Part> {
        lock(&self.parts).clone()
    }

    /// Its health in numbers, about a second old at most; none if it is not tested.
    pub fn health(&self) -> Option<Summary> {
        lock(&self.health).clone()
    }

    /// What the gateways are told about it.
    pub fn report(&self) -> SourceReport {
        SourceReport {
            kind: self.identity.kind,
            name: self.identity.name.clone(),
            serial: self.identity.serial.clone(),
            state: self.condition().state,
            sensors: lock(&self.sensors)
                .iter()
                .map(|(&name, &value)| (name.to_owned(), value))
                .collect(),
            health: self.health(),
        }
    }

    /// Asks for the latch to be cleared.
    pub fn ask_clear(&self) {
        *lock(&self.clear) = true;
        self.cleared.notify_all();
    }

    /// Whether somebody asked and nobody has heard it yet.
    pub fn asked_to_clear(&self) -> bool {
        *lock(&self.clear)
    }

    /// Forgets that somebody asked. To be called before a new latch is told.
    pub fn withdraw_clear(&self) {
        *lock(&self.clear) = false;
    }

    /// Waits until somebody asks for the latch to be cleared.
    pub fn wait_for_clear(&self) {
        let asked = self
            .cleared
            .wait_while(lock(&self.clear), |asked| !*asked)
            .map(|mut asked| *asked = false);
        // A panic elsewhere cannot leave a flag half changed.
        if let Err(poisoned) = asked {
            *poisoned.into_inner() = false;
        }
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
