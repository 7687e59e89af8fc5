//! HMAC-SHA256 with a prepared key: the two blocks that depend on the key alone are hashed once.

use hmac::{Hmac, KeyInit, Mac as _};
use qrng_simd::sha256::{ROW, compress_row};
use sha2::Sha256;
use sha2::block_api::compress256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What SHA-256 starts from (FIPS 180-4 section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Length of a block of SHA-256.
const BLOCK: usize = 64;

/// A keyed state, cloned for each message. Wiped on drop.
#[derive(Clone)]
pub(crate) struct Mac {
    hmac: Hmac<Sha256>,
    /// The same state for messages side by side: after the key's block for the inner hash, and for the outer.
    inner: Zeroizing<[u32; 8]>,
    outer: Zeroizing<[u32; 8]>,
}

impl Mac {
    /// Length of a MAC and of the keys used here.
    pub(crate) const LEN: usize = 32;

    pub(crate) fn new(key: &[u8; Self::LEN]) -> Self {
        // A key of 32 bytes fits in one block of SHA-256, 64 bytes, and is padded with zeros (RFC 2104 section 2).
        let mut block = Zeroizing::new([0; BLOCK]);
        block[..Self::LEN].copy_from_slice(key);
        Mac {
            hmac: Hmac::new((&*block).into()),
            inner: keyed(&block, 0x36),
            outer: keyed(&block, 0x5c),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; Self::LEN] {
        self.sign_all(&[message])
    }

    /// Signs the parts of a message as if they stood in one piece.
    pub(crate) fn sign_all(&self, parts: &[&[u8]]) -> [u8; Self::LEN] {
        let mut mac = self.hmac.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(crate) fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        self.sign(message).ct_eq(mac).into()
    }

    /// Signs at most [`ROW`] messages of one length, for much less than the price of one after the other. What is in
    /// `macs` for others stays as it is.
    pub(crate) fn sign_row(&self, messages: &[&[u8]], macs: &mut [[u8; Self::LEN]; ROW]) {
        let row = &messages[..messages.len().min(ROW)];
        let Some(length) = row.first().map(|message| message.len()) else {
            return;
        };
        if row.iter().any(|message| message.len() != length) {
            for (mac, message) in macs.iter_mut().zip(row) {
                *mac = self.sign(message);
            }
            return;
        }
        let (mut blocks, mut rests) = ([&[][..]; ROW], [&[][..]; ROW]);
        for ((blocks, rest), message) in blocks.iter_mut().zip(&mut rests).zip(row) {
            (*blocks, *rest) = message.as_chunks();
        }
        let mut states = [*self.inner; ROW];
        compress_row(&mut states[..row.len()], &blocks[..row.len()]);
        finish(&mut states, &rests[..row.len()], length);
        let hashes = states.map(to_bytes);
        let mut states = [*self.outer; ROW];
        let hashes: [&[u8]; ROW] = std::array::from_fn(|i| &hashes[i][..]);
        finish(&mut states, &hashes[..row.len()], Self::LEN);
        for (mac, state) in macs.iter_mut().zip(states).take(row.len()) {
            *mac = to_bytes(state);
        }
    }
}

/// SHA-256's state after the key's block, each byte of it added to `pad` (RFC 2104 section 2).
fn keyed(key: &[u8; BLOCK], pad: u8) -> Zeroizing<[u32; 8]> {
    let mut block = Zeroizing::new(*key);
    block.iter_mut().for_each(|byte| *byte ^= pad);
    let mut state = Zeroizing::new(START);
    compress256(&mut state, &[*block]);
    state
}

/// Ends messages of `length` bytes after the key's block: the last `rests`, each shorter than a block, and the padding
/// (FIPS 180-4 section 5.1.1).
fn finish(states: &mut [[u32; 8]; ROW], rests: &[&[u8]], length: usize) {
    let bits = (BLOCK + length) as u64 * 8;
    // One byte for the mark, eight for the length.
    let blocks = (rests.first().map_or(0, |rest| rest.len()) + 9).div_ceil(BLOCK);
    let mut last = [[[0; BLOCK]; 2]; ROW];
    for (last, rest) in last.iter_mut().zip(rests) {
        let bytes = last.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        bytes[blocks * BLOCK - 8..][..8].copy_from_slice(&bits.to_be_bytes());
    }
    let last: [&[[u8; BLOCK]]; ROW] = std::array::from_fn(|i| &last[i][..blocks]);
    compress_row(&mut states[..rests.len()], &last[..rests.len()]);
}

fn to_bytes(state: [u32; 8]) -> [u8; Mac::LEN] {
    let mut bytes = [0; Mac::LEN];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4231 has no key of 32 bytes; its case 2 has one of 4, which zeros pad just the same.
    #[test]
    fn rfc_4231_case_2() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = Mac::new(&key);
        let expected = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        assert_eq!(mac.sign(b"what do ya want for nothing?"), expected);
        assert!(mac.verify(b"what do ya want for nothing?", &expected));
        assert!(!mac.verify(b"what do ya want for nothing!", &expected));
        assert!(!mac.verify(b"what do ya want for nothing?", &expected[..31]));
        let row = [&b"what do ya want for nothing?"[..]; ROW];
        let mut macs = [[0; Mac::LEN]; ROW];
        mac.sign_row(&row[1..], &mut macs);
        assert_eq!(macs[..ROW - 1], [expected; ROW - 1]);
        assert_eq!(macs[ROW - 1], [0; Mac::LEN]);
    }

    #[test]
    fn every_length_pads_alike() {
        let mac = Mac::new(&[7; 32]);
        let bytes: Vec<u8> = (0..=255).cycle().take(320).collect();
        for length in 0..300 {
            let row: [&[u8]; ROW] = std::array::from_fn(|i| &bytes[i..i + length]);
            let mut macs = [[0; Mac::LEN]; ROW];
            mac.sign_row(&row, &mut macs);
            assert_eq!(macs, row.map(|message| mac.sign(message)));
        }
    }

    proptest! {
        #[test]
        fn a_row_is_as_good_as_one_at_a_time(
            key: [u8; 32],
            bytes in prop::collection::vec(any::<u8>(), 16..1500),
            count in 0..=ROW,
            odd in prop::option::of(0..ROW),
        ) {
            let mac = Mac::new(&key);
            let messages: Vec<&[u8]> = (0..count)
                .map(|i| &bytes[i..bytes.len() - ROW + i - usize::from(odd == Some(i))])
                .collect();
            let mut macs = [[0; Mac::LEN]; ROW];
            mac.sign_row(&messages, &mut macs);
            for (mac_of_row, message) in macs.iter().zip(&messages) {
                prop_assert_eq!(*mac_of_row, mac.sign(message));
            }
            prop_assert!(macs[count..].iter().all(|mac| *mac == [0; Mac::LEN]));
        }
    }
}
