//! Reading ahead: a device whose calls may block, as a noise source whose reads do not.
//!
//! ```text
//!  own thread: Device::open, Stream::read ... -> backlog (256 KiB) -> NoiseSource::read, with a deadline
//! ```
//!
//! Nobody waits for that thread, neither a read of the source nor the end of the process. A driver implements
//! [`Device`] and [`Stream`], whose calls may take as long as they like; [`Ahead`] is the source.
//!
//! When the backlog is full the device is not read: its own FIFO then overflows, and nothing stale is kept here. A
//! device that fails is opened anew when the source is read again.
//!
//! # A call that does not return
//! A call that takes longer than [`Device::patience`] or [`Stream::patience`] is told once, as [`Fault::Silent`]. If the
//! device has [spares](Device::spares), the thread is then left behind and another one opens the device anew; never more
//! than so many hang at once. Bytes that a thread left behind still gets are wiped. Without a spare the thread stays, and
//! its bytes are served as soon as the call returns.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

mod backlog;
mod shared;

use super::{Failure, Fault, Identity, NoiseSource, Sensors, SourceError};
use shared::Shared;

/// The most that [`Stream::longest_read`] may be, in bytes.
pub const LONGEST_READ: usize = 64 * 1024;
/// How long the start of the process waits to learn whether the device opens.
const OPEN_WAIT: Duration = Duration::from_secs(2);
/// How often a device is asked what it says of itself, while it is read.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A device that can be opened again and again, perhaps while an earlier call hangs.
pub trait Device: Send + Sync + 'static {
    /// Its name in a list of threads, 15 bytes at most.
    fn thread(&self) -> &'static str;

    /// How long [`Self::open`] may take before it counts as hanging: more than it ever needs.
    fn patience(&self) -> Duration;

    /// How many threads at most may be left behind in calls that hang, each for another try. 0 for a device that can be
    /// open but once.
    fn spares(&self) -> usize {
        0
    }

    /// Opens the device, at first or anew. May block.
    ///
    /// # Errors
    /// [`SourceError::Retry`] where another try makes sense.
    fn open(&self) -> Result<Box<dyn Stream>, SourceError>;
}

/// An open device. It is closed by dropping it, in the thread that opened it.
pub trait Stream {
    /// How long one of the calls below may take before it counts as hanging: more than they ever need.
    fn patience(&self) -> Duration;

    /// The most bytes that one read asks for, [`LONGEST_READ`] at most.
    fn longest_read(&self) -> usize;

    /// Reads into the front of `buffer`, which is [`Self::longest_read`] zeros, and says how many bytes there are. May
    /// block. No bytes are no failure.
    ///
    /// # Errors
    /// Nothing of `buffer` is used then. After [`SourceError::Retry`] the device is closed, and opened anew.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError>;

    /// The device's serial number, if it told one when it was opened.
    fn serial(&self) -> Option<&str> {
        None
    }

    /// Asks the device what it says of itself: after opening, and about once a second between reads. May block.
    ///
    /// # Errors
    /// As of [`Self::read`]. What is in `sensors` counts all the same.
    fn ask(&mut self, sensors: &mut Sensors) -> Result<(), SourceError> {
        let _ = sensors;
        Ok(())
    }
}

/// A noise source that is read ahead by a thread of its own.
pub struct Ahead {
    identity: Identity,
    device: Arc<dyn Device>,
    shared: Arc<Shared>,
}

impl Ahead {
    /// Opens `device` and starts to read it. The serial number is the one that the device tells, if it tells one in time;
    /// from then on a device that tells another is refused.
    ///
    /// # Errors
    /// It cannot be opened. An open that hangs is no error: the source is then silent.
    pub fn start(identity: Identity, device: impl Device) -> Result<Self, SourceError> {
        let mut ahead = Self {
            identity,
            shared: Arc::new(Shared::new(device.patience())),
            device: Arc::new(device),
        };
        ahead.spawn(0)?;
        let serial = ahead.shared.wait_for_open(OPEN_WAIT)?;
        ahead.identity.serial = serial.or(ahead.identity.serial.take());
        Ok(ahead)
    }

    /// Starts the thread number `generation`.
    fn spawn(&self, generation: u64) -> Result<(), SourceError> {
        let reader = Reader {
            device: Arc::clone(&self.device),
            shared: Arc::clone(&self.shared),
            generation,
        };
        let thread = thread::Builder::new().name(self.device.thread().into());
        match thread.spawn(move || reader.run()) {
            Ok(_) => Ok(()),
            Err(e) => Err(SourceError::Broken(format!("no thread can read it: {e}"))),
        }
    }

    /// Leaves the thread behind if its hang was told and there is a spare.
    fn replace_hanging(&self) -> Result<(), SourceError> {
        match self.shared.leave_behind(self.device.spares()) {
            Some(generation) => self.spawn(generation),
            None => Ok(()),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl NoiseSource for Ahead {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        self.replace_hanging()?;
        self.shared.take(buffer, deadline)
    }

    fn wait(&mut self, deadline: Instant) {
        self.shared.wait(deadline);
    }

    fn sensors(&self) -> Sensors {
        self.shared.sensors()
    }

    fn forget(&mut self) {
        self.shared.forget();
    }
}

/// The reading thread.
struct Reader {
    device: Arc<dyn Device>,
    shared: Arc<Shared>,
    generation: u64,
}

impl Reader {
    fn run(self) {
        while let Err(error) = self.read_on() {
            if !self.shared.stop(self.generation, error) {
                return;
            }
        }
    }

    /// Opens the device and reads it until it fails. Ok: nobody wants its bytes any more.
    fn read_on(&self) -> Result<(), SourceError> {
        let mut stream = self.device.open()?;
        let patience = stream.patience();
        if !self
            .shared
            .open(self.generation, stream.serial(), patience)?
        {
            return Ok(());
        }
        let length = stream.longest_read().min(LONGEST_READ);
        let mut buffer = Zeroizing::new(vec![0; length]);
        let mut next_ask = Instant::now();
        loop {
            if Instant::now() >= next_ask {
                let mut sensors = Sensors::new();
                let answer = stream.ask(&mut sensors);
                self.shared.tell(self.generation, sensors);
                answer?;
                next_ask = Instant::now() + ASK_EVERY;
            }
            buffer.fill(0);
            let count = stream.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count) else {
                return Err(too_many(count, length).into());
            };
            if !self.shared.put(self.generation, bytes) {
                return Ok(());
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.ended(self.generation);
    }
}

/// A device claims more bytes than it was asked for: what is in the buffer cannot be trusted.
fn too_many(count: usize, length: usize) -> Failure {
    Failure::new(
        Fault::Nonsense,
        format!("a read of {length} bytes claims to have given {count}"),
    )
}

#[cfg(test)]
mod tests;
