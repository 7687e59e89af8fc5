//! Numbered bytes that look random: block *i* is AES-128 of *i*, so any 16 served bytes tell which
//! block they are, and whether they are one at all.

use aes::Aes128;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// Size of a numbered block in bytes.
pub const BLOCK: usize = 16;

/// Numbers blocks, and recognises them.
pub struct Numbering(Aes128);

impl Default for Numbering {
    fn default() -> Self {
        Self(Aes128::new(
            &(*b"numbered for qrng")
                .first_chunk::<16>()
                .copied()
                .unwrap_or_default()
                .into(),
        ))
    }
}

impl Numbering {
    /// The `count` blocks from number 0 on.
    pub fn bytes(&self, count: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(count as usize * BLOCK);
        for number in 0..count {
            let mut block = Block::<Aes128>::from(u128::from(number).to_be_bytes());
            self.0.encrypt_block(&mut block);
            out.extend_from_slice(&block);
        }
        out
    }

    /// The number of a block; none if these bytes are no numbered block.
    pub fn number(&self, bytes: [u8; BLOCK]) -> Option<u64> {
        let mut block = Block::<Aes128>::from(bytes);
        self.0.decrypt_block(&mut block);
        u64::try_from(u128::from_be_bytes(block.into()))
            .ok()
            .filter(|n| *n < 1 << 40)
    }

    /// The number behind a version 4 UUID, whose six fixed bits have to be guessed.
    pub fn number_of_uuid(&self, uuid: [u8; BLOCK]) -> Option<u64> {
        (0..64u8).find_map(|guess| {
            let mut bytes = uuid;
            bytes[6] = bytes[6] & 0x0f | (guess & 0x0f) << 4;
            bytes[8] = bytes[8] & 0x3f | (guess >> 4) << 6;
            self.number(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_recognised_and_others_are_not() {
        let numbering = Numbering::default();
        let bytes = numbering.bytes(1000);
        for (i, block) in bytes.chunks_exact(BLOCK).enumerate() {
            let block: [u8; BLOCK] = block.try_into().unwrap();
            assert_eq!(numbering.number(block), Some(i as u64));
            let mut uuid = block;
            uuid[6] = uuid[6] & 0x0f | 0x40;
            uuid[8] = uuid[8] & 0x3f | 0x80;
            assert_eq!(numbering.number_of_uuid(uuid), Some(i as u64));
        }
        assert_eq!(numbering.number([0; BLOCK]), None);
        assert_eq!(numbering.number(*b"sixteen bytes!!!"), None);
    }
}
