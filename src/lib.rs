//! The shared core of qrng: pure code that takes bytes and time and returns verdicts.
#![forbid(unsafe_code)]

pub mod draw;
pub mod drbg;
