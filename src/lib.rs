//! The shared core of qrng: pure code that takes bytes and time and returns verdicts.
//!
//! qrng is a data diode for quantum random numbers: a collector beside the noise source pushes packets one way over
//! UDP, and a gateway verifies them and hands each byte out once. Nothing here may need an answer.
//!
//! ```text
//!  collector                                             gateway
//!  ─────────                                             ───────
//!  key file ─> keys                                      key file ─> keys
//!                │                                                     │
//!  epoch ─> session::Sealer ───── announcement ────────> session::Opener
//!                │                                                     │
//!  random  ─┐    │ seal                           packet ── replay ────┤ open ─> random bytes ─> record
//!  report  ─┴────┴──────────────── data packet ───> door    window     │         or report
//!                                                       │              │
//!                                                       └─ order of checks: the gateway's `admit`
//! ```
//!
//! | Module | What it knows |
//! |---|---|
//! | [`keys`] | key files, key ids |
//! | [`packet`] | the bytes of both datagrams, and the one checked door for them |
//! | [`push`] | packets as the body of an HTTP request |
//! | [`session`] | HPKE session, ratchet, sealing and opening |
//! | [`replay`] | which sequence numbers were seen |
//! | [`report`] | kinds of noise source, the collector's report |
//! | [`record`] | random bytes as lines of text |
//! | [`stream`] | the frames of the gateway's stream socket |
//! | [`health`] | health tests on raw samples, the verdict on a source |
//! | [`condition`] | extractors, claims of entropy, the combination of sources |
//! | [`drbg`], [`draw`] | CTR_DRBG; unbiased numbers from random bytes |
//! | [`distribution`] | tails and limits of distributions, for tests of randomness |
//! | [`units`] | sizes and rates as people write them |
//!
//! There are no sockets, files or clocks here: time is an argument, in microseconds since the Unix epoch.
#![forbid(unsafe_code)]

pub mod condition;
pub mod distribution;
pub mod draw;
pub mod drbg;
pub mod health;
pub mod keys;
mod mac;
pub mod packet;
pub mod push;
pub mod record;
pub mod replay;
pub mod report;
pub mod session;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod units;

/// Overwrites what calls that have returned left on this thread's stack, as far as 64 KiB down: a secret that was moved
/// has left a copy at each place where it was.
#[inline(never)]
pub fn wipe_stack() {
    wipe(std::hint::black_box(&mut [0; 64 * 1024]));
}

/// Overwrites `bytes` with zeros in a way that the compiler may not leave out.
///
/// A fill and a barrier: `zeroize` on a slice writes byte by byte, which would cost more than the
/// decryption of a packet.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}
