//! Who waits for bytes, in the order in which they came, whether they read files or devices, or ask at the stream socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where one waits. Each lane keeps its own list of those who wait there, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Reads of the mount's files.
    #[default]
    Files,
    /// Reads of the character device that is this inode.
    Device(u64),
    /// Requests at the stream socket.
    Stream,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
struct Places {
    last: u64,
    lanes: BTreeMap<u64, Lane>,
}

/// All who wait.
#[derive(Debug, Default)]
pub struct Queue {
    places: Mutex<Places>,
    len: AtomicUsize,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last place.
    pub fn join(&self, lane: Lane) -> Ticket {
        let mut places = self.lock();
        places.last += 1;
        let ticket = places.last;
        places.lanes.insert(ticket, lane);
        self.len.store(places.lanes.len(), Ordering::SeqCst);
        Ticket(ticket)
    }

    /// Whether nobody has waited for longer.
    pub fn is_first(&self, ticket: Ticket) -> bool {
        let places = self.lock();
        places.lanes.keys().next() == Some(&ticket.0)
    }

    /// Gives a place up. True if that makes somebody of another lane the first, who must be told.
    #[must_use]
    pub fn leave(&self, ticket: Ticket) -> bool {
        let mut places = self.lock();
        let was_first = places.lanes.keys().next() == Some(&ticket.0);
        let left = places.lanes.remove(&ticket.0);
        self.len.store(places.lanes.len(), Ordering::SeqCst);
        let first = places.lanes.values().next().copied();
        was_first && first.is_some() && first != left
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // No change of the places can stop half-way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_who_came_first_in_whatever_lane() {
        let queue = Queue::default();
        let [a, b, c, d] =
            [Lane::Files, Lane::Files, Lane::Stream, Lane::Files].map(|lane| queue.join(lane));
        assert!(queue.is_first(a) && !queue.is_first(b) && !queue.is_first(c));
        assert!(!queue.leave(a), "the next is of the same lane");
        assert!(queue.is_first(b));
        assert!(!queue.leave(d), "it was not the first");
        assert!(queue.leave(b), "the next is of the other lane");
        assert!(queue.is_first(c) && queue.len() == 1);
        assert!(!queue.leave(c), "nobody is left to be told");
        assert!(!queue.leave(c), "it has left already");
        assert!(queue.is_empty());
        let [a, b] = [3, 12].map(|inode| queue.join(Lane::Device(inode)));
        assert!(queue.leave(a), "each device has a list of its own");
        assert!(queue.is_first(b));
    }
}
