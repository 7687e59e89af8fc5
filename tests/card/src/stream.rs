//! What a card produces: numbered bytes that look random.
//!
//! Block *i* (16 bytes) of a stream is AES-128 of *i* under a key made of the seed. So bytes can be had from any offset, and
//! any whole block tells where in the stream it stands.

use aes::Aes128;
use aes::cipher::array::Array;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// Size of a numbered block in bytes.
pub const BLOCK: usize = 16;
/// Blocks that are made at once, because that is faster.
const BATCH: usize = 64;

/// An endless stream with access by offset.
pub struct Stream(Aes128);

impl Stream {
    /// The stream of a seed: the same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        let mut key = *b"softcard........";
        key[8..].copy_from_slice(&seed.to_be_bytes());
        Self(Aes128::new(&key.into()))
    }

    /// Fills `out` with the bytes from `offset` on.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let mut batch = [Block::<Aes128>::default(); BATCH];
            let start = (at % BLOCK as u64) as usize;
            let blocks = (start + rest.len()).div_ceil(BLOCK).min(BATCH);
            let numbered = &mut batch[..blocks];
            for (number, block) in (at / BLOCK as u64..).zip(&mut *numbered) {
                *block = u128::from(number).to_be_bytes().into();
            }
            self.0.encrypt_blocks(numbered);
            let bytes = &Array::slice_as_flattened(numbered)[start..];
            let count = rest.len().min(bytes.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&bytes[..count]);
            at += count as u64;
            rest = later;
        }
    }

    /// `count` bytes from `offset` on.
    pub fn bytes(&self, offset: u64, count: usize) -> Vec<u8> {
        let mut out = vec![0; count];
        self.fill(offset, &mut out);
        out
    }

    /// The offset of a whole block within the first 2^44 bytes of the stream; none if it is no block of it.
    pub fn offset_of(&self, block: [u8; BLOCK]) -> Option<u64> {
        let mut block = Block::<Aes128>::from(block);
        self.0.decrypt_block(&mut block);
        u64::try_from(u128::from_be_bytes(block.into()))
            .ok()
            .filter(|number| *number < 1 << 40)
            .map(|number| number * BLOCK as u64)
    }
}

/// The part of a stream around the bytes that were read last, for those who read a few at a time and in order.
pub(crate) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Its size in bytes.
    const SIZE: u64 = 1024;

    /// One that knows nothing yet.
    pub(crate) fn new() -> Self {
        let bytes = Vec::new();
        Self { start: 0, bytes }
    }

    /// The four bytes at an offset that is a multiple of four.
    pub(crate) fn word(&mut self, stream: &Stream, offset: u64) -> [u8; 4] {
        let start = offset / Self::SIZE * Self::SIZE;
        if self.bytes.is_empty() || start != self.start {
            self.start = start;
            self.bytes.resize(Self::SIZE as usize, 0);
            stream.fill(start, &mut self.bytes);
        }
        let word = self.bytes[(offset - start) as usize..].first_chunk();
        word.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_gives_the_same_bytes_as_reading_from_the_start() {
        let stream = Stream::new(7);
        let whole = stream.bytes(0, 5000);
        for (offset, count) in [
            (0, 5000),
            (1, 16),
            (15, 2),
            (16, 16),
            (33, 100),
            (1023, 1025),
            (7, 4000),
        ] {
            assert_eq!(
                stream.bytes(offset as u64, count),
                whole[offset..offset + count]
            );
        }
        assert_ne!(Stream::new(8).bytes(0, 5000), whole);
    }

    #[test]
    fn a_window_gives_words_from_anywhere() {
        let stream = Stream::new(7);
        let mut window = Window::new();
        for offset in [0, 4, 1020, 1024, 16, 4096, 4100] {
            assert_eq!(window.word(&stream, offset)[..], stream.bytes(offset, 4));
        }
    }

    #[test]
    fn a_block_tells_its_offset_and_other_bytes_are_none() {
        let stream = Stream::new(7);
        let block: [u8; BLOCK] = stream.bytes(160, BLOCK).try_into().unwrap();
        assert_eq!(stream.offset_of(block), Some(160));
        let across: [u8; BLOCK] = stream.bytes(161, BLOCK).try_into().unwrap();
        assert_eq!(stream.offset_of(across), None);
        assert_eq!(Stream::new(8).offset_of(block), None);
    }
}
