//! The FIFO: 1024 words. What is in it is always one run of the stream.

use crate::pace::Full;

/// Its size in bytes.
pub const CAPACITY: u64 = 4096;

#[derive(Debug, Default)]
pub(super) struct Fifo {
    /// Offset in the stream of the first byte in it.
    start: u64,
    /// Offset of the next byte made.
    end: u64,
    /// Bytes made that are not yet a word.
    loose: u64,
    overflowed: bool,
    /// Bytes made since the overflow: they are behind `end`, but not in the FIFO.
    lost: u64,
}

impl Fifo {
    /// Bytes that can be fetched.
    pub(super) fn fill(&self) -> u64 {
        self.end - self.start
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// Puts in newly made bytes. Says how many were made and how many of those were lost, both in whole words.
    pub(super) fn put(&mut self, bytes: u64, full: Full) -> (u64, u64) {
        let bytes = self.loose + bytes;
        self.loose = bytes % 4;
        let bytes = bytes - self.loose;
        let room = if self.overflowed {
            0
        } else {
            CAPACITY - self.fill()
        };
        let taken = bytes.min(room);
        self.end += taken;
        if full == Full::Waits && !self.overflowed {
            return (taken, 0);
        }
        let lost = bytes - taken;
        self.lost += lost;
        self.overflowed |= lost > 0;
        (bytes, lost)
    }

    /// Takes out one word and gives its offset in the stream; none if it is empty.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let offset = self.start;
        (self.fill() > 0).then(|| {
            self.start += 4;
            offset
        })
    }

    /// Empties it and ends an overflow. Says how many bytes were thrown away.
    pub(super) fn flush(&mut self) -> u64 {
        let thrown = self.fill();
        self.end += self.lost;
        self.start = self.end;
        self.lost = 0;
        self.overflowed = false;
        thrown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_its_size_are_lost_and_the_stream_goes_on_behind_them() {
        let mut fifo = Fifo::default();
        assert_eq!(fifo.put(4094, Full::Overflows), (4092, 0));
        assert_eq!(fifo.put(10, Full::Overflows), (12, 8));
        assert!(fifo.overflowed());
        assert_eq!(fifo.fill(), CAPACITY);
        assert_eq!(fifo.pop(), Some(0));
        assert_eq!(fifo.put(4, Full::Overflows), (4, 4), "takes nothing in");
        assert_eq!(fifo.flush(), CAPACITY - 4);
        assert_eq!(fifo.pop(), None);
        fifo.put(4, Full::Overflows);
        assert_eq!(fifo.pop(), Some(CAPACITY + 12));
    }

    #[test]
    fn a_fifo_that_waits_loses_nothing() {
        let mut fifo = Fifo::default();
        assert_eq!(fifo.put(5000, Full::Waits), (CAPACITY, 0));
        assert!(!fifo.overflowed());
        assert_eq!(fifo.pop(), Some(0));
        assert_eq!(fifo.put(8, Full::Waits), (4, 0));
    }
}
