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
//! The map names its fields, and unknown ones are passed over: a newer collector may say more.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::health::Summary;

/// A kind of noise source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A PCIe card that carries generator modules.
    PcieModule,
    /// A PCIe card that carries generator chips.
    PcieChip,
    /// A USB generator.
    Usb,
    /// A network appliance.
    Appliance,
    /// A character device of the kernel or of a vendor's driver, or a file.
    KernelNode,
    /// No noise source at all: a simulator, for trials.
    Simulator,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::PcieModule,
        Kind::PcieChip,
        Kind::Usb,
        Kind::Appliance,
        Kind::KernelNode,
        Kind::Simulator,
    ];

    /// Its name, as in reports and status documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::PcieModule => "pcie-module",
            Kind::PcieChip => "pcie-chip",
            Kind::Usb => "usb",
            Kind::Appliance => "appliance",
            Kind::KernelNode => "kernel-node",
            Kind::Simulator => "simulator",
        }
    }

    /// Its bit in the content byte.
    const fn bit(self) -> u8 {
        match self {
            Kind::PcieModule => 0x01,
            Kind::PcieChip => 0x02,
            Kind::Usb => 0x04,
            Kind::Appliance => 0x08,
            Kind::KernelNode => 0x10,
            Kind::Simulator => 0x20,
        }
    }
}

/// A set of kinds: those that contributed to some bytes, or those that a gateway accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    const ALL_BITS: u8 = 0x3f;
    /// No kind.
    pub const NONE: Kinds = Kinds(0);
    /// Every kind, the simulator included.
    pub const ALL: Kinds = Kinds(Self::ALL_BITS);
    /// Every kind that is a real noise source.
    pub const REAL: Kinds = Kinds(Self::ALL_BITS & !Kind::Simulator.bit());

    /// The set of one kind.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Kinds(kind.bit())
    }

    /// This set and `kind`.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Kinds(self.0 | kind.bit())
    }

    /// The members of both sets.
    #[must_use]
    pub const fn union(self, other: Kinds) -> Self {
        Kinds(self.0 | other.0)
    }

    /// Tells whether `kind` is a member.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Tells whether every member is one of `other` too.
    #[must_use]
    pub const fn is_within(self, other: Kinds) -> bool {
        self.0 & !other.0 == 0
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .into_iter()
            .filter(move |&kind| self.contains(kind))
    }

    /// The bits as they travel in the content byte; also for keeping a set in an atomic.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads a content byte: at least one kind, and no unknown one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits & !Self::ALL_BITS != 0 {
            return None;
        }
        Some(Kinds(bits))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Kinds::NONE, Kinds::with)
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

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
    /// What it is, in words: a product's name, a path.
    pub name: String,
    /// Its serial number, if it has one.
    #[serde(default)]
    pub serial: Option<String>,
    /// How it is doing.
    pub state: State,
    /// Its health in numbers, with the last alarm. Absent if it is not tested, or if the packet had no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Summary>,
}

impl SourceReport {
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

    /// Writes as [`Self::encode`] does, but leaves out what does not fit: first the health of sources that had no alarm,
    /// then that of all, then serial numbers and the ends of long names. Each source's state stays.
    ///
    /// # Errors
    /// [`ReportError::TooLong`] if `out` is too short even so.
    pub fn encode_fitting(mut self, out: &mut [u8]) -> Result<(), ReportError> {
        let shortenings: [fn(&mut SourceReport); 3] = [
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

    /// Reads what follows the content byte.
    ///
    /// # Errors
    /// [`ReportError::Length`] or [`ReportError::Decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        let (head, rest) = bytes.split_first_chunk().ok_or(ReportError::Length)?;
        let len = usize::from(u16::from_be_bytes(*head));
        let map = rest.get(..len).ok_or(ReportError::Length)?;
        let mut report: Report = rmp_serde::from_slice(map)?;
        for source in &mut report.sources {
            let name = source.name.clone();
            source.name_health(&name);
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{self, Alarm, Test, Tier};

    fn report() -> Report {
        Report {
            collector: "0.1.0".into(),
            sources: vec![
                SourceReport {
                    kind: Kind::Simulator,
                    name: "simulator".into(),
                    serial: None,
                    state: State::Running,
                    health: None,
                },
                SourceReport {
                    kind: Kind::PcieModule,
                    name: "card".into(),
                    serial: Some("1234567A".into()),
                    state: State::Failed,
                    health: None,
                },
            ],
        }
    }

    #[test]
    fn there_and_back() {
        let mut out = [0xee; 1355];
        report().encode(&mut out).unwrap();
        assert_eq!(Report::decode(&out).unwrap(), report());
        assert_eq!(out[1354], 0);
    }

    /// A source whose health tests have latched it, or that never had an alarm.
    fn tested(name: &str, latched: bool) -> SourceReport {
        let alarm = Alarm {
            source: name.into(),
            test: Test::Autocorrelation,
            tier: Tier::Permanent,
            statistic: 0.5,
            limit: 0.010_637,
            sample: u64::MAX,
            lag: Some(64),
            at_us: u64::MAX,
        };
        SourceReport {
            kind: Kind::Usb,
            name: name.into(),
            serial: Some("12345678".into()),
            state: if latched {
                State::Latched
            } else {
                State::Running
            },
            health: Some(Summary {
                source: name.into(),
                state: if latched {
                    health::State::Latched
                } else {
                    health::State::Passing
                },
                examined_bytes: u64::MAX,
                passed_bytes: u64::MAX,
                intermittent_alarms: 70_000,
                permanent_alarms: 1,
                bytes_per_second: Some(500_000.25),
                min_entropy_per_byte: Some(7.75),
                last_alarm: latched.then_some(alarm),
            }),
        }
    }

    fn of(sources: Vec<SourceReport>) -> Report {
        Report {
            collector: "10.20.30".into(),
            sources,
        }
    }

    #[test]
    fn health_and_the_last_alarm_travel() {
        let report = of(vec![
            tested("left", true),
            tested(&"right ".repeat(20), false),
        ]);
        let mut out = [0; 1117];
        report.encode(&mut out).unwrap();
        assert_eq!(Report::decode(&out).unwrap(), report);
        let names = out.windows(4).filter(|w| w == b"left").count();
        assert_eq!(names, 1, "the name is sent once");
    }

    #[test]
    fn what_does_not_fit_is_left_out_the_alarms_last() {
        let fitting = |sources: Vec<SourceReport>| {
            let mut out = [0; 1117];
            of(sources).encode_fitting(&mut out).unwrap();
            Report::decode(&out).unwrap().sources
        };
        let mut sources = vec![tested("a", false); 7];
        sources.push(tested("b", true));
        let got = fitting(sources.clone());
        assert!(got[..7].iter().all(|s| s.health.is_none()));
        assert_eq!(got[7], sources[7]);
        let got = fitting(vec![tested(&"\u{e4}".repeat(64), true); 8]);
        assert_eq!(got.len(), 8);
        assert!(
            got.iter()
                .all(|s| s.state == State::Latched && s.name.len() == 32)
        );
        let error = of(sources).encode_fitting(&mut [0; 100]).unwrap_err();
        assert!(matches!(error, ReportError::TooLong { .. }));
    }

    #[test]
    fn too_long_is_said() {
        let error = report().encode(&mut [0; 20]).unwrap_err().to_string();
        assert!(error.contains("does not fit in 20"), "{error}");
    }

    #[test]
    fn unknown_fields_and_states_are_tolerated() {
        // {"collector": "9", "sources": [{"kind": "usb", "name": "x", "state": "dancing", "new": [1]}], "more": {}}
        let mut map = vec![0x83, 0xa9];
        map.extend(b"collector\xa19\xa7sources\x91\x84\xa4kind\xa3usb\xa4name\xa1x\xa5state\xa7dancing\xa3new\x91\x01\xa4more\x80");
        let mut bytes = (map.len() as u16).to_be_bytes().to_vec();
        bytes.extend(map);
        let report = Report::decode(&bytes).unwrap();
        assert_eq!(report.sources[0].kind, Kind::Usb);
        assert_eq!(report.sources[0].state, State::Unknown);
        assert_eq!(report.sources[0].serial, None);
    }

    #[test]
    fn broken_reports_are_errors() {
        for bytes in [&[][..], &[0], &[0, 1], &[0, 0], &[0, 1, 0xc1], &[0xff; 64]] {
            assert!(Report::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn names_agree_with_serde() {
        for kind in Kind::ALL {
            let named = rmp_serde::to_vec(&kind).unwrap();
            assert_eq!(&named[1..], kind.name().as_bytes());
            assert_eq!(Kinds::from_bits(kind.bit()), Some(Kinds::of(kind)));
        }
    }

    #[test]
    fn sets_of_kinds() {
        let mixed: Kinds = [Kind::Usb, Kind::Simulator].into_iter().collect();
        assert!(!mixed.is_within(Kinds::REAL));
        assert!(mixed.is_within(Kinds::ALL));
        assert!(Kinds::of(Kind::Usb).is_within(Kinds::REAL));
        assert_eq!(format!("{mixed:?}"), "{Usb, Simulator}");
        assert_eq!(Kinds::from_bits(0), None);
        assert_eq!(Kinds::from_bits(0x40), None);
        assert_eq!(Kinds::from_bits(0xa0), None);
    }
}
