//! Who is connected, and who is let in when there are as many as there may be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::client::Client;

/// The clients that are connected.
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Vec<Taken>>,
}

struct Taken {
    client: Arc<Client>,
    /// Since when it has asked for nothing; none while it is served.
    idle_since: Option<Instant>,
}

/// A client's own seat, which is free when this is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    client: Arc<Client>,
}

impl Seats {
    /// So many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// A seat for a client. If all are taken, whoever has been idle for the longest loses its own; if none is idle, there is none.
    pub(super) fn take(seats: &Arc<Self>, client: &Arc<Client>) -> Option<Seat> {
        let mut taken = seats.lock();
        if taken.len() >= seats.most {
            let idle = taken.iter().enumerate();
            let idle = idle.filter_map(|(at, seat)| Some((at, seat.idle_since?)));
            let (at, _) = idle.min_by_key(|(_, since)| *since)?;
            taken.swap_remove(at).client.cut();
        }
        taken.push(Taken {
            client: Arc::clone(client),
            idle_since: Some(Instant::now()),
        });
        Some(Seat {
            seats: Arc::clone(seats),
            client: Arc::clone(client),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Taken>> {
        // A list is whole between any two statements above and below.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Notes that the client is served, or waits to be.
    pub(super) fn works(&self) {
        self.note(None);
    }

    /// Notes that it has what it asked for.
    pub(super) fn is_idle(&self) {
        self.note(Some(Instant::now()));
    }

    fn note(&self, since: Option<Instant>) {
        for seat in self.seats.lock().iter_mut() {
            if Arc::ptr_eq(&seat.client, &self.client) {
                seat.idle_since = since;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.retain(|seat| !Arc::ptr_eq(&seat.client, &self.client));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_longest_idle_one_gives_way_and_who_is_served_does_not() {
        let seats = Arc::new(Seats::new(2));
        let client = || {
            let (end, other) = UnixStream::pair().unwrap();
            (Arc::new(Client::new(end.into(), false)), other)
        };
        let ((first, _a), (second, mut second_end), (third, _c)) = (client(), client(), client());
        let first = Seats::take(&seats, &first).unwrap();
        let second = Seats::take(&seats, &second).unwrap();
        first.works();
        let third = Seats::take(&seats, &third).unwrap();
        // Cut.
        assert_eq!(second_end.read(&mut [0]).unwrap(), 0);
        drop(second);
        third.works();
        let (fourth, _d) = client();
        assert!(Seats::take(&seats, &fourth).is_none());
        third.is_idle();
        drop(first);
        assert!(Seats::take(&seats, &fourth).is_some());
    }
}
