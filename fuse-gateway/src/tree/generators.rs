//! The generators behind `random` and `urandom`.
//!
//! ```text
//! raw bytes ──96── SHA-384 ──48──> root (one, behind a lock) ──48──┐ only if there are no raw bytes
//!           ──96── SHA-384 ──48────────────────────────────────────┴──> each thread's own ──> urandom
//! kernel    ──48──> each thread's own ──┐
//! raw bytes ────────────────────────────XOR──> random
//! ```
//!
//! In the terms of NIST SP 800-90C (2025) `urandom` follows the pattern of RBG2 (section 5) and `random` that of RBG3(XOR)
//! (section 6.4), with raw bytes for the entropy source. One thing is different on purpose: section 5.2.3 wants a reseed after
//! 2^17 bits of output, which at gigabytes a second would take megabytes of raw bytes from those who read them; here it
//! comes as [`POLICY`] says, and for each answer to who opens `urandom` with `O_SYNC` (prediction resistance, SP 800-90A
//! section 8.8).
//!
//! Every thread fills answers from a generator of its own, so that none waits for another. The root exists so that
//! `urandom` never waits once it was seeded: a thread that has no generator yet when there are no raw bytes takes its seed
//! from the root, and raw bytes as soon as there are some. A latch makes all of them start anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use qrng::drbg::{FillError, MATERIAL_LEN, ReseedPolicy, Reseeding, SEED_LEN, Seed, seed_of};
use zeroize::Zeroizing;

use super::TreeError;
use crate::buffer::{Buffer, Claim, Space};

/// After a reseed that found no raw bytes, how long until the next try, in microseconds.
const RETRY_US: u64 = 100_000;

/// Seeds are good for these bytes and this time: 96 of the link's bytes a minute and thread at the most, and 96 for each
/// 4 GiB beyond.
const POLICY: ReseedPolicy = ReseedPolicy {
    bytes: 4 << 30,
    micros: 60_000_000,
};

/// A generator that differs from all others of this process even if the seeds should be the same.
fn unseeded() -> Reseeding {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut personalization = [0; SEED_LEN];
    personalization[..8].copy_from_slice(b"qrng\0\0\0\0");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    personalization[8..16].copy_from_slice(&number.to_be_bytes());
    Reseeding::new(POLICY, personalization)
}

/// A generator and the latch count of the buffer (see [`Buffer::latches`]) under which it was seeded.
#[derive(Debug)]
struct Seeded {
    drbg: Reseeding,
    latches: u64,
}

impl Seeded {
    fn new() -> Self {
        Self {
            drbg: unseeded(),
            latches: 0,
        }
    }

    /// Forgets the seed if it came from before a latch.
    fn follow(&mut self, buffer: &Buffer) {
        let latches = buffer.latches();
        if self.latches != latches {
            self.drbg = unseeded();
            self.latches = latches;
        }
    }
}

/// What the generators of `urandom` share.
#[derive(Debug)]
pub(super) struct Root {
    seeded: Mutex<Seeded>,
    /// The latch count under which the root was seeded, and one; 0 for never.
    ready: AtomicU64,
    born: Instant,
}

impl Root {
    pub(super) fn new() -> Self {
        Self {
            seeded: Mutex::new(Seeded::new()),
            ready: AtomicU64::new(0),
            born: Instant::now(),
        }
    }

    /// Whether `urandom` answers without waiting.
    pub(super) fn is_seeded(&self, buffer: &Buffer) -> bool {
        self.ready.load(Ordering::SeqCst) == buffer.latches() + 1
    }

    /// Microseconds on a clock that never goes back.
    fn now_us(&self) -> u64 {
        self.born.elapsed().as_micros() as u64
    }

    /// A seed from the root, which gets one of its own first if it is due and there is one; nothing before its first.
    fn seed(&self, buffer: &Buffer, space: &mut Space) -> Option<Zeroizing<Seed>> {
        let mut root = self.lock();
        root.follow(buffer);
        let now_us = self.now_us();
        if root.drbg.is_due(now_us)
            && let Some(seed) = take_seed(buffer, space)
        {
            root.drbg.seed(&seed, now_us);
            self.ready.store(root.latches + 1, Ordering::SeqCst);
        }
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        root.drbg.fill(&mut *seed).ok().map(|()| seed)
    }

    fn lock(&self) -> MutexGuard<'_, Seeded> {
        // A seed is put in whole, and a generator that was interrupted has at worst skipped bytes.
        self.seeded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seed of raw bytes, if there are enough.
fn take_seed(buffer: &Buffer, space: &mut Space) -> Option<Zeroizing<Seed>> {
    let claim = buffer.claim_exact(MATERIAL_LEN, space)?;
    let mut material = Zeroizing::new([0; MATERIAL_LEN]);
    claim.copy_to(&mut *material);
    claim.seeded();
    Some(seed_of(&material))
}

/// One thread's generators.
#[derive(Debug)]
pub(super) struct Generators {
    /// For `urandom`, seeded with raw bytes.
    quantum: Seeded,
    /// When raw bytes were last looked for in vain.
    tried_us: Option<u64>,
    /// For `random`, seeded by the kernel.
    local: Reseeding,
}

impl Generators {
    pub(super) fn new() -> Self {
        Self {
            quantum: Seeded::new(),
            tried_us: None,
            local: unseeded(),
        }
    }

    /// Makes the thread's generator ready for an answer of `want` bytes; false if it must wait for its first seed.
    pub(super) fn prepare(
        &mut self,
        want: usize,
        root: &Root,
        buffer: &Buffer,
        space: &mut Space,
    ) -> bool {
        self.quantum.follow(buffer);
        let now_us = root.now_us();
        let drbg = &mut self.quantum.drbg;
        if drbg.allowance(now_us) >= want as u64 {
            return true;
        }
        let seeded = drbg.is_seeded();
        let lately = |tried| now_us.saturating_sub(tried) < RETRY_US;
        if seeded && self.tried_us.is_some_and(lately) {
            return true;
        }
        // The root comes first, so that no other thread has to wait from here on.
        let of_root = (!seeded).then(|| root.seed(buffer, space)).flatten();
        match take_seed(buffer, space) {
            Some(seed) => {
                drbg.seed(&seed, now_us);
                self.tried_us = None;
            }
            None => self.tried_us = Some(now_us),
        }
        if !drbg.is_seeded()
            && let Some(seed) = of_root
        {
            drbg.seed(&seed, now_us);
        }
        drbg.is_seeded()
    }

    /// Reseeds the thread's generator with raw bytes; false if there are none.
    pub(super) fn refresh(&mut self, root: &Root, buffer: &Buffer, space: &mut Space) -> bool {
        self.quantum.follow(buffer);
        let Some(seed) = take_seed(buffer, space) else {
            return false;
        };
        self.quantum.drbg.seed(&seed, root.now_us());
        true
    }

    /// Fills `out` from the generator that raw bytes seeded.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<(), FillError> {
        self.quantum.drbg.fill(out)
    }

    /// Seeds the local generator if it is due.
    pub(super) fn prepare_local(&mut self, root: &Root, want: usize) -> Result<(), TreeError> {
        let now_us = root.now_us();
        if self.local.allowance(now_us) < want as u64 {
            let mut seed = Zeroizing::new([0; SEED_LEN]);
            getrandom::fill(&mut *seed).map_err(|_| TreeError::NoGenerator)?;
            self.local.seed(&seed, now_us);
        }
        Ok(())
    }

    /// Combines every byte of `claim` with one of the local generator; `scratch` is wiped.
    pub(super) fn mix(
        &mut self,
        claim: &mut Claim<'_>,
        scratch: &mut [u8],
    ) -> Result<(), FillError> {
        for piece in claim.pieces_mut() {
            for part in piece.chunks_mut(scratch.len()) {
                let mask = &mut scratch[..part.len()];
                self.local.fill(mask)?;
                part.iter_mut()
                    .zip(&*mask)
                    .for_each(|(byte, mask)| *byte ^= mask);
            }
        }
        qrng::wipe(scratch);
        Ok(())
    }
}
