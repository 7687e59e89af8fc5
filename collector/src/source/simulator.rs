//! The simulator: stands in for a card where there is none.
//!
//! Its bytes are the AES-256-CTR keystream under a key from the kernel: good for tests and
//! demonstrations, but no quantum noise, and so always labelled [`Kind::Simulator`].
//! It is as fast as the card that it is told to be (hardware rates as the vendor gives them), in
//! portions of [`TICK`] as a card's DMA would deliver them.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use getrandom::SysRng;
use getrandom::rand_core::TryRng;
use qrng::report::Kind;
use zeroize::Zeroizing;

use super::{Identity, NoiseSource, SourceError};

/// How often a rate-limited simulator delivers.
pub const TICK: Duration = Duration::from_millis(10);

/// Bytes that nobody fetched for this long are gone, as from a card whose FIFO overflows.
const FIFO: Duration = Duration::from_millis(100);

/// The rates of real cards, in bytes a second, by the names that the configuration knows.
pub const CARDS: [(&str, u64); 5] = [
    ("pcie-4m", 500_000),
    ("pcie-16m", 2_000_000),
    ("chip-40m", 5_000_000),
    ("chip-240m", 30_000_000),
    ("usb-4m", 500_000),
];

/// A pseudo-random generator in a card's place.
pub struct Simulator {
    identity: Identity,
    cipher: Ctr128BE<Aes256>,
    pace: Option<(Instant, Schedule)>,
}

impl Simulator {
    /// A simulator named `name` that delivers `rate` bytes a second, or with `None` as many as
    /// are asked for.
    ///
    /// # Errors
    /// The kernel gives no seed.
    pub fn new(name: &str, rate: Option<NonZeroU64>) -> Result<Self, SourceError> {
        let mut seed = Zeroizing::new([0; 32]);
        SysRng
            .try_fill_bytes(&mut *seed)
            .map_err(|e| SourceError::Broken(format!("the kernel gives no seed: {e}")))?;
        Ok(Self {
            identity: Identity {
                kind: Kind::Simulator,
                name: name.to_owned(),
                serial: None,
            },
            cipher: Ctr128BE::new(&(*seed).into(), &[0; 16].into()),
            pace: rate.map(|rate| (Instant::now(), Schedule { rate, taken: 0 })),
        })
    }
}

impl NoiseSource for Simulator {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        let mut count = buffer.len();
        if let Some((start, schedule)) = &mut self.pace {
            sleep_until(deadline.min(*start + schedule.ready(count)));
            count = schedule.take(count, start.elapsed());
        }
        self.cipher
            .try_write_keystream(&mut buffer[..count])
            .map_err(|_| SourceError::Broken("the generator is used up".into()))?;
        Ok(count)
    }

    fn wait(&mut self, deadline: Instant) {
        if let Some((start, schedule)) = &self.pace {
            sleep_until(deadline.min(*start + schedule.ready(1)));
        }
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// How many bytes a card of a given rate has made, and how many of them were taken.
#[derive(Debug)]
struct Schedule {
    /// Bytes a second.
    rate: NonZeroU64,
    /// Bytes since the start that were fetched or lost.
    taken: u64,
}

impl Schedule {
    /// Bytes made in `time`.
    fn made(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.rate.get()) * time.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The time after the start of the tick that delivers the next `count` bytes.
    fn ready(&self, count: usize) -> Duration {
        let bytes = u128::from(self.taken.saturating_add(count as u64));
        let nanos = (bytes * 1_000_000_000).div_ceil(u128::from(self.rate.get()));
        let nanos = nanos.next_multiple_of(TICK.as_nanos());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Takes up to `count` of the bytes made until `elapsed`; forgets those that a FIFO would
    /// have lost.
    fn take(&mut self, count: usize, elapsed: Duration) -> usize {
        let made = self.made(elapsed);
        self.taken = self.taken.max(made.saturating_sub(self.made(FIFO)));
        let count = made.saturating_sub(self.taken).min(count as u64);
        self.taken += count;
        // No more than the `count` asked for, which is a usize.
        count as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: u64) -> Schedule {
        Schedule {
            rate: NonZeroU64::new(rate).unwrap(),
            taken: 0,
        }
    }

    #[test]
    fn a_rate_is_delivered_in_ticks() {
        let mut s = schedule(2_000_000);
        // 20,000 bytes a tick.
        assert_eq!(s.ready(1), Duration::from_millis(10));
        assert_eq!(s.ready(20_000), Duration::from_millis(10));
        assert_eq!(s.ready(20_001), Duration::from_millis(20));
        assert_eq!(s.take(60_000, Duration::from_millis(10)), 20_000);
        assert_eq!(s.take(60_000, Duration::from_millis(10)), 0);
        assert_eq!(s.take(5_000, Duration::from_millis(20)), 5_000);
        assert_eq!(s.take(60_000, Duration::from_millis(20)), 15_000);
    }

    #[test]
    fn a_second_gives_the_rate() {
        let mut s = schedule(500_000);
        let total: usize = (1..=100)
            .map(|tick| s.take(65_536, Duration::from_millis(tick * 10)))
            .sum();
        assert_eq!(total, 500_000);
    }

    #[test]
    fn what_nobody_fetched_is_lost_but_for_the_fifo() {
        let mut s = schedule(1_000_000);
        assert_eq!(s.take(1_000_000, Duration::from_secs(60)), 100_000);
        assert_eq!(s.taken, 60_000_000);
    }

    #[test]
    fn simulated_bytes_are_labelled_and_differ() {
        let mut a = Simulator::new("a", None).unwrap();
        let mut b = Simulator::new("b", None).unwrap();
        assert_eq!(a.identity().kind, Kind::Simulator);
        let (mut x, mut y, mut z) = ([0; 64], [0; 64], [0; 64]);
        assert_eq!(a.read(&mut x, Instant::now()).unwrap(), 64);
        assert_eq!(a.read(&mut y, Instant::now()).unwrap(), 64);
        assert_eq!(b.read(&mut z, Instant::now()).unwrap(), 64);
        assert!(x != y && x != z && y != z);
    }

    #[test]
    fn a_read_ends_at_its_deadline() {
        let mut slow = Simulator::new("slow", NonZeroU64::new(1)).unwrap();
        assert_eq!(slow.read(&mut [0; 64], Instant::now()).unwrap(), 0);
    }
}
