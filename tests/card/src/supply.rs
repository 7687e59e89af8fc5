//! What a device makes, and its memory between that and the host.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::fault::{Fault, Faults};
use crate::ledger::{Ledger, Worth};
use crate::pace::{Full, Pace, Rate};
use crate::stream::Stream;

/// A first-in, first-out memory of a size that the device sets. When it is full new bytes are lost, or wait.
pub(crate) struct Supply {
    pub(crate) stream: Stream,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pace: Pace,
    rate: Rate,
    full: Full,
    /// Runs of the stream in memory, oldest first.
    held: VecDeque<Range<u64>>,
    held_bytes: u64,
    /// Size of the memory; 0 while nothing is made.
    capacity: u64,
    /// Bytes below this offset are stale.
    stale_until: u64,
}

impl Supply {
    pub(crate) fn new(rate: Rate, full: Full, seed: u64) -> Self {
        Self {
            stream: Stream::new(seed),
            ledger: Ledger::default(),
            faults: Faults::default(),
            pace: Pace::default(),
            rate,
            full,
            held: VecDeque::new(),
            held_bytes: 0,
            capacity: 0,
            stale_until: 0,
        }
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> u64 {
        self.held_bytes
    }

    /// The time that it was last told.
    pub(crate) fn now(&self) -> Duration {
        self.pace.now()
    }

    /// Whether bytes are made.
    pub(crate) fn flows(&self) -> bool {
        self.capacity > 0
    }

    /// Lets time pass, in which `units` parts of the device made bytes, if they flow.
    pub(crate) fn advance(&mut self, now: Duration, units: u64) {
        let stopped = !self.flows() || self.faults.has(Fault::Hang);
        let rate = match (self.faults.slow(), self.rate) {
            _ if stopped => 0,
            (Some(slow), _) => slow * units.min(1),
            (None, Rate::BytesPerSecond(each)) => each * units,
            (None, Rate::Unlimited) => 0,
        };
        let bytes = self.pace.advance(now, rate);
        self.make(bytes);
        let unlimited = self.rate == Rate::Unlimited && self.faults.slow().is_none();
        if unlimited && units > 0 && !stopped {
            self.make(self.room());
        }
    }

    /// Starts the flow into a memory of `capacity` bytes, of which the first `stale` are full of old ones.
    pub(crate) fn start(&mut self, capacity: u64, stale: u64) {
        self.stop();
        self.capacity = capacity;
        self.make(stale);
        self.stale_until = self.ledger.produced();
    }

    /// Stops the flow and throws away what is in memory.
    pub(crate) fn stop(&mut self) {
        self.ledger.flush(self.held_bytes);
        self.held.clear();
        self.held_bytes = 0;
        self.capacity = 0;
    }

    fn room(&self) -> u64 {
        self.capacity - self.held_bytes
    }

    fn make(&mut self, bytes: u64) {
        let taken = bytes.min(self.room());
        let start = self.ledger.produced();
        match self.held.back_mut() {
            Some(last) if last.end == start => last.end += taken,
            _ if taken > 0 => self.held.push_back(start..start + taken),
            _ => {}
        }
        self.held_bytes += taken;
        self.ledger.make(taken);
        if self.full == Full::Overflows {
            self.ledger.make(bytes - taken);
            self.ledger.overflow(bytes - taken);
        }
    }

    /// Fills `out` with the oldest bytes, and enters them into the books. There must be as many.
    pub(crate) fn take(&mut self, out: &mut [u8]) {
        self.take_as(Worth::Good, out);
    }

    /// The same for bytes that are worth `good` at most.
    pub(crate) fn take_as(&mut self, good: Worth, out: &mut [u8]) {
        let mut done = 0;
        while let Some(range) = self.oldest(out.len() - done).filter(|r| !r.is_empty()) {
            let part = &mut out[done..done + (range.end - range.start) as usize];
            self.stream.fill(range.start, part);
            let worth = match self.faults.distort(part) {
                Worth::Good if range.start < self.stale_until => Worth::Stale,
                Worth::Good => good,
                worth => worth,
            };
            done += part.len();
            self.ledger.hand(range, worth);
        }
    }

    /// Takes at most `most` bytes of the oldest run; all are stale, or none.
    fn oldest(&mut self, most: usize) -> Option<Range<u64>> {
        let run = self.held.front_mut()?;
        let start = run.start;
        let limit = match start < self.stale_until {
            true => self.stale_until.min(run.end),
            false => run.end,
        };
        run.start = limit.min(start + most as u64);
        let taken = start..run.start;
        if run.is_empty() {
            self.held.pop_front();
        }
        self.held_bytes -= taken.end - taken.start;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_lost_and_the_rest_comes_out_in_order() {
        let mut supply = Supply::new(Rate::BytesPerSecond(1000), Full::Overflows, 1);
        supply.advance(Duration::from_secs(1), 1);
        assert!(!supply.flows());
        assert_eq!(supply.ledger.produced(), 0);
        supply.start(100, 40);
        supply.advance(Duration::from_secs(2), 2);
        assert_eq!(supply.held(), 100);
        assert_eq!(
            (supply.ledger.produced(), supply.ledger.overflowed()),
            (2040, 1940)
        );
        let mut out = [0; 70];
        supply.take(&mut out);
        assert_eq!(out[..], supply.stream.bytes(0, 70));
        supply.advance(Duration::from_millis(2010), 1);
        supply.take(&mut out[..40]);
        assert_eq!(out[..30], supply.stream.bytes(70, 30));
        assert_eq!(out[30..40], supply.stream.bytes(2040, 10));
        let pieces: Vec<_> = supply
            .ledger
            .pieces()
            .iter()
            .map(|p| (p.range.clone(), p.worth))
            .collect();
        let good = [(40..100, Worth::Good), (2040..2050, Worth::Good)];
        assert_eq!(pieces, [[(0..40, Worth::Stale)].as_slice(), &good].concat());
    }
}
