//! Counters of all stages of the reader, and the sender's as they were last told. Each stage counts, only
//! the status stage reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use qrng::health::Summary;
use qrng::report::{SourceReport, State};

use crate::counters::Counters;
use crate::pusher::PushCounters;
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
    sent: Mutex<Counters>,
    pushed: Mutex<Vec<PushCounters>>,
}

impl Stats {
    /// Zeros, for these sources.
    pub fn new(sources: Vec<Identity>) -> Self {
        Self {
            sources: sources.into_iter().map(SourceStats::new).collect(),
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

    /// Notes what the sender tells of itself.
    pub fn sent_is(&self, counters: Counters) {
        *lock(&self.sent) = counters;
    }

    /// Notes what the pusher tells of itself.
    pub fn pushed_is(&self, counters: Vec<PushCounters>) {
        *lock(&self.pushed) = counters;
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

    /// What the pusher told of itself last, about a second old at most: for each gateway that is pushed to.
    pub fn pushed(&self) -> Vec<PushCounters> {
        lock(&self.pushed).clone()
    }

    /// What the sender told of itself last, about a second old at most.
    pub fn sent(&self) -> Counters {
        lock(&self.sent).clone()
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

/// A lock whose holders cannot leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
