//! Interleave: blocks of several sources into one stream, one after the other as they come.
//!
//! ```text
//!  acquire-1 ──ring──┬─ whichever has a block ── Packing of its source ── seal
//!  acquire-2 ──ring──┘
//! ```
//!
//! Nothing is computed: rates add up, and no source waits for another. Each source's bytes are packed by themselves, so that
//! every packet names the one kind that its bytes come from, and none is cut short because another source had bytes too.

use anyhow::{Context, bail};
use crossbeam::channel::{Select, TryRecvError};
use qrng::condition::combine::Combination;

use super::heed;
use crate::acquire::{Cut, LINGER};
use crate::block::{Block, Filler, User};
use crate::packing::Packing;
use crate::stats::Stats;

/// One source's ring, and its bytes on their way out.
struct Lane<'s> {
    ring: User<Block>,
    packing: Packing<'s>,
    working: bool,
}

/// The stage's state.
pub(super) struct Interleave<'s> {
    combination: Combination,
    lanes: Vec<Lane<'s>>,
    stopped: bool,
    stats: &'s Stats,
}

impl<'s> Interleave<'s> {
    /// Takes a block for each source from `blocks`, of which there must be more than sources.
    ///
    /// # Errors
    /// The next stage has ended.
    pub(super) fn new(
        combination: Combination,
        rings: Vec<User<Block>>,
        blocks: &'s Filler<Block>,
        cut: Cut,
        stats: &'s Stats,
    ) -> anyhow::Result<Self> {
        let mut lanes = Vec::new();
        for ring in rings {
            lanes.push(Lane {
                ring,
                packing: Packing::new(blocks, cut)?,
                working: true,
            });
        }
        Ok(Self {
            combination,
            lanes,
            stopped: false,
            stats,
        })
    }

    /// Runs the stage. Does not return as long as the other stages live.
    ///
    /// # Errors
    /// Another stage has ended.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let index = self.next();
            self.flush()?;
            let Some(index) = index else {
                continue;
            };
            match self.lanes[index].ring.full.try_recv() {
                Ok(block) => self.took(index, block)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => bail!("an acquire stage has ended"),
            }
        }
    }

    /// A source that has something to say; none if bytes have waited long enough before one had. While nothing may come
    /// out, only those that failed are asked: the others' rings fill, and they are read less often.
    fn next(&self) -> Option<usize> {
        let asked = |lane: &&Lane| !(self.stopped && lane.working);
        let mut select = Select::new();
        let mut indices = Vec::with_capacity(self.lanes.len());
        for (index, lane) in self.lanes.iter().enumerate() {
            if asked(&lane) {
                select.recv(&lane.ring.full);
                indices.push(index);
            }
        }
        let ready = if self.lanes.iter().any(|lane| lane.packing.waiting()) {
            select.ready_timeout(LINGER).ok()
        } else {
            Some(select.ready())
        };
        ready.map(|ready| indices[ready])
    }

    /// Hands on what has waited long enough.
    fn flush(&mut self) -> anyhow::Result<()> {
        for lane in &mut self.lanes {
            if lane.packing.waited() >= LINGER {
                lane.packing.flush()?;
            }
        }
        Ok(())
    }

    /// Passes on a block, or takes word of a failure.
    fn took(&mut self, index: usize, mut block: Block) -> anyhow::Result<()> {
        let works = !block.filled().is_empty();
        let lane = &mut self.lanes[index];
        lane.working = works;
        let notice = if works {
            self.combination.is_back(index)
        } else {
            // Good bytes, from before the failure.
            lane.packing.flush()?;
            self.combination.failed(index)
        };
        if let Some(notice) = notice {
            self.stopped = heed(&notice, self.stats);
        }
        let mut done = Ok(());
        if works && !self.stopped {
            let kinds = self.combination.pass(index)?;
            self.stats.acquired(block.filled().len());
            done = lane.packing.put(kinds, block.filled());
        }
        block.wipe();
        let given = lane.ring.empty.send(block);
        given.ok().context("the acquire stage has ended")?;
        done
    }
}

#[cfg(test)]
mod tests;
