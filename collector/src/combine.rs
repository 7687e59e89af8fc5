//! Combine: blocks of several sources -> one stream.
//!
//! ```text
//!  acquire-1 ──ring──> stock ─┐
//!  acquire-2 ──ring──> stock ─┴─ as many bytes of each -> XOR or HKDF -> Packing -> seal
//! ```
//!
//! The slowest source sets the pace: the others' rings fill, and they are read less often; not so if they are interleaved,
//! see [`interleave`]. A source that fails says so in its ring; what is left of its bytes is wiped, and the configuration says
//! whether the others go on. Either way it is logged and shown.

use anyhow::{Context, bail};
use crossbeam::channel::{RecvTimeoutError, Select, TryRecvError};
use qrng::condition::combine::{Combination, Combining, Notice};
use zeroize::Zeroizing;

use crate::acquire::{Cut, LINGER};
use crate::block::{Block, Filler, User};
use crate::config::CombineConfig;
use crate::packing::Packing;
use crate::stats::{Combined, Stats};

mod interleave;

use interleave::Interleave;

/// The most bytes of each source combined at once.
const MOST: usize = 64 * 1024;

/// One source's ring, and its bytes that wait for the others'.
struct Stock {
    ring: User<Block>,
    bytes: Zeroizing<Vec<u8>>,
    working: bool,
}

impl Stock {
    /// Takes what the ring gave: more bytes, or word of a failure (false).
    fn take(&mut self, mut block: Block) -> anyhow::Result<bool> {
        let comes = !block.filled().is_empty();
        if comes {
            self.bytes.extend_from_slice(block.filled());
        } else {
            qrng::wipe(&mut self.bytes);
            self.bytes.clear();
        }
        block.wipe();
        let given = self.ring.empty.send(block);
        given.ok().context("the acquire stage has ended")?;
        Ok(comes)
    }

    /// Wipes the first `count` bytes.
    fn drop_front(&mut self, count: usize) {
        let rest = self.bytes.len() - count;
        self.bytes.copy_within(count.., 0);
        qrng::wipe(&mut self.bytes[rest..]);
        self.bytes.truncate(rest);
    }
}

struct Combine<'s> {
    combination: Combination,
    stocks: Vec<Stock>,
    /// Bytes of each source that give one output.
    unit: usize,
    stopped: bool,
    packing: Packing<'s>,
    out: Zeroizing<Vec<u8>>,
    stats: &'s Stats,
}

/// Runs the stage. Does not return as long as the other stages live. Blocks of the sources hold at
/// most `block` bytes.
///
/// # Errors
/// Another stage has ended.
pub fn run(
    config: CombineConfig,
    rings: Vec<User<Block>>,
    block: usize,
    blocks: &Filler<Block>,
    cut: Cut,
    stats: &Stats,
) -> anyhow::Result<()> {
    let CombineConfig {
        combination, unit, ..
    } = config;
    stats.combined_is(Combined {
        working: rings.len(),
        stopped: None,
    });
    if combination.combining() == Combining::Interleave {
        return Interleave::new(combination, rings, blocks, cut, stats)?.run();
    }
    let stocks = rings.into_iter().map(|ring| Stock {
        ring,
        // Never grows, so that no copy stays behind in freed memory.
        bytes: Zeroizing::new(Vec::with_capacity(unit + block)),
        working: true,
    });
    let combine = Combine {
        combination,
        stocks: stocks.collect(),
        unit,
        stopped: false,
        packing: Packing::new(blocks, cut)?,
        out: Zeroizing::new(Vec::with_capacity(MOST.max(unit))),
        stats,
    };
    combine.run()
}

impl Combine<'_> {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.look_for_returns()?;
            if self.stopped {
                self.packing.flush()?;
                self.wait_for_return();
            } else if let Some(short) = self.short() {
                self.fetch(short)?;
            } else {
                self.round()?;
            }
        }
    }

    /// A working source that has too few bytes.
    fn short(&self) -> Option<usize> {
        let stocks = self.stocks.iter();
        stocks
            .enumerate()
            .find(|(_, s)| s.working && s.bytes.len() < self.unit)
            .map(|(index, _)| index)
    }

    /// Waits for a working source's next block.
    fn fetch(&mut self, index: usize) -> anyhow::Result<()> {
        let stock = &mut self.stocks[index];
        let block = if self.packing.waiting() {
            match stock.ring.full.recv_timeout(LINGER) {
                Ok(block) => block,
                Err(RecvTimeoutError::Timeout) => return self.packing.flush(),
                Err(RecvTimeoutError::Disconnected) => bail!("an acquire stage has ended"),
            }
        } else {
            let received = stock.ring.full.recv();
            received.context("an acquire stage has ended")?
        };
        self.took(index, block)
    }

    /// Takes blocks of failed sources, if they came back.
    fn look_for_returns(&mut self) -> anyhow::Result<()> {
        for index in 0..self.stocks.len() {
            while !self.stocks[index].working {
                match self.stocks[index].ring.full.try_recv() {
                    Ok(block) => self.took(index, block)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => bail!("an acquire stage has ended"),
                }
            }
        }
        Ok(())
    }

    /// Waits until a failed source has something to say.
    fn wait_for_return(&self) {
        let mut select = Select::new();
        for stock in self.stocks.iter().filter(|s| !s.working) {
            select.recv(&stock.ring.full);
        }
        select.ready();
    }

    fn took(&mut self, index: usize, block: Block) -> anyhow::Result<()> {
        let stock = &mut self.stocks[index];
        let works = stock.take(block)?;
        stock.working = works;
        let notice = if works {
            self.combination.is_back(index)
        } else {
            self.combination.failed(index)
        };
        if let Some(notice) = notice {
            self.stopped = heed(&notice, self.stats);
        }
        Ok(())
    }

    /// Combines as much as every working source has.
    fn round(&mut self) -> anyhow::Result<()> {
        let working = self.stocks.iter().filter(|s| s.working);
        let least = working.map(|s| s.bytes.len()).min().unwrap_or(0);
        let most = MOST.max(self.unit);
        let count = least.min(most) / self.unit * self.unit;
        let blocks: Vec<_> = self
            .stocks
            .iter()
            .map(|s| s.bytes.get(..count).filter(|_| s.working))
            .collect();
        let kinds = self.combination.combine(&blocks, &mut self.out)?;
        for stock in self.stocks.iter_mut().filter(|s| s.working) {
            stock.drop_front(count);
        }
        self.stats.acquired(self.out.len());
        let done = self.packing.put(kinds, &self.out);
        qrng::wipe(&mut self.out);
        self.out.clear();
        done
    }
}

/// Tells what a failure or a return changes. True: nothing is combined now.
fn heed(notice: &Notice, stats: &Stats) -> bool {
    log::warn!("combination: {notice}");
    stats.combined_is(Combined {
        working: notice.working,
        stopped: notice.stopped.as_ref().map(ToString::to_string),
    });
    notice.stopped.is_some()
}

#[cfg(test)]
mod tests;
