//! Health tests on what was verified, between admission and the buffer: a defence against a broken collector.
//!
//! ```text
//! admit ──> [ held: up to 8 KiB ] ── judged ──> [ staged: up to 64 KiB ] ──> buffer
//!                │ fails                              │ the whole 64 KiB fail
//!                └──> wiped <─────────────────────────┘
//! ```
//!
//! The tests judge pieces of 8 KiB as they come, and statistics when 64 KiB are complete (see [`qrng::health`]). Pieces that
//! passed are staged until their 64 KiB are judged as a whole, so that no byte of 64 KiB that fail is ever served.
//!
//! An operator of a slow source may choose otherwise ([`Testing::block_bytes`]): if readers have used up the buffer and the
//! oldest staged byte has waited [`PATIENCE_US`], so many staged bytes are passed on before the statistics are known.
//!
//! A permanent alarm latches the buffer: it is emptied, reads fail, and everything verified is destroyed until an operator
//! clears it. The latch is kept in a file, so that a restart doesn't clear it.
//!
//! ```text
//! verified = withheld + held + admitted to the buffer
//! ```

mod latch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{error, warn};
use qrng::health::{Alarm, BLOCK, Gate, Settings, SettingsError, State, Summary, Tier};
use qrng_daemon::write_atomically;

use crate::buffer::{Buffer, Memory};
pub use latch::ClearRequest;

/// Bytes judged by the tests of single samples before they are staged.
const PIECE: usize = 8192;

/// How long a judged byte waits for the statistics while the buffer is used up, in microseconds, if it may be passed on
/// before.
pub const PATIENCE_US: u64 = 10_000;

/// The buffer counts as used up below so many bytes.
const LOW: usize = PIECE;

/// The name under which alarms of these tests appear.
const SOURCE: &str = "link";

/// What is tested, and how far before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Testing {
    /// Whether verified bytes are tested at all.
    pub enabled: bool,
    /// Bytes that are served together: 64 KiB, all judged by every test, or 8, 16 or 32 KiB, of which the statistics may come
    /// too late.
    pub block_bytes: usize,
}

impl Testing {
    /// Every byte is judged by every test before it is served.
    pub const WHOLE: Self = Self {
        enabled: true,
        block_bytes: BLOCK,
    };
    /// Nothing is tested.
    pub const OFF: Self = Self {
        enabled: false,
        ..Self::WHOLE
    };

    /// Whether [`Self::block_bytes`] is one of the sizes that there are.
    pub fn is_possible(self) -> bool {
        self.block_bytes.is_power_of_two() && (PIECE..=BLOCK).contains(&self.block_bytes)
    }
}

/// Where every verified byte went before the buffer, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Books {
    /// Bytes verified.
    pub verified: u64,
    /// Destroyed by the tests: used up at start-up, failed, or come after a permanent alarm.
    pub withheld: u64,
    /// Not judged to the end yet.
    pub held: u64,
}

/// What the tests say of themselves.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where the bytes went.
    pub books: Books,
    /// The tests in numbers; none if they are off.
    pub summary: Option<Summary>,
    /// Why nothing is served until an operator acts, if so.
    pub latch: Option<String>,
}

/// The tests, the buffer behind them, and the latch.
pub struct Health {
    judge: Mutex<Judge>,
    testing: Testing,
    buffer: Arc<Buffer>,
    latch_file: PathBuf,
}

struct Judge {
    /// None if the tests are off.
    gate: Option<Gate>,
    staged: Memory,
    staged_len: usize,
    /// When the oldest staged byte was judged.
    staged_us: u64,
    /// Bytes that passed since the statistics judged last.
    window: usize,
    verified: u64,
    passed_on: u64,
    latch: Option<String>,
}

/// Why there are no tests.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The settings are out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no memory for bytes that wait to be judged.
    #[error("no memory for {BLOCK} bytes that wait to be judged")]
    Memory(#[source] io::Error),
    /// The latch of an earlier run can't be looked at.
    #[error(
        "{0} cannot be read ({1}): it may hold a permanent alarm; mend its permissions, or remove it to clear that"
    )]
    LatchFile(PathBuf, #[source] io::Error),
}

impl Health {
    /// Tests before `buffer`, latched if the run before was and nobody has cleared it.
    ///
    /// # Errors
    /// See [`HealthError`].
    pub fn new(
        testing: Testing,
        buffer: Arc<Buffer>,
        runtime_directory: &Path,
    ) -> Result<Self, HealthError> {
        let enabled = testing.enabled;
        let settings = Settings {
            block_bytes: PIECE,
            ..Settings::new(SOURCE)
        };
        let latch_file = runtime_directory.join(latch::FILE_NAME);
        let latch = if enabled {
            latch::read(&latch_file)?
        } else {
            None
        };
        if let Some(why) = &latch {
            buffer.latch();
            error!("still latched since an earlier run: {why}");
        }
        if !enabled {
            warn!(
                "health tests are off (`health.enabled = false`): what is verified is served untested"
            );
        }
        let judge = Judge {
            gate: enabled.then(|| Gate::new(settings)).transpose()?,
            staged: Memory::new(BLOCK).map_err(HealthError::Memory)?,
            staged_len: 0,
            staged_us: 0,
            window: 0,
            verified: 0,
            passed_on: 0,
            latch,
        };
        Ok(Self {
            judge: Mutex::new(judge),
            testing,
            buffer,
            latch_file,
        })
    }

    /// Takes bytes verified at `now_us`, of at most one packet. Those that pass go to the buffer now or later; the caller
    /// wipes its copy.
    pub fn push(&self, bytes: &[u8], now_us: u64) {
        let mut judge = self.judge();
        judge.verified += bytes.len() as u64;
        if judge.latch.is_some() {
            return;
        }
        if judge.gate.is_none() {
            judge.passed_on += bytes.len() as u64;
            return self.buffer.push(bytes);
        }
        // No part completes more than one piece, so an alarm is about the last of them.
        for part in bytes.chunks(PIECE) {
            for alarm in judge.examine(part, now_us) {
                self.alarm(&mut judge, &alarm);
            }
            if judge.latch.is_some() {
                return;
            }
            self.pass_on(&mut judge, now_us);
        }
    }

    /// To be called about once a second: notices silence, and passes on what waits too long.
    pub fn tick(&self, now_us: u64) {
        let mut judge = self.judge();
        if judge.latch.is_some() {
            return;
        }
        if let Some(alarm) = judge.gate.as_mut().and_then(|gate| gate.tick(now_us)) {
            self.alarm(&mut judge, &alarm);
        }
        if self.pass_on(&mut judge, now_us) {
            self.buffer.notify();
        }
    }

    /// An operator has dealt with a permanent alarm: start-up tests run, then bytes are served again. Tells whether there
    /// was one.
    pub fn clear(&self) -> bool {
        let mut judge = self.judge();
        if judge.latch.take().is_none() {
            return false;
        }
        judge.start_anew();
        if let Some(gate) = &mut judge.gate {
            gate.clear();
        }
        if let Err(e) = latch::remove(&self.latch_file) {
            warn!(
                "{} cannot be removed ({e}): the next start will be latched again; remove it",
                self.latch_file.display()
            );
        }
        self.buffer.unlatch();
        true
    }

    /// Whether a permanent alarm waits for an operator.
    pub fn latched(&self) -> bool {
        self.judge().latch.is_some()
    }

    /// All that status shows, at one moment.
    pub fn told(&self) -> Told {
        let judge = self.judge();
        let held = judge.held();
        Told {
            books: Books {
                verified: judge.verified,
                withheld: judge.verified - judge.passed_on - held,
                held,
            },
            summary: judge.gate.as_ref().map(|gate| {
                let mut summary = gate.monitor().summary();
                if judge.latch.is_some() {
                    summary.state = State::Latched;
                }
                summary
            }),
            latch: judge.latch.clone(),
        }
    }

    fn alarm(&self, judge: &mut Judge, alarm: &Alarm) {
        judge.start_anew();
        if alarm.tier == Tier::Intermittent {
            warn!("{alarm}; the bytes around it are destroyed, and start-up tests run");
            return;
        }
        self.buffer.latch();
        judge.latch = Some(alarm.to_string());
        error!(
            "{alarm}; nothing more is served: reads fail with EIO until an operator clears the alarm (`qrng clear --gateway`)"
        );
        let text = format!("{alarm}\n");
        if let Err(e) = write_atomically(&self.latch_file, text.as_bytes(), 0o600, false) {
            error!(
                "{} cannot be written ({e}): a restart would forget the alarm",
                self.latch_file.display()
            );
        }
    }

    /// Gives what is staged to the buffer if its 64 KiB were judged, or if readers wait too long for a smaller block; tells
    /// whether it did.
    fn pass_on(&self, judge: &mut Judge, now_us: u64) -> bool {
        let len = judge.staged_len;
        let age_us = now_us.saturating_sub(judge.staged_us);
        let block = self.testing.block_bytes;
        let may_go = block < BLOCK && len >= block;
        let due = || may_go && age_us >= PATIENCE_US && self.buffer.fill() < LOW;
        if len == 0 || !(judge.window >= BLOCK || due()) {
            return false;
        }
        self.buffer.push(&judge.staged.bytes()[..len]);
        judge.passed_on += len as u64;
        judge.window %= BLOCK;
        judge.wipe_staged();
        true
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        // A panic in a test ends the process, as its thread is supervised.
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    /// Gives bytes to the tests, and stages the piece that passes.
    fn examine(&mut self, bytes: &[u8], now_us: u64) -> Vec<Alarm> {
        let Some(gate) = &mut self.gate else {
            return Vec::new();
        };
        let staged = self.staged.bytes_mut();
        let (len, since_us, window) = (&mut self.staged_len, &mut self.staged_us, &mut self.window);
        gate.push(bytes, now_us, |piece| {
            if *len == 0 {
                *since_us = now_us;
            }
            staged[*len..*len + piece.len()].copy_from_slice(piece);
            *len += piece.len();
            *window += piece.len();
        })
    }

    fn held(&self) -> u64 {
        let held = self.gate.as_ref().map_or(0, Gate::held_bytes);
        (held + self.staged_len) as u64
    }

    /// As the tests do after an alarm: what is staged is destroyed, and the next 64 KiB that pass are a whole again.
    fn start_anew(&mut self) {
        self.wipe_staged();
        self.window = 0;
    }

    fn wipe_staged(&mut self) {
        qrng::wipe(&mut self.staged.bytes_mut()[..self.staged_len]);
        self.staged_len = 0;
    }
}

#[cfg(test)]
mod tests;
