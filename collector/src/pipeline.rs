//! The reader's pipeline: joins the stages, each a thread, with rings of buffers.

use std::process::ChildStdin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use qrng::health::BLOCK;
use qrng_daemon::Supervisor;

use crate::acquire::{self, Cut, Output};
use crate::block::{Block, Filler, ring};
use crate::config::{CombineConfig, SendConfig};
use crate::latched::Latched;
use crate::refine::Refine;
use crate::source::NoiseSource;
use crate::stats::Stats;
use crate::{combine, feed};

/// Buffers between two stages: enough to keep both busy, few enough for bytes to stay fresh.
pub const BUFFERS: usize = 8;

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

/// Starts the threads `acquire` (and `combine`, if there are several sources) and `feed`, which writes
/// to the sender's pipe.
///
/// # Errors
/// The kernel refuses a thread.
pub fn start(
    supervisor: &Supervisor,
    inputs: Vec<Input>,
    combine: Option<CombineConfig>,
    sender: ChildStdin,
    send: &SendConfig,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let cut = send.cut();
    let block = send.block();
    // Sources that are interleaved hold a buffer each.
    let (to_seal, from_acquire) = ring(BUFFERS + inputs.len(), || Block::new(block));
    let own = Arc::clone(stats);
    supervisor.spawn("feed", move || feed::run(sender, &from_acquire, cut, &own))?;
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
