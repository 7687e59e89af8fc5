//! The gateway: packets come in over UDP, each verified byte is handed out once as files.
//!
//! ```text
//!             thread `receive`                                           threads `fuse-N`, `parked`; `raw-N` ... of devices
//!  UDP ──> receive ──> admit ──────> health ──────> buffer (bounded, locked) ──> kernel <──> tree ──> readers
//!          recvmmsg    parse, check, test, hold     discard or replace           request loop, reads that wait
//!                      verify,       until judged,  when full
//!                      commit        latch
//!                        │             │                                        └──> stream (Unix socket) ──> consumers
//!                      link: counters, session, sources ──> status (file), watch (log, rates, cleared alarms)
//!                      keyring: keys of the day ─────────> watch (erased on file), reload (SIGHUP)
//! ```
//!
//! Before the first packet is admitted the process is confined ([`confine`]).
//!
//! `unsafe` appears nowhere in this crate.
#![forbid(unsafe_code)]

pub mod admit;
pub mod args;
pub mod bound;
pub mod buffer;
pub mod config;
pub mod confine;
pub mod counters;
pub mod handover;
pub mod health;
pub mod kernel;
pub mod keyring;
pub mod link;
pub mod places;
pub mod pressure;
pub mod receive;
pub mod shares;
pub mod status;
pub mod stream;
pub mod tree;
pub mod watch;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::Context;
use log::{error, info, warn};
use nix::unistd::{getegid, geteuid};
use qrng_confine::{Confinement, Process};
use qrng_daemon::{Ending, Hangups, Manager, Progress, Supervisor, prefer_throughput};

use crate::admit::{Admit, AdvanceBound};
use crate::bound::{BoundFile, Durable, StartBound};
use crate::buffer::Buffer;
use crate::config::{Config, Environment};
use crate::confine::Extent;
use crate::health::{ClearRequest, Health};
use crate::keyring::Keyring;
use crate::link::Link;
use crate::places::{Opening, Places};
use crate::receive::{Output, Receiver, now_us};
use crate::shares::{QuotaFile, Users};
use crate::status::{Confined, Status};
use crate::stream::{Listener, Server, StreamCounters};
use crate::tree::Tree;

/// Where the keys are read anew when SIGHUP asks for that.
#[derive(Debug)]
pub struct Reload {
    /// The configuration file.
    pub file: PathBuf,
    /// The process's environment.
    pub environment: Environment,
}

/// Runs the gateway until a signal asks it to end, or a part of it fails.
///
/// # Errors
/// Something that cannot be set up: the text says what and how to mend it. Nothing is left behind.
pub fn run(
    mut config: Config,
    supervisor: &Supervisor,
    reload: Reload,
) -> anyhow::Result<ExitCode> {
    let keys = config.keys.names(now_us());
    let keyring = Arc::new(Keyring::new(std::mem::take(&mut config.keys)));
    // Connected before this process may not connect any more.
    let manager = Manager::from_environment().context("NOTIFY_SOCKET cannot be used")?;
    // The same for what is watched.
    let pressure = pressure::Watch::from_environment()?;
    let progress = Arc::new(Progress::default());
    prepare_directory(&config.runtime_directory)?;
    // The socket comes first: it is what a second gateway on this host is refused by, and once it
    // is ours no earlier run can accept anything any more.
    let socket = receive::open(config.listen, config.receive_buffer)?;
    let durable = durable(config.state_directory.as_deref())?;
    let mut bound = BoundFile::open(&config.runtime_directory, durable.clone())?;
    let start = bound.load(now_us())?;
    tell_bound(start);
    if let StartBound::Fresh(bound_us) = start {
        // On file at once, so that another start within these seconds need not wait anew. A
        // failure is told by the file itself, and refuses every packet until it is mended.
        let _ = bound.advance(bound_us);
    }
    let status = Arc::new(status(&config, &keyring, durable.clone())?);
    let document = Arc::clone(&status);
    let tree = Arc::new(Tree::new(
        Arc::clone(&status.buffer),
        Arc::new(move || document.document()),
        (geteuid().as_raw(), getegid().as_raw()),
        now_us(),
    ));
    // The socket before the mount: a second gateway at the same path is refused before it has mounted anything.
    let stream = config.stream.as_ref().map(Listener::open).transpose()?;
    let file = stream.as_ref().map(Listener::file);
    let mut places = Places::open(&Opening {
        config: &config,
        manager: &manager,
        supervisor,
        progress: &progress,
        tree: &tree,
    })?;
    let served = served(&config, &places);
    let confining = Confining {
        wanted: config.confinement,
        extent: places.extent(&config),
        socket: socket.as_raw_fd(),
        stream: stream.as_ref().map(|stream| stream.as_fd().as_raw_fd()),
    };
    // Before any other thread, because the threads inherit what confines this one.
    let confined = confining.begin(&config, &keyring, &reload)?;
    status.confined.set(confined).ok();
    let hangups = supervisor.heed_hangups()?;
    places.serve()?;
    if let (Some(listener), Some(counters)) = (stream, &status.stream) {
        let (tree, counters) = (Arc::clone(&tree), Arc::clone(counters));
        let server = Server::new(listener, tree, counters, progress.stage("stream"))?;
        supervisor.spawn("stream", move || server.run())?;
    }

    // Its keys come from the keyring.
    let admit = Admit::new(Vec::new(), start.micros(), config.accept);
    qrng::wipe_stack();
    let output = Output {
        health: Arc::clone(&status.health),
        buffer: Arc::clone(&status.buffer),
    };
    let receiver = Receiver::new(
        socket,
        admit,
        bound,
        output,
        Arc::clone(&status.link),
        Arc::clone(&keyring),
        progress.stage("receive"),
    );
    let (go, confined) = channel();
    supervisor.spawn("receive", move || {
        prefer_throughput();
        // Nothing is admitted before all threads are confined.
        confined.recv()?;
        receiver.run()
    })?;
    supervisor.spawn("reload", move || reload.run(&hangups, &keyring))?;
    if let Some(watch) = pressure {
        let (giving, buffer) = (config.giving, Arc::clone(&status.buffer));
        supervisor.spawn("pressure", move || pressure::run(&watch, giving, &buffer))?;
    }
    let ended = Arc::clone(&status);
    supervisor.spawn("watch", move || watch::run(&status, &tree))?;
    let manager = Arc::new(manager);
    supervisor.feed_watchdog(&manager, progress)?;
    confining.finish()?;
    go.send(()).context("thread receive has ended")?;
    info!(
        "serving at {served}, listening on UDP {}, keys {keys}, buffer {} bytes",
        config.listen, config.buffer_size
    );
    manager.ready(&format!("serving at {served}"));

    let ending = supervisor.wait();
    manager.stopping();
    let result = match &ending {
        Ending::Signal(signal) => {
            info!("{signal}: ending");
            ExitCode::SUCCESS
        }
        Ending::Thread { .. } => {
            error!("{ending}; ending");
            ExitCode::FAILURE
        }
    };
    if let Some(durable) = durable {
        durable.settle();
    }
    if let Some(quotas) = &ended.quotas {
        quotas.keep();
    }
    drop(file);
    if let Err(e) = places.stop() {
        error!("{e}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(result)
}

/// What the status document tells of, the tests and the buffer among it.
fn status(
    config: &Config,
    keyring: &Arc<Keyring>,
    durable: Option<Arc<Durable>>,
) -> anyhow::Result<Status> {
    let users = Arc::new(Users::new(&config.shares, now_us));
    let buffer = Buffer::shared(config.buffer_size, config.overflow, Arc::clone(&users));
    let buffer = buffer.with_context(|| {
        format!(
            "no memory for a buffer of {} bytes; set `buffer.size` lower",
            config.buffer_size
        )
    })?;
    let buffer = Arc::new(buffer);
    let directory = &config.runtime_directory;
    let health = Health::new(config.health, Arc::clone(&buffer), directory)?;
    Ok(Status {
        link: Arc::new(Link::new(Instant::now())),
        clear_request: ClearRequest::new(directory),
        buffer,
        health: Arc::new(health),
        rates: Arc::default(),
        keyring: Arc::clone(keyring),
        durable,
        quotas: Some(QuotaFile::open(directory, users)),
        stream: config.stream.is_some().then(Arc::<StreamCounters>::default),
        stall_limit_s: config.stall_limit_s,
        confined: OnceLock::new(),
    })
}

/// Where programs get bytes, in words.
fn served(config: &Config, places: &Places) -> String {
    let stream = config.stream.as_ref();
    let stream = stream.map(|stream| stream.listen.display().to_string());
    let paths: Vec<_> = places.paths().into_iter().chain(stream).collect();
    paths.join(" and ")
}

/// What is done to confine this process, in two steps.
struct Confining {
    wanted: Confinement,
    extent: Extent,
    socket: RawFd,
    /// The socket that programs connect to.
    stream: Option<RawFd>,
}

impl Confining {
    /// Before the process has any other thread.
    fn begin(
        &self,
        config: &Config,
        keyring: &Keyring,
        reload: &Reload,
    ) -> anyhow::Result<Confined> {
        if self.wanted == Confinement::OffInsecure {
            Process::Gateway.tell_off();
            return Ok(Confined {
                gateway: self.wanted.name(),
                landlock: None,
            });
        }
        let directory = &config.runtime_directory;
        let more = confine::beyond(
            config.state_directory.as_deref(),
            &reload.file,
            &keyring.files(),
        );
        let landlock = confine::privileges_and_files(&self.extent, directory, &more)?;
        match (&self.extent, landlock) {
            (Extent::Whole(_), Some(version)) => {
                info!("confined, with version {version} of Landlock");
            }
            (Extent::Fusermount, _) => warn!(
                "the gateway is not confined, because it unmounts by fusermount3, which must gain privileges: \
                 set `mount-helper` and have qrng-mount mount for it"
            ),
            _ => warn!(
                "the gateway is confined without Landlock and with CAP_SYS_ADMIN, because it unmounts by itself: \
                 set `mount-helper` and have qrng-mount mount for it"
            ),
        }
        Ok(Confined {
            gateway: self.extent.name(),
            landlock,
        })
    }

    /// When all threads have started.
    fn finish(&self) -> anyhow::Result<()> {
        if self.wanted == Confinement::Enforced {
            confine::system_calls(&self.extent, self.socket, self.stream)?;
        }
        Ok(())
    }
}

impl Reload {
    /// Reads the key files anew at each SIGHUP. What cannot be used changes nothing.
    fn run(self, hangups: &Hangups, keyring: &Keyring) -> anyhow::Result<()> {
        while hangups.wait() {
            match Config::load_keys(&self.file, &self.environment) {
                Ok(keys) => {
                    let names = keys.names(now_us());
                    keyring.replace(keys);
                    info!("SIGHUP: keys {names}; other settings need a restart");
                }
                Err(e) => error!("SIGHUP: the keys stay as they were: {e}"),
            }
            qrng::wipe_stack();
        }
        anyhow::bail!("nobody listens for SIGHUP any more")
    }
}

/// The restart bound on disk.
fn durable(directory: Option<&Path>) -> anyhow::Result<Option<Arc<Durable>>> {
    let Some(directory) = directory else {
        warn!(
            "no state-directory: after a reboot with a clock that is behind, packets recorded before could be accepted again; \
             set state-directory = \"/var/lib/qrng-gateway\""
        );
        return Ok(None);
    };
    Ok(Some(Arc::new(Durable::open(directory)?)))
}

fn prepare_directory(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .with_context(|| {
            format!(
                "runtime-directory {} cannot be made; make it, or name another",
                path.display()
            )
        })
}

fn tell_bound(start: StartBound) {
    let ahead_s = start.micros().saturating_sub(now_us()) / 1_000_000;
    match start {
        StartBound::Kept(_) if ahead_s > 10 => warn!(
            "packets are refused for {ahead_s} s: the last run accepted later ones, so the clock was set back; \
             set it right, or wait"
        ),
        StartBound::Stored(_) if ahead_s > 60 => warn!(
            "packets are refused until the clock has gone on by {ahead_s} s: before the reboot later ones were accepted, so it \
             is behind; set it right"
        ),
        StartBound::Stored(_) if ahead_s > 0 => info!(
            "packets are refused for {ahead_s} s: before the reboot some may have been accepted that far ahead"
        ),
        StartBound::Kept(_) | StartBound::Stored(_) => {}
        StartBound::Fresh(_) => info!(
            "first start, as far as is known: packets stamped within the next 5 s are refused, because an earlier run may have \
             accepted them"
        ),
    }
}
