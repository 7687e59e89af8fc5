//! Reads and polls that wait for bytes. They hold no thread of the loop, so nobody else waits with them.
//!
//! ```text
//! loop threads ── park ──> [ reads, first come first served ] ──> thread `parked` serves them when the buffer rings
//!              ── watch ─> { polled files }                   ──> ... and wakes their pollers
//!              ── INTERRUPT ─> takes a read out
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most reads that wait; further ones are refused.
const MAX_READS: usize = 65_536;

/// The most polled files that are remembered; then all pollers are woken and ask again.
const MAX_POLLS: usize = 65_536;

/// A read that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) unique: u64,
    pub(super) inode: u64,
    pub(super) handle: u64,
    pub(super) offset: u64,
    pub(super) size: usize,
}

#[derive(Debug, Default)]
struct Lists {
    reads: VecDeque<Parked>,
    polls: HashSet<u64>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: Mutex<Lists>,
    /// Reads in the list and the one that is being served.
    reads: Arc<AtomicUsize>,
}

impl Waiting {
    /// Empty lists that count their reads in `reads`.
    pub(super) fn new(reads: Arc<AtomicUsize>) -> Self {
        Self {
            lists: Mutex::default(),
            reads,
        }
    }

    /// Reads that wait now.
    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Puts a read at the end of the list; false if the list is full.
    pub(super) fn park(&self, read: Parked) -> bool {
        let mut lists = self.lock();
        if lists.reads.len() >= MAX_READS {
            return false;
        }
        lists.reads.push_back(read);
        self.reads.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Takes out the read `unique`; false if it doesn't wait here.
    pub(super) fn interrupt(&self, unique: u64) -> bool {
        let mut lists = self.lock();
        let Some(at) = lists.reads.iter().position(|read| read.unique == unique) else {
            return false;
        };
        lists.reads.remove(at);
        self.reads.fetch_sub(1, Ordering::SeqCst);
        true
    }

    /// Takes out the first read to serve it; it still counts until [`Waiting::served`] or [`Waiting::put_back`].
    pub(super) fn first(&self) -> Option<Parked> {
        self.lock().reads.pop_front()
    }

    /// The read that [`Waiting::first`] gave has been answered.
    pub(super) fn served(&self) {
        self.reads.fetch_sub(1, Ordering::SeqCst);
    }

    /// There was nothing for the read that [`Waiting::first`] gave: it is the first again.
    pub(super) fn put_back(&self, read: Parked) {
        self.lock().reads.push_front(read);
    }

    /// Remembers a polled file. If that makes too many, all of them are returned to be woken.
    pub(super) fn watch(&self, kernel_handle: u64) -> HashSet<u64> {
        let mut lists = self.lock();
        lists.polls.insert(kernel_handle);
        if lists.polls.len() > MAX_POLLS {
            std::mem::take(&mut lists.polls)
        } else {
            HashSet::new()
        }
    }

    /// Takes out all polled files.
    pub(super) fn watched(&self) -> HashSet<u64> {
        std::mem::take(&mut self.lock().polls)
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        let lists = self.lock();
        lists.reads.is_empty() && lists.polls.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        // No change of the lists can stop half-way.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unique: u64) -> Parked {
        Parked {
            unique,
            inode: 3,
            handle: 0,
            offset: 0,
            size: 1,
        }
    }

    #[test]
    fn first_come_first_served_and_interrupts_take_out() {
        let waiting = Waiting::default();
        assert!((1..=4).all(|unique| waiting.park(read(unique))));
        assert!(waiting.interrupt(2));
        assert!(!waiting.interrupt(2));
        let first = waiting.first().unwrap();
        assert_eq!(first.unique, 1);
        assert!(!waiting.interrupt(1), "it is being served");
        assert_eq!(waiting.reads(), 3);
        waiting.put_back(first);
        assert!(waiting.interrupt(1));
        for unique in [3, 4] {
            assert_eq!(waiting.first(), Some(read(unique)));
            waiting.served();
        }
        assert_eq!(
            (waiting.first(), waiting.reads(), waiting.is_empty()),
            (None, 0, true)
        );
    }

    #[test]
    fn both_lists_are_bounded() {
        let waiting = Waiting::default();
        assert!((0..MAX_READS as u64).all(|unique| waiting.park(read(unique))));
        assert!(!waiting.park(read(1)));
        assert!((0..MAX_POLLS as u64).all(|handle| waiting.watch(handle).is_empty()));
        assert_eq!(waiting.watch(u64::MAX).len(), MAX_POLLS + 1);
        assert!(waiting.watched().is_empty());
    }
}
