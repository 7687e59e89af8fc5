//! Health tests.

mod alarm;
mod autocorrelation;
mod cutoff;
mod distribution;
mod histogram;
mod limits;
mod proportion;
mod repeated;
mod repetition;
#[cfg(test)]
mod testdata;

pub use alarm::{Alarm, Test, Tier};

/// Bytes that the statistics judge together.
pub const BLOCK: usize = 65_536;

#[doc(hidden)]
pub mod probe {
    pub use super::autocorrelation::*;
    pub use super::histogram::*;
    pub use super::proportion::*;
    pub use super::repeated::*;
    pub use super::repetition::*;
}
