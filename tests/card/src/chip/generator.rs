//! What the chips make, and the card's memory between them and the stream.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::{ChipConfig, Mode, PACKET};
use crate::fault::{Fault, Faults};
use crate::ledger::{Ledger, Worth};
use crate::module::Full;
use crate::pace::{Pace, Rate};
use crate::stream::Stream;
use crate::xdma::PacketSource;

/// A packet that is too short.
const SHORT: usize = 1024;

pub(super) struct Generator {
    pub(super) stream: Stream,
    pub(super) ledger: Ledger,
    pub(super) faults: Faults,
    pace: Pace,
    rate: Rate,
    full: Full,
    /// Runs of the stream in memory, oldest first.
    held: VecDeque<Range<u64>>,
    held_bytes: u64,
    /// Bytes below this offset are stale.
    stale_until: u64,
    /// Set while bytes flow.
    mode: Option<Mode>,
}

impl Generator {
    pub(super) fn new(config: &ChipConfig) -> Self {
        Self {
            stream: Stream::new(config.seed),
            ledger: Ledger::default(),
            faults: Faults::default(),
            pace: Pace::default(),
            rate: config.rate,
            full: config.full,
            held: VecDeque::new(),
            held_bytes: 0,
            stale_until: 0,
            mode: None,
        }
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> u64 {
        self.held_bytes
    }

    /// Lets time pass, in which `chips` chips made bytes if they flow.
    pub(super) fn advance(&mut self, now: Duration, chips: u64) {
        let rate = match (self.mode, self.faults.slow(), self.rate) {
            (None, ..) => 0,
            (_, Some(slow), _) => slow * chips.min(1),
            (_, None, Rate::BytesPerSecond(each)) => each * chips,
            (_, None, Rate::Unlimited) => 0,
        };
        let bytes = self.pace.advance(now, rate);
        self.make(bytes);
        if self.rate == Rate::Unlimited && self.faults.slow().is_none() && chips > 0 {
            self.make(self.room());
        }
    }

    /// Starts or ends the flow. At its start memory is full of stale bytes.
    pub(super) fn flow(&mut self, mode: Option<Mode>) {
        if let (None, Some(mode)) = (self.mode, mode) {
            self.empty();
            self.mode = Some(mode);
            self.make(mode.stale());
            self.stale_until = self.ledger.produced();
        }
        self.mode = mode;
    }

    /// Throws away what is in memory.
    pub(super) fn empty(&mut self) {
        self.ledger.flush(self.held_bytes);
        self.held.clear();
        self.held_bytes = 0;
        self.mode = None;
    }

    fn room(&self) -> u64 {
        self.mode.map_or(0, |mode| mode.stale() - self.held_bytes)
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

    /// Takes the oldest run, at most `most` bytes of it.
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

impl PacketSource for Generator {
    fn packet(&mut self) -> Option<usize> {
        let length = if self.faults.has(Fault::Short) {
            SHORT
        } else {
            PACKET
        };
        (self.mode.is_some() && self.held_bytes >= length as u64).then_some(length)
    }

    fn take(&mut self, out: &mut [u8]) {
        let mut done = 0;
        while let Some(range) = self.oldest(out.len() - done).filter(|r| !r.is_empty()) {
            let part = &mut out[done..done + (range.end - range.start) as usize];
            self.stream.fill(range.start, part);
            let worth = match self.faults.distort(part) {
                Worth::Good if range.start < self.stale_until => Worth::Stale,
                worth => worth,
            };
            done += part.len();
            self.ledger.hand(range, worth);
        }
    }
}
