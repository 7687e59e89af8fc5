//! Packets that wait to be pushed: so many bytes at most, and when there are more the oldest go.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qrng::push::{self, BODY_MAX, HEADER};

/// Packets older than this are not pushed any more: gateways refuse what is 300 s old, by clocks that may differ.
pub const STALE: Duration = Duration::from_secs(240);

/// Packets of one gateway.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    more: Condvar,
    /// Most bytes, as they are in a body.
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Packet>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Packet {
    came: Instant,
    bytes: Vec<u8>,
}

/// What was put into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many packets.
    pub packets: u64,
    /// When the newest came.
    pub came: Instant,
}

impl Taken {
    /// Whether all of them are too old to be pushed at the time `now`. The gateway refuses those that are.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.came) > STALE
    }
}

impl Queue {
    /// An empty one for `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            more: Condvar::new(),
            most,
        }
    }

    /// Appends a packet that came at the time `now`; the oldest make room for it.
    pub fn push(&self, now: Instant, packet: &[u8]) {
        let mut state = self.state();
        let size = HEADER + packet.len();
        while state.bytes + size > self.most && state.drop_oldest() {}
        state.bytes += size;
        state.packets.push_back(Packet {
            came: now,
            bytes: packet.to_vec(),
        });
        drop(state);
        self.more.notify_one();
    }

    /// Fills `body`, which is emptied first, with the oldest packets: as soon as they fill one, or the first has waited for `interval`.
    pub fn take(&self, interval: Duration, body: &mut Vec<u8>) -> Taken {
        body.clear();
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.drop_stale(now);
            let first = state.packets.front().map(|first| first.came);
            let wait = match first {
                None => None,
                Some(came) => {
                    let left = interval.saturating_sub(now.duration_since(came));
                    if left.is_zero() || state.bytes >= BODY_MAX {
                        return state.fill(body, came);
                    }
                    Some(left)
                }
            };
            state = self.wait(state, wait);
        }
    }

    /// Counts packets that were taken and could not be pushed while they were worth it.
    pub fn give_up(&self, packets: u64) {
        self.state().dropped += packets;
    }

    /// Bytes that wait, and packets that were dropped.
    pub fn told(&self) -> (u64, u64) {
        let state = self.state();
        (state.bytes as u64, state.dropped)
    }

    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State>,
        time: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        let result = match time {
            None => self.more.wait(state),
            Some(time) => self
                .more
                .wait_timeout(state, time)
                .map(|(state, _)| state)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        result.unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole before the lock is let go, but for a panic of the allocator.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.packets.pop_front() else {
            return false;
        };
        self.bytes -= HEADER + oldest.bytes.len();
        self.dropped += 1;
        true
    }

    fn drop_stale(&mut self, now: Instant) {
        let stale = |packet: &Packet| now.duration_since(packet.came) > STALE;
        while self.packets.front().is_some_and(stale) && self.drop_oldest() {}
    }

    /// Moves packets to `body`, of which the first came at the time `came`.
    fn fill(&mut self, body: &mut Vec<u8>, mut came: Instant) -> Taken {
        let mut packets = 0;
        while let Some(next) = self.packets.front() {
            if !push::put(body, &next.bytes) {
                break;
            }
            came = next.came;
            self.bytes -= HEADER + next.bytes.len();
            self.packets.pop_front();
            packets += 1;
        }
        Taken { packets, came }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn take(queue: &Queue) -> Vec<Vec<u8>> {
        let mut body = vec![9; 3];
        let taken = queue.take(SOON, &mut body);
        let packets: Vec<_> = push::packets(&body).unwrap().map(<[u8]>::to_vec).collect();
        assert_eq!(taken.packets, packets.len() as u64);
        packets
    }

    #[test]
    fn packets_leave_in_their_order() {
        let queue = Queue::new(1000);
        for packet in [&b"one"[..], b"two", b"three"] {
            queue.push(Instant::now(), packet);
        }
        assert_eq!(queue.told(), (17, 0));
        assert_eq!(take(&queue), [&b"one"[..], b"two", b"three"]);
        assert_eq!(queue.told(), (0, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let queue = Queue::new(20);
        for number in 0..10_u8 {
            queue.push(Instant::now(), &[number; 3]);
        }
        assert_eq!(queue.told(), (20, 6));
        assert_eq!(take(&queue), [[6; 3], [7; 3], [8; 3], [9; 3]]);
        queue.give_up(4);
        assert_eq!(queue.told(), (0, 10));
    }

    #[test]
    fn more_than_a_body_leaves_in_several_and_at_once() {
        let queue = Queue::new(1 << 20);
        for number in 0..200_u8 {
            queue.push(Instant::now(), &vec![number; 1400]);
        }
        let mut body = Vec::new();
        let hour = Duration::from_secs(3600);
        let first = queue.take(hour, &mut body);
        assert_eq!(first.packets, (BODY_MAX / 1402) as u64);
        let rest = take(&queue);
        assert_eq!(rest.len() as u64 + first.packets, 200);
        assert_eq!(rest.last().unwrap()[0], 199);
    }

    #[test]
    fn what_is_too_old_is_dropped() {
        let now = Instant::now();
        let Some(long_ago) = now.checked_sub(STALE + Duration::from_secs(1)) else {
            // A machine that was started a moment ago has no such time.
            return;
        };
        let queue = Queue::new(1000);
        queue.push(long_ago, b"old");
        queue.push(now, b"new");
        assert_eq!(take(&queue), [b"new"]);
        assert_eq!(queue.told(), (0, 1));
        let taken = Taken {
            packets: 1,
            came: long_ago,
        };
        assert!(taken.is_stale(now) && !Taken { came: now, ..taken }.is_stale(now));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let queue = Queue::new(1000);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| take(&queue));
            std::thread::sleep(Duration::from_millis(20));
            queue.push(Instant::now(), b"one");
            assert_eq!(waiting.join().unwrap(), [b"one"]);
        });
    }
}
