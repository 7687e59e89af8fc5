//! The collector: reads a quantum noise source and pushes sealed packets one way over UDP.
//!
//! ```text
//!  source -> acquire ──ring──> seal ──ring──> send ──> UDP, one way
//!            read, test,       packets,       at a set pace,
//!            condition         notices 1/s    errors only counted
//!
//!  several:  source -> acquire ──ring──┬─> combine ──ring──> seal
//!            source -> acquire ──ring──┘   XOR, HKDF
//! ```
//!
//! Each stage is a thread; each ring has a fixed number of buffers ([`block`]). When the network's
//! pace is slower than the source, the rings fill and the source is read less often.
//!
//! | Stage | File | Does |
//! |---|---|---|
//! | acquire | [`acquire`], [`source`] | reads a noise source, tells alarms, waits for the operator |
//! | | [`refine`] | health tests and conditioning; pure |
//! | | [`packing`] | bytes into blocks |
//! | combine | [`combine`] | several sources into one stream |
//! | seal | [`seal`] | numbers, encrypts, signs; pure |
//! | send | [`send`], [`pace`] | paces, and moves batches to the socket |
//! | status | [`status`], [`stats`] | writes `status.json` each second |
//! | | [`latch`] | the operator's word that clears a latch |
//! | (drivers) | [`sysfs`] | what the kernel shows of PCI functions and USB devices |
//! | | [`latched`] | which sources are latched, kept over restarts |
//!
//! [`pipeline`] joins them. Sessions take their epochs from [`epoch`].
//!
//! `unsafe` is denied but in the modules whose `mod` line says why it is needed there.

use std::sync::Arc;

use anyhow::{Context, bail};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng_daemon::{DaemonArgs, Ending, Supervisor, protect_memory};

pub mod acquire;
pub mod block;
pub mod combine;
pub mod config;
pub mod epoch;
pub mod latch;
pub mod latched;
pub mod pace;
pub mod packing;
pub mod pipeline;
pub mod refine;
pub mod seal;
pub mod send;
pub mod source;
pub mod stats;
pub mod status;
pub mod sysfs;

use config::{Config, Driver, Gateway, SourceConfig};
use epoch::EpochFile;
use latched::Latched;
use pace::Pace;
use pipeline::{Input, now_us};
use refine::Refine;
use seal::Seal;
use send::Outlet;
use source::xdma::RealClock;
use source::xdma::vfio::VfioSlot;
use source::{Appliances, NoiseSource, Pcie, Simulator, Xdma, node, usb};
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
    let names = config.gateways.iter().map(|g| g.name.clone()).collect();
    let addresses: Vec<_> = config.gateways.iter().map(|g| g.address).collect();
    let status = StatusFile::new(&config);
    let remover = status.remover();
    let latched = Arc::new(Latched::open(&config.state_directory)?);
    let mut inputs = Vec::new();
    for source in config.sources {
        inputs.push(input(source, &latched)?);
    }
    let identities = inputs.iter().map(|i| i.source.identity().clone());
    let stats = Arc::new(Stats::new(identities.collect(), names));
    let pace = config.send.rate.map(|r| Pace::new(r, config.send.burst));
    let outlet = Outlet::open(&addresses, pace).context("cannot open a UDP socket")?;
    let gateways: Vec<_> = config.gateways.iter().map(shown).collect();
    let keys = config.gateways.into_iter().map(|g| g.key).collect();
    let rng = UnwrapErr(SysRng);
    let seal = Seal::start(keys, config.send.cut(), Box::new(epochs), rng, now_us())?;
    log::info!("gateways: {}", gateways.join(", "));
    let combine = config.combine;
    pipeline::start(
        supervisor,
        inputs,
        combine,
        seal,
        outlet,
        &config.send,
        &stats,
    )?;
    supervisor.spawn("status", move || status.run(&stats))?;
    Ok(remover)
}

/// A gateway in the log: with its key id, which the gateway logs too.
fn shown(gateway: &Gateway) -> String {
    let key = gateway.key.key_id();
    format!("{} at {}, key {key}", gateway.name, gateway.address)
}

/// Opens a noise source and makes its tests and conditioning ready.
fn input(config: SourceConfig, latched: &Arc<Latched>) -> anyhow::Result<Input> {
    let source = open_source(&config)?;
    let kind = source.identity().kind.name();
    log::info!(
        "noise source: {} ({kind}); conditioning: {}, {:.4} bits of min-entropy a bit claimed before, {:.4} after",
        config.name,
        config.conditioning.method().name(),
        config.claim.before,
        config.claim.after,
    );
    for warning in config.warnings() {
        log::warn!("noise source {}: {warning}", config.name);
    }
    let refine = Refine::new(config.health, config.conditioning)?;
    Ok(Input {
        source,
        refine,
        latched: Arc::clone(latched),
    })
}

fn open_source(config: &SourceConfig) -> anyhow::Result<Box<dyn NoiseSource>> {
    let name = &config.name;
    Ok(match &config.driver {
        Driver::Simulator { rate } => Box::new(Simulator::new(name, *rate)?),
        Driver::Usb { serial } => {
            let card = usb::open(name, serial.as_deref());
            Box::new(card.with_context(|| format!("source {name}"))?)
        }
        Driver::Appliances(settings) => Box::new(Appliances::start(name, settings)?),
        Driver::Node { path } => Box::new(node::open(name, path).with_context(|| {
            format!(
                "source.path: {} cannot be used; name a device or file that this user may read",
                path.display()
            )
        })?),
        Driver::Pcie { device } => {
            let card = Pcie::open(name, *device);
            Box::new(card.with_context(|| format!("noise source {name}"))?)
        }
        Driver::Xdma { device, mode } => {
            let slot = Box::new(VfioSlot::new(*device));
            let card = Xdma::open(name, *mode, slot, Box::new(RealClock));
            Box::new(card.with_context(|| format!("noise source {name}"))?)
        }
    })
}
