//! Reads and polls that wait for bytes. They hold no thread of the loop, so nobody else waits with them.
//!
//! ```text
//! loop threads ── park ──> [ reads, first come first served ] ──> thread `parked` serves them when the buffer rings
//!              ── watch ─> { polled files }                   ──> ... and wakes their pollers
//!              ── INTERRUPT ─> takes a read out
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::{Lane, Queue, Ticket};

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

/// A read and its place among all who wait, those at the stream socket included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) read: Parked,
    ticket: Ticket,
}

#[derive(Debug, Default)]
struct Lists {
    reads: VecDeque<Placed>,
    polls: HashSet<u64>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: Mutex<Lists>,
    /// The order of all who wait: the reads in the list, the one that is being served, and others.
    queue: Arc<Queue>,
    /// Which of them are in this list.
    lane: Lane,
}

impl Waiting {
    /// Empty lists whose reads take their place in `queue`, as those of `lane`.
    pub(super) fn new(queue: Arc<Queue>, lane: Lane) -> Self {
        Self {
            lists: Mutex::default(),
            queue,
            lane,
        }
    }

    /// How many wait now, here and elsewhere.
    pub(super) fn reads(&self) -> usize {
        self.queue.len()
    }

    /// Puts a read at the end of the list; false if the list is full.
    pub(super) fn park(&self, read: Parked) -> bool {
        let mut lists = self.lock();
        if lists.reads.len() >= MAX_READS {
            return false;
        }
        let ticket = self.queue.join(self.lane);
        lists.reads.push_back(Placed { read, ticket });
        true
    }

    /// Takes out the read `unique`; `None` if it doesn't wait here, otherwise whether somebody else must be told that it is
    /// their turn.
    pub(super) fn interrupt(&self, unique: u64) -> Option<bool> {
        let mut lists = self.lock();
        let is_it = |placed: &Placed| placed.read.unique == unique;
        let at = lists.reads.iter().position(is_it)?;
        let placed = lists.reads.remove(at)?;
        Some(self.queue.leave(placed.ticket))
    }

    /// Takes out the first read to serve it; it still counts until [`Waiting::served`] or [`Waiting::put_back`].
    pub(super) fn first(&self) -> Option<Placed> {
        self.lock().reads.pop_front()
    }

    /// Whether nobody has waited for longer, here or elsewhere.
    pub(super) fn is_its_turn(&self, placed: &Placed) -> bool {
        self.queue.is_first(placed.ticket)
    }

    /// The read that [`Waiting::first`] gave has been answered. True if somebody else must be told that it is their turn.
    #[must_use]
    pub(super) fn served(&self, placed: Placed) -> bool {
        self.queue.leave(placed.ticket)
    }

    /// There was nothing for the read that [`Waiting::first`] gave: it is the first again.
    pub(super) fn put_back(&self, placed: Placed) {
        self.lock().reads.push_front(placed);
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
        assert_eq!(waiting.interrupt(2), Some(false));
        assert_eq!(waiting.interrupt(2), None);
        let first = waiting.first().unwrap();
        assert_eq!(first.read.unique, 1);
        assert_eq!(waiting.interrupt(1), None, "it is being served");
        assert_eq!(waiting.reads(), 3);
        waiting.put_back(first);
        assert_eq!(waiting.interrupt(1), Some(false));
        for unique in [3, 4] {
            let first = waiting.first().unwrap();
            assert_eq!(first.read, read(unique));
            assert!(!waiting.served(first));
        }
        assert_eq!(
            (waiting.first(), waiting.reads(), waiting.is_empty()),
            (None, 0, true)
        );
    }

    #[test]
    fn who_came_before_elsewhere_is_served_before() {
        let queue = Arc::new(Queue::default());
        let waiting = Waiting::new(Arc::clone(&queue), Lane::Device(3));
        let before = queue.join(Lane::Files);
        assert!(waiting.park(read(1)));
        let after = queue.join(Lane::Stream);
        assert_eq!(waiting.reads(), 3);
        let first = waiting.first().unwrap();
        assert!(!waiting.is_its_turn(&first));
        assert!(queue.leave(before), "the read must be told");
        assert!(waiting.is_its_turn(&first));
        waiting.put_back(first);
        assert_eq!(waiting.interrupt(1), Some(true), "the other must be told");
        assert!(queue.is_first(after));
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
