//! HMAC-SHA256 with a prepared key: the two blocks that depend on the key alone are hashed once.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// A keyed state, cloned for each message. Wiped on drop.
#[derive(Clone)]
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    /// Length of a MAC and of the keys used here.
    pub(crate) const LEN: usize = 32;

    pub(crate) fn new(key: &[u8; Self::LEN]) -> Self {
        // A key of 32 bytes fits in one block of SHA-256, 64 bytes, and is padded with zeros (RFC 2104 section 2).
        let mut block = zeroize::Zeroizing::new([0; 64]);
        block[..Self::LEN].copy_from_slice(key);
        Mac(Hmac::new((&*block).into()))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; Self::LEN] {
        self.sign_all(&[message])
    }

    /// Signs the parts of a message as if they stood in one piece.
    pub(crate) fn sign_all(&self, parts: &[&[u8]]) -> [u8; Self::LEN] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(crate) fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        self.sign(message).ct_eq(mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
