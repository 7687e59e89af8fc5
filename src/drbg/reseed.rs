//! When a DRBG wants a fresh seed, and that it never answers before its first.

use super::{CtrDrbg, GenerateError, SEED_LEN, Seed};
use crate::draw::ByteSource;

/// How much a seed may answer, and how long it is good for. Both are advice to whoever reseeds: an overdue DRBG goes on
/// answering (it is no less secure for that until [`RESEED_INTERVAL`](super::RESEED_INTERVAL) requests), it only says
/// that it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReseedPolicy {
    /// Bytes answered before a reseed is due.
    pub bytes: u64,
    /// Microseconds before a reseed is due.
    pub micros: u64,
}

/// Why nothing was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// No seed was given yet.
    #[error("the DRBG was never seeded: it answers once {SEED_LEN} verified bytes have come")]
    Unseeded,
    /// The mechanism refused.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// A [`CtrDrbg`] that is unseeded until [`Reseeding::seed`] and knows when it is due for a seed.
#[derive(Debug)]
pub struct Reseeding {
    policy: ReseedPolicy,
    personalization: Seed,
    state: State,
}

#[derive(Debug)]
enum State {
    Unseeded,
    Seeded {
        /// Boxed, so that a move leaves no copy of the state behind.
        drbg: Box<CtrDrbg>,
        at_us: u64,
        answered: u64,
    },
}

impl Reseeding {
    /// An unseeded DRBG. `personalization` is no secret; it makes two DRBGs differ that were given the same seed by
    /// mistake (SP 800-90A Rev. 1, section 8.7.1).
    pub fn new(policy: ReseedPolicy, personalization: Seed) -> Self {
        Self {
            policy,
            personalization,
            state: State::Unseeded,
        }
    }

    /// The first seed, or a reseed. Directly before [`Reseeding::fill`] it gives that answer prediction resistance.
    ///
    /// `entropy` must be 48 bytes of full entropy that are used for nothing else; the caller wipes its copy.
    pub fn seed(&mut self, entropy: &Seed, now_us: u64) {
        match &mut self.state {
            State::Unseeded => {
                let drbg = Box::new(CtrDrbg::new(entropy, &self.personalization));
                self.state = State::Seeded {
                    drbg,
                    at_us: now_us,
                    answered: 0,
                };
            }
            State::Seeded {
                drbg,
                at_us,
                answered,
            } => {
                drbg.reseed(entropy, &[0; SEED_LEN]);
                *at_us = now_us;
                *answered = 0;
            }
        }
    }

    /// Whether it was ever seeded, and so answers.
    pub fn is_seeded(&self) -> bool {
        matches!(self.state, State::Seeded { .. })
    }

    /// Whether a seed should be given now. A clock that went back makes it due: the age of the seed is unknown then.
    pub fn is_due(&self, now_us: u64) -> bool {
        self.allowance(now_us) == 0
    }

    /// Bytes that may still be answered before a seed is due. Whoever fills more splits the fill there.
    pub fn allowance(&self, now_us: u64) -> u64 {
        let State::Seeded {
            at_us, answered, ..
        } = &self.state
        else {
            return 0;
        };
        match now_us.checked_sub(*at_us) {
            Some(age) if age < self.policy.micros => self.policy.bytes.saturating_sub(*answered),
            _ => 0,
        }
    }

    /// Fills `out`, due for a seed or not. On an error nothing of `out` may be used.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), FillError> {
        let State::Seeded { drbg, answered, .. } = &mut self.state else {
            return Err(FillError::Unseeded);
        };
        drbg.fill(out)?;
        *answered = answered.saturating_add(out.len() as u64);
        Ok(())
    }
}

impl ByteSource for Reseeding {
    type Error = FillError;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), FillError> {
        Reseeding::fill(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: ReseedPolicy = ReseedPolicy {
        bytes: 100,
        micros: 1000,
    };

    fn unseeded() -> Reseeding {
        Reseeding::new(POLICY, [0; SEED_LEN])
    }

    #[test]
    fn it_answers_nothing_before_its_first_seed() {
        let mut drbg = unseeded();
        let mut out = [0xAA; 8];
        assert_eq!(drbg.fill(&mut out), Err(FillError::Unseeded));
        assert_eq!(out, [0xAA; 8]);
        assert!(!drbg.is_seeded());
        assert!(drbg.is_due(0));
        drbg.seed(&[1; SEED_LEN], 0);
        assert!(drbg.is_seeded());
        drbg.fill(&mut out).unwrap();
        assert_ne!(out, [0xAA; 8]);
    }

    #[test]
    fn due_by_bytes_by_time_and_by_a_clock_that_went_back() {
        let mut drbg = unseeded();
        drbg.seed(&[1; SEED_LEN], 5000);
        assert_eq!(drbg.allowance(5000), 100);
        drbg.fill(&mut [0; 99]).unwrap();
        assert_eq!(drbg.allowance(5999), 1);
        assert!(drbg.is_due(6000));
        assert!(drbg.is_due(4999));
        drbg.fill(&mut [0; 2]).unwrap();
        assert!(drbg.is_due(5000));
        drbg.fill(&mut [0; 2])
            .expect("it answers although it is due");
        drbg.seed(&[2; SEED_LEN], 6000);
        assert_eq!(drbg.allowance(6000), 100);
    }

    #[test]
    fn a_reseed_keeps_what_the_old_seed_gave_and_adds_the_new() {
        let answer = |seeds: &[u8]| {
            let mut drbg = unseeded();
            seeds
                .iter()
                .for_each(|&seed| drbg.seed(&[seed; SEED_LEN], 0));
            let mut out = [0; 32];
            drbg.fill(&mut out).unwrap();
            out
        };
        assert_eq!(answer(&[1, 2]), answer(&[1, 2]));
        assert_ne!(answer(&[1, 2]), answer(&[2]));
        assert_ne!(answer(&[1, 2]), answer(&[3, 2]));
        assert_ne!(answer(&[1, 2]), answer(&[1, 3]));
    }

    #[test]
    fn the_personalization_counts() {
        let answer = |personalization| {
            let mut drbg = Reseeding::new(POLICY, [personalization; SEED_LEN]);
            drbg.seed(&[1; SEED_LEN], 0);
            let mut out = [0; 32];
            drbg.fill(&mut out).unwrap();
            out
        };
        assert_ne!(answer(1), answer(2));
    }
}
