//! Noise sources: where random bytes come from.
//!
//! | Driver | Reads | Kind |
//! |---|---|---|
//! | [`simulator`] | nothing: a generator seeded from the kernel | always `simulator` |
//! | [`node`] | a character device or a file | `kernel-node` |
//! | [`pcie`] | a PCI or PCIe card with generator modules, without a driver of the kernel | `pcie-module` |
//! | [`xdma`] | a PCIe card with generator chips, by DMA, without a driver of the vendor's | `pcie-chip` |
//! | [`usb`] | a card on the USB | `usb` |
//! | [`appliance`] | appliances, over HTTPS | `appliance` |
//!
//! Devices whose calls may hang are read through [`ahead`], by a thread of their own.

use std::collections::BTreeMap;
use std::time::Instant;

use qrng::report::Kind;
use thiserror::Error;

pub mod ahead;
pub mod appliance;
pub mod node;
pub mod pcie;
pub mod simulator;
pub mod usb;
pub mod xdma;

pub use appliance::Appliances;
pub use pcie::Pcie;
pub use simulator::Simulator;
pub use xdma::Xdma;

/// What a noise source is, as gateways and their readers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The kind of device.
    pub kind: Kind,
    /// A name for people: what the configuration says, or what the driver knows.
    pub name: String,
    /// The device's serial number, if it tells one. Never an invented one.
    pub serial: Option<String>,
}

/// What was wrong when a source failed: each has a counter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It cannot be opened: it is not there, not permitted, or belongs to somebody else.
    Unavailable,
    /// It was there and is gone: unplugged, or it reads as all ones.
    Gone,
    /// It says of itself that it does not work: no healthy module, status 0.
    Unhealthy,
    /// It gave nothing within its deadline.
    Silent,
    /// It gave less than a whole transfer.
    Short,
    /// It gave something that is no random bytes: a page of text, a wrong length, all bytes equal.
    Nonsense,
    /// Any other error of reading.
    Io,
}

impl Fault {
    /// Its name, as in status documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Gone => "gone",
            Self::Unhealthy => "unhealthy",
            Self::Silent => "silent",
            Self::Short => "short",
            Self::Nonsense => "nonsense",
            Self::Io => "io",
        }
    }
}

/// A failure of a source that may end by itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Failure {
    /// What it counts as.
    pub fault: Fault,
    /// What happened and how to mend it, for a person.
    pub text: String,
}

impl Failure {
    /// A failure that counts as `fault`, told as `text`.
    pub fn new(fault: Fault, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { fault, text }
    }
}

/// What a device says of itself, as numbers by name, such as the mask of its healthy modules. Only what the device gives:
/// none is derived or invented.
pub type Sensors = BTreeMap<&'static str, u64>;

/// One of several devices that a source is made of, and how it is doing. It may fail without the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What tells it from the others, such as its address.
    pub name: String,
    /// Bytes that it gave.
    pub bytes: u64,
    /// How often it failed, by what was wrong.
    pub faults: BTreeMap<Fault, u64>,
    /// Why it gives nothing now, if so.
    pub error: Option<String>,
}

impl Part {
    /// One of which nothing is known yet.
    pub fn new(name: String) -> Self {
        Self {
            name,
            bytes: 0,
            faults: BTreeMap::new(),
            error: None,
        }
    }
}

/// Why a read gave no bytes, and so what to do next.
#[derive(Debug, Clone, Error)]
pub enum SourceError {
    /// The source failed. Read again after a pause: the driver then opens its device anew.
    #[error(transparent)]
    Retry(#[from] Failure),
    /// There is no more, as at the end of a regular file. Do not read again.
    #[error("the source is at its end")]
    Ended,
    /// There is no more because of an error, as of a regular file, which must not be begun anew. Do
    /// not read again; the process goes on.
    #[error("{0}; it is not begun anew, because its bytes would be sent twice")]
    Lost(String),
    /// The driver itself is broken; the process cannot go on.
    #[error("{0}")]
    Broken(String),
}

/// A source of random bytes.
///
/// A read waits for a full buffer, but never beyond its deadline, whatever the device does: a
/// device that hangs gives silence (0 bytes), not a thread that waits for ever. Bytes that were
/// read before a failure are handed out first, and the failure is told by the next read.
pub trait NoiseSource: Send {
    /// What this source is.
    fn identity(&self) -> &Identity;

    /// Reads noise into the front of `buffer` and says how many bytes there are: the whole
    /// buffer, or what came before `deadline`, perhaps nothing.
    ///
    /// # Errors
    /// See [`SourceError`], which also says what to do.
    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError>;

    /// Waits until a read would not give nothing, but not beyond `deadline`. For the time in which
    /// a source is silent, so that nobody needs to read it again and again.
    fn wait(&mut self, deadline: Instant);

    /// What the device said of itself when it was last asked. Asking it costs a read, so a driver asks at its own pace and
    /// answers from memory here.
    fn sensors(&self) -> Sensors {
        Sensors::new()
    }

    /// The devices that it is made of, if it is made of several.
    fn parts(&self) -> Vec<Part> {
        Vec::new()
    }

    /// Wipes what was read ahead and not yet fetched. For a source that was left alone, whose
    /// bytes are no news.
    fn forget(&mut self) {}
}
