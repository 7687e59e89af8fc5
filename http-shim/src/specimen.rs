//! Some bytes that a test has used up, for a picture: they were never served, and never will be.

use std::sync::{Mutex, PoisonError};

/// Bytes of the picture: 128 by 128 bits.
pub const BYTES: usize = 128 * 128 / 8;

/// The bytes of the last test.
#[derive(Default)]
pub struct Specimen(Mutex<Vec<u8>>);

impl Specimen {
    /// Keeps the first of `tested` bytes, if they are enough for a picture.
    pub fn keep(&self, tested: &[u8]) {
        if let Some(bytes) = tested.get(..BYTES) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
        }
    }

    /// The bytes; none before the first test.
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
