//! The threads of one connection: those that answer requests, and the one that serves who waits.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use qrng_daemon::{Progress, Pulse, prefer_throughput};

use super::serve::Shared;
use super::{EndReason, LoopEnd, OnEnd};
use crate::tree::Desk;

/// How long is waited for threads that are to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Threads that serve one connection, or are about to.
#[derive(Debug)]
pub(super) struct Crew {
    /// One a thread, until it starts.
    desks: Vec<Desk>,
    /// How many answer requests.
    pub(super) loops: usize,
    threads: Vec<JoinHandle<()>>,
    done: Sender<()>,
    ended: Receiver<()>,
}

impl Crew {
    /// Room for `loops` threads that answer, and the one that serves who waits; none of them runs yet.
    ///
    /// # Errors
    /// There is no memory left.
    pub(super) fn new(loops: usize) -> io::Result<Self> {
        let desks = (0..=loops)
            .map(|_| Desk::new())
            .collect::<io::Result<_>>()?;
        let (done, ended) = channel();
        Ok(Self {
            desks,
            loops,
            threads: Vec::new(),
            done,
            ended,
        })
    }

    /// Starts all: `name-0`, `name-1` ... and `parked`. Those that run already stay if one cannot be started.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub(super) fn start(
        &mut self,
        (name, parked): (&str, &str),
        shared: &Arc<Shared>,
        progress: &Progress,
        on_end: &OnEnd,
    ) -> io::Result<()> {
        for (number, desk) in std::mem::take(&mut self.desks).into_iter().enumerate() {
            let serves = number < self.loops;
            let name = if serves {
                format!("{name}-{number}")
            } else {
                parked.to_owned()
            };
            let thread = Thread {
                pulse: progress.stage(&name),
                name,
                serves,
                desk,
                on_end: on_end.clone(),
                done: self.done.clone(),
            };
            self.threads.push(thread.start(shared.clone())?);
        }
        Ok(())
    }

    /// Whether none has ended.
    pub(super) fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until those who waited for bytes have been told, or left to the next run.
    pub(super) fn wait_for_parked(&self) {
        let limit = Instant::now() + STOP_LIMIT;
        let parked = || self.threads.last().is_none_or(JoinHandle::is_finished);
        while !parked() && Instant::now() < limit {
            // Whichever thread ends is heard of.
            let _ = self.ended.recv_timeout(Duration::from_millis(20));
        }
    }

    /// Joins all; false if one hasn't ended within the limit.
    pub(super) fn wait_for_all(&mut self) -> bool {
        let limit = Instant::now() + STOP_LIMIT;
        for _ in 0..self.threads.len() {
            if self
                .ended
                .recv_timeout(limit.saturating_duration_since(Instant::now()))
                .is_err()
            {
                return false;
            }
        }
        self.threads.drain(..).all(|thread| thread.join().is_ok())
    }
}

/// A thread about to be started.
struct Thread {
    name: String,
    pulse: Pulse,
    /// Whether it answers requests, or serves those who wait.
    serves: bool,
    desk: Desk,
    on_end: OnEnd,
    done: Sender<()>,
}

impl Thread {
    fn start(self, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || self.run(shared))
    }

    fn run(mut self, shared: Arc<Shared>) {
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
            if self.serves {
                shared.answer_all(&mut self.desk, &self.pulse)
            } else {
                prefer_throughput();
                shared.serve_waiting(&mut self.desk, &self.pulse);
                Ok(())
            }
        }));
        if !shared.stopping() {
            let why = match result {
                Ok(Ok(())) => EndReason::Unmounted,
                Ok(Err(errno)) => EndReason::Failed(Errno::into(errno)),
                Err(_) => EndReason::Panicked,
            };
            (self.on_end)(LoopEnd {
                thread: self.name.clone(),
                why,
            });
        }
        // Given up before the stopping thread is told, which then owns the connection alone.
        drop(shared);
        let _ = self.done.send(());
    }
}
