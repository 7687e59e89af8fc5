//! What a card produces: numbered bytes that look random.
//!
//! Block *i* (16 bytes) of a stream is AES-128 of *i* under a key made of the seed. So bytes can be had from any offset, and
//! any whole block tells where in the stream it stands.

use aes::Aes128;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// Size of a numbered block in bytes.
pub const BLOCK: usize = 16;

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
            let block = self.block(at / BLOCK as u64);
            let start = (at % BLOCK as u64) as usize;
            let count = rest.len().min(BLOCK - start);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&block[start..start + count]);
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

    fn block(&self, number: u64) -> [u8; BLOCK] {
        let mut block = Block::<Aes128>::from(u128::from(number).to_be_bytes());
        self.0.encrypt_block(&mut block);
        block.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_gives_the_same_bytes_as_reading_from_the_start() {
        let stream = Stream::new(7);
        let whole = stream.bytes(0, 200);
        for (offset, count) in [(0, 200), (1, 16), (15, 2), (16, 16), (33, 100)] {
            assert_eq!(
                stream.bytes(offset as u64, count),
                whole[offset..offset + count]
            );
        }
        assert_ne!(Stream::new(8).bytes(0, 200), whole);
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
