//! The verdict over one source's data.
//!
//! ```text
//!                 64 KiB pass                     a test fails, intermittent
//!   ┌──────────┐ ────────────> ┌─────────┐ ─────────────────────────────────┐
//!   │ Starting │               │ Passing │                                  │
//!   └──────────┘ <──────────── └─────────┘     the block is discarded       │
//!    │    ^   ^                     │                                       │
//!    │    │   └─────────────────────┼───────────────────────────────────────┘
//!    │    │ clear(), by an operator │
//!    │    │                         │ a test fails, permanent;
//!    │   ┌─────────┐                │ or the third intermittent alarm within 2^30 bits
//!    └─> │ Latched │ <──────────────┘
//!        └─────────┘
//! ```
//!
//! The caller holds a block back until it is judged, and serves it only at [`Verdict::Serve`]. So no
//! byte leaves before start-up has passed (SP 800-90B section 4.3; AIS 20/31, PTG.2.3), and none from after
//! a total failure (PTG.2.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BLOCK;
use super::alarm::{Alarm, Finding, Test, Tier, worst};
use super::battery::Battery;
use super::rate::Rate;
use super::settings::{Settings, SettingsError};

/// Bytes that must pass before the first is served: above the 1024 samples that SP 800-90B section
/// 4.3 asks for, and enough for every statistic. They are not served.
pub const START_UP_BYTES: u64 = BLOCK as u64;

/// Bytes within which intermittent alarms add up to a permanent one.
///
/// All tests together alarm falsely at most once in 2^40 bits; three alarms within 2^30 bits come by
/// chance once in `2 * 2^(3*40) / (2^30)^2 = 2^61` bits.
pub const ESCALATION_BYTES: u64 = 1 << 27;

/// Intermittent alarms within [`ESCALATION_BYTES`] that make a permanent one.
pub const ESCALATION_ALARMS: usize = 3;

/// Where a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Start-up tests run; nothing is served.
    Starting,
    /// Blocks that pass are served.
    Passing,
    /// Nothing is served until an operator acts.
    Latched,
}

/// What may be done with a block. Only [`Verdict::Serve`] lets it go on; in every other case the
/// block, and whatever is held with it, must be destroyed.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Verdict {
    /// The block passed and may be served.
    Serve,
    /// The block passed and was used up by the start-up tests.
    StartUp,
    /// The block failed; start-up runs again.
    Discard(Alarm),
    /// The block failed, and nothing more is served until an operator acts.
    Latch(Alarm),
    /// An earlier block latched the source. This one was not examined.
    Latched,
    /// The block is not of the length in the settings. It was not examined.
    WrongLength,
}

impl Verdict {
    /// Whether the block may be served.
    pub fn may_serve(&self) -> bool {
        matches!(self, Self::Serve)
    }

    /// The alarm that this block raised.
    pub fn alarm(&self) -> Option<&Alarm> {
        match self {
            Self::Discard(alarm) | Self::Latch(alarm) => Some(alarm),
            _ => None,
        }
    }
}

/// A source's health in numbers, for status and reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The source, by its configured name.
    pub source: String,
    /// Where it stands.
    pub state: State,
    /// Bytes examined.
    pub examined_bytes: u64,
    /// Bytes of those that were allowed to be served.
    pub passed_bytes: u64,
    /// Intermittent alarms, by blocks.
    pub intermittent_alarms: u64,
    /// Permanent alarms.
    pub permanent_alarms: u64,
    /// How often each test has crossed its intermittent and its permanent limit, also where another test's finding in the
    /// same block became the alarm. Tests that never did are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<Test, [u64; 2]>,
    /// Bytes a second over the last 10 seconds measured.
    pub bytes_per_second: Option<f64>,
    /// Min-entropy per byte of the last 64 KiB, in bits, by its most common byte
    /// (SP 800-90B section 6.3.1). An upper bound that no source reaches by being good.
    pub min_entropy_per_byte: Option<f64>,
    /// The last alarm.
    pub last_alarm: Option<Alarm>,
}

/// Judges the blocks of one source.
pub struct Monitor {
    settings: Settings,
    battery: Battery,
    rate: Rate,
    state: State,
    started_bytes: u64,
    passed_bytes: u64,
    /// Where the latest intermittent alarms were, the newest last, in bytes examined.
    recent: [Option<u64>; ESCALATION_ALARMS - 1],
    /// Findings of each test, intermittent and permanent.
    findings: BTreeMap<Test, [u64; 2]>,
    alarms: [u64; 2],
    last_alarm: Option<Alarm>,
}

impl Monitor {
    /// A monitor that begins with start-up tests.
    ///
    /// # Errors
    ///
    /// A setting outside its range.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            battery: Battery::new(&settings),
            rate: Rate::new(settings.expected_rate),
            settings,
            state: State::Starting,
            started_bytes: 0,
            passed_bytes: 0,
            recent: [None; ESCALATION_ALARMS - 1],
            findings: BTreeMap::new(),
            alarms: [0; 2],
            last_alarm: None,
        })
    }

    /// What the source is held to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the source stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// How often a test has crossed a tier's limit.
    pub fn findings(&self, test: Test, tier: Tier) -> u64 {
        self.findings
            .get(&test)
            .map_or(0, |counts| counts[tier as usize])
    }

    /// The source's health in numbers.
    pub fn summary(&self) -> Summary {
        Summary {
            source: self.settings.source.clone(),
            state: self.state,
            examined_bytes: self.battery.bytes(),
            passed_bytes: self.passed_bytes,
            intermittent_alarms: self.alarms[0],
            permanent_alarms: self.alarms[1],
            findings: self.findings.clone(),
            bytes_per_second: self.rate.measured(),
            min_entropy_per_byte: self.battery.min_entropy(),
            last_alarm: self.last_alarm.clone(),
        }
    }

    /// Judges the next block, of [`Settings::block_bytes`], at the time `now_us` (microseconds since
    /// the Unix epoch).
    pub fn examine(&mut self, block: &[u8], now_us: u64) -> Verdict {
        if self.state == State::Latched {
            return Verdict::Latched;
        }
        if block.len() != self.settings.block_bytes {
            return Verdict::WrongLength;
        }
        let found = self.battery.examine(block);
        let rate = self.rate.observe(block.len() as u64, now_us);
        let rate = rate.map(|finding| self.at_end(finding));
        let mut worst_found = None;
        for finding in found.chain(rate) {
            self.note(finding.test, finding.tier);
            worst_found = worst(worst_found.into_iter().chain([finding]));
        }
        match worst_found {
            Some(finding) => self.alarm(finding, now_us),
            None => self.pass(block.len() as u64),
        }
    }

    /// To be called about once a second while no block is complete, so that silence is noticed.
    /// Returns an alarm of the rate; what is held back must then be destroyed.
    pub fn tick(&mut self, now_us: u64) -> Option<Alarm> {
        if self.state == State::Latched {
            return None;
        }
        let finding = self.rate.observe(0, now_us)?;
        let finding = self.at_end(finding);
        self.note(finding.test, finding.tier);
        self.alarm(finding, now_us).alarm().cloned()
    }

    /// An operator has dealt with the source: start-up tests run, and a latch and the alarms that
    /// added up to it are forgotten. Counters stay. Returns whether the source was latched.
    pub fn clear(&mut self) -> bool {
        let latched = self.state == State::Latched;
        self.recent = [None; ESCALATION_ALARMS - 1];
        self.rate.reset();
        self.start();
        latched
    }

    /// Latches the source by an alarm of an earlier run, which nobody has cleared. It counts as none of this run's.
    pub fn latch(&mut self, alarm: Alarm) {
        self.start();
        self.state = State::Latched;
        self.last_alarm = Some(alarm);
    }

    /// The device was opened again: start-up tests run, unless the source is latched.
    pub fn restart(&mut self) {
        if self.state != State::Latched {
            self.rate.reset();
            self.start();
        }
    }

    fn start(&mut self) {
        self.state = State::Starting;
        self.started_bytes = 0;
        self.battery.reset();
    }

    fn note(&mut self, test: Test, tier: Tier) {
        self.findings.entry(test).or_default()[tier as usize] += 1;
    }

    fn at_end(&self, finding: Finding) -> Finding {
        Finding {
            sample: self.battery.bytes().saturating_sub(1),
            ..finding
        }
    }

    fn pass(&mut self, bytes: u64) -> Verdict {
        if self.state == State::Passing {
            self.passed_bytes += bytes;
            return Verdict::Serve;
        }
        self.started_bytes += bytes;
        if self.started_bytes >= START_UP_BYTES {
            self.state = State::Passing;
        }
        Verdict::StartUp
    }

    fn alarm(&mut self, finding: Finding, now_us: u64) -> Verdict {
        let finding = self.escalate(finding);
        self.alarms[finding.tier as usize] += 1;
        let alarm = Alarm {
            source: self.settings.source.clone(),
            test: finding.test,
            tier: finding.tier,
            statistic: finding.statistic,
            limit: finding.limit,
            sample: finding.sample,
            lag: finding.lag,
            at_us: now_us,
        };
        self.last_alarm = Some(alarm.clone());
        self.start();
        match finding.tier {
            Tier::Intermittent => Verdict::Discard(alarm),
            Tier::Permanent => {
                self.state = State::Latched;
                Verdict::Latch(alarm)
            }
        }
    }

    /// Makes an intermittent alarm permanent if it is one too many. Alarms of the rate have a rule of
    /// their own.
    fn escalate(&mut self, finding: Finding) -> Finding {
        let of_rate = matches!(finding.test, Test::Rate | Test::Silence);
        if finding.tier == Tier::Permanent || of_rate {
            return finding;
        }
        let now = self.battery.bytes();
        let oldest = self.recent[0];
        self.recent.rotate_left(1);
        self.recent[ESCALATION_ALARMS - 2] = Some(now);
        if oldest.is_none_or(|then| now - then > ESCALATION_BYTES) {
            return finding;
        }
        self.note(Test::RepeatedAlarms, Tier::Permanent);
        Finding {
            test: Test::RepeatedAlarms,
            tier: Tier::Permanent,
            statistic: ESCALATION_ALARMS as f64,
            limit: ESCALATION_ALARMS as f64,
            sample: now - 1,
            lag: None,
        }
    }
}
