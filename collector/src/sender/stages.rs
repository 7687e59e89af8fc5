//! What the sender's threads do, besides [`crate::send`].

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use getrandom::rand_core::CryptoRng;
use qrng::packet::Content;
use qrng::report::Kinds;
use zeroize::Zeroizing;

use crate::acquire::Cut;
use crate::block::{Batch, Filler};
use crate::config::SendConfig;
use crate::counters::Counting;
use crate::messages::Answer;
use crate::pipe::{self, Header, PipeError};
use crate::pipeline::now_us;
use crate::seal::{Seal, report_length};

/// How long after an announcement the next one comes at the latest, while bytes do. Reports come each
/// second; this is for when they are stuck behind bytes in a full pipe.
const NOTICE_LATEST: Duration = Duration::from_millis(1500);
/// How often the reader is told the counters.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// What the stage that seals has in hand.
pub struct Sealing<R> {
    seal: Seal<R>,
    cut: Cut,
    /// Random bytes just read; wiped when they have been sealed.
    bytes: Zeroizing<Vec<u8>>,
    /// The last report.
    report: Vec<u8>,
    /// When the next notice is due at the latest; none before the first report.
    next_notice: Option<Instant>,
}

impl<R: CryptoRng> Sealing<R> {
    /// Ready to seal blocks as `send` says.
    pub fn new(seal: Seal<R>, send: &SendConfig) -> Self {
        let cut = send.cut();
        Self {
            seal,
            cut,
            bytes: Zeroizing::new(vec![0; send.block()]),
            report: vec![0; report_length(cut)],
            next_notice: None,
        }
    }

    /// Runs the stage. There is no clock that wakes it: a report comes each second whether bytes do
    /// or not, and brings the announcements with it.
    ///
    /// # Errors
    /// The reader has ended, or said what it must not.
    pub fn run(
        &mut self,
        mut input: impl Read,
        batches: &Filler<Batch>,
        counting: &Counting,
    ) -> anyhow::Result<()> {
        loop {
            let header = pipe::next(&mut input)?.context("the reader has ended")?;
            match Content::from_byte(header.kind) {
                Some(Content::Bytes(kinds)) => {
                    let room = self.room(header)?;
                    pipe::body(&mut input, room)?;
                    self.block(kinds, header.length, batches, counting)?;
                }
                Some(Content::Report) => {
                    if header.length != self.report.len() {
                        return Err(header.wrong_length().into());
                    }
                    pipe::body(&mut input, &mut self.report)?;
                    self.notify(batches, counting)?;
                }
                None => return Err(PipeError::Kind(header.kind).into()),
            }
        }
    }

    /// Where the bytes of a frame go, if it can be: sessions are announced before, and the bytes make
    /// whole packets.
    fn room(&mut self, header: Header) -> Result<&mut [u8], PipeError> {
        if self.next_notice.is_none() {
            return Err(PipeError::Kind(header.kind));
        }
        let sealable = header.length > 0 && self.cut.sealable(header.length) == header.length;
        let room = self.bytes.get_mut(..header.length);
        room.filter(|_| sealable)
            .ok_or_else(|| header.wrong_length())
    }

    /// Seals the first `length` bytes of those in hand.
    fn block(
        &mut self,
        kinds: Kinds,
        length: usize,
        batches: &Filler<Batch>,
        counting: &Counting,
    ) -> anyhow::Result<()> {
        let overdue = self.next_notice.is_some_and(|due| Instant::now() >= due);
        if overdue || self.seal.stale(now_us()) {
            self.notify(batches, counting)?;
        }
        let bytes = &mut self.bytes[..length];
        let mut batch = empty(batches)?;
        self.seal.block(now_us(), kinds, bytes, &mut batch)?;
        bytes.fill(0);
        counting.sealed(batch.gateway(), batch.count());
        pass_on(batches, batch)
    }

    /// Sends every gateway an announcement and the last report.
    fn notify(&mut self, batches: &Filler<Batch>, counting: &Counting) -> anyhow::Result<()> {
        self.next_notice = Some(Instant::now() + NOTICE_LATEST);
        for gateway in 0..self.seal.gateways() {
            let mut batch = empty(batches)?;
            self.seal.announce(gateway, now_us(), &mut batch)?;
            let (epoch, key) = (self.seal.epoch(gateway), self.seal.key(gateway));
            counting.announced(gateway, batch.count(), epoch, key);
            pass_on(batches, batch)?;
            let mut batch = empty(batches)?;
            self.seal
                .report(gateway, now_us(), &self.report, &mut batch)?;
            counting.reported(gateway);
            pass_on(batches, batch)?;
        }
        Ok(())
    }
}

fn empty(batches: &Filler<Batch>) -> anyhow::Result<Batch> {
    batches.empty.recv().context("the send stage has ended")
}

fn pass_on(batches: &Filler<Batch>, batch: Batch) -> anyhow::Result<()> {
    // Not with `context`, which would carry the batch into the error.
    if batches.full.send(batch).is_err() {
        bail!("the send stage has ended");
    }
    Ok(())
}

/// Tells the reader the counters, once a second.
///
/// # Errors
/// The reader has ended.
pub fn count(mut output: File, counting: &Counting) -> anyhow::Result<()> {
    loop {
        let counters = Answer::Counters(counting.now());
        pipe::send_message(&mut output, &counters).context("the reader has ended")?;
        thread::sleep(COUNT_EVERY);
    }
}

#[cfg(test)]
mod tests;
