//! Named threads and signals: whichever ends first ends the process.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use nix::sys::signal::{SigSet, Signal};

use crate::{Manager, Progress};

/// Signals within this time are one request to end.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Why a daemon ends.
#[derive(Debug)]
pub enum Ending {
    /// SIGTERM or SIGINT asked for it.
    Signal(Signal),
    /// A thread that ought to run for ever ended.
    Thread {
        /// The thread's name.
        name: String,
        /// How it ended.
        error: String,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Thread { name, error } => write!(f, "thread {name} ended: {error}"),
        }
    }
}

/// Starts the daemon's threads and waits for the first reason to end.
///
/// Every thread is expected to run until the process ends, so one that returns or panics is a
/// reason to end the whole process: there are no half-dead daemons.
#[derive(Debug)]
pub struct Supervisor {
    endings: Receiver<Ending>,
    tell: Sender<Ending>,
}

impl Supervisor {
    /// Takes over SIGTERM and SIGINT, and heeds them at once: see [`Supervisor::heed_signals`]. To be called before the process
    /// has any other thread, because the threads inherit the signal mask.
    ///
    /// # Errors
    /// The kernel refuses the signal mask or the thread.
    pub fn new() -> io::Result<Self> {
        // Not SIGHUP, which goes on ending a process that does not heed it.
        set(ENDING).thread_block()?;
        let supervisor = Self::told();
        supervisor.heed_signals()?;
        Ok(supervisor)
    }

    /// The same, and SIGHUP is told by [`Hangups`]: see [`Supervisor::heed_hangups`].
    ///
    /// # Errors
    /// The kernel refuses the signal mask or the thread.
    pub fn with_hangups() -> io::Result<(Self, Hangups)> {
        let supervisor = Self::without_signals()?;
        let hangups = supervisor.heed_hangups()?;
        Ok((supervisor, hangups))
    }

    /// Starts a thread that waits for SIGTERM and SIGINT, also those that came since they were blocked. A further signal ends
    /// the process at once, if it comes a second after the first or later: one death of a parent with several threads is told
    /// by several signals, and they must not keep the process from ending in order.
    ///
    /// # Errors
    /// The kernel refuses the thread.
    pub fn heed_signals(&self) -> io::Result<()> {
        self.heed(ENDING, None)
    }

    /// The same, and SIGHUP, which a daemon takes as a request to read its files anew, is told by [`Hangups`].
    ///
    /// # Errors
    /// The kernel refuses the thread.
    pub fn heed_hangups(&self) -> io::Result<Hangups> {
        // One more while one is being acted on is enough: what is read then is new.
        let (tell, hangups) = bounded(1);
        self.heed(ENDING_AND_HANGUP, Some(tell))?;
        Ok(Hangups(hangups))
    }

    fn heed(&self, signals: &[Signal], hangups: Option<Sender<()>>) -> io::Result<()> {
        let (teller, signals) = (self.tell.clone(), set(signals));
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut asked: Option<Instant> = None;
                while let Ok(signal) = signals.wait() {
                    if let (Signal::SIGHUP, Some(hangups)) = (signal, &hangups) {
                        let _ = hangups.try_send(());
                        continue;
                    }
                    match asked {
                        None => {
                            asked = Some(Instant::now());
                            let _ = teller.send(Ending::Signal(signal));
                        }
                        Some(at) if at.elapsed() < ONE_REQUEST => {}
                        Some(_) => process::exit(128 + signal as i32),
                    }
                }
            })?;
        Ok(())
    }

    /// SIGTERM, SIGINT and SIGHUP do nothing, until [`Supervisor::heed_signals`] if that is called. For a process that another one ends: a
    /// terminal and a service manager send them to all processes of a group, and then the other one decides. To be called
    /// before the process has any other thread.
    ///
    /// # Errors
    /// The kernel refuses the signal mask.
    pub fn without_signals() -> io::Result<Self> {
        // Kept from this thread and all that it starts.
        set(ENDING_AND_HANGUP).thread_block()?;
        Ok(Self::told())
    }

    fn told() -> Self {
        // At most one ending a thread and one signal: the channel is bounded by its senders.
        let (tell, endings) = unbounded();
        Self { endings, tell }
    }

    /// A handle with which code that runs its own threads reports that one of them ended.
    pub fn reporter(&self) -> Sender<Ending> {
        self.tell.clone()
    }

    /// Starts a thread of the daemon.
    ///
    /// # Errors
    /// The kernel refuses the thread.
    pub fn spawn<F>(&self, name: &str, body: F) -> io::Result<JoinHandle<()>>
    where
        F: FnOnce() -> anyhow::Result<()> + Send + 'static,
    {
        let tell = self.tell.clone();
        let own_name = name.to_owned();
        thread::Builder::new().name(name.into()).spawn(move || {
            let error = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(e)) => format!("{e:#}"),
                Err(_) => "it panicked".to_owned(),
            };
            // Nobody listens once the process is ending anyway.
            let _ = tell.send(Ending::Thread {
                name: own_name,
                error,
            });
        })
    }

    /// Tells the service manager again and again that the daemon gets on, if it wants to hear that: only while no stage is
    /// stuck. A daemon that is stuck is then killed and started anew.
    ///
    /// # Errors
    /// The kernel refuses the thread.
    pub fn feed_watchdog(&self, manager: &Arc<Manager>, progress: Arc<Progress>) -> io::Result<()> {
        let Some(limit) = manager.watchdog() else {
            return Ok(());
        };
        let manager = Arc::clone(manager);
        self.spawn("watchdog", move || {
            loop {
                match progress.stuck(limit / 2) {
                    None => manager.alive(),
                    Some((stage, time)) => {
                        log::error!("{stage} has been at one piece of work for {time:?}");
                    }
                }
                thread::sleep(limit / 4);
            }
        })?;
        Ok(())
    }

    /// Waits for the first reason to end.
    pub fn wait(&self) -> Ending {
        self.endings.recv().unwrap_or_else(|_| Ending::Thread {
            name: "supervisor".into(),
            error: "all its senders are gone".into(),
        })
    }
}

/// Each SIGHUP, one after the other; several before it is asked for are one.
#[derive(Debug)]
pub struct Hangups(Receiver<()>);

impl Hangups {
    /// Waits for the next; false if there can be none any more.
    pub fn wait(&self) -> bool {
        self.0.recv().is_ok()
    }
}

/// The signals that ask for the end.
const ENDING: &[Signal] = &[Signal::SIGTERM, Signal::SIGINT];
/// The same, and the one that asks to read files anew.
const ENDING_AND_HANGUP: &[Signal] = &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

fn set(signals: &[Signal]) -> SigSet {
    signals.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_is_a_reason_to_end() {
        let supervisor = Supervisor::new().unwrap();
        supervisor
            .spawn("worker", || anyhow::bail!("the device is gone"))
            .unwrap();
        let ending = supervisor.wait();
        assert_eq!(
            ending.to_string(),
            "thread worker ended: the device is gone"
        );
        supervisor.spawn("quiet", || Ok(())).unwrap();
        assert!(supervisor.wait().to_string().contains("it returned"));
        supervisor.spawn("loud", || panic!("no")).unwrap();
        assert!(supervisor.wait().to_string().contains("it panicked"));
    }
}
