//! HMAC-SHA256 with a prepared key: the two blocks that depend on the key alone are hashed once.

use hmac::{Hmac, KeyInit, Mac as _};
use qrng_simd::sha256::compress_pair;
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
    /// The same state for two messages at a time: after the key's block for the inner hash, and for the outer.
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

    /// Signs two messages, at nearly the price of one if they are of one length.
    pub(crate) fn sign_pair(&self, messages: [&[u8]; 2]) -> [[u8; Self::LEN]; 2] {
        let length = messages[0].len();
        if messages[1].len() != length {
            return messages.map(|message| self.sign(message));
        }
        let [(first, first_rest), (second, second_rest)] = messages.map(<[u8]>::as_chunks);
        let mut states = [*self.inner; 2];
        compress_pair(&mut states, [first, second]);
        finish(&mut states, [first_rest, second_rest], length);
        let hashes = states.map(to_bytes);
        let mut states = [*self.outer; 2];
        finish(&mut states, [&hashes[0], &hashes[1]], Self::LEN);
        states.map(to_bytes)
    }

    /// Compares each in constant time.
    pub(crate) fn verify_pair(&self, messages: [&[u8]; 2], macs: [&[u8]; 2]) -> [bool; 2] {
        let [first, second] = self.sign_pair(messages);
        [first.ct_eq(macs[0]).into(), second.ct_eq(macs[1]).into()]
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

/// Ends two messages of `length` bytes after the key's block: the last `rests`, each shorter than a block, and the
/// padding (FIPS 180-4 section 5.1.1).
fn finish(states: &mut [[u32; 8]; 2], rests: [&[u8]; 2], length: usize) {
    let bits = (BLOCK + length) as u64 * 8;
    let mut last = [[[0; BLOCK]; 2]; 2];
    // One byte for the mark, eight for the length.
    let blocks = if rests[0].len() + 9 <= BLOCK { 1 } else { 2 };
    for (last, rest) in last.iter_mut().zip(rests) {
        let bytes = last.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        bytes[blocks * BLOCK - 8..][..8].copy_from_slice(&bits.to_be_bytes());
    }
    compress_pair(states, [&last[0][..blocks], &last[1][..blocks]]);
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
        let pair = [
            &b"what do ya want for nothing?"[..],
            b"what do ya want for something",
        ];
        assert_eq!(mac.sign_pair([pair[0]; 2]), [expected; 2]);
        assert_eq!(mac.sign_pair(pair)[0], expected);
    }

    #[test]
    fn every_length_pads_alike() {
        let mac = Mac::new(&[7; 32]);
        let bytes: Vec<u8> = (0..=255).cycle().take(301).collect();
        for length in 0..300 {
            let pair = [&bytes[..length], &bytes[1..=length]];
            assert_eq!(mac.sign_pair(pair), pair.map(|message| mac.sign(message)));
        }
    }

    proptest! {
        #[test]
        fn pairs_are_as_good_as_one_at_a_time(
            key: [u8; 32],
            messages in prop::collection::vec(any::<[u8; 2]>(), 0..1500),
            odd in 0..3_usize,
            flip: prop::sample::Index,
            wrong: [bool; 2],
        ) {
            let mac = Mac::new(&key);
            let first: Vec<u8> = messages.iter().map(|m| m[0]).collect();
            let second: Vec<u8> = messages.iter().skip(odd).map(|m| m[1]).collect();
            let pair = [&first[..], &second[..]];
            let mut macs = mac.sign_pair(pair);
            prop_assert_eq!(macs, pair.map(|message| mac.sign(message)));
            for (mac, wrong) in macs.iter_mut().zip(wrong) {
                mac[flip.index(32)] ^= u8::from(wrong);
            }
            let verdicts = mac.verify_pair(pair, [&macs[0], &macs[1]]);
            prop_assert_eq!(verdicts, wrong.map(|wrong| !wrong));
        }
    }
}
