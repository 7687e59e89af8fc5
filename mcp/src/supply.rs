//! Where the bytes come from.

use crate::Provenance;

/// Why there are no bytes, in words for a person: what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoBytes(pub String);

/// A gateway's bytes. Calls may block: they are made on threads that may.
pub trait Supply: Send + Sync + 'static {
    /// Fills `out` whole with bytes that nobody else has got or will get.
    ///
    /// # Errors
    /// There are not so many in reasonable time, or the gateway refuses. What had come is destroyed.
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes>;

    /// What is known of where they come from, now.
    fn provenance(&self) -> Provenance;
}
