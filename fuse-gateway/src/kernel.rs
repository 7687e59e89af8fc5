//! The mount: fuser mounts and negotiates, our own loop answers the kernel's requests.
//!
//! ```text
//! kernel ── request ──> fuse-0, fuse-1 ... ── bytes there? ──> answer, straight from the buffer's memory
//!                            │ no
//!                            └──> waiting ── thread `parked`, when bytes come ──> answer
//! ```
//!
//! `abi` parses and builds the kernel's structs, `connection` reads and writes them, `serve` answers, `waiting` holds the
//! readers that wait, `mount` mounts and unmounts, and `errno` turns errors into numbers.

mod abi;
mod connection;
mod errno;
mod mount;
mod serve;
mod waiting;

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use thiserror::Error;

pub use self::mount::MountError;
use self::mount::Place;
use self::serve::Shared;
use crate::buffer::MAX_CLAIM;
use crate::tree::{Desk, Tree};

/// The largest read that is answered, in bytes.
const MAX_READ: usize = MAX_CLAIM;

/// How long [`Mount::stop`] waits for the threads.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Called by a thread of the loop that ends although nobody stopped the mount.
pub type OnEnd = Arc<dyn Fn(LoopEnd) + Send + Sync>;

/// What to mount and how.
#[derive(Clone)]
pub struct MountOptions {
    /// The mount point, a directory.
    pub point: PathBuf,
    /// Whether users other than the one who mounts may read.
    pub allow_other: bool,
    /// Loop threads; 0 means one a CPU.
    pub threads: usize,
    /// Told when a thread ends by itself: the process should then end, too.
    pub on_end: OnEnd,
}

impl std::fmt::Debug for MountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountOptions")
            .field("point", &self.point)
            .finish_non_exhaustive()
    }
}

/// A thread of the loop has ended by itself.
#[derive(Debug, Error)]
#[error("thread {thread} has ended: {why}")]
pub struct LoopEnd {
    /// The thread's name.
    pub thread: String,
    /// Why it ended.
    pub why: EndReason,
}

/// Why a thread ended by itself.
#[derive(Debug, Error)]
pub enum EndReason {
    /// Somebody else unmounted the file system.
    #[error("the file system was unmounted by somebody else")]
    Unmounted,
    /// The kernel's requests can't be read any more.
    #[error("reading the kernel's requests failed: {0}")]
    Failed(#[source] io::Error),
    /// A bug.
    #[error("it panicked")]
    Panicked,
}

/// Why a mount could not be ended whole.
#[derive(Debug, Error)]
pub enum StopError {
    /// The mount is still there.
    #[error("{0} could not be unmounted: {1}")]
    Unmount(PathBuf, #[source] io::Error),
    /// The file system was unmounted lazily by somebody else, and files in it are open; the end of the process ends them.
    #[error(
        "files of {0}, which was unmounted by somebody else, are still open; they end with this process"
    )]
    StillOpen(PathBuf),
}

/// A mounted tree and the threads that serve it. Dropping it unmounts, as [`Mount::stop`] does.
#[derive(Debug)]
pub struct Mount {
    place: Place,
    shared: Option<Arc<Shared>>,
    loops: usize,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<()>,
}

impl Mount {
    /// Mounts `tree` and serves it until [`Mount::stop`].
    ///
    /// A dead mount of an earlier gateway at the same place is removed first; a live one is an error.
    ///
    /// # Errors
    /// See [`MountError`]; nothing stays mounted then.
    pub fn start(options: MountOptions, tree: Arc<Tree>) -> Result<Self, MountError> {
        let loops = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let desks = (0..=loops)
            .map(|_| Desk::new())
            .collect::<io::Result<Vec<_>>>()
            .map_err(MountError::Start)?;
        let fresh = mount::mount(&options.point, options.allow_other)?;
        let shared = Arc::new(Shared::new(fresh.connection, tree));
        let (done, ended) = channel();
        let mut mount = Self {
            place: fresh.place,
            shared: Some(shared.clone()),
            loops,
            threads: Vec::new(),
            ended,
        };
        for (number, desk) in desks.into_iter().enumerate() {
            let name = if number < loops {
                format!("fuse-{number}")
            } else {
                "parked".to_owned()
            };
            let thread = Thread {
                name,
                serves: number < loops,
                desk,
                on_end: options.on_end.clone(),
                done: done.clone(),
            };
            // If one can't be started, dropping `mount` unmounts and ends the others.
            mount
                .threads
                .push(thread.start(shared.clone()).map_err(MountError::Start)?);
        }
        Ok(mount)
    }

    /// The canonical path of the mount point.
    pub fn point(&self) -> &Path {
        &self.place.point
    }

    /// Unmounts, frees all readers (ECONNABORTED) and ends all threads.
    ///
    /// If somebody else has mounted over this file system, or has unmounted it, nothing of theirs is touched.
    ///
    /// # Errors
    /// See [`StopError`].
    pub fn stop(mut self) -> Result<(), StopError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), StopError> {
        let Some(shared) = self.shared.take() else {
            return Ok(());
        };
        shared.stopping.store(true, Ordering::SeqCst);
        shared.tree.buffer().alert();
        let ours = self.place.is_ours();
        let mut waker = None;
        let mut unmounted = Ok(());
        if ours && mount::is_root() {
            unmounted = self.place.unmount();
        } else if !self.abort() && ours {
            waker = Some(wake(self.place.point.clone(), self.loops));
        }
        let ended = self.wait_for_threads();
        // The last owner closes the connection: what still waits in the kernel is freed.
        drop(shared);
        if let Some(waker) = waker
            && ended
        {
            let _ = waker.join();
        }
        if ours && !mount::is_root() {
            unmounted = self.place.unmount();
        }
        unmounted.map_err(|error| StopError::Unmount(self.place.point.clone(), error))?;
        if ended {
            Ok(())
        } else {
            Err(StopError::StillOpen(self.place.point.clone()))
        }
    }

    /// Ends the connection by the kernel's control file system. Not if a thread has seen its end: the kernel may
    /// have given its number to somebody else's by now.
    fn abort(&self) -> bool {
        let alive = !self.threads.iter().any(JoinHandle::is_finished);
        alive && self.place.abort()
    }

    /// Joins all threads; false if one hasn't ended within the limit.
    fn wait_for_threads(&mut self) -> bool {
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

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("{error}");
        }
    }
}

/// Wakes each loop thread with a request of our own, for where the connection can't be ended from outside: a thread that
/// sees the stop answers what it is at and ends. The last lookup may find no thread; closing the connection frees it.
fn wake(point: PathBuf, loops: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for number in 0..loops {
            let _ = std::fs::symlink_metadata(point.join(format!(".wake-{number}")));
        }
    })
}

/// A thread about to be started.
struct Thread {
    name: String,
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
                shared.answer_all(&mut self.desk)
            } else {
                shared.serve_waiting(&mut self.desk);
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
