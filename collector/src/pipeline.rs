//! The pipeline: joins the stages, each a thread, with rings of buffers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use crossbeam::channel::RecvTimeoutError;
use getrandom::rand_core::CryptoRng;
use qrng::report::{Report, SourceReport};
use qrng_daemon::Supervisor;

use crate::acquire;
use crate::block::{Batch, Block, Filler, User, ring};
use crate::config::SendConfig;
use crate::seal::{Seal, longest_notice};
use crate::send::Outlet;
use crate::source::{Identity, NoiseSource};
use crate::stats::Stats;

/// Buffers between two stages: enough to keep both busy, few enough for bytes to stay fresh.
const BUFFERS: usize = 8;
/// How often each gateway gets an announcement and a report.
const NOTICE_EVERY: Duration = Duration::from_secs(1);

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Starts the threads `acquire`, `seal` and `send`.
///
/// # Errors
/// The kernel refuses a thread.
pub fn start<R: CryptoRng + Send + 'static>(
    supervisor: &Supervisor,
    source: Box<dyn NoiseSource>,
    seal: Seal<R>,
    outlet: Outlet,
    send: &SendConfig,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let cut = send.cut();
    let block = send.block();
    let batch = send.batch().max(longest_notice(cut));
    let (to_seal, from_acquire) = ring(BUFFERS, || Block::new(block));
    let (to_send, from_seal) = ring(BUFFERS, || Batch::new(batch));
    let identity = source.identity().clone();
    let own = Arc::clone(stats);
    supervisor.spawn("send", move || outlet.run(&from_seal, &own))?;
    let own = Arc::clone(stats);
    supervisor.spawn("seal", move || {
        run_seal(seal, &from_acquire, &to_send, &identity, &own)
    })?;
    let own = Arc::clone(stats);
    supervisor.spawn("acquire", move || acquire::run(source, &to_seal, cut, &own))?;
    Ok(())
}

/// Runs the seal stage: blocks as they come, notices each second whether any come or not.
fn run_seal<R: CryptoRng>(
    mut seal: Seal<R>,
    blocks: &User<Block>,
    batches: &Filler<Batch>,
    identity: &Identity,
    stats: &Stats,
) -> anyhow::Result<()> {
    let mut next_notice = Instant::now();
    loop {
        if seal.spent() || Instant::now() >= next_notice {
            notify(&mut seal, batches, identity, stats)?;
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
    identity: &Identity,
    stats: &Stats,
) -> anyhow::Result<()> {
    let report = report(identity, stats);
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
fn report(identity: &Identity, stats: &Stats) -> Report {
    Report {
        collector: env!("CARGO_PKG_VERSION").to_owned(),
        sources: vec![SourceReport {
            kind: identity.kind,
            name: identity.name.clone(),
            serial: identity.serial.clone(),
            state: stats.source().state,
        }],
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
