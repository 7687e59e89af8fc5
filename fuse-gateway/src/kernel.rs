//! The mount and the character devices: one loop answers the kernel's requests of all of them.
//!
//! ```text
//! kernel ── request ──> fuse-0, fuse-1 ... ── bytes there? ──> answer, straight from the buffer's memory
//!                            │ no
//!                            └──> waiting ── thread `parked`, when bytes come ──> answer
//! ```
//!
//! `abi` parses and builds the kernel's structs, `connection` reads and writes them, `serve` answers, `waiting` holds the
//! readers that wait, `eager` keeps a thread awake for who asks often and `awake` the processors, `threads` starts and ends them,
//! `mount` mounts (fuser negotiates) and unmounts, `cuse` makes a device and `device` serves it, and `errno` turns errors into numbers.

mod abi;
mod awake;
mod connection;
mod cuse;
mod device;
mod eager;
mod errno;
mod mount;
mod serve;
mod threads;
mod waiting;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qrng_daemon::Progress;
use thiserror::Error;

use self::awake::Awake;
pub use self::awake::StayAwake;
use self::connection::Connection;
pub use self::cuse::{DeviceError, make as make_device};
pub use self::device::{Device, DeviceOptions};
use self::mount::{Fresh, Place};
pub use self::mount::{MountError, settle as fit_to_mount_on};
use self::serve::{After, Face, Shared};
use self::threads::Crew;
use crate::buffer::MAX_CLAIM;
use crate::tree::Tree;

/// The largest read that is answered, in bytes.
const MAX_READ: usize = MAX_CLAIM;

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
    /// Whether processors are kept awake for small reads.
    pub stay_awake: StayAwake,
    /// Where the threads show that they get on.
    pub progress: Arc<Progress>,
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

/// A connection that somebody else has made. Where it is mounted is not this process's to undo: it never unmounts then.
#[derive(Debug)]
pub enum Handed {
    /// Mounted a moment ago: nothing has been negotiated yet.
    New(OwnedFd),
    /// Kept from an earlier run, whose readers may still wait.
    Kept(OwnedFd),
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
    /// Somebody else ended the connection: unmounted the file system, or aborted it by the kernel's control file system.
    #[error("the connection was ended, or the file system unmounted, by somebody else")]
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
    options: MountOptions,
    /// Whether an earlier run has answered over the same connection.
    resumed: bool,
    crew: Crew,
}

impl Mount {
    /// Mounts `tree` and serves it until [`Mount::stop`].
    ///
    /// # Errors
    /// As [`Mount::new`] and [`Mount::serve`].
    pub fn start(options: MountOptions, tree: Arc<Tree>) -> Result<Self, MountError> {
        let mut mount = Self::new(options, tree)?;
        mount.serve()?;
        Ok(mount)
    }

    /// Mounts `tree`, for [`Mount::serve`].
    ///
    /// A dead mount of an earlier gateway at the same place is removed first; a live one is an error.
    ///
    /// # Errors
    /// See [`MountError`]; nothing stays mounted then.
    pub fn new(options: MountOptions, tree: Arc<Tree>) -> Result<Self, MountError> {
        let fresh = mount::mount(&options.point, options.allow_other)?;
        Self::prepare(options, tree, fresh, After::Nobody, false)
    }

    /// Takes a connection that somebody else has made, for [`Mount::serve`].
    ///
    /// Reads that wait then go on to wait for the next run, if the kernel can ask it for them and [`Mount::survives`] was
    /// acted upon; otherwise they fail.
    ///
    /// # Errors
    /// [`MountError::NotKept`] if readers of an earlier run could be left waiting for ever, and what the kernel says.
    pub fn adopt(
        options: MountOptions,
        handed: Handed,
        tree: Arc<Tree>,
    ) -> Result<Self, MountError> {
        let refused = |e| MountError::Refused(options.point.clone(), e);
        let kept = matches!(handed, Handed::Kept(_));
        let connection = match handed {
            Handed::New(fd) => Connection::begin(fd, mount::acl(options.allow_other)),
            Handed::Kept(fd) => Ok(Connection::resume(fd)),
        }
        .map_err(refused)?;
        let place = Place::at(options.point.clone());
        // Asked of a new connection too, where nothing waits: it tells whether a later run could ask.
        let resends = connection.resend();
        if kept && !(resends && place.is_ours()) {
            return Err(MountError::NotKept(options.point));
        }
        let after = if resends {
            After::NextRun
        } else {
            After::Others
        };
        Self::prepare(options, tree, Fresh { connection, place }, after, kept)
    }

    /// The connection, for whoever keeps it for the next run; `None` if the next run could not go on with it.
    pub fn survives(&self) -> Option<BorrowedFd<'_>> {
        let shared = self.shared.as_deref()?;
        (shared.after == After::NextRun).then(|| shared.connection.fd())
    }

    /// Whether an earlier run has served it, whose readers go on.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// All but the threads.
    fn prepare(
        options: MountOptions,
        tree: Arc<Tree>,
        fresh: Fresh,
        after: After,
        resumed: bool,
    ) -> Result<Self, MountError> {
        let loops = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let crew = Crew::new(loops).map_err(MountError::Start)?;
        let awake = Awake::open(options.stay_awake);
        let (connection, face) = (fresh.connection, Face::Mount);
        let shared = Arc::new(Shared::new(connection, tree, face, after, resumed, awake));
        Ok(Self {
            place: fresh.place,
            shared: Some(shared),
            options,
            resumed,
            crew,
        })
    }

    /// Starts the threads that serve it, until [`Mount::stop`].
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn serve(&mut self) -> Result<(), MountError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let (progress, on_end) = (&self.options.progress, &self.options.on_end);
        // If one can't be started, the end unmounts and ends the others.
        self.crew
            .start(("fuse", "parked"), shared, progress, on_end)
            .map_err(MountError::Start)?;
        if self.resumed {
            ask_about_pollers(self.place.point.clone());
        }
        Ok(())
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
        if shared.after != After::Nobody {
            // The threads of the loop wait in the kernel, and end with the process.
            self.crew.wait_for_parked();
            return Ok(());
        }
        let ours = self.place.is_ours();
        let mut waker = None;
        let mut unmounted = Ok(());
        if ours && mount::is_root() {
            unmounted = self.place.unmount();
        } else if !self.abort() && ours {
            waker = Some(wake(self.place.point.clone(), self.crew.loops));
        }
        let ended = self.crew.wait_for_all();
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
        self.crew.is_whole() && self.place.abort()
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

/// Polls a file of the mount, for the number that the kernel has given to its latest open file: all who polled files
/// before, and wait to be woken by a gateway that is gone, are then woken to ask again. If it can't be, the first other
/// process that polls does the same.
fn ask_about_pollers(point: PathBuf) {
    std::thread::spawn(move || {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(O_NONBLOCK);
        match options.open(point.join("README")) {
            Ok(file) => {
                let mut fds = [PollFd::new(
                    std::os::fd::AsFd::as_fd(&file),
                    PollFlags::POLLIN,
                )];
                let _ = poll(&mut fds, PollTimeout::ZERO);
            }
            Err(e) => log::debug!("pollers of the last run are woken by the next poll: {e}"),
        }
    });
}
