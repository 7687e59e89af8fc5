//! Reads and polls that wait for bytes. They hold no thread of the loop, so nobody else waits with them.
//!
//! ```text
//! loop threads ── park ──> [ reads, in turn by user ]          ──> thread `parked` serves them when the buffer rings
//!              ── watch ─> { polled files }                   ──> ... and wakes their pollers
//!              ── INTERRUPT ─> takes a read out
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::{Lane, Queue, Ticket};
use crate::shares::{Account, Supply};

/// The most reads that wait; further ones are refused.
const MAX_READS: usize = 65_536;

/// The most polled files that are remembered; then all pollers are woken and ask again.
const MAX_POLLS: usize = 65_536;

/// A read as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) unique: u64,
    pub(super) inode: u64,
    pub(super) handle: u64,
    pub(super) offset: u64,
    pub(super) size: usize,
}

/// A read that waits, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) ask: Ask,
    pub(super) user: Arc<Account>,
}

/// A read and its place among all who wait, those at the stream socket included.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) read: Parked,
    ticket: Ticket,
}

#[derive(Debug, Default)]
struct Lists {
    reads: BTreeMap<Ticket, Parked>,
    polls: Polls,
}

/// Polled files by the kernel's name for them, and who polls.
pub(super) type Polls = HashMap<u64, Arc<Account>>;

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: Mutex<Lists>,
    /// Whose turn it is: the reads in the list, the one that is being served, and others.
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

    /// Puts a read in the list; false if the list is full.
    pub(super) fn park(&self, read: Parked) -> bool {
        let mut lists = self.lock();
        if lists.reads.len() >= MAX_READS {
            return false;
        }
        let ticket = self.queue.join(&read.user, self.lane);
        lists.reads.insert(ticket, read);
        true
    }

    /// Takes out the read `unique`; `None` if it doesn't wait here, otherwise whether somebody else must be told that it is
    /// their turn.
    pub(super) fn interrupt(&self, unique: u64) -> Option<bool> {
        let mut lists = self.lock();
        let mut reads = lists.reads.iter();
        let (&ticket, _) = reads.find(|(_, read)| read.ask.unique == unique)?;
        lists.reads.remove(&ticket);
        Some(self.queue.leave(ticket, 0))
    }

    /// Takes out the read whose turn it is, if it is one of those here, and says how many bytes of `supply` are for it; it still
    /// counts until [`Waiting::served`] or [`Waiting::put_back`].
    pub(super) fn turn(&self, supply: Supply) -> Option<(Placed, usize)> {
        let mut lists = self.lock();
        let turn = self.queue.turn(supply)?;
        // Where it is somebody's elsewhere there is no such read.
        let read = lists.reads.remove(&turn.ticket)?;
        let ticket = turn.ticket;
        Some((Placed { read, ticket }, turn.most))
    }

    /// Takes out any read, as [`Waiting::turn`] does.
    pub(super) fn any(&self) -> Option<Placed> {
        let (ticket, read) = self.lock().reads.pop_first()?;
        Some(Placed { read, ticket })
    }

    /// The read that was taken out has been answered with `bytes` of the buffer. True if somebody else must be told that it
    /// is their turn.
    #[must_use]
    pub(super) fn served(&self, placed: &Placed, bytes: usize) -> bool {
        self.queue.leave(placed.ticket, bytes)
    }

    /// There was nothing for the read that was taken out: it has its place again.
    pub(super) fn put_back(&self, placed: Placed) {
        self.lock().reads.insert(placed.ticket, placed.read);
    }

    /// Remembers a polled file. If that makes too many, all of them are returned to be woken.
    pub(super) fn watch(&self, kernel_handle: u64, user: &Arc<Account>) -> Polls {
        let mut lists = self.lock();
        lists.polls.insert(kernel_handle, Arc::clone(user));
        if lists.polls.len() > MAX_POLLS {
            std::mem::take(&mut lists.polls)
        } else {
            Polls::new()
        }
    }

    /// Takes out all polled files.
    pub(super) fn watched(&self) -> Polls {
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

    const PLENTY: Supply = Supply {
        fill: 1 << 20,
        keep: 0,
    };

    fn read(unique: u64, user: &Arc<Account>) -> Parked {
        let ask = Ask {
            unique,
            inode: 3,
            handle: 0,
            offset: 0,
            size: 1,
        };
        Parked {
            ask,
            user: Arc::clone(user),
        }
    }

    fn turn(waiting: &Waiting) -> Option<Placed> {
        waiting.turn(PLENTY).map(|(placed, _)| placed)
    }

    #[test]
    fn of_one_user_first_come_first_served_and_interrupts_take_out() {
        let waiting = Waiting::default();
        let user = waiting.queue.users().account(1);
        assert!((1..=4).all(|unique| waiting.park(read(unique, &user))));
        assert_eq!(waiting.interrupt(2), Some(false));
        assert_eq!(waiting.interrupt(2), None);
        let first = turn(&waiting).unwrap();
        assert_eq!(first.read.ask.unique, 1);
        assert_eq!(waiting.interrupt(1), None, "it is being served");
        assert_eq!(waiting.queue.len(), 3);
        waiting.put_back(first);
        assert_eq!(waiting.interrupt(1), Some(false));
        for unique in [3, 4] {
            let first = turn(&waiting).unwrap();
            assert_eq!(first.read.ask.unique, unique);
            assert!(!waiting.served(&first, 1));
        }
        assert!(turn(&waiting).is_none() && waiting.any().is_none());
        assert_eq!((waiting.queue.len(), waiting.is_empty()), (0, true));
    }

    #[test]
    fn who_came_before_elsewhere_is_served_before() {
        let queue = Arc::new(Queue::default());
        let user = queue.users().account(1);
        let waiting = Waiting::new(Arc::clone(&queue), Lane::Device(3));
        let before = queue.join(&user, Lane::Files);
        assert!(waiting.park(read(1, &user)));
        let after = queue.join(&user, Lane::Stream);
        assert_eq!(queue.len(), 3);
        assert!(turn(&waiting).is_none());
        assert!(queue.leave(before, 1), "the read must be told");
        waiting.put_back(turn(&waiting).unwrap());
        assert_eq!(waiting.interrupt(1), Some(true), "the other must be told");
        assert_eq!(queue.turn(PLENTY).unwrap().ticket, after);
    }

    #[test]
    fn both_lists_are_bounded() {
        let waiting = Waiting::default();
        let user = waiting.queue.users().account(1);
        assert!((0..MAX_READS as u64).all(|unique| waiting.park(read(unique, &user))));
        assert!(!waiting.park(read(1, &user)));
        assert!((0..MAX_POLLS as u64).all(|handle| waiting.watch(handle, &user).is_empty()));
        assert_eq!(waiting.watch(u64::MAX, &user).len(), MAX_POLLS + 1);
        assert!(waiting.watched().is_empty());
    }
}
