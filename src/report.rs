//! Where the random bytes come from: the kinds of noise source, and the collector's report about its sources.
//!
//! A report travels as the plaintext of a data packet, so it is encrypted and authenticated like random bytes:
//!
//! ```text
//!  0         1           3                  3+length            n
//! ┌─────────┬───────────┬──────────────────┬───────────────────┐
//! │ 80      │ length u16│ MessagePack map  │ zeros             │
//! │ content │           │ of a Report      │                   │
//! └─────────┴───────────┴──────────────────┴───────────────────┘
//! ```
//!
//! The map names its fields, and unknown ones are passed over: a newer collector may say more. Texts end on an
//! operator's terminal at the other end, so what is read is freed of characters that would steer it, and shortened.

mod kind;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::health::Summary;
pub use kind::{Kind, Kinds};

/// How a noise source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Opened, nothing delivered yet.
    Starting,
    /// Delivering.
    Running,
    /// A file that was read to its end.
    Ended,
    /// Not delivering because of an error.
    Failed,
    /// Not delivering because its health tests failed, until an operator clears it.
    Latched,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl State {
    /// Its name, as in reports and status documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Ended => "ended",
            State::Failed => "failed",
            State::Latched => "latched",
            State::Unknown => "unknown",
        }
    }
}

/// One noise source of the collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its kind.
    pub kind: Kind,
    /// What it is, in words: a product's name, a path. At most [`LONGEST_TEXT`] characters when read.
    pub name: String,
    /// Its serial number, if it has one. At most [`LONGEST_TEXT`] characters when read.
    #[serde(default)]
    pub serial: Option<String>,
    /// How it is doing.
    pub state: State,
    /// What the device says of itself, as numbers by name, such as the mask of its healthy modules. Empty if it says
    /// nothing, or if the packet had no room. At most [`MOST_SENSORS`] when read, of names of at most
    /// [`LONGEST_SENSOR`] characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sensors: BTreeMap<String, u64>,
    /// Its health in numbers, with the last alarm. Absent if it is not tested, or if the packet had no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Summary>,
}

impl SourceReport {
    /// Frees its texts of what would steer a terminal, bounds them, and names its health.
    fn tame(&mut self) {
        self.name = tamed(&self.name, LONGEST_TEXT);
        self.serial = self.serial.as_ref().map(|s| tamed(s, LONGEST_TEXT));
        let sensors = std::mem::take(&mut self.sensors);
        let tame = |(name, value): (String, u64)| (tamed(&name, LONGEST_SENSOR), value);
        self.sensors = sensors.into_iter().take(MOST_SENSORS).map(tame).collect();
        let name = self.name.clone();
        self.name_health(&name);
    }

    /// Writes `name` wherever the health tests name the source. On the way it is left out there.
    fn name_health(&mut self, name: &str) {
        let Some(health) = &mut self.health else {
            return;
        };
        name.clone_into(&mut health.source);
        if let Some(alarm) = &mut health.last_alarm {
            name.clone_into(&mut alarm.source);
        }
    }
}

/// What the collector says about itself once a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The collector's version.
    pub collector: String,
    /// Its noise sources.
    pub sources: Vec<SourceReport>,
}

/// The longest text of a report that is read, in characters; the rest is cut off.
pub const LONGEST_TEXT: usize = 128;

/// The most sensors of a source that are read; the rest are passed over.
pub const MOST_SENSORS: usize = 32;

/// The longest name of a sensor that is read, in characters; the rest is cut off.
pub const LONGEST_SENSOR: usize = 32;

/// `text` without characters that steer a terminal, and no longer than `longest` characters.
fn tamed(text: &str, longest: usize) -> String {
    text.chars().filter(|&c| !steers(c)).take(longest).collect()
}

/// Control characters, line and paragraph separators, and what changes the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Why a report could not be written or read.
#[derive(Debug, Error)]
pub enum ReportError {
    /// It does not fit in the packet.
    #[error(
        "a report of {len} bytes does not fit in {room}; shorten the sources' names, or make the packets larger"
    )]
    TooLong {
        /// Bytes of the report and its length field.
        len: usize,
        /// Bytes that there are.
        room: usize,
    },
    /// It can't be encoded.
    #[error("a report could not be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The length field is wrong.
    #[error("a report's length field is wrong")]
    Length,
    /// It can't be decoded.
    #[error("a report could not be decoded")]
    Decode(#[from] rmp_serde::decode::Error),
}

/// The most bytes of a source's name in a report that would be too long otherwise.
const SHORT_NAME: usize = 32;

impl Report {
    /// Writes the length, the map and zeros up to the end of `out`, which is what follows the content byte.
    ///
    /// # Errors
    /// [`ReportError::TooLong`] if `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<(), ReportError> {
        let mut report = self.clone();
        for source in &mut report.sources {
            source.name_health("");
        }
        let map = rmp_serde::to_vec_named(&report)?;
        let too_long = ReportError::TooLong {
            len: map.len() + 2,
            room: out.len(),
        };
        let Ok(len) = u16::try_from(map.len()) else {
            return Err(too_long);
        };
        if out.len() < map.len() + 2 {
            return Err(too_long);
        }
        let (head, rest) = out.split_at_mut(2);
        let (body, padding) = rest.split_at_mut(map.len());
        head.copy_from_slice(&len.to_be_bytes());
        body.copy_from_slice(&map);
        padding.fill(0);
        Ok(())
    }

    /// Writes as [`Self::encode`] does, but leaves out what does not fit: first what devices say of themselves, then the
    /// health of sources that had no alarm, then that of all, then serial numbers and the ends of long names. Each source's
    /// state stays.
    ///
    /// # Errors
    /// [`ReportError::TooLong`] if `out` is too short even so.
    pub fn encode_fitting(mut self, out: &mut [u8]) -> Result<(), ReportError> {
        let shortenings: [fn(&mut SourceReport); 4] = [
            |source| source.sensors.clear(),
            |source| {
                source.health.take_if(|health| health.last_alarm.is_none());
            },
            |source| source.health = None,
            |source| {
                source.serial = None;
                let mut ends = (0..=SHORT_NAME).rev();
                let end = ends.find(|&end| source.name.is_char_boundary(end));
                source.name.truncate(end.unwrap_or(0));
            },
        ];
        for shorten in shortenings {
            match self.encode(out) {
                Err(ReportError::TooLong { .. }) => self.sources.iter_mut().for_each(shorten),
                done => return done,
            }
        }
        self.encode(out)
    }

    /// Reads what follows the content byte. Its texts are fit to be shown on a terminal.
    ///
    /// # Errors
    /// [`ReportError::Length`] or [`ReportError::Decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        let (head, rest) = bytes.split_first_chunk().ok_or(ReportError::Length)?;
        let len = usize::from(u16::from_be_bytes(*head));
        let map = rest.get(..len).ok_or(ReportError::Length)?;
        let mut report: Self = rmp_serde::from_slice(map)?;
        report.collector = tamed(&report.collector, LONGEST_TEXT);
        report.sources.iter_mut().for_each(SourceReport::tame);
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
