//! What becomes of the bytes: fetched = served + tested + wiped + held + in flight, at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

/// Counters of bytes since the start.
#[derive(Debug, Default)]
pub struct Books {
    /// Taken from the gateway.
    pub fetched: Count,
    /// Handed to a connection.
    pub served: Count,
    /// Used up by tests of this service, never served.
    pub tested: Count,
    /// Destroyed because nobody was left to have them.
    pub wiped: Count,
}

/// A number of bytes that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `bytes`.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes on their way to one request. Dropped before they were handed over they are wiped, and counted as such.
pub struct Taken {
    bytes: Zeroizing<Vec<u8>>,
    owed: Owed,
}

impl Taken {
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>, books: &Arc<Books>) -> Self {
        let owed = Owed {
            books: Arc::clone(books),
            bytes: bytes.len(),
        };
        Self { bytes, owed }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Splits the bytes from the duty to account for them.
    pub fn into_parts(self) -> (Zeroizing<Vec<u8>>, Owed) {
        (self.bytes, self.owed)
    }
}

/// The duty to account for bytes that were taken: unless it is settled they count as wiped.
#[derive(Debug)]
pub struct Owed {
    books: Arc<Books>,
    bytes: usize,
}

impl Owed {
    /// Takes over the duty of `other`, which is for the same answer.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// They were handed to a connection.
    pub fn served(mut self) {
        self.books.served.add(std::mem::take(&mut self.bytes));
    }

    /// They were used up by a test.
    pub fn tested(mut self) {
        self.books.tested.add(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.books.wiped.add(self.bytes);
    }
}
