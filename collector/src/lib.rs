//! The collector: reads a quantum noise source and sends sealed packets one way over UDP, or pushes them by HTTPS where it must.
//!
//! ```text
//!  reader                                        │ sender
//!  source -> acquire ──ring──> feed ─────────── pipe ──> seal ──ring──> send -> UDP, one way
//!            read, test,       frames, and a     │       packets,       at a set pace,
//!            condition         report 1/s        │       notices 1/s    errors only counted
//!                                                │
//!  several:  source -> acquire ──ring──┬─> combine ──ring──> feed
//!            source -> acquire ──ring──┘   XOR, HKDF
//! ```
//!
//! Two processes: the reader has the devices and never a key or a socket to a gateway; the sender has
//! these, and nothing that could hear. Each stage is a thread; each ring has a fixed number of buffers
//! ([`block`]). When the network's pace is slower than the source, pipe and rings fill and the source
//! is read less often.
//!
//! | Process | Stage | File | Does |
//! |---|---|---|---|
//! | reader | acquire | [`acquire`], [`source`] | reads a noise source, tells alarms, waits for the operator |
//! | | | [`refine`] | health tests and conditioning; pure |
//! | | | [`packing`] | bytes into blocks |
//! | | combine | [`combine`] | several sources into one stream |
//! | | feed | [`feed`] | blocks and reports into the pipe |
//! | | status | [`status`], [`stats`] | writes `status.json` each second |
//! | | | [`latch`] | the operator's word that clears a latch |
//! | | | [`launch`] | starts, watches and ends the sender |
//! | | | [`latched`] | which sources are latched, kept over restarts |
//! | | (drivers) | [`sysfs`] | what the kernel shows of PCI functions and USB devices |
//! | sender | seal | [`sender`], [`seal`] | numbers, encrypts, signs; pure |
//! | | send | [`send`], [`pace`] | paces, and moves batches to the socket |
//! | | count | [`counters`] | tells the reader what was sent |
//! | | | [`handoff`] | sealed packets to the pusher, if there is one |
//! | pusher | take, push, count | [`pusher`] | brings sealed packets to gateways by HTTPS |
//! | all | | [`pipe`], [`messages`] | what they tell each other |
//! | | | [`confine`] | what each is kept from |
//!
//! [`pipeline`] joins the reader's stages. Sessions take their epochs from [`epoch`].
//!
//! `unsafe` is denied but in the modules whose `mod` line says why it is needed there.

use std::process::ChildStdin;
use std::sync::Arc;

use anyhow::{Context, bail};
use qrng_daemon::{
    DaemonArgs, Ending, Manager, Progress, Supervisor, prefer_throughput, protect_memory,
};

pub mod acquire;
pub mod block;
pub mod combine;
pub mod config;
pub mod confine;
pub mod counters;
pub mod epoch;
pub mod feed;
pub mod handoff;
pub mod latch;
pub mod latched;
pub mod launch;
pub mod messages;
pub mod pace;
pub mod packing;
pub mod pipe;
pub mod pipeline;
pub mod pusher;
pub mod refine;
pub mod seal;
pub mod send;
pub mod sender;
pub mod source;
pub mod stats;
pub mod status;
pub mod sysfs;

use config::{Config, Confinement, Driver, Gateway, Reach, SourceConfig};
use confine::Process;
use counters::Counters;
use latched::Latched;
use launch::{Pusher, Sender};
use messages::{Destination, PushOrder, PushTo, SendOrder, Way};
use pipeline::Input;
use refine::Refine;
use source::xdma::RealClock;
use source::xdma::vfio::VfioSlot;
use source::{Appliances, NoiseSource, Pcie, Simulator, Xdma, node, usb};
use stats::Stats;
use status::{Confined, Remover, StatusFile};

/// Reads a quantum noise source and pushes sealed packets one way over UDP.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-collector", version)]
pub struct Args {
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Runs the collector until a signal ends it: the reader, which starts the sender.
///
/// # Errors
/// The configuration, the noise source or the state directory cannot be used, a process cannot be
/// confined, the sender ended, or a stage did.
pub fn run(args: &DaemonArgs) -> anyhow::Result<()> {
    args.follow_parent()
        .context("cannot follow the parent process")?;
    protect_memory().context("cannot keep the memory out of core dumps")?;
    // The sender inherits it.
    prefer_throughput();
    let config = Config::load(&args.config, &launch::check)?;
    if args.check {
        println!("{}: the configuration is good", args.config.display());
        return Ok(());
    }
    // Connected before this process may not connect any more.
    let manager = Manager::from_environment().context("NOTIFY_SOCKET cannot be used")?;
    for warning in config.gateways.iter().filter_map(Gateway::warning) {
        log::warn!("{warning}");
    }
    let pusher = push_order(&config).map(Pusher::start).transpose()?;
    let (pusher, handoff, _pusher_ender) = match pusher {
        Some((pusher, handoff, ender)) => (Some(pusher), Some(handoff), Some(ender)),
        None => (None, None, None),
    };
    let (sender, bytes, _ender) = Sender::start(send_order(&config), config.send.block(), handoff)?;
    // Before any other thread, because the threads inherit what confines this one, and its signal mask.
    let confined = confine(&config, &sender)?;
    let (supervisor, hangups) = Supervisor::with_hangups()?;
    supervisor.spawn("hangup", move || {
        while hangups.wait() {
            log::warn!(
                "SIGHUP: nothing is read anew, because the sender can open no file any more; restart the collector"
            );
        }
        bail!("nobody listens for SIGHUP any more")
    })?;
    let progress = Arc::new(Progress::default());
    let sending = sending(&config);
    let processes = Processes {
        sender,
        bytes,
        pusher,
    };
    let status = start(&supervisor, config, processes, confined, &progress)?;
    let manager = Arc::new(manager);
    manager.ready(&sending);
    supervisor.feed_watchdog(&manager, progress)?;
    let ending = supervisor.wait();
    manager.stopping();
    status.remove();
    match ending {
        Ending::Signal(signal) => log::info!("ending: {signal}"),
        Ending::Thread { .. } => bail!("{ending}"),
    }
    Ok(())
}

/// Confines the reader, beside the sender which has done so, unless the configuration says not to.
fn confine(config: &Config, sender: &Sender) -> anyhow::Result<Confined> {
    // What is made later is another directory, in which a confined reader may not write.
    status::make_directory(&config.runtime_directory);
    let wanted = config.confinement;
    let landlock = match wanted.reader {
        Confinement::Enforced => Some(confine::reader(config)?),
        Confinement::OffInsecure => None,
    };
    let pushes = config.pushed().next().is_some();
    let pusher = pushes.then_some((Process::Pusher, wanted.pusher));
    let processes = [
        (Process::Sender, wanted.sender),
        (Process::Reader, wanted.reader),
    ];
    for (process, confinement) in processes.into_iter().chain(pusher) {
        if confinement == Confinement::OffInsecure {
            process.tell_off();
        }
    }
    let landlock = landlock.or(sender.landlock);
    if let Some(version) = landlock {
        log::info!("confined, with version {version} of Landlock");
    }
    Ok(Confined {
        sender: wanted.sender.name(),
        reader: wanted.reader.name(),
        pusher: pusher.map(|(_, confinement)| confinement.name()),
        landlock,
    })
}

/// What the pusher must know; none if no gateway is pushed to.
fn push_order(config: &Config) -> Option<PushOrder> {
    let gateways = config.pushed().map(|(gateway, push)| PushTo {
        name: gateway.name.clone(),
        url: push.address.to_string(),
        host: push.address.host().to_owned(),
        port: push.address.port(),
        api_key: push.api_key.clone().into(),
        ca_file: push.ca_file.clone().into(),
        interval: push.interval,
        queue: push.queue,
    });
    let gateways: Vec<_> = gateways.collect();
    (!gateways.is_empty()).then_some(PushOrder {
        gateways,
        confinement: config.confinement.pusher,
    })
}

/// What the sender must know.
fn send_order(config: &Config) -> SendOrder {
    let mut numbers = 0..;
    let gateways = config.gateways.iter().map(|gateway| Destination {
        name: gateway.name.clone(),
        place: gateway.place(),
        way: match &gateway.reach {
            Reach::Udp(address) => Way::Udp(*address),
            // There are fewer gateways than such numbers.
            Reach::Push(_) => Way::Pusher(numbers.next().unwrap_or(u16::MAX)),
        },
        key: gateway.key.clone().into(),
    });
    SendOrder {
        gateways: gateways.collect(),
        pusher: None,
        send: config.send.clone(),
        state_directory: config.state_directory.clone().into(),
        confinement: config.confinement.sender,
    }
}

/// The other processes, and the pipe for bytes to the sender.
struct Processes {
    sender: Sender,
    bytes: ChildStdin,
    pusher: Option<Pusher>,
}

/// Starts all stages; gives what removes the status file in the end.
fn start(
    supervisor: &Supervisor,
    config: Config,
    processes: Processes,
    confined: Confined,
    progress: &Progress,
) -> anyhow::Result<Remover> {
    let (gateways, pushed) = (config.gateways.len(), config.pushed().count());
    let Processes {
        sender,
        bytes,
        pusher,
    } = processes;
    let status = StatusFile::new(&config, confined);
    let remover = status.remover();
    let latched = Arc::new(Latched::open(&config.state_directory)?);
    let mut inputs = Vec::new();
    for source in config.sources {
        inputs.push(input(source, &latched, progress)?);
    }
    let identities = inputs.iter().map(|i| i.source.identity().clone());
    let stats = Arc::new(Stats::new(identities.collect()));
    stats.sent_is(Counters::new(gateways));
    let combine = config.combine;
    pipeline::start(supervisor, inputs, combine, bytes, &config.send, &stats)?;
    let own = Arc::clone(&stats);
    let pulse = progress.stage("sender");
    supervisor.spawn("sender", move || sender.watch(gateways, &own, &pulse))?;
    if let Some(pusher) = pusher {
        let (own, pulse) = (Arc::clone(&stats), progress.stage("pusher"));
        supervisor.spawn("pusher", move || pusher.watch(pushed, &own, &pulse))?;
    }
    supervisor.spawn("status", move || status.run(&stats))?;
    Ok(remover)
}

/// What the service manager shows of the collector.
fn sending(config: &Config) -> String {
    let gateways: Vec<_> = config.gateways.iter().map(|g| &*g.name).collect();
    format!("sending to {}", gateways.join(", "))
}

/// Opens a noise source and makes its tests and conditioning ready.
fn input(
    config: SourceConfig,
    latched: &Arc<Latched>,
    progress: &Progress,
) -> anyhow::Result<Input> {
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
        pulse: progress.stage(&format!("noise source {}", config.name)),
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
