//! HMAC-SHA256 as a conditioner: a vetted component (NIST SP 800-90B section 3.1.5.1.1, item 1).
//!
//! Each block of input gives 32 bytes. They have full entropy only if the block holds at least 256 + 64 bits of
//! min-entropy (NIST SP 800-90C, the rule for a vetted component's full-entropy output); [`Method::claim`] refuses
//! shorter blocks. The key may be known to anybody but must not be chosen after the samples.

use super::blocks::Blocks;
use super::{Conditioner, Method};
use crate::mac::Mac;

/// HMAC-SHA256 over blocks of samples.
pub struct Hmac {
    mac: Mac,
    blocks: Blocks,
}

impl Hmac {
    /// Bytes that a block gives.
    pub const OUTPUT_LEN: usize = Mac::LEN;
    /// Bytes of a block unless another number is wanted: full entropy down to 0.625 bit a bit.
    pub const DEFAULT_INPUT_LEN: usize = 64;
    /// The most bytes of a block; bounds what is held back.
    pub const MOST_INPUT_LEN: usize = 65_536;
    /// The key unless another one is wanted. Fixed before any sample was made, and known to everybody.
    pub const PUBLIC_KEY: [u8; 32] = *b"qrng conditioning by HMAC-SHA256";

    /// Takes blocks of `input_len` bytes, at least one.
    #[must_use]
    pub fn new(key: &[u8; 32], input_len: usize) -> Self {
        Hmac {
            mac: Mac::new(key),
            blocks: Blocks::new(input_len.max(1), Self::OUTPUT_LEN),
        }
    }
}

impl Conditioner for Hmac {
    fn method(&self) -> Method {
        Method::Hmac {
            input_len: self.blocks.input_len(),
        }
    }

    fn max_output(&self, input_len: usize) -> usize {
        self.blocks.max_output(input_len)
    }

    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let input_len = self.blocks.input_len();
        self.blocks.feed(input, out, |blocks, out| {
            let outputs = out.chunks_exact_mut(Self::OUTPUT_LEN);
            for (block, output) in blocks.chunks_exact(input_len).zip(outputs) {
                output.copy_from_slice(&self.mac.sign(block));
            }
        });
    }

    fn reset(&mut self) {
        self.blocks.reset();
    }
}
