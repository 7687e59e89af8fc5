//! To be filled.
pub mod admit;
