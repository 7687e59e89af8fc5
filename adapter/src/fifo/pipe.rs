//! The pipe's file: made with the right owner and mode before anybody can open it, in place of one that a dead process left; and
//! what lies in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{chown, mkfifo};
use thiserror::Error;

use crate::config::FifoConfig;

/// The most bytes that lie in it: a pipe takes so many at once or not at all (PIPE_BUF, pipe(7)), and they fill one page.
pub const MOST: usize = 4096;

/// The size of the pipe.
const ONE_PAGE: FcntlArg<'_> = FcntlArg::F_SETPIPE_SZ(MOST as i32);

/// Why there is no pipe.
#[derive(Debug, Error)]
pub enum PipeError {
    /// Somebody feeds it.
    #[error(
        "{0} is fed already: another adapter runs here; stop it, or set `fifo.path` to another path"
    )]
    Alive(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no named pipe: remove it, or set `fifo.path` to another path")]
    NotAPipe(PathBuf),
    /// The group can't be set.
    #[error(
        "{0} cannot be given to its group: {1}; make the adapter's user a member of it, or leave `fifo.group` out"
    )]
    Group(PathBuf, #[source] io::Error),
    /// The kernel refuses.
    #[error(
        "{0} cannot be made: {1}; make its directory so that the adapter may write there, or set `fifo.path` to another path"
    )]
    Refused(PathBuf, #[source] io::Error),
}

/// A named pipe that this process feeds.
#[derive(Debug)]
pub(super) struct Pipe {
    path: PathBuf,
    inode: u64,
    /// Both of its ends. The lock on it tells others that it is fed.
    ends: Flock<File>,
    state: Mutex<State>,
    /// Rings when a portion has been dealt with.
    done: Condvar,
}

/// What the feeder and whoever closes the pipe must agree on.
#[derive(Debug)]
struct State {
    /// Whether something may be put into it.
    open: bool,
    /// Whether a portion is being taken, put in and counted.
    busy: bool,
}

/// How long the end waits for a portion that is being taken: longer than a feeder waits for one.
const PATIENCE: Duration = Duration::from_secs(2);

impl Pipe {
    /// Makes it. What a dead process left there is replaced, and what lies in that destroyed.
    ///
    /// # Errors
    /// See [`PipeError`].
    pub(super) fn make(config: &FifoConfig) -> Result<Self, PipeError> {
        let path = &config.path;
        let refused = |e| PipeError::Refused(path.clone(), e);
        // Two that start at once must not replace each other's.
        let _turn = turn(path).map_err(refused)?;
        let old = free(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
        // Of an earlier process with this number.
        let _ = fs::remove_file(&fresh);
        let made = prepare(&fresh, config);
        let made = made.and_then(|made| {
            fs::rename(&fresh, path).map_err(refused)?;
            Ok(made)
        });
        if made.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        let (ends, inode) = made?;
        if let Some(old) = old {
            drain(&old);
        }
        Ok(Self {
            path: path.clone(),
            inode,
            ends,
            state: Mutex::new(State {
                open: true,
                busy: false,
            }),
            done: Condvar::new(),
        })
    }

    /// Waits until nothing lies in it, at most for `limit`, and says whether that is so.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub(super) fn is_drained(&self, limit: Duration) -> io::Result<bool> {
        // A pipe of one page can be written to when that page is free. Whoever reads could have made it larger (pipe(7)).
        if fcntl(self.ends.as_fd(), FcntlArg::F_GETPIPE_SZ) != Ok(MOST as i32) {
            match fcntl(self.ends.as_fd(), ONE_PAGE) {
                Ok(_) => {}
                // More lies in it than fits.
                Err(Errno::EBUSY) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        let mut events = [PollFd::new(self.ends.as_fd(), PollFlags::POLLOUT)];
        let ms = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut events, PollTimeout::from(ms)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// A portion is going to be taken, until [`Pipe::done`]; false: there must be none any more.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.lock();
        state.busy = state.open;
        state.open
    }

    /// The portion has been dealt with.
    pub(super) fn done(&self) {
        self.lock().busy = false;
        self.done.notify_all();
    }

    /// Puts a portion into it, whole or not at all; false if it is closed, or has no room because somebody else has written.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn put(&self, portion: &[u8]) -> io::Result<bool> {
        let state = self.lock();
        if !state.open {
            return Ok(false);
        }
        match (&*self.ends).write(portion) {
            Ok(len) => Ok(len == portion.len()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Destroys what lies in it; how many bytes.
    pub(super) fn drain(&self) -> usize {
        let _state = self.lock();
        drain(&self.ends)
    }

    /// Nothing is put into it from now on; removes it, and destroys what lies in it: how many bytes. What is being taken is waited for,
    /// so that all is counted.
    pub(super) fn close(&self) -> usize {
        let mut state = self.lock();
        state.open = false;
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| found.ino() == self.inode)
            && let Err(e) = fs::remove_file(&self.path)
        {
            log::warn!("{} is left behind: {e}", self.path.display());
        }
        let state = self
            .done
            .wait_timeout_while(state, PATIENCE, |state| state.busy);
        drop(state);
        drain(&self.ends)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to make a pipe in this directory; over when dropped.
fn turn(path: &Path) -> io::Result<Flock<File>> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
}

/// Whether the path is free; or the pipe there that nobody feeds any more.
fn free(path: &Path) -> Result<Option<Flock<File>>, PipeError> {
    let refused = |e| PipeError::Refused(path.to_path_buf(), e);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refused(e)),
    };
    if !found.file_type().is_fifo() {
        return Err(PipeError::NotAPipe(path.to_path_buf()));
    }
    let old = open(path).map_err(refused)?;
    match Flock::lock(old, FlockArg::LockExclusiveNonblock) {
        Ok(old) => Ok(Some(old)),
        Err((_, Errno::EWOULDBLOCK)) => Err(PipeError::Alive(path.to_path_buf())),
        Err((_, e)) => Err(refused(e.into())),
    }
}

/// Makes the pipe under another name: its ends, locked, and its inode.
fn prepare(file: &Path, config: &FifoConfig) -> Result<(Flock<File>, u64), PipeError> {
    let refused = |e| PipeError::Refused(config.path.clone(), e);
    mkfifo(file, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| refused(e.into()))?;
    if let Some(group) = config.group {
        chown(file, None, Some(group))
            .map_err(|e| PipeError::Group(config.path.clone(), e.into()))?;
    }
    let ends = open(file).map_err(refused)?;
    fcntl(&ends, ONE_PAGE).map_err(|e| refused(e.into()))?;
    let inode = ends.metadata().map_err(refused)?.ino();
    let ends = Flock::lock(ends, FlockArg::LockExclusiveNonblock);
    let ends = ends.map_err(|(_, e)| refused(e.into()))?;
    // Last: until now nobody else could open it.
    fs::set_permissions(file, fs::Permissions::from_mode(config.mode)).map_err(refused)?;
    Ok((ends, inode))
}

/// Both ends of a named pipe, without waiting for anybody (fifo(7)).
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits())
        .open(path)
}

/// Reads until nothing is there.
fn drain(mut ends: &File) -> usize {
    let mut room = [0; MOST];
    let mut count = 0;
    loop {
        match ends.read(&mut room) {
            Ok(0) => break,
            Ok(len) => count += len,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    qrng::wipe(&mut room);
    count
}
