//! The collector: reads a quantum noise source and pushes sealed packets one way over UDP.
//!
//! ```text
//!  source -> acquire ──ring──> seal ──ring──> send ──> UDP, one way
//!            blocks            packets,       at a set pace,
//!                              notices 1/s    errors only counted
//! ```
//!
//! Each stage is a thread; each ring has a fixed number of buffers ([`block`]). When the network's
//! pace is slower than the source, the rings fill and the source is read less often.
//!
//! | Stage | File | Does |
//! |---|---|---|
//! | acquire | [`acquire`], [`source`] | reads the noise source into blocks |
//! | seal | [`seal`] | numbers, encrypts, signs; pure |
//! | send | [`send`], [`pace`] | paces, and moves batches to the socket |
//! | status | [`status`], [`stats`] | writes `status.json` each second |
//!
//! [`pipeline`] joins them. Sessions take their epochs from [`epoch`].
#![forbid(unsafe_code)]

use std::sync::Arc;

use anyhow::{Context, bail};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng_daemon::{DaemonArgs, Ending, Supervisor, protect_memory};

pub mod acquire;
pub mod block;
pub mod config;
pub mod epoch;
pub mod pace;
pub mod pipeline;
pub mod seal;
pub mod send;
pub mod source;
pub mod stats;
pub mod status;

use config::{Config, Driver, Gateway, SourceConfig};
use epoch::EpochFile;
use pace::Pace;
use pipeline::now_us;
use seal::Seal;
use send::Outlet;
use source::{Node, NoiseSource, Simulator};
use stats::Stats;
use status::{Remover, StatusFile};

/// Runs the collector until a signal ends it.
///
/// # Errors
/// The configuration, the noise source or the state directory cannot be used, or a stage ended.
pub fn run(args: &DaemonArgs) -> anyhow::Result<()> {
    args.follow_parent()
        .context("cannot follow the parent process")?;
    protect_memory().context("cannot keep the memory out of core dumps")?;
    let config = Config::load(&args.config)?;
    if args.check {
        println!("{}: the configuration is good", args.config.display());
        return Ok(());
    }
    // Before any other thread, because the threads inherit its signal mask.
    let supervisor = Supervisor::new()?;
    let status = start(&supervisor, config)?;
    let ending = supervisor.wait();
    status.remove();
    match ending {
        Ending::Signal(signal) => log::info!("ending: {signal}"),
        Ending::Thread { .. } => bail!("{ending}"),
    }
    Ok(())
}

/// Starts all stages; gives what removes the status file in the end.
fn start(supervisor: &Supervisor, config: Config) -> anyhow::Result<Remover> {
    let epochs = EpochFile::open(&config.state_directory)?;
    let source = open_source(&config.source)?;
    let names = config.gateways.iter().map(|g| g.name.clone()).collect();
    let addresses: Vec<_> = config.gateways.iter().map(|g| g.address).collect();
    let stats = Arc::new(Stats::new(names));
    let status = StatusFile::new(&config, source.identity().clone(), Arc::clone(&stats));
    let remover = status.remover();
    let pace = config.send.rate.map(|r| Pace::new(r, config.send.burst));
    let outlet = Outlet::open(&addresses, pace).context("cannot open a UDP socket")?;
    let gateways: Vec<_> = config.gateways.iter().map(shown).collect();
    let keys = config.gateways.into_iter().map(|g| g.key).collect();
    let rng = UnwrapErr(SysRng);
    let seal = Seal::start(keys, config.send.cut(), Box::new(epochs), rng, now_us())?;
    log::info!(
        "noise source: {} ({}); gateways: {}",
        source.identity().name,
        source.identity().kind.name(),
        gateways.join(", "),
    );
    pipeline::start(supervisor, source, seal, outlet, &config.send, &stats)?;
    supervisor.spawn("status", move || status.run())?;
    Ok(remover)
}

/// A gateway in the log: with its key id, which the gateway logs too.
fn shown(gateway: &Gateway) -> String {
    let key = gateway.key.key_id();
    format!("{} at {}, key {key}", gateway.name, gateway.address)
}

fn open_source(config: &SourceConfig) -> anyhow::Result<Box<dyn NoiseSource>> {
    let name = &config.name;
    Ok(match &config.driver {
        Driver::Simulator { rate } => Box::new(Simulator::new(name, *rate)?),
        Driver::Node { path } => Box::new(Node::open(name, path).with_context(|| {
            format!(
                "source.path: {} cannot be used; name a device or file that this user may read",
                path.display()
            )
        })?),
    })
}
