//! Counters of the receiving side. One thread writes them, any thread reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admit::Reject;

/// Monotonic counters since the process started, in units of their names.
#[derive(Debug)]
pub struct Counters {
    /// UDP datagrams received, whatever became of them.
    pub datagrams: Counter,
    /// Of those, datagrams that this host has sent: what the HTTP service hands over, where collectors push.
    pub from_this_host: Counter,
    /// Data packets whose bytes went to the buffer.
    pub packets: Counter,
    /// Verified announcements.
    pub announcements: Counter,
    /// Verified reports about the sources.
    pub reports: Counter,
    /// Packets that left the replay window without having been seen: lost on the way.
    pub lost: Counter,
    /// Datagrams that the kernel dropped because the socket's receive buffer was full.
    pub socket_drops: Counter,
    rejected: [Counter; Reject::COUNT],
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self {
            datagrams: Counter::new(),
            from_this_host: Counter::new(),
            packets: Counter::new(),
            announcements: Counter::new(),
            reports: Counter::new(),
            lost: Counter::new(),
            socket_drops: Counter::new(),
            rejected: [const { Counter::new() }; Reject::COUNT],
        }
    }

    /// Counts one datagram refused for `reason`.
    pub fn reject(&self, reason: Reject) {
        self.rejected[reason.index()].add(1);
    }

    /// How many datagrams were refused, by reason, in the order of the checks.
    pub fn rejected(&self) -> impl Iterator<Item = (Reject, u64)> + '_ {
        Reject::ALL
            .iter()
            .map(|reason| (*reason, self.rejected[reason.index()].get()))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

/// A number that one thread at a time changes and others look at.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
