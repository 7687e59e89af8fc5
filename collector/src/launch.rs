//! The sender as the reader knows it, and the pusher, if there is one: started, asked, listened to, and ended.
//!
//! They are this same program, executed anew, with an environment of their own and two pipes each. The pipe to the pusher is the reader's
//! for as long as the order takes, and then the sender's.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use qrng_daemon::{FORMAT_VARIABLE, LogFormat, PSK_VARIABLE, Pulse};

use crate::messages::{Answer, Checked, Files, Order, PushOrder, SendOrder};
use crate::pipe;
use crate::pusher::{self, PushCounters};
use crate::sender;
use crate::stats::Stats;

/// This program, even if its file was replaced since.
const PROGRAM: &str = "/proc/self/exe";

/// What the environment of both may have of the reader's.
const VARIABLES: [&str; 3] = ["QRNG_LOG", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY"];

/// Bytes that the pipe to the pusher holds: what a slow moment of it lasts, at some tens of megabytes a second.
const HANDOFF: usize = 1 << 20;

/// Blocks that the pipe to the sender holds: enough to keep both processes busy, few enough for bytes
/// to stay fresh.
const BLOCKS_IN_PIPE: usize = 4;

/// How long a process takes at most to be dead after its pipe has closed.
const DEATH: Duration = Duration::from_secs(5);

/// A sender that is ready.
pub struct Sender {
    child: Arc<Mutex<Child>>,
    answers: ChildStdout,
    /// The version of Landlock that it is under, if it is confined.
    pub landlock: Option<u32>,
}

/// A pusher that is ready.
pub struct Pusher {
    child: Arc<Mutex<Child>>,
    answers: ChildStdout,
}

/// Ends the sender or the pusher, when dropped at the latest.
pub struct Ender(Arc<Mutex<Child>>);

/// Has a sender look at key files.
///
/// # Errors
/// It cannot be started, or does not answer.
pub fn check(keys: &[PathBuf], api_keys: &[PathBuf]) -> anyhow::Result<Checked> {
    let (mut child, mut orders, mut answers) = spawn_sender()?;
    let paths = |files: &[PathBuf]| files.iter().map(OsString::from).collect();
    let files = Files {
        keys: paths(keys),
        api_keys: paths(api_keys),
    };
    let asked = pipe::send_message(&mut orders, &Order::Check(files));
    let answer = asked.map_err(anyhow::Error::from).and_then(|()| {
        let answer = pipe::message(&mut answers)?;
        answer.context("it ended without an answer")
    });
    drop((orders, answers));
    let _ = child.kill();
    let status = child.wait()?;
    match answer.with_context(|| format!("the sender ({})", ending(status)))? {
        Answer::Checked(checked) => Ok(checked),
        _ => bail!("the sender answers something else"),
    }
}

impl Sender {
    /// Starts a sender; gives also the pipe for its bytes, and what ends it. Must be called from the
    /// thread that lives as long as the process, because the sender ends with it. `block` is the
    /// size of a block of random bytes, `handoff` the pipe to the pusher, if there is one.
    ///
    /// # Errors
    /// It cannot be started, or it refuses, with its words.
    pub fn start(
        mut order: SendOrder,
        block: usize,
        handoff: Option<File>,
    ) -> anyhow::Result<(Self, ChildStdin, Ender)> {
        if let Some(handoff) = &handoff {
            // For the sender alone: nothing else is started before it is closed here.
            fcntl(handoff, FcntlArg::F_SETFD(FdFlag::empty()))?;
            order.pusher = Some(handoff.as_raw_fd());
        }
        let (child, mut orders, mut answers) = spawn_sender()?;
        drop(handoff);
        let child = Arc::new(Mutex::new(child));
        let ender = Ender(Arc::clone(&child));
        widen(&orders, BLOCKS_IN_PIPE * block);
        // If it has ended already, its answer says why.
        let _ = pipe::send_message(&mut orders, &Order::Send(order));
        let landlock = match pipe::message(&mut answers).context("the sender")? {
            Some(Answer::Ready { landlock }) => landlock,
            Some(Answer::Refused(why)) => bail!("{why}"),
            Some(_) => bail!("the sender answers something else"),
            None => bail!("the sender {}", how_it_ended(&child)),
        };
        let sender = Self {
            child,
            answers,
            landlock,
        };
        Ok((sender, orders, ender))
    }

    /// Takes the sender's counters as they come, which `pulse` shows.
    ///
    /// # Errors
    /// The sender has ended; the text says how.
    pub fn watch(mut self, gateways: usize, stats: &Stats, pulse: &Pulse) -> anyhow::Result<()> {
        loop {
            // At work all the time: each message is a new piece, and one that does not come is one that gets stuck.
            pulse.works();
            match pipe::message(&mut self.answers).context("the sender")? {
                Some(Answer::Counters(counters)) if counters.fits(gateways) => {
                    stats.sent_is(counters);
                }
                Some(_) => bail!("the sender tells something else than its counters"),
                None => bail!("the sender {}", how_it_ended(&self.child)),
            }
        }
    }
}

impl Pusher {
    /// Starts a pusher; gives also the pipe for packets, and what ends it. Must be called as [`Sender::start`].
    ///
    /// # Errors
    /// It cannot be started, or it refuses, with its words.
    pub fn start(order: PushOrder) -> anyhow::Result<(Self, File, Ender)> {
        let (input, output) = pipe2(OFlag::O_CLOEXEC)?;
        let mut handoff = File::from(output);
        widen(&handoff, HANDOFF);
        let (child, mut answers) = spawn("qrng-pusher", pusher::ARGUMENT, input.into())?;
        let child = Arc::new(Mutex::new(child));
        let ender = Ender(Arc::clone(&child));
        // If it has ended already, its answer says why.
        let _ = pipe::send_message(&mut handoff, &order);
        match pipe::message(&mut answers).context("the pusher")? {
            Some(Answer::Ready { .. }) => {}
            Some(Answer::Refused(why)) => bail!("{why}"),
            Some(_) => bail!("the pusher answers something else"),
            None => bail!("the pusher {}", how_it_ended(&child)),
        }
        Ok((Self { child, answers }, handoff, ender))
    }

    /// Takes the pusher's counters as they come, which `pulse` shows. `gateways` are pushed to.
    ///
    /// # Errors
    /// The pusher has ended; the text says how.
    pub fn watch(mut self, gateways: usize, stats: &Stats, pulse: &Pulse) -> anyhow::Result<()> {
        loop {
            pulse.works();
            match pipe::message(&mut self.answers).context("the pusher")? {
                Some(Answer::Pushed(told)) if PushCounters::fit(&told, gateways) => {
                    stats.pushed_is(told);
                }
                Some(_) => bail!("the pusher tells something else than its counters"),
                None => bail!("the pusher {}", how_it_ended(&self.child)),
            }
        }
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        let mut child = lock(&self.0);
        // Both fail only for a process that has been waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn_sender() -> anyhow::Result<(Child, ChildStdin, ChildStdout)> {
    let (mut child, answers) = spawn("qrng-sender", sender::ARGUMENT, Stdio::piped())?;
    let orders = child.stdin.take();
    Ok((child, orders.context("the sender has no pipe")?, answers))
}

/// Starts this program as one of its other processes; the key that the environment may give is the sender's alone.
fn spawn(name: &str, argument: &str, input: Stdio) -> anyhow::Result<(Child, ChildStdout)> {
    let secret = (argument == sender::ARGUMENT).then_some(PSK_VARIABLE);
    let kept = VARIABLES
        .into_iter()
        .chain(secret)
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let mut child = Command::new(PROGRAM)
        .arg0(name)
        .arg(argument)
        .arg(std::process::id().to_string())
        .env_clear()
        .envs(kept)
        .env(FORMAT_VARIABLE, LogFormat::now().name())
        // With one arena for all threads the C library's allocator never asks the kernel for more
        // than memory; with several it reads files.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be started ({PROGRAM}); is /proc mounted?"))?;
    let answers = child.stdout.take();
    Ok((
        child,
        answers.with_context(|| format!("{name} has no pipe"))?,
    ))
}

/// Gives the pipe room for so many bytes. As it is if the kernel does not permit it.
fn widen(pipe: &impl AsFd, bytes: usize) {
    let size = bytes.next_power_of_two();
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    if let Err(e) = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(size)) {
        log::debug!("a pipe stays as small as it is: {e}");
    }
}

/// How a sender ended whose pipe has closed.
fn how_it_ended(child: &Mutex<Child>) -> String {
    let deadline = Instant::now() + DEATH;
    loop {
        match lock(child).try_wait() {
            Ok(Some(status)) => return ending(status),
            Ok(None) if Instant::now() < deadline => {}
            Ok(None) => return "has closed its pipe".into(),
            Err(e) => return format!("is lost: {e}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn ending(status: ExitStatus) -> String {
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGSYS)) => {
            "was killed by its system call filter (SIGSYS): it tried what a sender must not; \
             please report this, with what `dmesg` or the audit log says of it"
                .into()
        }
        Some(Ok(signal)) => format!("was killed by {signal}"),
        _ => format!("ended ({status}); see the log"),
    }
}
