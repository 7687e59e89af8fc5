//! The arithmetic of conditioning, with the processor's instructions where it has them.
//!
//! ```text
//!  bytes ─┬─> von_neumann::Selector ─> at most a quarter of the bits     PEXT                   or portable
//!         ├─> matrix::Matrix ────────> y = M x over GF(2)                GFNI with AVX-512      or portable
//!         └─> toeplitz::Toeplitz ────> y = T x over GF(2)                (V)PCLMULQDQ           or portable
//!  messages ────> sha256::compress_row ─────> their states           AVX-512, or SHA        or portable
//!  any loop ─────> Vectors::run ────────────> its result               AVX-512 or AVX2        or portable
//! ```
//!
//! Everything counts bits from the least significant end: bit `i` of a string is bit `i % 8` of byte `i / 8`.
//!
//! No address and no branch depends on the data that goes through, only on its length: a table lookup by secret bits
//! would tell them through the cache. The portable versions look up by the bits of the matrix, which is public.
//! (The length of what von Neumann's rule yields tells how many pairs were equal; that is the rule's nature.)
//!
//! `unsafe` stands only where a function that was compiled for certain instructions is called. A [`Path`] gets into a
//! value only after the processor was asked for those instructions, so each such call rests on a field's invariant.
#![deny(missing_docs)]

pub mod matrix;
mod path;
pub mod sha256;
mod shape;
#[cfg(test)]
mod testing;
pub mod toeplitz;
mod vectors;
pub mod von_neumann;
mod words;

pub use path::Path;
pub use vectors::Vectors;
