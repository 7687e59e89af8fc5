//! Buffers that go round between the stages, so that nothing is allocated while bytes flow.
//!
//! ```text
//!  acquire -- full Block --> seal -- full Batch --> send
//!     ^-------- empty --------+ ^------- empty -------+
//! ```
//!
//! There is a fixed number of each. A stage that finds no empty buffer waits, and so in the end
//! does the reading of the noise source: nothing is dropped here, and no queue can grow.

use crossbeam::channel::{Receiver, Sender, bounded};
use qrng::report::Kinds;
use zeroize::Zeroizing;

/// Random bytes on their way to be sealed; wiped when they have been. On their way to be combined,
/// a block without bytes is word that the source has failed.
pub struct Block {
    bytes: Zeroizing<Vec<u8>>,
    length: usize,
    /// The kinds of noise source that the bytes come from.
    pub kinds: Kinds,
}

impl Block {
    /// An empty block for up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: Zeroizing::new(vec![0; capacity]),
            length: 0,
            kinds: Kinds::NONE,
        }
    }

    /// The bytes in it.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The room behind them.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Says that `count` bytes were written to the front of the [`room`](Self::room).
    pub fn advance(&mut self, count: usize) {
        self.length = self.bytes.len().min(self.length + count);
    }

    /// Wipes the last bytes until `length` are left.
    pub fn truncate(&mut self, length: usize) {
        if length < self.length {
            self.bytes[length..self.length].fill(0);
            self.length = length;
        }
    }

    /// Wipes all bytes. The buffer goes on being used, so the writes cannot be optimised away.
    pub fn wipe(&mut self) {
        self.truncate(0);
    }
}

/// Datagrams for one gateway, one behind the other: all `segment` bytes long but for the last,
/// which may be shorter. So the kernel can cut them apart (UDP_SEGMENT).
pub struct Batch {
    bytes: Vec<u8>,
    length: usize,
    segment: usize,
    gateway: usize,
}

impl Batch {
    /// An empty batch for up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            length: 0,
            segment: 1,
            gateway: 0,
        }
    }

    /// Empties it for datagrams of `segment` bytes to the gateway of index `gateway`.
    pub fn begin(&mut self, gateway: usize, segment: usize) {
        (self.length, self.segment, self.gateway) = (0, segment.max(1), gateway);
    }

    /// The room behind the datagrams in it.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Says that a datagram of `count` bytes was written to the front of the room.
    pub fn advance(&mut self, count: usize) {
        self.length = self.bytes.len().min(self.length + count);
    }

    /// The index of the gateway that it is for.
    pub fn gateway(&self) -> usize {
        self.gateway
    }

    /// The length of all datagrams but the last.
    pub fn segment(&self) -> usize {
        self.segment
    }

    /// All datagrams as one run of bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// How many datagrams there are.
    pub fn count(&self) -> usize {
        self.length.div_ceil(self.segment)
    }

    /// Each datagram.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes().chunks(self.segment)
    }
}

/// The end of a [`ring`] that fills buffers.
pub struct Filler<T> {
    /// Buffers to fill.
    pub empty: Receiver<T>,
    /// Buffers filled.
    pub full: Sender<T>,
}

/// The end of a [`ring`] that uses what is in the buffers.
pub struct User<T> {
    /// Buffers to use.
    pub full: Receiver<T>,
    /// Buffers used.
    pub empty: Sender<T>,
}

/// Two stages joined by `count` buffers that go round between them.
pub fn ring<T>(count: usize, buffer: impl Fn() -> T) -> (Filler<T>, User<T>) {
    let (to_user, full) = bounded(count);
    let (to_filler, empty) = bounded(count);
    for _ in 0..count {
        // Cannot fail: there is room for all, and the other end is still here.
        let _ = to_filler.send(buffer());
    }
    (
        Filler {
            empty,
            full: to_user,
        },
        User {
            full,
            empty: to_filler,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_fills_shrinks_and_is_wiped() {
        let mut block = Block::new(8);
        block.room()[..5].copy_from_slice(b"abcde");
        block.advance(5);
        assert_eq!(block.filled(), b"abcde");
        assert_eq!(block.room().len(), 3);
        block.truncate(2);
        assert_eq!(block.filled(), b"ab");
        block.wipe();
        assert!(block.filled().is_empty());
        assert_eq!(&block.bytes[..], [0; 8]);
    }

    #[test]
    fn a_batch_knows_its_datagrams() {
        let mut batch = Batch::new(20);
        batch.begin(3, 4);
        for datagram in [&b"aaaa"[..], b"bbbb", b"cc"] {
            batch.room()[..datagram.len()].copy_from_slice(datagram);
            batch.advance(datagram.len());
        }
        assert_eq!((batch.gateway(), batch.segment(), batch.count()), (3, 4, 3));
        let all: Vec<&[u8]> = batch.datagrams().collect();
        assert_eq!(all, [&b"aaaa"[..], b"bbbb", b"cc"]);
        batch.begin(0, 4);
        assert_eq!(batch.count(), 0);
    }

    #[test]
    fn a_ring_holds_a_fixed_number_of_buffers() {
        let (filler, user) = ring(2, || Block::new(1));
        for _ in 0..2 {
            filler.full.send(filler.empty.recv().unwrap()).unwrap();
        }
        assert!(filler.empty.try_recv().is_err());
        user.empty.send(user.full.recv().unwrap()).unwrap();
        assert!(filler.empty.try_recv().is_ok());
    }
}
