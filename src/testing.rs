//! For tests: randomness that is the same in every run, and keys made from it.

use crate::keys::{CollectorKey, GatewayKey, generate};
use rand_core::{Infallible, TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// SHA-256 over a seed and a counter.
pub(crate) struct Repeatable {
    seed: u64,
    blocks: u64,
}

pub(crate) fn rng(seed: u64) -> Repeatable {
    Repeatable { seed, blocks: 0 }
}

impl TryRng for Repeatable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(self.blocks.to_be_bytes());
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
            self.blocks += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Repeatable {}

/// The pair of keys of a seed.
pub(crate) fn pair(seed: u64) -> (GatewayKey, CollectorKey) {
    let (gateway, collector, _) = generate(&mut rng(seed));
    (
        GatewayKey::parse(&gateway).expect("a generated key is readable"),
        CollectorKey::parse(&collector).expect("a generated key is readable"),
    )
}
