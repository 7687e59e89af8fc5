//! The sender: the process that holds the keys and the sockets, and hears nothing.
//!
//! ```text
//!  pipe of the reader -> seal ──ring──> send -> UDP, one way
//!                        packets,       at a set pace,
//!                        notices 1/s    errors only counted
//!                                          │ count
//!  pipe to the reader <── counters 1/s ────┘
//! ```
//!
//! The reader starts it ([`crate::launch`]) and it ends when the reader does. It opens what it needs, is
//! confined ([`crate::confine`]), says so, and from then on can read its pipe, write the epoch file, and
//! send. Signals that ask a process to end are the reader's business; its own end is SIGKILL or the end
//! of its pipe.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};

use anyhow::{Context, bail};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use qrng::keys::CollectorKeys;
use qrng_daemon::{PSK_REMEDY, PSK_VARIABLE, Psk, Supervisor, follow, protect_memory, read_secret};
use zeroize::Zeroizing;

use crate::block::{Batch, ring};
use crate::config::Confinement;
use crate::confine::{self, SenderHandles};
use crate::counters::Counting;
use crate::epoch::EpochFile;
use crate::handoff::Handoff;
use crate::messages::{Answer, Checked, Files, Order, SendOrder};
use crate::pace::Pace;
use crate::pipe;
use crate::pipeline::{BUFFERS, now_us};
use crate::pusher::check_key;
use crate::seal::{Seal, notice_room};
use crate::send::Outlet;

mod stages;

/// The argument after which the number of the reader's process follows. Nobody else gives it.
pub const ARGUMENT: &str = "--sender";

/// Threads beside the main one.
const STAGES: usize = 3;

/// The reader's process, if these arguments begin with `argument`: [`ARGUMENT`] or [the pusher's](crate::pusher::ARGUMENT).
pub fn reader_in(argument: &str, mut arguments: impl Iterator<Item = OsString>) -> Option<i32> {
    if arguments.nth(1)? != argument {
        return None;
    }
    arguments.next()?.to_str()?.parse().ok()
}

/// Runs the sender for the reader of this process number.
pub fn run(reader: i32) -> ExitCode {
    let ended = serve(reader);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("sender: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(reader: i32) -> anyhow::Result<()> {
    follow(Some(reader), Signal::SIGKILL).context("this is for qrng-collector itself to start")?;
    protect_memory().context("cannot keep the memory out of core dumps")?;
    // Else it would be `exe`, after the path that it was started by.
    prctl::set_name(c"qrng-sender")?;
    let mut input = file(io::stdin())?;
    let mut output = file(io::stdout())?;
    let psk = Psk::from_environment();
    match pipe::message(&mut input)?.context("the reader has ended")? {
        Order::Check(Files { keys, api_keys }) => {
            let paths = |files: Vec<OsString>| files.into_iter().map(PathBuf::from).collect();
            let (keys, api_keys): (Vec<_>, Vec<_>) = (paths(keys), paths(api_keys));
            let checked = check_keys(&keys, &api_keys, &psk);
            Ok(pipe::send_message(&mut output, &Answer::Checked(checked))?)
        }
        Order::Send(order) => match start(order, &psk, input, &mut output) {
            Ok((supervisor, go)) => {
                go.wait();
                bail!("{}", supervisor.wait())
            }
            Err(error) => {
                let refused = Answer::Refused(format!("{error:#}"));
                pipe::send_message(&mut output, &refused).context("the reader has ended")
            }
        },
    }
}

/// A file of its own on an open descriptor: without a buffer, and closed like any file.
pub(crate) fn file(handle: impl AsFd) -> io::Result<File> {
    Ok(File::from(handle.as_fd().try_clone_to_owned()?))
}

/// Looks at key files, at the pre-shared key that may take the place of theirs, and at keys for pushing.
pub fn check_keys(files: &[PathBuf], api_keys: &[PathBuf], psk: &Psk) -> Checked {
    let (psk, wrong) = match psk.key() {
        Ok(key) => (key, None),
        Err(what) => (None, Some(what)),
    };
    let id = |file: &PathBuf| {
        let (keys, now_us) = (keys_in(file, psk.as_ref())?, now_us());
        match keys.missing(now_us) {
            Some(what) => Err(format!("{}: {what}", file.display())),
            None => Ok(keys.at(now_us).key_id().to_string()),
        }
    };
    Checked {
        psk: wrong,
        keys: files.iter().map(id).collect(),
        api_keys: api_keys.iter().map(|file| check_api_key(file)).collect(),
    }
}

/// Whether there is a key for pushing in `file`.
fn check_api_key(file: &Path) -> Result<(), String> {
    let text = read_secret(file).map_err(|e| e.to_string())?;
    check_key(&text).map_err(|e| format!("{}: {e}", file.display()))
}

/// The keys in `file`, with `psk` in place of their pre-shared ones.
fn keys_in(file: &Path, psk: Option<&Zeroizing<[u8; 32]>>) -> Result<CollectorKeys, String> {
    let text = read_secret(file).map_err(|e| e.to_string())?;
    let keys = CollectorKeys::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(match psk {
        Some(psk) => keys.with_psk(psk),
        None => keys,
    })
}

/// What the stages work with.
struct Opened {
    seal: Seal<UnwrapErr<SysRng>>,
    outlet: Outlet,
    /// Another handle of the pipe to the reader, for the counters.
    counts: File,
    handles: SenderHandles,
}

/// Opens everything, starts the stages, which wait at a barrier, confines the process, and tells the
/// reader.
fn start(
    order: SendOrder,
    psk: &Psk,
    input: File,
    output: &mut File,
) -> anyhow::Result<(Supervisor, Arc<Barrier>)> {
    let supervisor = Supervisor::without_signals()?;
    let Opened {
        seal,
        outlet,
        counts,
        handles,
    } = open(&order, psk, &input, output)?;
    let confined = order.confinement == Confinement::Enforced;
    // Before the threads, which inherit it.
    let landlock = confined.then(confine::sender_privileges).transpose()?;

    let (send, counting) = (&order.send, Arc::new(Counting::new(order.gateways.len())));
    let length = send.batch().max(notice_room(send.cut()));
    let (to_send, from_seal) = ring(BUFFERS, || Batch::new(length));
    qrng::wipe_stack();
    let barrier = Arc::new(Barrier::new(STAGES + 1));
    // Twice: all have started, so that the calls of a thread's start need not be allowed; and go.
    let stage = |name: &str, body: Box<dyn FnOnce() -> anyhow::Result<()> + Send>| {
        let own = Arc::clone(&barrier);
        supervisor.spawn(name, move || {
            own.wait();
            own.wait();
            body()
        })
    };
    let own = Arc::clone(&counting);
    stage("send", Box::new(move || outlet.run(&from_seal, &own)))?;
    let own = Arc::clone(&counting);
    let mut sealing = stages::Sealing::new(seal, send);
    stage("seal", Box::new(move || sealing.run(input, &to_send, &own)))?;
    stage("count", Box::new(move || stages::count(counts, &counting)))?;
    barrier.wait();
    if confined {
        confine::sender_calls(&handles)?;
    }
    pipe::send_message(output, &Answer::Ready { landlock })?;
    Ok((supervisor, barrier))
}

/// Reads the keys, and opens the epoch file and the sockets.
fn open(order: &SendOrder, psk: &Psk, input: &File, output: &File) -> anyhow::Result<Opened> {
    // First: before anything else is opened, its number is its own.
    let pusher = order.pusher.map(Handoff::inherited).transpose();
    let pusher = pusher.context("cannot use the pipe to the pusher")?;
    let keys = keys(order, psk)?;
    let epochs = EpochFile::open(Path::new(&order.state_directory))?;
    let ways: Vec<_> = order.gateways.iter().map(|g| g.way).collect();
    let send = &order.send;
    let pace = send.rate.map(|rate| Pace::new(rate, send.burst));
    let outlet = Outlet::open(&ways, pace, pusher).context("cannot open a UDP socket")?;
    let counts = file(output)?;
    let handles = SenderHandles {
        pipe: input.as_raw_fd(),
        answers: [output.as_raw_fd(), counts.as_raw_fd()],
        sockets: outlet.descriptors(),
        pusher: outlet.pusher(),
        epochs: epochs.as_raw_fd(),
    };
    let rng = UnwrapErr(SysRng);
    let seal = Seal::start(keys, send.cut(), Box::new(epochs), rng, now_us())?;
    Ok(Opened {
        seal,
        outlet,
        counts,
        handles,
    })
}

/// The keys of all gateways, which are named in the log: with the id, which the gateway logs too.
fn keys(order: &SendOrder, psk: &Psk) -> anyhow::Result<Vec<CollectorKeys>> {
    let shared = match psk.key() {
        Ok(key) => key,
        Err(what) => bail!("environment variable {PSK_VARIABLE}: {what}; {PSK_REMEDY}"),
    };
    psk.warn();
    let mut keys = Vec::new();
    for gateway in &order.gateways {
        let (name, place) = (&gateway.name, &gateway.place);
        let of_file = keys_in(Path::new(&gateway.key), shared.as_ref());
        let of_file = of_file.map_err(|e| anyhow::anyhow!("gateway {name}: key: {e}"))?;
        let now_us = now_us();
        if let Some(what) = of_file.missing(now_us) {
            bail!("gateway {name}: key: {what}");
        }
        let id = of_file.at(now_us).key_id();
        match of_file.last_day() {
            None => log::info!("gateway: {name} at {place}, key {id}"),
            Some(last) => {
                log::info!("gateway: {name} at {place}, key {id}, one a day until {last}")
            }
        }
        keys.push(of_file);
    }
    Ok(keys)
}
