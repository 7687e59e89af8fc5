//! Acquire: one noise source -> tested, conditioned bytes in blocks.
//!
//! ```text
//!  NoiseSource::read -> Refine: health tests, conditioning -> Packing -> Block -> seal or combine
//!                          │ alarm
//!                          └─> log, status, report; latched until an operator clears it
//! ```
//!
//! Bytes that fail a test never enter a block, and those of a tested source enter it only when
//! their whole test block has passed.
//!
//! A source that fails is tried again with growing pauses; nothing else takes its place. While no
//! block is empty the source is not read. A latched source is not read either; what its driver had
//! read ahead is wiped before it is. A latch is kept on disk, so that a restart does not clear it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use qrng::health::{Alarm, State as Health, Tier};
use qrng::report::{Kinds, State};

use crate::block::{Block, Filler};
use crate::latched::Latched;
use crate::packing::Packing;
use crate::pipeline::{Input, now_us};
use crate::refine::Refine;
use crate::source::{Failure, NoiseSource, SourceError};
use crate::stats::{SourceStats, Stats};

/// How long bytes wait at most for a block to fill.
pub const LINGER: Duration = Duration::from_millis(20);

/// How long is waited at a time for bytes of which a whole test block is needed. A card's FIFO
/// holds more.
const GATHER: Duration = Duration::from_millis(50);

/// How long a silent source is waited for at a time.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a source is silent before those that it is combined with are told that it has failed.
pub const SILENT_TOO_LONG: Duration = Duration::from_secs(10);

/// How often health is told and silence looked for.
const TICK: Duration = Duration::from_secs(1);

/// The first pause after a failure of the source; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after a failure of the source.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How random bytes are cut into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Random bytes in a full packet.
    pub full: usize,
    /// Random bytes in the smallest packet.
    pub least: usize,
}

impl Cut {
    /// How many of `length` bytes can go now: all, unless the last packet would be too small.
    pub fn sealable(&self, length: usize) -> usize {
        let tail = length % self.full;
        if tail < self.least {
            length - tail
        } else {
            length
        }
    }
}

/// Runs the stage for the source number `index`. Does not return as long as the source can be
/// used; at the end of a file, and after an error of one, it waits for ever, because the gateways
/// still want announcements.
///
/// # Errors
/// The driver is broken, or another stage has ended.
pub fn run(input: Input, output: Output<'_>, stats: &Stats, index: usize) -> anyhow::Result<()> {
    Acquire::new(input, &output, stats, index)?.run()
}

/// Where a source's bytes go.
pub struct Output<'r> {
    /// The blocks to fill.
    pub ring: &'r Filler<Block>,
    /// How they can be cut.
    pub cut: Cut,
    /// Whether the next stage seals, so that these bytes count as those that leave. Otherwise it
    /// combines, and wants to know when the source fails.
    pub counts: bool,
}

struct Acquire<'s> {
    source: Box<dyn NoiseSource>,
    refine: Refine,
    latched: Arc<Latched>,
    packing: Packing<'s>,
    kinds: Kinds,
    counts: Option<&'s Stats>,
    stats: &'s SourceStats,
    tells_failure: bool,
    /// Whether the stage that combines takes the source for a working one.
    working: bool,
    state: State,
    /// The failure that was told last, if no byte has come since.
    failure: Option<Failure>,
    /// The pause after the next failure. A few bytes do not make it short again, which may come between two failures for ever,
    /// but bytes that are served do.
    pause: Duration,
    /// When the last bytes came.
    heard: Instant,
    next_tick: Instant,
}

impl<'s> Acquire<'s> {
    fn new(
        input: Input,
        output: &Output<'s>,
        stats: &'s Stats,
        index: usize,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let Input {
            source,
            mut refine,
            latched,
        } = input;
        let own = &stats.sources()[index];
        if let Some(alarm) = latched.alarm(&own.identity().name) {
            refine.latch(alarm);
        }
        Ok(Self {
            kinds: Kinds::of(source.identity().kind),
            source,
            refine,
            latched,
            packing: Packing::new(output.ring, output.cut)?,
            counts: output.counts.then_some(stats),
            stats: own,
            tells_failure: !output.counts,
            working: true,
            state: State::Starting,
            failure: None,
            pause: FIRST_PAUSE,
            heard: now,
            next_tick: now,
        })
    }
}

impl Acquire<'_> {
    fn run(mut self) -> anyhow::Result<()> {
        if self.refine.state() == Some(Health::Latched) {
            log::error!(
                "noise source {} is still latched since an earlier run: nothing of it is sent until an operator clears it",
                self.name()
            );
            self.wait_for_clear()?;
        }
        loop {
            self.tick()?;
            match self.read() {
                Ok(wanted_and_got) => self.take(wanted_and_got)?,
                Err(SourceError::Ended) => {
                    log::info!(
                        "the noise source {} is at its end; its bytes are not repeated",
                        self.name()
                    );
                    return self.end(None);
                }
                Err(error @ SourceError::Lost(_)) => {
                    log::error!(
                        "noise source {}: {error}; name another file, or a device",
                        self.name()
                    );
                    return self.end(Some(error.to_string()));
                }
                Err(SourceError::Retry(failure)) => thread::sleep(self.failed(failure)?),
                Err(SourceError::Broken(error)) => {
                    bail!("noise source {}: {error}", self.name())
                }
            }
        }
    }

    fn name(&self) -> &str {
        &self.stats.identity().name
    }

    /// Reads into the room; says how many bytes were wanted and how many came.
    fn read(&mut self) -> Result<(usize, usize), SourceError> {
        let wait = if self.packing.waiting() || !self.refine.tested() {
            LINGER
        } else {
            GATHER
        };
        let room = self.refine.room();
        let wanted = room.len();
        let count = self.source.read(room, Instant::now() + wait)?;
        Ok((wanted, count))
    }

    /// Does what there is to do after a read.
    fn take(&mut self, (wanted, count): (usize, usize)) -> anyhow::Result<()> {
        if count > 0 {
            self.heard();
        }
        let (packing, kinds, counts) = (&mut self.packing, self.kinds, self.counts);
        let mut served = false;
        let alarm = self.refine.advance(count, now_us(), |bytes| {
            served = !bytes.is_empty();
            if let Some(stats) = counts {
                stats.acquired(bytes.len());
            }
            packing.put(kinds, bytes)
        })?;
        if served {
            self.working = true;
            self.pause = FIRST_PAUSE;
            self.be(State::Running);
        }
        if let Some(alarm) = alarm {
            self.alarm(&alarm)?;
        }
        if count < wanted || self.packing.waited() >= LINGER {
            self.packing.flush()?;
        }
        if count == 0 {
            self.source.wait(Instant::now() + SILENCE);
        }
        Ok(())
    }

    /// Bytes came: the source has not failed any more.
    fn heard(&mut self) {
        self.heard = Instant::now();
        if self.failure.take().is_some() {
            log::info!("noise source {}: it gives bytes again", self.name());
        }
        if self.state == State::Failed {
            self.be(State::Starting);
        }
    }

    /// Tells a failure after which the source is tried again, and says after which pause. The same one again, with no byte in
    /// between, is no news.
    fn failed(&mut self, failure: Failure) -> anyhow::Result<Duration> {
        self.packing.flush()?;
        self.refine.restart();
        self.state = State::Failed;
        if self.failure.as_ref() != Some(&failure) {
            log::warn!("noise source {}: {failure}; trying again", self.name());
            self.stats.failed_by(&failure);
            self.failure = Some(failure);
        }
        self.tell_failure()?;
        self.publish();
        let pause = self.pause;
        self.pause = LONGEST_PAUSE.min(pause * 2);
        Ok(pause)
    }

    /// What is to be done once a second.
    fn tick(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if now < self.next_tick {
            return Ok(());
        }
        self.next_tick = now + TICK;
        if let Some(alarm) = self.refine.tick(now_us()) {
            self.alarm(&alarm)?;
        }
        if now - self.heard >= SILENT_TOO_LONG {
            self.tell_failure()?;
        }
        self.publish();
        Ok(())
    }

    /// Tells an alarm and destroys what has not left. A latched source waits for the operator.
    fn alarm(&mut self, alarm: &Alarm) -> anyhow::Result<()> {
        match alarm.tier {
            Tier::Intermittent => log::warn!("{alarm}; start-up tests run again"),
            Tier::Permanent => {
                log::error!("{alarm}; latched: nothing of it is sent until an operator clears it")
            }
        }
        let destroyed = self.packing.destroy();
        self.stats.discarded(destroyed);
        if self.refine.state() != Some(Health::Latched) {
            // Of a source that has failed, silence is no news, and why it has failed stays told.
            if self.state != State::Failed {
                self.be(State::Starting);
            }
            self.publish();
            return Ok(());
        }
        self.latched.add(alarm);
        self.wait_for_clear()
    }

    /// Waits for the operator, then begins anew.
    fn wait_for_clear(&mut self) -> anyhow::Result<()> {
        self.refine.forget();
        self.stats.withdraw_clear();
        self.be(State::Latched);
        self.publish();
        self.tell_failure()?;
        self.stats.wait_for_clear();
        self.latched.remove(self.name());
        self.source.forget();
        self.refine.clear();
        self.be(State::Starting);
        self.publish();
        self.heard = Instant::now();
        log::warn!(
            "source {}: start-up tests run after a latch was cleared",
            self.name()
        );
        Ok(())
    }

    /// The end of a file, or its `error`: what is left goes, if it was tested and makes a packet.
    fn end(mut self, error: Option<String>) -> anyhow::Result<()> {
        let left = self.packing.finish()?;
        self.stats.discarded(left);
        self.refine.forget();
        match error {
            None => self.be(State::Ended),
            Some(error) => {
                self.state = State::Failed;
                self.stats.failed(error);
            }
        }
        self.publish();
        self.tell_failure()?;
        loop {
            thread::park();
        }
    }

    /// Tells the stage that combines, once, that nothing comes for now.
    fn tell_failure(&mut self) -> anyhow::Result<()> {
        if self.tells_failure && self.working {
            self.working = false;
            self.packing.tell_failure()?;
        }
        Ok(())
    }

    fn be(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.stats.is(state);
        }
    }

    fn publish(&self) {
        self.stats.health_is(self.refine.summary());
        self.stats.sensors_are(self.source.sensors());
        self.stats.parts_are(self.source.parts());
    }
}

#[cfg(test)]
mod tests;
