//! Health tests of noise sources: NIST SP 800-90B section 4, and what AIS 20/31 (version 2, class
//! PTG.2) asks of total failure tests (PTG.2.1, PTG.2.2) and online tests (PTG.2.3 to PTG.2.5).
//!
//! ```text
//!   bytes ─> Gate ─> Monitor ─> Battery ─┬─ repetition count, bits and bytes    SP 800-90B 4.4.1
//!            holds    state,             ├─ adaptive proportion, bits and bytes SP 800-90B 4.4.2
//!            one      alarms,            ├─ repeated data, at any distance
//!            block    escalation         ├─ chi-square, bias, total failure     over 64 KiB
//!                       │                └─ autocorrelation, lags 1..=64        over 64 KiB
//!                       └─ Rate
//! ```
//!
//! Nothing here knows a clock or a device: bytes and times come in, verdicts go out. Bytes that were
//! not judged yet are never served, nor is any byte of a block that failed.
//!
//! A sample is a bit and a byte at once: both forms of each test run, bits lowest first. On data that
//! a device has already conditioned, all these tests together catch only total failure.

mod alarm;
mod autocorrelation;
mod battery;
mod cutoff;
mod disagreements;
#[cfg(test)]
mod faults;
mod gate;
mod histogram;
mod limits;
mod monitor;
mod proportion;
mod rate;
mod repeated;
mod repetition;
mod settings;
#[cfg(test)]
mod testdata;
#[cfg(test)]
mod verdicts;

pub use alarm::{Alarm, Test, Tier};
pub use battery::SAMPLE_LOG2_ALPHA;
pub use gate::Gate;
pub use limits::BLOCK_LOG2_ALPHA;
pub use monitor::{
    ESCALATION_ALARMS, ESCALATION_BYTES, Monitor, START_UP_BYTES, State, Summary, Verdict,
};
pub use settings::{Settings, SettingsError};

/// Bytes that the statistics judge together, and the most that a gate holds back.
pub const BLOCK: usize = 65_536;
