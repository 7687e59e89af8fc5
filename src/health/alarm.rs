//! What a failed test says: which, how badly, by which numbers, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A health test, named in alarms, counters and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Test {
    /// Repetition count over bits (SP 800-90B section 4.4.1): one bit value, over and over.
    RepetitionBits,
    /// Repetition count over bytes (SP 800-90B section 4.4.1): one byte value, over and over.
    RepetitionBytes,
    /// Adaptive proportion over windows of 1024 bits (SP 800-90B section 4.4.2).
    ProportionBits,
    /// Adaptive proportion over windows of 512 bytes (SP 800-90B section 4.4.2).
    ProportionBytes,
    /// The most common byte of 64 KiB leaves less than half of the claimed min-entropy.
    TotalFailure,
    /// Data that came before comes again, at any distance and alignment.
    RepeatedData,
    /// The frequencies of the 256 bytes in 64 KiB, too uneven or too even.
    ChiSquare,
    /// The proportion of ones in 64 KiB.
    Bias,
    /// Bits that agree with bits 1 to 64 places further on, in 64 KiB.
    Autocorrelation,
    /// Data arrives more slowly or faster than the source can deliver it.
    Rate,
    /// No data arrives at all.
    Silence,
    /// Intermittent alarms that come too close together.
    RepeatedAlarms,
    /// A test of another version, in its report.
    #[serde(other)]
    Unknown,
}

impl Test {
    /// Every test that there is.
    pub const ALL: [Self; 12] = [
        Self::RepetitionBits,
        Self::RepetitionBytes,
        Self::ProportionBits,
        Self::ProportionBytes,
        Self::TotalFailure,
        Self::RepeatedData,
        Self::ChiSquare,
        Self::Bias,
        Self::Autocorrelation,
        Self::Rate,
        Self::Silence,
        Self::RepeatedAlarms,
    ];

    /// The name under which the test is counted, logged and reported.
    pub fn name(self) -> &'static str {
        match self {
            Self::RepetitionBits => "repetition-bits",
            Self::RepetitionBytes => "repetition-bytes",
            Self::ProportionBits => "proportion-bits",
            Self::ProportionBytes => "proportion-bytes",
            Self::TotalFailure => "total-failure",
            Self::RepeatedData => "repeated-data",
            Self::ChiSquare => "chi-square",
            Self::Bias => "bias",
            Self::Autocorrelation => "autocorrelation",
            Self::Rate => "rate",
            Self::Silence => "silence",
            Self::RepeatedAlarms => "repeated-alarms",
            Self::Unknown => "unknown",
        }
    }

    /// What [`Alarm::sample`] counts: bits for the two tests over bits, bytes for all others.
    pub fn unit(self) -> &'static str {
        match self {
            Self::RepetitionBits | Self::ProportionBits => "bit",
            _ => "byte",
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad a failure is. The greater tier is the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The block is discarded and start-up runs again.
    Intermittent,
    /// Nothing more is served from the source until an operator acts.
    Permanent,
}

impl Tier {
    /// The name under which the tier is logged and reported.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intermittent => "intermittent",
            Self::Permanent => "permanent",
        }
    }
}

/// One failed test, as found in the data, before it is known whose data it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The test that failed.
    pub test: Test,
    /// The worse tier whose limit was crossed.
    pub tier: Tier,
    /// What was measured.
    pub statistic: f64,
    /// The limit of that tier, on the side that was crossed.
    pub limit: f64,
    /// The sample at which the limit was crossed, counted by the test in its own unit.
    pub sample: u64,
    /// The lag in bits, of an autocorrelation.
    pub lag: Option<u8>,
}

/// The worst of several findings: the higher tier, and the earliest within it.
pub fn worst(findings: impl IntoIterator<Item = Finding>) -> Option<Finding> {
    findings
        .into_iter()
        .reduce(|kept, new| if new.tier > kept.tier { new } else { kept })
}

/// A failed test of one source, for logs and reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Alarm {
    /// The source, by its configured name.
    pub source: String,
    /// The test that failed.
    pub test: Test,
    /// Intermittent or permanent.
    pub tier: Tier,
    /// What was measured.
    pub statistic: f64,
    /// The limit that it crossed.
    pub limit: f64,
    /// The sample at which it did, counted from the first that the monitor saw, in bits or bytes as
    /// [`Test::unit`] says.
    pub sample: u64,
    /// The lag in bits, of an autocorrelation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u8>,
    /// When the block was examined, in microseconds since the Unix epoch.
    pub at_us: u64,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "source {}: {} alarm of the {} test at {} {}: {} against a limit of {}",
            self.source,
            self.tier.name(),
            self.test,
            self.test.unit(),
            self.sample,
            self.statistic,
            self.limit,
        )?;
        match self.lag {
            Some(lag) => write!(f, " (lag {lag})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_serde_agree() {
        for test in Test::ALL {
            let json = serde_json::to_string(&test).unwrap();
            assert_eq!(json, format!("\"{}\"", test.name()));
            assert_eq!(serde_json::from_str::<Test>(&json).unwrap(), test);
        }
        let later = serde_json::from_str::<Test>("\"a-later-test\"");
        assert_eq!(later.unwrap(), Test::Unknown);
    }

    #[test]
    fn an_alarm_travels_unchanged() {
        let alarm = Alarm {
            source: "card 0".to_owned(),
            test: Test::Autocorrelation,
            tier: Tier::Permanent,
            statistic: 0.5,
            limit: 0.01,
            sample: 65_536,
            lag: Some(8),
            at_us: 7,
        };
        let bytes = rmp_serde::to_vec_named(&alarm).unwrap();
        assert_eq!(rmp_serde::from_slice::<Alarm>(&bytes).unwrap(), alarm);
        assert_eq!(
            alarm.to_string(),
            "source card 0: permanent alarm of the autocorrelation test at byte 65536: \
             0.5 against a limit of 0.01 (lag 8)"
        );
    }
}
