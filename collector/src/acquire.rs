//! Acquire: noise source -> blocks.
//!
//! ```text
//!  NoiseSource::read -> [health tests] -> Block -> seal
//! ```
//!
//! Health tests take their place in `fill`, between the read and the block: bytes that fail
//! them never enter a block.
//!
//! A source that fails is tried again with growing pauses; nothing else takes its place. While no
//! block is empty the source is not read.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use qrng::report::{Kinds, State};

use crate::block::{Block, Filler};
use crate::source::{NoiseSource, SourceError};
use crate::stats::Stats;

/// How long bytes wait at most for a block to fill.
pub const LINGER: Duration = Duration::from_millis(20);

/// How long a silent source is waited for at a time.
const SILENCE: Duration = Duration::from_secs(1);

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

/// Runs the stage. Does not return as long as the source can be used; at the end of a file, and
/// after an error of one, it waits for ever, because the gateways still want announcements.
///
/// # Errors
/// The driver is broken, or another stage has ended.
pub fn run(
    mut source: Box<dyn NoiseSource>,
    blocks: &Filler<Block>,
    cut: Cut,
    stats: &Stats,
) -> anyhow::Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut block = blocks.empty.recv().context("the seal stage has ended")?;
    loop {
        block.kinds = Kinds::of(source.identity().kind);
        let outcome = fill(source.as_mut(), &mut block, cut);
        let last = matches!(outcome, Err(SourceError::Ended | SourceError::Lost(_)));
        if outcome.is_ok() || last {
            let left = block.filled().len() - cut.sealable(block.filled().len());
            block.truncate(cut.sealable(block.filled().len()));
            stats.discarded(left);
            if !block.filled().is_empty() {
                pause = FIRST_PAUSE;
                stats.acquired(block.filled().len());
                stats.source_is(State::Running);
                blocks
                    .full
                    .send(block)
                    .context("the seal stage has ended")?;
                block = blocks.empty.recv().context("the seal stage has ended")?;
            }
        }
        match outcome {
            Ok(()) => {}
            Err(SourceError::Ended) => {
                log::info!("the noise source is at its end; its bytes are not repeated");
                stats.source_is(State::Ended);
                wait_for_ever();
            }
            Err(error @ SourceError::Lost(_)) => {
                log::error!("noise source: {error}; name another file, or a device");
                stats.source_failed(error.to_string());
                wait_for_ever();
            }
            Err(SourceError::Retry(error)) => {
                log::warn!("noise source: {error}; next try in {pause:?}");
                stats.source_failed(error);
                thread::sleep(pause);
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            Err(SourceError::Broken(error)) => bail!("noise source: {error}"),
        }
    }
}

fn wait_for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// Reads until `block` is full or its first bytes have waited for [`LINGER`].
///
/// On success all of it can be sealed. On an error the bytes that came before it are in it.
fn fill(source: &mut dyn NoiseSource, block: &mut Block, cut: Cut) -> Result<(), SourceError> {
    loop {
        let room = block.room();
        if room.is_empty() {
            return Ok(());
        }
        let wanted = room.len();
        let count = source.read(room, Instant::now() + LINGER)?;
        block.advance(count);
        let length = block.filled().len();
        if count < wanted && length > 0 && cut.sealable(length) == length {
            return Ok(());
        }
        if count == 0 {
            source.wait(Instant::now() + SILENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use qrng::report::Kind;

    use super::*;
    use crate::block::{User, ring};
    use crate::source::Identity;

    const CUT: Cut = Cut { full: 10, least: 4 };

    /// Answers reads as told; broken when it has no more answers.
    struct Script(Identity, VecDeque<Result<&'static [u8], SourceError>>);

    impl Script {
        fn new(answers: Vec<Result<&'static [u8], SourceError>>) -> Self {
            let identity = Identity {
                kind: Kind::Simulator,
                name: "script".into(),
                serial: None,
            };
            Self(identity, answers.into())
        }
    }

    impl NoiseSource for Script {
        fn identity(&self) -> &Identity {
            &self.0
        }

        fn read(&mut self, buffer: &mut [u8], _: Instant) -> Result<usize, SourceError> {
            let bytes = self
                .1
                .pop_front()
                .unwrap_or(Err(SourceError::Broken("script is over".into())))?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }

        fn wait(&mut self, _: Instant) {}
    }

    /// The blocks that come of `answers`, and how the stage ended.
    fn blocks(answers: Vec<Result<&'static [u8], SourceError>>) -> (Vec<Vec<u8>>, String) {
        let (filler, user): (_, User<Block>) = ring(8, || Block::new(20));
        let stats = Stats::default();
        let end = run(Box::new(Script::new(answers)), &filler, CUT, &stats).unwrap_err();
        let blocks = user.full.try_iter().map(|b| b.filled().to_vec());
        (blocks.collect(), end.to_string())
    }

    #[test]
    fn small_tails_wait_for_more() {
        assert_eq!(CUT.sealable(0), 0);
        assert_eq!(CUT.sealable(3), 0);
        assert_eq!(CUT.sealable(4), 4);
        assert_eq!(CUT.sealable(10), 10);
        assert_eq!(CUT.sealable(13), 10);
        assert_eq!(CUT.sealable(14), 14);
    }

    #[test]
    fn partial_reads_make_a_block_of_what_came_in_time() {
        let (blocks, end) = blocks(vec![
            Ok(b"abc"),
            Ok(b"d"),
            Ok(b""),
            Ok(b"0123456789012"),
            Ok(b"xyz1234"),
        ]);
        assert_eq!(blocks, [&b"abcd"[..], b"0123456789012xyz1234"]);
        assert!(end.contains("script is over"), "{end}");
    }

    #[test]
    fn a_failure_keeps_the_bytes_before_it_and_is_tried_again() {
        let (blocks, _) = blocks(vec![
            Ok(b"abc"),
            Err(SourceError::Retry("EIO".into())),
            Ok(b"de"),
        ]);
        assert_eq!(blocks, [b"abcde"]);
    }
}
