//! The pipeline: joins the stages, each a thread, with rings of buffers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use crossbeam::channel::RecvTimeoutError;
use getrandom::rand_core::CryptoRng;
use qrng::health::BLOCK;
use qrng::report::Report;
use qrng_daemon::Supervisor;

use crate::acquire::{self, Cut, Output};
use crate::block::{Batch, Block, Filler, User, ring};
use crate::combine;
use crate::config::{CombineConfig, SendConfig};
use crate::latched::Latched;
use crate::refine::Refine;
use crate::seal::{Seal, longest_notice};
use crate::send::Outlet;
use crate::source::NoiseSource;
use crate::stats::{SourceStats, Stats};

/// Buffers between two stages: enough to keep both busy, few enough for bytes to stay fresh.
const BUFFERS: usize = 8;
/// How often each gateway gets an announcement and a report.
const NOTICE_EVERY: Duration = Duration::from_secs(1);

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Random bytes for combining can be handed on in any number.
const ANY: Cut = Cut { full: 1, least: 0 };

/// A noise source with what is to be done to its bytes.
pub struct Input {
    /// The source.
    pub source: Box<dyn NoiseSource>,
    /// Its tests and conditioning.
    pub refine: Refine,
    /// Where its latch is kept.
    pub latched: Arc<Latched>,
}

/// Starts the threads `acquire` (and `combine`, if there are several sources), `seal` and `send`.
///
/// # Errors
/// The kernel refuses a thread.
pub fn start<R: CryptoRng + Send + 'static>(
    supervisor: &Supervisor,
    inputs: Vec<Input>,
    combine: Option<CombineConfig>,
    seal: Seal<R>,
    outlet: Outlet,
    send: &SendConfig,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let cut = send.cut();
    let block = send.block();
    let batch = send.batch().max(longest_notice(cut));
    // Sources that are interleaved hold a buffer each.
    let (to_seal, from_acquire) = ring(BUFFERS + inputs.len(), || Block::new(block));
    let (to_send, from_seal) = ring(BUFFERS, || Batch::new(batch));
    let own = Arc::clone(stats);
    supervisor.spawn("send", move || outlet.run(&from_seal, &own))?;
    let own = Arc::clone(stats);
    supervisor.spawn("seal", move || {
        run_seal(seal, &from_acquire, &to_send, &own)
    })?;
    match combine {
        None => {
            let input = inputs.into_iter().next();
            let input = input.context("there is no noise source")?;
            start_acquire(supervisor, "acquire", input, 0, to_seal, Some(cut), stats)
        }
        Some(config) => start_combined(supervisor, inputs, config, to_seal, cut, stats),
    }
}

/// Starts a thread that acquires. Bytes cut as `cut` says go to be sealed, others to be combined.
fn start_acquire(
    supervisor: &Supervisor,
    name: &str,
    input: Input,
    index: usize,
    ring: Filler<Block>,
    cut: Option<Cut>,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let own = Arc::clone(stats);
    supervisor.spawn(name, move || {
        let output = Output {
            ring: &ring,
            cut: cut.unwrap_or(ANY),
            counts: cut.is_some(),
        };
        acquire::run(input, output, &own, index)
    })?;
    Ok(())
}

fn start_combined(
    supervisor: &Supervisor,
    inputs: Vec<Input>,
    config: CombineConfig,
    to_seal: Filler<Block>,
    cut: Cut,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let mut rings = Vec::new();
    for (index, input) in inputs.into_iter().enumerate() {
        let (to_combine, from_acquire) = ring(BUFFERS, || Block::new(BLOCK));
        let name = format!("acquire-{}", index + 1);
        start_acquire(supervisor, &name, input, index, to_combine, None, stats)?;
        rings.push(from_acquire);
    }
    let own = Arc::clone(stats);
    supervisor.spawn("combine", move || {
        combine::run(config, rings, BLOCK, &to_seal, cut, &own)
    })?;
    Ok(())
}

/// Runs the seal stage: blocks as they come, notices each second whether any come or not.
fn run_seal<R: CryptoRng>(
    mut seal: Seal<R>,
    blocks: &User<Block>,
    batches: &Filler<Batch>,
    stats: &Stats,
) -> anyhow::Result<()> {
    let mut next_notice = Instant::now();
    loop {
        if seal.spent() || Instant::now() >= next_notice {
            notify(&mut seal, batches, stats)?;
            next_notice = Instant::now() + NOTICE_EVERY;
        }
        let mut block = match blocks.full.recv_deadline(next_notice) {
            Ok(block) => block,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => bail!("the acquire stage has ended"),
        };
        let mut batch = empty(batches)?;
        seal.block(now_us(), block.kinds, block.filled(), &mut batch)?;
        block.wipe();
        blocks
            .empty
            .send(block)
            .context("the acquire stage has ended")?;
        stats.sealed(batch.gateway(), batch.count());
        pass_on(batches, batch)?;
    }
}

/// Sends every gateway an announcement and a report.
fn notify<R: CryptoRng>(
    seal: &mut Seal<R>,
    batches: &Filler<Batch>,
    stats: &Stats,
) -> anyhow::Result<()> {
    let report = report(stats);
    for gateway in 0..seal.gateways() {
        let mut batch = empty(batches)?;
        seal.announce(gateway, now_us(), &mut batch)?;
        stats.announced(gateway, seal.epoch(gateway));
        pass_on(batches, batch)?;
        let mut batch = empty(batches)?;
        seal.report(gateway, now_us(), &report, &mut batch)?;
        stats.reported(gateway);
        pass_on(batches, batch)?;
    }
    Ok(())
}

/// What the gateways are told about this collector.
fn report(stats: &Stats) -> Report {
    Report {
        collector: env!("CARGO_PKG_VERSION").to_owned(),
        sources: stats.sources().iter().map(SourceStats::report).collect(),
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
