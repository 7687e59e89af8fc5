//! The gateway: verifies packets and hands each byte out once, as files.
#![forbid(unsafe_code)]

pub mod admit;
pub mod buffer;
pub mod kernel;
pub mod tree;
