//! Bytes read and not yet taken.

use zeroize::Zeroizing;

/// A first-in first-out store of bytes of fixed capacity. Bytes taken are wiped from it.
pub(super) struct Backlog {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Backlog {
    /// An empty one.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: Zeroizing::new(vec![0; capacity]),
            start: 0,
            end: 0,
        }
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        self.bytes.len() - self.len()
    }

    /// Appends `bytes`, for which there must be room.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.bytes.len() - self.end < bytes.len() {
            let length = self.len();
            self.bytes.copy_within(self.start..self.end, 0);
            self.bytes[length..self.end].fill(0);
            (self.start, self.end) = (0, length);
        }
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Wipes all bytes.
    pub(super) fn clear(&mut self) {
        self.bytes[self.start..self.end].fill(0);
        (self.start, self.end) = (0, 0);
    }

    /// Moves up to a buffer's length of the oldest bytes out.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        let taken = &mut self.bytes[self.start..self.start + count];
        buffer[..count].copy_from_slice(taken);
        taken.fill(0);
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_keeps_order_and_wipes_what_was_taken() {
        let mut backlog = Backlog::new(8);
        backlog.put(b"abcdef");
        let mut out = [0; 4];
        assert_eq!(backlog.take(&mut out), 4);
        assert_eq!(&out, b"abcd");
        assert_eq!(&backlog.bytes[..], b"\0\0\0\0ef\0\0");
        assert_eq!(backlog.room(), 6);
        backlog.put(b"ghijkl");
        assert_eq!(&backlog.bytes[..], b"efghijkl");
        let mut out = [0; 10];
        assert_eq!(backlog.take(&mut out), 8);
        assert_eq!(&out[..8], b"efghijkl");
        assert_eq!(backlog.take(&mut out), 0);
        assert_eq!(&backlog.bytes[..], [0; 8]);
    }
}
