//! A character device: the same loop as for a mount, over a connection that shows one file.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use qrng_daemon::Progress;

use super::connection::Connection;
use super::cuse::DeviceError;
use super::serve::{After, Face, Shared};
use super::threads::Crew;
use super::{Awake, Handed, OnEnd, StayAwake};
use crate::tree::{Entry, Tree};

/// The most threads that answer one device: two programs that read much keep two busy, and a device is not all that is served.
const MOST_THREADS: usize = 4;

/// What to serve and how.
#[derive(Clone)]
pub struct DeviceOptions {
    /// The name below /dev.
    pub name: String,
    /// The file that it is.
    pub file: &'static Entry,
    /// Whether processors are kept awake for small reads.
    pub stay_awake: StayAwake,
    /// Where the threads show that they get on.
    pub progress: Arc<Progress>,
    /// Told when a thread ends by itself: the process should then end, too.
    pub on_end: OnEnd,
}

impl std::fmt::Debug for DeviceOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceOptions")
            .field("name", &self.name)
            .field("file", &self.file.name)
            .finish_non_exhaustive()
    }
}

/// A device and the threads that serve it. It is there for as long as this process, or whoever else keeps its connection,
/// lives. Dropped, it tells those who wait (ECONNABORTED), or leaves them to the next run; the threads that answer wait in the
/// kernel, and end with the process.
#[derive(Debug)]
pub struct Device {
    options: DeviceOptions,
    shared: Arc<Shared>,
    /// Whether an earlier run has answered over the same connection.
    resumed: bool,
    crew: Crew,
}

impl Device {
    /// Takes the connection that [`super::make_device`] has made for `options.name`, for [`Device::serve`].
    ///
    /// Reads that wait at the end go on to wait for the next run, if the kernel can ask it for them and
    /// [`Device::survives`] was acted upon; otherwise they fail.
    ///
    /// # Errors
    /// [`DeviceError::NotKept`] if readers of an earlier run could be left waiting for ever; no memory.
    pub fn adopt(
        options: DeviceOptions,
        handed: Handed,
        tree: Arc<Tree>,
    ) -> Result<Self, DeviceError> {
        let (fd, resumed) = match handed {
            Handed::New(fd) => (fd, false),
            Handed::Kept(fd) => (fd, true),
        };
        let connection = Connection::resume(fd);
        // Asked of a new connection too, where nothing waits: it tells whether a later run could ask.
        let after = if connection.resend() {
            After::NextRun
        } else if resumed {
            return Err(DeviceError::NotKept(options.name));
        } else {
            After::Others
        };
        let face = Face::Device(options.file.inode);
        let awake = Awake::open(options.stay_awake);
        let shared = Arc::new(Shared::new(connection, tree, face, after, resumed, awake));
        let loops = std::thread::available_parallelism().map_or(1, usize::from);
        let crew = Crew::new(loops.min(MOST_THREADS)).map_err(DeviceError::Start)?;
        Ok(Self {
            options,
            shared,
            resumed,
            crew,
        })
    }

    /// The connection, for whoever keeps it for the next run; `None` if the next run could not go on with it.
    pub fn survives(&self) -> Option<BorrowedFd<'_>> {
        (self.shared.after == After::NextRun).then(|| self.shared.connection.fd())
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev").join(&self.options.name)
    }

    /// Starts the threads that serve it, until it is dropped.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn serve(&mut self) -> Result<(), DeviceError> {
        let file = self.options.file.name;
        let parked = format!("{file}-parked");
        let (progress, on_end) = (&self.options.progress, &self.options.on_end);
        self.crew
            .start((file, &parked), &self.shared, progress, on_end)
            .map_err(DeviceError::Start)?;
        if self.resumed {
            // The device itself cannot be asked for the latest number: a confined gateway may not open it.
            self.shared.wake_earlier();
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.tree.buffer().alert();
        self.crew.wait_for_parked();
    }
}
