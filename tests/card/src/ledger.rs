//! The books of a card: where each produced byte went.
//!
//! ```text
//! produced ──┬─ handed out ── good | altered | condemned | stale
//!            ├─ lost (the FIFO was full, or was flushed or reset)
//!            └─ still in the card
//! ```

use std::ops::Range;

use crate::stream::Stream;

/// What may be made of bytes that a host fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Bytes of the stream: what a driver has to pass on.
    Good,
    /// A fault of the data was active: not the stream's bytes.
    Altered,
    /// Bytes of the stream that a driver must throw away, such as a word read when the FIFO had overflowed.
    Condemned,
    /// Bytes from before or soon after initialisation, which a driver must throw away.
    Stale,
}

/// Bytes handed out one after the other that are worth the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Offsets in the stream.
    pub range: Range<u64>,
    /// What may be made of them.
    pub worth: Worth,
}

/// The books of one card. All counts are bytes.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    produced: u64,
    overflowed: u64,
    flushed: u64,
    pieces: Vec<Piece>,
}

impl Ledger {
    /// Bytes made since the start; the next one made has this offset in the stream.
    pub fn produced(&self) -> u64 {
        self.produced
    }

    /// Bytes fetched by the host, whatever they are worth.
    pub fn handed(&self) -> u64 {
        self.pieces
            .iter()
            .map(|p| p.range.end - p.range.start)
            .sum()
    }

    /// Bytes lost because there was no room for them.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Bytes lost because the host flushed or reset the card, or it was unplugged.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// What was handed out, in order; neighbours of the same worth are one piece.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The bytes that a driver has to pass on, in order: every good byte handed out, once.
    pub fn good(&self, stream: &Stream) -> Vec<u8> {
        let good = self.pieces.iter().filter(|p| p.worth == Worth::Good);
        good.flat_map(|p| stream.bytes(p.range.start, (p.range.end - p.range.start) as usize))
            .collect()
    }

    pub(crate) fn make(&mut self, count: u64) {
        self.produced += count;
    }

    pub(crate) fn overflow(&mut self, count: u64) {
        self.overflowed += count;
    }

    pub(crate) fn flush(&mut self, count: u64) {
        self.flushed += count;
    }

    pub(crate) fn hand(&mut self, range: Range<u64>, worth: Worth) {
        if range.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some(last) if last.worth == worth && last.range.end == range.start => {
                last.range.end = range.end;
            }
            _ => self.pieces.push(Piece { range, worth }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_bytes_are_those_handed_out_and_not_condemned() {
        let stream = Stream::new(1);
        let mut ledger = Ledger::default();
        ledger.make(100);
        ledger.hand(0..8, Worth::Good);
        ledger.hand(8..12, Worth::Good);
        ledger.hand(12..16, Worth::Condemned);
        ledger.hand(16..16, Worth::Altered);
        ledger.hand(40..44, Worth::Good);
        assert_eq!(ledger.pieces().len(), 3);
        assert_eq!(ledger.handed(), 20);
        let expected = [stream.bytes(0, 12), stream.bytes(40, 4)].concat();
        assert_eq!(ledger.good(&stream), expected);
    }
}
