//! How many connections there may be, and who has to go when there are too many: the one that has done nothing for the longest.
//!
//! So a flood of connections that never ask anything only drives out each other, and a client that asks at once is served.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// All connections.
pub struct Connections {
    table: Mutex<Table>,
    most: usize,
    begun: Instant,
    /// Closed to make room, or not let in because there was none.
    pub driven_out: AtomicU64,
}

#[derive(Default)]
struct Table {
    slots: HashMap<u64, Arc<Slot>>,
    next: u64,
}

/// One connection's place.
pub struct Slot {
    begun: Instant,
    /// Milliseconds after `begun` at which it last did something.
    last: AtomicU64,
    /// Requests that are being answered.
    busy: AtomicU32,
    leave: Notify,
}

/// A connection's place, for as long as it lives.
pub struct Place {
    slot: Arc<Slot>,
    number: u64,
    connections: Arc<Connections>,
}

/// A request that is being answered.
pub struct Busy<'s>(&'s Slot);

impl Connections {
    /// Room for `most`.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            most,
            begun: Instant::now(),
            driven_out: AtomicU64::new(0),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table().slots.len()
    }

    /// A place for a new one. If there is none, the one that has been idle for the longest has to leave; `None` if all are busy.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let slot = Arc::new(Slot {
            begun: self.begun,
            last: AtomicU64::new(self.begun.elapsed().as_millis() as u64),
            busy: AtomicU32::new(0),
            leave: Notify::new(),
        });
        let mut table = self.table();
        if table.slots.len() >= self.most {
            self.driven_out.fetch_add(1, Ordering::Relaxed);
            let idle = table.slots.iter().filter(|(_, slot)| !slot.is_busy());
            let oldest =
                idle.min_by_key(|(number, slot)| (slot.last.load(Ordering::Relaxed), **number));
            let oldest = oldest.map(|(number, _)| *number)?;
            if let Some(slot) = table.slots.remove(&oldest) {
                slot.leave.notify_one();
            }
        }
        let number = table.next;
        table.next += 1;
        table.slots.insert(number, Arc::clone(&slot));
        drop(table);
        Some(Place {
            slot,
            number,
            connections: Arc::clone(self),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What the connection's parts note their doings in.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().slots.remove(&self.number);
    }
}

impl Slot {
    /// It has done something.
    pub fn touch(&self) {
        let now = self.begun.elapsed().as_millis() as u64;
        self.last.store(now, Ordering::Relaxed);
    }

    /// It answers a request, until the value is dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Returns when it has to leave.
    pub async fn leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_leaves_and_the_busy_stay() {
        let connections = Connections::new(2);
        let first = connections.enter().unwrap();
        let second = connections.enter().unwrap();
        let answering = first.slot().busy();
        let third = connections.enter().unwrap();
        assert_eq!(connections.count(), 2);
        // The second was told to, although it is older than the third.
        let told = |place: &Place| {
            let slot = Arc::clone(place.slot());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let left = std::time::Duration::from_millis(50);
            runtime.block_on(async { tokio::time::timeout(left, slot.leave()).await.is_ok() })
        };
        assert!(told(&second) && !told(&first) && !told(&third));
        let also = third.slot().busy();
        assert!(connections.enter().is_none());
        assert_eq!(connections.driven_out.load(Ordering::Relaxed), 2);
        drop((answering, also));
        drop(second);
        drop(first);
        assert_eq!(connections.count(), 1);
    }
}
