//! Conditioning: from samples of a noise source to bytes that are close to uniform, and from several sources to one.
//!
//! ```text
//!  source ── pair::claim: does this method suit this source? ──┐ (once, at start)
//!                                                              v
//!  tested samples ──> Conditioner: none | von Neumann | matrix | Toeplitz | HMAC ──> bytes ─┐
//!  tested samples ──> Conditioner ...                                                ──> bytes ─┴─> combine ─> bytes
//! ```
//!
//! | Module | What it knows |
//! |---|---|
//! | [`pair`] | which method suits which source, the entropy claimed before and after, refusals |
//! | [`entropy`] | the formulas behind the claims |
//! | [`von_neumann`], [`matrix`], [`toeplitz`], [`hmac`] | the methods |
//! | [`combine`] | several sources into one stream: XOR and HKDF |
//!
//! In the terms of NIST SP 800-90B section 3.1.5 the HMAC is a vetted conditioning component (3.1.5.1.1), the others
//! are not (3.1.5.2). Bits are counted from the least significant end everywhere: bit `i` of a string is bit `i % 8`
//! of byte `i / 8`.

mod blocks;
pub mod combine;
pub mod entropy;
pub mod hmac;
pub mod matrix;
pub mod pair;
mod sizes;
pub mod toeplitz;
pub mod von_neumann;

pub use pair::Method;
pub use sizes::{SizeError, Sizes};

/// A method at work: samples in, conditioned bytes out, however the samples are cut into pieces.
pub trait Conditioner: Send {
    /// The method and its sizes, for [`Method::claim`].
    fn method(&self) -> Method;

    /// The most bytes that the next `input_len` bytes can append.
    fn max_output(&self, input_len: usize) -> usize;

    /// Appends to `out` what `input` completes, and holds back what is left for the next call.
    ///
    /// `out` grows by at most [`Self::max_output`], and needs 8 bytes of working room beyond. A caller that wants no copy of secret
    /// bytes left in freed memory gives it that capacity beforehand.
    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>);

    /// Forgets and wipes what is held back. For use when a health test discards the samples that came last.
    fn reset(&mut self);
}

/// No conditioning: the samples as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassThrough;

impl Conditioner for PassThrough {
    fn method(&self) -> Method {
        Method::None
    }

    fn max_output(&self, input_len: usize) -> usize {
        input_len
    }

    fn condition(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(input);
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests;
