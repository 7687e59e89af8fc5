//! CTR_DRBG with AES-256 and no derivation function (NIST SP 800-90A Rev. 1, section 10.2.1).
//!
//! ```text
//!   seed (48 bytes, full entropy)                              request (at most 2^16 bytes)
//!        │                                                           │
//!   instantiate / reseed ──> (Key, V) ──> E(Key, V+1) E(Key, V+2) ... ──> output
//!                               ^                                          │
//!                               └──────── update: a new Key and V ─────────┘
//! ```
//!
//! Seeds have full entropy ([`seed_of`] conditions bytes of a source to that), so the derivation function (section 10.3.2),
//! which exists for seeds of less, is left out: the seed is exactly `seedlen` = 384 bits and is used as it is (section
//! 10.2.1.3.1).
//!
//! Key and V are replaced after every request, so whoever learns the state can't compute what was answered before
//! (backtracking resistance, section 8.8). What is answered *after* such a loss is unpredictable again from the next
//! reseed on; a caller that wants that for one request reseeds directly before it (prediction resistance, same section).
//! AIS 20/31 (version 2) calls these enhanced backward and forward secrecy, and asks for the first in class DRG.3, for both in
//! DRG.4.
//!
//! [`CtrDrbg`] is the mechanism; [`Reseeding`] is the mechanism with a policy, and refuses to answer before it was
//! seeded.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use qrng_simd::Vectors;
use zeroize::{Zeroize, Zeroizing};

mod reseed;
mod seed;
#[cfg(test)]
mod vectors;

pub use reseed::{FillError, ReseedPolicy, Reseeding};
pub use seed::{MATERIAL_LEN, seed_of};

/// Length of a seed, of a personalization string and of additional input, in bytes: `seedlen` of AES-256
/// (SP 800-90A Rev. 1, table 3).
pub const SEED_LEN: usize = 48;

/// Longest answer to one request, in bytes: 2^19 bits (SP 800-90A Rev. 1, table 3).
pub const MAX_REQUEST: usize = 1 << 16;

/// Requests that may be answered between two reseeds: 2^48 (SP 800-90A Rev. 1, table 3).
pub const RESEED_INTERVAL: u64 = 1 << 48;

const KEY_LEN: usize = 32;
/// Counter blocks that are written before the cipher goes over them: 8 KiB, which stay in the first-level cache.
const BATCH: usize = 512;

/// A seed, a personalization string or additional input.
pub type Seed = [u8; SEED_LEN];

/// Why a request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The request is longer than [`MAX_REQUEST`].
    #[error(
        "a request to the DRBG may have at most {MAX_REQUEST} bytes, not {0}: ask for less at a time"
    )]
    TooLong(usize),
    /// [`RESEED_INTERVAL`] requests were answered since the last seed.
    #[error("the DRBG answered 2^48 requests since its last seed: reseed it")]
    ReseedRequired,
}

/// CTR_DRBG, AES-256, no derivation function. Its state is wiped when dropped.
pub struct CtrDrbg {
    /// Key, as the cipher's round keys, which it wipes itself.
    cipher: Aes256,
    /// V.
    v: u128,
    /// The number of the next request since the last seed, from 1.
    reseed_counter: u64,
}

impl CtrDrbg {
    /// CTR_DRBG_Instantiate_algorithm (section 10.2.1.3.1). `personalization` may be all zero.
    ///
    /// The caller wipes its copy of `entropy`.
    pub fn new(entropy: &Seed, personalization: &Seed) -> Self {
        let cipher = Aes256::new(&[0; KEY_LEN].into());
        let mut drbg = Self {
            cipher,
            v: 0,
            reseed_counter: 1,
        };
        drbg.update(&xor(entropy, personalization));
        drbg
    }

    /// CTR_DRBG_Reseed_algorithm (section 10.2.1.4.1). `additional` may be all zero.
    ///
    /// The old state goes into the new one, so a reseed with bytes that an attacker knows loses nothing. The caller
    /// wipes its copy of `entropy`.
    pub fn reseed(&mut self, entropy: &Seed, additional: &Seed) {
        self.update(&xor(entropy, additional));
        self.reseed_counter = 1;
    }

    /// CTR_DRBG_Generate_algorithm (section 10.2.1.5.1): one request of at most [`MAX_REQUEST`] bytes.
    ///
    /// On an error `out` is untouched.
    pub fn generate(
        &mut self,
        out: &mut [u8],
        additional: Option<&Seed>,
    ) -> Result<(), GenerateError> {
        if out.len() > MAX_REQUEST {
            return Err(GenerateError::TooLong(out.len()));
        }
        if self.reseed_counter > RESEED_INTERVAL {
            return Err(GenerateError::ReseedRequired);
        }
        if let Some(additional) = additional {
            self.update(additional);
        }
        self.keystream(out);
        self.update(additional.unwrap_or(&[0; SEED_LEN]));
        self.reseed_counter += 1;
        Ok(())
    }

    /// Fills `out`, however long, as one request for each [`MAX_REQUEST`] bytes.
    ///
    /// On an error the rest of `out`, from the request that was refused, is untouched.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), GenerateError> {
        out.chunks_mut(MAX_REQUEST)
            .try_for_each(|request| self.generate(request, None))
    }

    /// Requests answered since the last seed.
    pub fn requests(&self) -> u64 {
        self.reseed_counter - 1
    }

    /// Writes the cipher's blocks for V + 1, V + 2, ... straight into `out`: first the counters, then, over them, what
    /// the cipher makes of them.
    fn keystream(&mut self, out: &mut [u8]) {
        let (blocks, tail) = Array::slice_as_chunks_mut(out);
        let vectors = Vectors::best();
        for batch in blocks.chunks_mut(BATCH) {
            vectors.run(|| count_up(self.v, batch));
            self.v = self.v.wrapping_add(batch.len() as u128);
            self.cipher.encrypt_blocks(batch);
        }
        if !tail.is_empty() {
            let mut block = self.next_counter();
            self.cipher.encrypt_block(&mut block);
            tail.copy_from_slice(&block[..tail.len()]);
            block.zeroize();
        }
    }

    fn next_counter(&mut self) -> aes::Block {
        self.v = self.v.wrapping_add(1);
        self.v.to_be_bytes().into()
    }

    /// CTR_DRBG_Update (section 10.2.1.2).
    fn update(&mut self, provided: &Seed) {
        let mut temp = Zeroizing::new([0; SEED_LEN]);
        self.keystream(&mut *temp);
        let temp = xor(&temp, provided);
        let (key, v) = temp.split_at(KEY_LEN);
        self.cipher = Aes256::new(key.try_into().expect("32 bytes"));
        self.v = u128::from_be_bytes(v.try_into().expect("16 bytes"));
    }
}

/// Writes V + 1, V + 2, ... into `blocks`. A loop over the lower halves alone can be made vectors of; where they would
/// carry into the upper one, which hardly ever happens, each block is counted by itself.
#[inline(always)]
fn count_up(v: u128, blocks: &mut [aes::Block]) {
    let (upper, lower) = ((v >> 64) as u64, v as u64);
    if lower.checked_add(blocks.len() as u64).is_none() {
        for (i, block) in (1..).zip(blocks) {
            *block = v.wrapping_add(i).to_be_bytes().into();
        }
        return;
    }
    let upper = upper.to_be_bytes();
    for (i, block) in (1..).zip(blocks) {
        let (first, second) = block.split_at_mut(8);
        first.copy_from_slice(&upper);
        second.copy_from_slice(&lower.wrapping_add(i).to_be_bytes());
    }
}

impl Drop for CtrDrbg {
    fn drop(&mut self) {
        self.v.zeroize();
    }
}

impl std::fmt::Debug for CtrDrbg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CtrDrbg")
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

fn xor(a: &Seed, b: &Seed) -> Zeroizing<Seed> {
    Zeroizing::new(std::array::from_fn(|i| a[i] ^ b[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drbg() -> CtrDrbg {
        CtrDrbg::new(&[7; SEED_LEN], &[0; SEED_LEN])
    }

    #[test]
    fn a_request_over_the_limit_is_refused_and_a_longer_fill_is_several_requests() {
        let mut out = vec![0; MAX_REQUEST + 1];
        assert_eq!(
            drbg().generate(&mut out, None),
            Err(GenerateError::TooLong(MAX_REQUEST + 1))
        );
        assert!(out.iter().all(|&byte| byte == 0));

        let (mut filled, mut asked) = (drbg(), drbg());
        filled.fill(&mut out).unwrap();
        assert_eq!(filled.requests(), 2);
        let mut want = vec![0; MAX_REQUEST + 1];
        let (first, second) = want.split_at_mut(MAX_REQUEST);
        asked.generate(first, None).unwrap();
        asked.generate(second, None).unwrap();
        assert_eq!(out, want);
    }

    #[test]
    fn the_interval_ends_and_a_reseed_begins_it_again() {
        let mut drbg = drbg();
        drbg.reseed_counter = RESEED_INTERVAL;
        let mut out = [0; 4];
        assert_eq!(drbg.generate(&mut out, None), Ok(()));
        let before = out;
        assert_eq!(
            drbg.generate(&mut out, None),
            Err(GenerateError::ReseedRequired)
        );
        assert_eq!(drbg.fill(&mut out), Err(GenerateError::ReseedRequired));
        assert_eq!(out, before);
        drbg.reseed(&[1; SEED_LEN], &[0; SEED_LEN]);
        assert_eq!(drbg.requests(), 0);
        assert_eq!(drbg.generate(&mut out, None), Ok(()));
    }

    #[test]
    fn the_state_after_a_request_does_not_give_its_answer_again() {
        let mut drbg = drbg();
        let mut first = [0; 64];
        drbg.generate(&mut first, None).unwrap();
        let mut after = [0; 64];
        drbg.keystream(&mut after);
        // A cipher that only went on counting would continue the same key stream.
        let mut counting = CtrDrbg::new(&[7; SEED_LEN], &[0; SEED_LEN]);
        let mut stream = [0; 64 + 48 + 64];
        counting.keystream(&mut stream);
        assert_eq!(stream[..64], first);
        assert!(
            !stream[64..]
                .windows(16)
                .any(|window| after.chunks(16).any(|block| block == window))
        );
    }

    /// By every way, also where the lower half carries and where all of V wraps.
    #[test]
    fn counters_go_up_by_one() {
        let half = u128::from(u64::MAX);
        for v in [
            0,
            7,
            half - 5,
            half,
            half + 1,
            (5 << 64) | (half - 2),
            u128::MAX - 3,
        ] {
            for vectors in Vectors::all() {
                let mut blocks = [aes::Block::default(); 37];
                vectors.run(|| count_up(v, &mut blocks));
                for (i, block) in (1..).zip(blocks) {
                    let counter = u128::from_be_bytes(block.into());
                    assert_eq!(counter, v.wrapping_add(i), "{v:x} {vectors:?}");
                }
            }
        }
    }

    #[test]
    fn no_length_disturbs_the_next_answer() {
        let mut whole = [0; 64];
        drbg().generate(&mut whole, None).unwrap();
        for len in 0..=64 {
            let mut part = vec![0; len];
            drbg().generate(&mut part, None).unwrap();
            assert_eq!(part, whole[..len]);
        }
        let (mut skipped, mut fresh) = (drbg(), drbg());
        skipped.generate(&mut [], None).unwrap();
        let (mut a, mut b) = ([0; 16], [0; 16]);
        skipped.generate(&mut a, None).unwrap();
        fresh.generate(&mut b, None).unwrap();
        assert_ne!(a, b, "an empty request changes the state too");
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", drbg()), "CtrDrbg { requests: 0, .. }");
    }
}
