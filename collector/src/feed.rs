//! Feed: the last stage of the reader. Writes tested bytes and, once a second, the report about the
//! sources into the pipe of the sender.
//!
//! While the pipe is full this waits, the ring before it fills, and the sources are read less often.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crossbeam::channel::RecvTimeoutError;
use qrng::packet::Content;
use qrng::report::Report;

use crate::acquire::Cut;
use crate::block::{Block, User};
use crate::pipe;
use crate::seal::report_length;
use crate::stats::{SourceStats, Stats};

/// How often the gateways are told about the sources.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long the end of the sender may take to be told by who watches it, and knows why.
const OBITUARY: Duration = Duration::from_secs(10);

/// Runs the stage.
///
/// # Errors
/// The sender or another stage has ended.
pub fn run(
    mut sender: impl Write,
    blocks: &User<Block>,
    cut: Cut,
    stats: &Stats,
) -> anyhow::Result<()> {
    let mut next_report = Instant::now();
    loop {
        if Instant::now() >= next_report {
            next_report = Instant::now() + REPORT_EVERY;
            let bytes = report(stats, cut)?;
            written(pipe::send(&mut sender, Content::Report.to_byte(), &bytes))?;
        }
        let mut block = match blocks.full.recv_deadline(next_report) {
            Ok(block) => block,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => bail!("the acquire stage has ended"),
        };
        // The few bytes of a block that make no packet are no frame.
        if !block.filled().is_empty() {
            let content = Content::Bytes(block.kinds);
            written(pipe::send(&mut sender, content.to_byte(), block.filled()))?;
        }
        block.wipe();
        blocks
            .empty
            .send(block)
            .context("the acquire stage has ended")?;
    }
}

/// What became of a write: if the sender has ended, the thread that watches it says why.
fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            thread::sleep(OBITUARY);
            bail!("the sender takes no more bytes")
        }
        other => other.context("the pipe to the sender"),
    }
}

/// What the gateways are told about this collector: what follows the content byte.
fn report(stats: &Stats, cut: Cut) -> anyhow::Result<Vec<u8>> {
    let report = Report {
        collector: env!("CARGO_PKG_VERSION").to_owned(),
        sources: stats.sources().iter().map(SourceStats::report).collect(),
    };
    let mut bytes = vec![0; report_length(cut)];
    report.encode_fitting(&mut bytes).context("the report")?;
    Ok(bytes)
}
