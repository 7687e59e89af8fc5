//! Where the bytes come from: the gateway, like for any other program.
//!
//! A supply only moves bytes. What is done with them, and who waits for them, is in [`pool`](crate::pool).

mod mount;
mod stream;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use mount::Mount;
pub use stream::Stream;

/// Most bytes that are taken at once.
pub const BLOCK: usize = 64 * 1024;

/// Why there are no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBytes {
    /// The gateway's buffer is empty: there will be some.
    #[error("the gateway's buffer is empty")]
    Empty,
    /// The gateway refuses: a health test has latched, or its source is silent.
    #[error("the gateway refuses to serve")]
    Refused,
    /// The gateway has given this service all bytes that it may have today.
    #[error("this service has had all bytes that the gateway gives it today")]
    Quota,
    /// There is no gateway.
    #[error("{0}")]
    Gone(String),
    /// Too many requests wait already.
    #[error("too many requests wait for bytes")]
    Crowded,
}

/// A gateway's random bytes. Each is given once.
pub trait Supply: Send {
    /// Takes what there is, at least one byte and at most `out.len()`. If there is none, waits for it, at most `wait`.
    ///
    /// # Errors
    /// There is none.
    fn take(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, NoBytes>;
}

/// A gateway's status document.
pub trait Report: Send {
    /// The document as it is now: JSON.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    fn report(&mut self) -> Result<Vec<u8>, String>;
}

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateway {
    /// Its files are mounted here.
    Mount(PathBuf),
    /// Its stream socket is here.
    Socket(PathBuf),
}

impl Gateway {
    /// Its bytes.
    pub fn supply(&self) -> Box<dyn Supply> {
        match self {
            Self::Mount(point) => Box::new(Mount::new(point)),
            Self::Socket(path) => Box::new(Stream::new(path)),
        }
    }

    /// What it says of itself.
    pub fn report(&self) -> Box<dyn Report> {
        match self {
            Self::Mount(point) => Box::new(Mount::new(point)),
            Self::Socket(path) => Box::new(Stream::new(path)),
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Mount(path) | Self::Socket(path)) = self;
        path.display().fmt(f)
    }
}
