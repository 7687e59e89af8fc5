//! The bytes that come by DMA: the ring, and the engine that fills it.

use std::time::{Duration, Instant};

use super::channel::Channel;
use super::function::{DmaMemory, Registers};
use super::ring::{BUFFERS, Ring};
use crate::source::{Failure, Fault};

/// How long no byte comes before the stream counts as stalled.
pub const STALL: Duration = Duration::from_secs(1);

/// How long no byte comes before the engine is asked why: it may have found the end of its list just before that was moved.
const LATE: Duration = Duration::from_millis(2);

/// How many buffers are given back to the engine at a time.
const GRANT: usize = BUFFERS / 16;

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    ring: Ring,
    /// When a buffer was last completed, or the engine started.
    last: Instant,
    /// The engine had completed all that it had, so it has stopped, or is about to.
    stopped: bool,
}

/// What the stream works with: the engine's registers and the memory.
pub struct Means<'a> {
    /// Registers of the config BAR.
    pub config: &'a mut dyn Registers,
    /// The ring's memory.
    pub memory: &'a dyn DmaMemory,
}

impl Stream {
    /// Sets the ring up and starts the engine. None: it still fills a buffer of somebody before; that ends when data comes.
    ///
    /// # Errors
    /// The card is gone, or its engine is none for streams.
    pub fn start(means: &mut Means<'_>, now: Instant) -> Result<Option<Self>, Failure> {
        let mut channel = Channel(means.config);
        channel.check()?;
        channel.stop();
        if !channel.idle()? {
            return Ok(None);
        }
        let mut stream = Self {
            ring: Ring::new(means.memory),
            last: now,
            stopped: false,
        };
        stream.run(means, now);
        Ok(Some(stream))
    }

    /// Starts the idle engine at the first buffer that is not complete.
    fn run(&mut self, means: &mut Means<'_>, now: Instant) {
        let (first, count) = self.ring.restart(means.memory);
        Channel(means.config).start(first, count);
        self.last = now;
        self.stopped = false;
    }

    /// Bytes that can be taken.
    pub fn available(&self) -> usize {
        self.ring.available()
    }

    /// Whether `wanted` bytes can be taken, or so many buffers are complete that they should be.
    pub fn holds(&self, wanted: usize) -> bool {
        self.ring.available() >= wanted || self.ring.unread() >= BUFFERS / 2
    }

    /// Looks what has come.
    ///
    /// # Errors
    /// The card is gone, its engine has met an error or tells what can't be, or nothing came for [`STALL`].
    pub fn poll(&mut self, means: &mut Means<'_>, now: Instant) -> Result<(), Failure> {
        if self.ring.error_told(means.memory) {
            Channel(means.config).busy()?;
        }
        let mut new = self.ring.advance(means.memory)?;
        let late = new == 0 && now - self.last >= LATE;
        if (self.stopped || late) && self.ring.engine_has_room() {
            new += self.look(means, now)?;
        }
        self.stopped |= !self.ring.engine_has_room();
        if new > 0 {
            self.last = now;
        } else if self.ring.engine_has_room() && now - self.last >= STALL {
            return Err(Failure::new(
                Fault::Silent,
                format!(
                    "no data came by DMA for {} ms, though the card is there; it is reset",
                    STALL.as_millis()
                ),
            ));
        }
        Ok(())
    }

    /// Asks the engine why nothing came, and starts it again if it has stopped at the end of what it had. Gives how many
    /// buffers had come after all.
    fn look(&mut self, means: &mut Means<'_>, now: Instant) -> Result<usize, Failure> {
        if Channel(means.config).busy()? {
            return Ok(0);
        }
        // It is idle, so all that it wrote is visible now, and nothing more is written.
        let new = self.ring.advance(means.memory)?;
        if !self.ring.settled(means.memory)? {
            return Err(Failure::new(
                Fault::Nonsense,
                "the DMA engine counts a transfer whose length it does not tell; its ring is set up anew",
            ));
        }
        if self.ring.engine_has_room() {
            self.run(means, now);
        }
        Ok(new)
    }

    /// Moves bytes out in order; gives how many.
    pub fn take(&mut self, memory: &dyn DmaMemory, out: &mut [u8]) -> usize {
        let count = self.ring.take(memory, out);
        self.ring.grant(memory, GRANT);
        count
    }

    /// Wipes up to `most` bytes unread; gives how many.
    pub fn discard(&mut self, memory: &dyn DmaMemory, most: u64) -> usize {
        let count = self.ring.discard(memory, most);
        self.ring.grant(memory, GRANT);
        count
    }
}
