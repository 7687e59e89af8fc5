//! Noise sources: where random bytes come from.
//!
//! | Driver | Reads | Kind |
//! |---|---|---|
//! | [`simulator`] | nothing: a generator seeded from the kernel | always `simulator` |
//! | [`node`] | a character device or a file | `kernel-node` |

use std::time::Instant;

use qrng::report::Kind;
use thiserror::Error;

pub mod node;
pub mod simulator;

pub use node::Node;
pub use simulator::Simulator;

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

/// Why a read gave no bytes, and so what to do next.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The source failed. Read again after a pause: the driver then opens its device anew.
    #[error("{0}")]
    Retry(String),
    /// There is no more, as at the end of a regular file. Do not read again.
    #[error("the source is at its end")]
    Ended,
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

    /// Wipes what was read ahead and not yet fetched. For a source that was left alone, whose
    /// bytes are no news.
    fn forget(&mut self) {}
}
