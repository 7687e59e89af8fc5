//! Data that came before: a stale buffer, a replayed recording, a generator with a period. An additional
//! continuous test, as SP 800-90B section 4.4 allows.
//!
//! Where the stream itself says so (a fixed pattern of 12 bits, so once in 4 KiB on average, at any
//! byte) a digest of the 64 bytes there is looked up among the digests of earlier such places, then
//! replaces one of them. As the data chooses the places, a repetition is found at whatever distance
//! and alignment it comes. SHA-256, cut to 128 bits, keeps no byte that was served.
//!
//! The memory has 4096 slots chosen by the digest: digests of the last 16 MiB are there with
//! probability 37 % or more, of the last 64 MiB with 1.8 %; a source that goes on repeating meets one
//! of them soon. A false alarm needs two equal digests: below 2^-110 for 64 KiB.

use qrng_simd::Vectors;
use sha2::{Digest, Sha256};

use super::alarm::{Finding, Test, Tier};

/// Bytes that a digest covers.
const COVERED: usize = 64;

/// Digests remembered: a power of two.
const SLOTS: usize = 4096;

/// Bytes that are searched at a time for a place.
const PIECE: usize = 64;

/// Remembers digests of the stream.
#[derive(Clone)]
pub struct RepeatedData {
    seen: Box<[u128; SLOTS]>,
    vectors: Vectors,
    bytes: u64,
}

impl RepeatedData {
    /// Nothing remembered.
    pub fn new() -> Self {
        Self {
            seen: Box::new([0; SLOTS]),
            vectors: Vectors::best(),
            bytes: 0,
        }
    }

    /// Takes the next bytes. Places whose 64 bytes go beyond them are passed over. The finding's
    /// statistic is the number of places that came before, its limit 1.
    pub fn update(&mut self, data: &[u8]) -> Option<Finding> {
        let start = self.bytes;
        self.bytes += data.len() as u64;
        let mut repeats = 0_u32;
        let mut first = None;
        let mut at = 0;
        while at + PIECE < data.len() {
            let window = &data[at..][..PIECE + 1];
            if self.vectors.run(|| holds_place(window)) {
                for place in (at..at + PIECE).filter(|&i| is_place(data[i], data[i + 1])) {
                    let Some(covered) = data.get(place..place + COVERED) else {
                        break;
                    };
                    if self.remember(covered) {
                        repeats += 1;
                        first.get_or_insert(place as u64);
                    }
                }
            }
            at += PIECE;
        }
        first.map(|place| Finding {
            test: Test::RepeatedData,
            tier: Tier::Permanent,
            statistic: f64::from(repeats),
            limit: 1.0,
            sample: start + place,
            lag: None,
        })
    }

    /// Puts the digest of `covered` into its slot; whether it was there already.
    fn remember(&mut self, covered: &[u8]) -> bool {
        let hash = Sha256::digest(covered);
        let digest = u128::from_le_bytes(std::array::from_fn(|i| hash[i]));
        let slot = &mut self.seen[digest as usize % SLOTS];
        std::mem::replace(slot, digest) == digest
    }
}

#[inline(always)]
fn is_place(first: u8, second: u8) -> bool {
    first == 0xa6 && second & 0x0f == 0x05
}

/// Whether any place begins in all but the last byte of `window`.
#[inline(always)]
fn holds_place(window: &[u8]) -> bool {
    let places = window.iter().zip(&window[1..]);
    places.fold(0, |any, (&a, &b)| any | u8::from(is_place(a, b))) != 0
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, testdata};
    use super::*;

    #[test]
    fn finds_a_repetition_at_any_distance_and_alignment() {
        for distance in [BLOCK, BLOCK + 1, 100_003, 3 * BLOCK - 5] {
            let data = testdata::good(20, distance);
            let twice = [data.as_slice(), &data].concat();
            let mut test = RepeatedData::new();
            let found: Vec<_> = twice.chunks(BLOCK).map(|part| test.update(part)).collect();
            assert!(found[..distance / BLOCK].iter().all(Option::is_none));
            let found = found.into_iter().flatten().next().expect("a repetition");
            assert_eq!(found.tier, Tier::Permanent);
            assert!((distance as u64..(distance + BLOCK) as u64).contains(&found.sample));
        }
    }

    #[test]
    fn a_place_is_seen_wherever_it_begins() {
        for vectors in Vectors::all() {
            let mut window = [0xa6; PIECE + 1];
            assert!(!vectors.run(|| holds_place(&window)));
            for at in 0..PIECE {
                window[at + 1] = 0xf5;
                assert!(vectors.run(|| holds_place(&window)), "{at} {vectors:?}");
                window[at + 1] = 0xa6;
            }
        }
    }

    #[test]
    fn good_data_does_not_repeat() {
        let mut test = RepeatedData::new();
        assert_eq!(test.update(&testdata::good(21, 1 << 20)), None);
    }

    #[test]
    fn remembers_one_place_in_4_kib_or_so() {
        let mut test = RepeatedData::new();
        test.update(&testdata::good(22, 1 << 20));
        let remembered = test.seen.iter().filter(|&&digest| digest != 0).count();
        assert!((180..330).contains(&remembered), "{remembered}");
    }
}
