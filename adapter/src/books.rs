//! What became of the bytes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes: taken = handed on + destroyed + on their way, at every moment.
#[derive(Debug, Default)]
pub struct Books {
    taken: AtomicU64,
    handed_on: AtomicU64,
    destroyed: AtomicU64,
}

impl Books {
    /// So many bytes were taken from the gateway.
    pub fn taken(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many were handed on.
    pub fn handed_on(&self, bytes: usize) {
        self.handed_on.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many were destroyed, because nobody took them.
    pub fn destroyed(&self, bytes: usize) {
        self.destroyed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many that count as handed on were not taken, or were got back, and are destroyed.
    pub fn got_back(&self, bytes: usize) {
        // Somebody with the right to may have put bytes of his own in.
        let less = |count: u64| Some(count.saturating_sub(bytes as u64));
        let _ = self
            .handed_on
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.destroyed(bytes);
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} bytes taken, {} handed on, {} destroyed",
            count(&self.taken),
            count(&self.handed_on),
            count(&self.destroyed)
        )
    }
}
