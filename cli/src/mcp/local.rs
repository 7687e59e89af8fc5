//! Bytes of the gateway of this host.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qrng_consumer::Consumer;
use qrng_mcp::{NoBytes, Provenance, Supply};

use super::WAIT;

/// The files of a mount.
pub(super) struct Files {
    mount: PathBuf,
}

impl Files {
    pub(super) fn new(mount: &Path) -> Self {
        Self {
            mount: mount.to_path_buf(),
        }
    }

    fn read(&self, out: &mut [u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.mount.join("raw"))?;
        let until = Instant::now() + WAIT;
        let mut had = 0;
        while had < out.len() {
            match file.read(&mut out[had..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => had += more,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    wait(&file, left)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn words(&self, error: &io::Error) -> String {
        let mount = self.mount.display();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => format!(
                "no gateway serves {mount}: start qrng-gateway, or name its directory with --mount or its socket with --stream"
            ),
            ErrorKind::TimedOut => format!(
                "the gateway at {mount} has too few bytes, and none came in {} s: see `qrng status`, or ask for less",
                WAIT.as_secs()
            ),
            _ => format!("the gateway at {mount} gives no bytes ({error}): see `qrng status`"),
        }
    }
}

impl Supply for Files {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        self.read(out).map_err(|error| {
            qrng::wipe(out);
            NoBytes(self.words(&error))
        })
    }

    fn provenance(&self) -> Provenance {
        let path = self.mount.join("status");
        match fs::read(&path) {
            Ok(document) => Provenance::of_status(&document),
            Err(e) => Provenance::unknown(format!("{} cannot be read: {e}", path.display())),
        }
    }
}

fn wait(file: &fs::File, limit: Duration) -> io::Result<()> {
    let ms = u16::try_from(limit.as_millis() + 1).unwrap_or(u16::MAX);
    let mut events = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut events, PollTimeout::from(ms))?;
    Ok(())
}

/// A stream socket.
pub(super) struct Socket {
    path: PathBuf,
    /// Made at the first use: a model's client starts this program whether or not a gateway runs yet.
    consumer: Mutex<Option<Consumer>>,
}

impl Socket {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            consumer: Mutex::default(),
        }
    }

    fn with<T>(
        &self,
        with: impl FnOnce(&mut Consumer) -> Result<T, qrng_consumer::ConsumerError>,
    ) -> Result<T, String> {
        // A consumer that failed half-way connects anew by itself.
        let mut held = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = match &mut *held {
            Some(consumer) => consumer,
            none => none.insert(Consumer::connect(&self.path).map_err(|e| e.to_string())?),
        };
        with(consumer).map_err(|e| e.to_string())
    }
}

impl Supply for Socket {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        self.with(|consumer| consumer.take(out, Some(WAIT)))
            .map_err(NoBytes)
    }

    fn provenance(&self) -> Provenance {
        match self.with(Consumer::status) {
            Ok(document) => Provenance::of_status(&document),
            Err(words) => Provenance::unknown(words),
        }
    }
}
