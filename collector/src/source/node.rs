//! A character device, named pipe or file as a noise source.
//!
//! ```text
//!  node thread: read(fd) -> backlog (256 KiB) -> NoiseSource::read, with a deadline
//! ```
//!
//! The vendor's driver of the chip cards has no poll, and its reads can hang for ever, so a
//! thread of its own reads the device. Nobody waits for that thread, neither a read of the source
//! (which has a deadline) nor the end of the process.
//!
//! Devices are read at most 4096 bytes at a time into a zeroed buffer, because a longer read of
//! that driver leaves a stale tail. When the backlog is full the device is not read: its own FIFO
//! then overflows and nothing stale is kept here.
//!
//! A device that fails is opened anew. A regular file is not: it would begin anew too, and its bytes
//! would be sent a second time. So an error of a file is its end.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qrng::report::Kind;
use zeroize::Zeroizing;

mod backlog;

use backlog::Backlog;

use super::{Failure, Fault, Identity, NoiseSource, SourceError};

/// The longest read of a device, in bytes.
const DEVICE_READ: usize = 4096;
/// The longest read of a regular file, in bytes.
const FILE_READ: usize = 64 * 1024;
/// Bytes read ahead at most.
const BACKLOG: usize = 256 * 1024;
/// How long the start of the process waits to learn whether the device opens.
const OPEN_WAIT: Duration = Duration::from_secs(2);

/// A device node or file.
pub struct Node {
    identity: Identity,
    shared: Arc<Shared>,
}

impl Node {
    /// Opens `path` and starts to read it.
    ///
    /// # Errors
    /// There is no such file, it is a directory, a block device or a socket, or it cannot be
    /// opened. An open that hangs is no error: the source is then silent.
    pub fn open(name: &str, path: &Path) -> io::Result<Self> {
        if vet(path)?.is_file() {
            log::warn!(
                "{} is a regular file, which is for trials: it is sent once, \
                 but from its beginning again whenever the collector starts",
                path.display()
            );
        }
        let shared = Arc::new(Shared::default());
        let (own, own_path) = (Arc::clone(&shared), path.to_path_buf());
        thread::Builder::new()
            .name("node".into())
            .spawn(move || Reader::new(own_path, own).run())?;
        let node = Self {
            identity: Identity {
                kind: Kind::KernelNode,
                name: name.to_owned(),
                serial: None,
            },
            shared,
        };
        node.wait_for_open()?;
        Ok(node)
    }

    /// Waits until the device is open, has failed to open, or [`OPEN_WAIT`] is over.
    fn wait_for_open(&self) -> io::Result<()> {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .arrived
            .wait_timeout_while(state, OPEN_WAIT, |s| matches!(s.phase, Phase::Opening))
            .unwrap_or_else(PoisonError::into_inner);
        match &state.phase {
            Phase::Failed(e) if !state.opened => Err(io::Error::new(e.kind(), e.to_string())),
            _ => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
    }
}

impl NoiseSource for Node {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        let mut state = self.shared.wait_for(buffer.len(), deadline);
        let count = state.backlog.take(buffer);
        if count > 0 || state.phase.goes_on() {
            self.shared.room.notify_all();
            return Ok(count);
        }
        match &state.phase {
            Phase::Ended => Err(SourceError::Ended),
            Phase::Lost(e) => Err(SourceError::Lost(e.to_string())),
            Phase::Failed(e) => {
                let error = Failure::new(fault(e), e.to_string()).into();
                state.phase = Phase::Paused;
                Err(error)
            }
            _ => Err(SourceError::Broken("the node's thread has died".into())),
        }
    }

    fn wait(&mut self, deadline: Instant) {
        drop(self.shared.wait_for(1, deadline));
    }

    fn forget(&mut self) {
        self.shared.lock().backlog.clear();
        self.shared.room.notify_all();
    }
}

/// Refuses what cannot be a noise source, and says what it is.
fn vet(path: &Path) -> io::Result<FileType> {
    let kind = fs::metadata(path)?.file_type();
    let wrong = if kind.is_dir() {
        "is a directory"
    } else if kind.is_block_device() {
        "is a block device"
    } else if kind.is_socket() {
        "is a socket"
    } else {
        return Ok(kind);
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{wrong}, not a character device or file"),
    ))
}

/// What an error of the device counts as.
fn fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Fault::Unavailable,
        _ => Fault::Io,
    }
}

/// How far the reading thread is.
#[derive(Debug, Default)]
enum Phase {
    /// Opening, at first or anew.
    #[default]
    Opening,
    /// Reading.
    Reading,
    /// Failed; the next read of the source tells it.
    Failed(io::Error),
    /// Failed and told: waits to be asked again.
    Paused,
    /// A regular file is at its end.
    Ended,
    /// A regular file can't be read on.
    Lost(io::Error),
    /// The reading thread is gone.
    Dead,
}

impl Phase {
    /// Whether more bytes may come by themselves.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Opening | Self::Reading)
    }
}

/// What the reading thread and the source tell each other.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// To the source: the bytes that it wants are there, or the phase has changed.
    arrived: Condvar,
    /// To the thread: there is room, the source wants it to try again, or it is gone.
    room: Condvar,
}

struct State {
    backlog: Backlog,
    phase: Phase,
    /// How many bytes the source waits for; more than can be if it does not wait.
    wanted: usize,
    /// Whether the device was ever open.
    opened: bool,
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            backlog: Backlog::new(BACKLOG),
            phase: Phase::Opening,
            wanted: usize::MAX,
            opened: false,
            closed: false,
        }
    }
}

impl Shared {
    /// The state; a panic elsewhere cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        state.opened |= matches!(phase, Phase::Reading);
        state.phase = phase;
        drop(state);
        self.arrived.notify_all();
    }

    /// Waits until `count` bytes are there (or half of what can be), no more come by themselves,
    /// or `deadline`. Lets the thread try again after a failure that was told.
    fn wait_for(&self, count: usize, deadline: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Paused) {
            state.phase = Phase::Opening;
            self.room.notify_all();
        }
        let wanted = count.min(BACKLOG / 2);
        while state.backlog.len() < wanted && state.phase.goes_on() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wanted = wanted;
            state = self
                .arrived
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.wanted = usize::MAX;
        state
    }

    /// Hands over `bytes`, waiting for room. False: the source is gone.
    fn put(&self, bytes: &[u8]) -> bool {
        let mut state = self
            .room
            .wait_while(self.lock(), |s| s.backlog.room() < bytes.len() && !s.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.backlog.put(bytes);
        if state.backlog.len() >= state.wanted {
            self.arrived.notify_all();
        }
        true
    }

    /// Waits until the source asks for another try. False: the source is gone.
    fn wait_for_retry(&self) -> bool {
        let state = self
            .room
            .wait_while(self.lock(), |s| !s.phase.goes_on() && !s.closed)
            .unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }
}

/// Why the reading thread stops for ever.
enum Stop {
    /// A regular file is at its end, or can't be read on because of this error.
    File(Option<io::Error>),
    /// The source is gone.
    Closed,
}

/// The reading thread.
struct Reader {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Reader {
    fn new(path: PathBuf, shared: Arc<Shared>) -> Self {
        Self { path, shared }
    }

    fn run(self) {
        loop {
            match self.read_until_end() {
                Ok(Stop::File(None)) => return self.shared.enter(Phase::Ended),
                Ok(Stop::File(Some(e))) => return self.shared.enter(Phase::Lost(e)),
                Ok(Stop::Closed) => return,
                Err(e) => self.shared.enter(Phase::Failed(e)),
            }
            if !self.shared.wait_for_retry() {
                return;
            }
        }
    }

    /// Reads until there is a reason to stop for ever; an error is a reason to open anew.
    fn read_until_end(&self) -> io::Result<Stop> {
        let mut file = File::open(&self.path)?;
        let regular = file.metadata()?.is_file();
        self.shared.enter(Phase::Reading);
        let size = if regular { FILE_READ } else { DEVICE_READ };
        let mut buffer = Zeroizing::new(vec![0; size]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) if regular => return Ok(Stop::File(None)),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    if !self.shared.put(&buffer[..n]) {
                        return Ok(Stop::Closed);
                    }
                    buffer[..n].fill(0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if regular => return Ok(Stop::File(Some(e))),
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !matches!(self.shared.lock().phase, Phase::Ended | Phase::Lost(_)) {
            self.shared.enter(Phase::Dead);
        }
    }
}

#[cfg(test)]
mod tests;
