//! Packing: bytes of any length into blocks for the next stage.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use qrng::report::Kinds;
use zeroize::Zeroizing;

use crate::acquire::Cut;
use crate::block::{Block, Filler};

/// Fills blocks and hands them on when they are full, or when told to.
pub struct Packing<'r> {
    ring: &'r Filler<Block>,
    block: Block,
    cut: Cut,
    /// Since when bytes wait in the block.
    since: Option<Instant>,
}

impl<'r> Packing<'r> {
    /// Takes its first block from `ring`. Bytes handed on can be cut as `cut` says.
    ///
    /// # Errors
    /// The next stage has ended.
    pub fn new(ring: &'r Filler<Block>, cut: Cut) -> anyhow::Result<Self> {
        let block = ring.empty.recv().context("the next stage has ended")?;
        Ok(Self {
            ring,
            block,
            cut,
            since: None,
        })
    }

    /// Appends bytes that come from sources of these kinds; hands full blocks on.
    ///
    /// # Errors
    /// The next stage has ended.
    pub fn put(&mut self, kinds: Kinds, mut bytes: &[u8]) -> anyhow::Result<()> {
        if self.block.kinds != kinds && !self.block.filled().is_empty() {
            // The few bytes that make no packet are lost with the change.
            self.hand_on()?;
        }
        while !bytes.is_empty() {
            self.block.kinds = kinds;
            self.since.get_or_insert_with(Instant::now);
            let room = self.block.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.block.advance(now.len());
            bytes = later;
            if self.block.room().is_empty() {
                self.hand_on()?;
            }
        }
        Ok(())
    }

    /// Whether bytes wait that could be handed on.
    pub fn waiting(&self) -> bool {
        self.cut.sealable(self.block.filled().len()) > 0
    }

    /// How long bytes have waited.
    pub fn waited(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Hands on what waits and can be cut into packets. The few bytes that are left, too few for a
    /// packet, wait for more.
    ///
    /// # Errors
    /// The next stage has ended.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        if !self.waiting() {
            return Ok(());
        }
        let filled = self.block.filled();
        let kinds = self.block.kinds;
        let rest = Zeroizing::new(filled[self.cut.sealable(filled.len())..].to_vec());
        self.hand_on()?;
        self.put(kinds, &rest)
    }

    /// Hands on what can be cut into packets, and wipes the rest. Says how many bytes that were.
    ///
    /// # Errors
    /// The next stage has ended.
    pub fn finish(&mut self) -> anyhow::Result<usize> {
        self.flush()?;
        Ok(self.destroy())
    }

    /// Wipes what waits and says how many bytes that were.
    pub fn destroy(&mut self) -> usize {
        let length = self.block.filled().len();
        self.block.wipe();
        self.since = None;
        length
    }

    /// Hands on an empty block: word that the source has failed.
    ///
    /// # Errors
    /// The next stage has ended.
    pub fn tell_failure(&mut self) -> anyhow::Result<()> {
        self.block.wipe();
        self.hand_on()
    }

    fn hand_on(&mut self) -> anyhow::Result<()> {
        let sealable = self.cut.sealable(self.block.filled().len());
        self.block.truncate(sealable);
        self.since = None;
        let block = std::mem::replace(&mut self.block, Block::new(0));
        // Not with `context`, which would carry the block into the error.
        if self.ring.full.send(block).is_err() {
            bail!("the next stage has ended");
        }
        self.block = self.ring.empty.recv().context("the next stage has ended")?;
        Ok(())
    }
}
