//! A module card, driven by its registers (docs/hardware.md section 1). Pure: registers and time are given.
//!
//! ```text
//!  start:  reset ── enable every module that is plugged in ── empty the FIFO
//!  step:   MX_SR: modules ── FS_RR: level ── a word from FD_RR, then FS_RR ── ... until the level is read
//!            │ none healthy    │ too low: wait        │ error: that word is dropped, the FIFO emptied
//!            └─ a failure      └─ for too long: a failure                  ── CV_SR: still this card
//! ```
//!
//! FS_RR is read after each word, because only its error bit tells that the word is no good; nothing says that the bit stays
//! set until the end of a batch. Its last value also tells how much is there for the next one.

use std::time::{Duration, Instant};

use zeroize::Zeroize;

use super::registers::{
    Fifo, MODULE_RATE, Modules, NOBODY, QUARTER, Registers, SWRST, WORD, offset,
};
use crate::source::{Failure, Fault};

/// How long after its start a card is given for its modules to say that they are healthy. Nothing tells how long they need.
pub const SETTLE: Duration = Duration::from_secs(1);

/// How long a card may give nothing. A single module fills a quarter of the FIFO in 2 ms.
pub const SILENCE: Duration = Duration::from_secs(2);

/// A card that was not asked for so long was left alone, and what it did meanwhile is not known.
const UNWATCHED: Duration = Duration::from_millis(500);

/// The least wait, so that waking up costs little. In this time four modules fill half of the FIFO; the other half is the margin
/// for a host that is busy.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes were read.
    Bytes(usize),
    /// There is nothing yet: try again after this time, in which a quarter of the FIFO fills, or half at most.
    Wait(Duration),
}

/// A card that was started.
pub struct Card<R> {
    registers: R,
    version: u32,
    modules: Modules,
    /// Bytes that are in the FIFO at least.
    level: usize,
    overflows: u64,
    /// Bytes of the last word that there was no room for, at its end.
    rest: [u8; WORD],
    resting: usize,
    settled: Instant,
    /// When the card was asked last.
    asked: Instant,
    /// Since when it has given nothing, if so.
    silent: Option<Instant>,
}

impl<R: Registers> Card<R> {
    /// Resets a card at the time `now`, enables its modules and empties its FIFO.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn start(mut registers: R, now: Instant) -> Result<Self, Failure> {
        let version = registers.read(offset::CV_SR);
        let before = Modules(registers.read(offset::MX_SR));
        if version == NOBODY || before.is_gone() {
            return Err(gone());
        }
        registers.write(offset::CC_ER, SWRST);
        registers.write(offset::CC_DR, SWRST);
        let modules = Modules(registers.read(offset::MX_SR));
        if modules.is_gone() {
            return Err(gone());
        }
        registers.write(offset::MX_ER, modules.enable_all());
        registers.write(offset::FS_CA, 0);
        Ok(Self {
            registers,
            version,
            modules,
            level: 0,
            overflows: 0,
            rest: [0; WORD],
            resting: 0,
            settled: now + SETTLE,
            asked: now,
            silent: None,
        })
    }

    /// What CV_SR says: year, month, day and release, a byte each.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the modules said of themselves when they were last asked.
    pub fn modules(&self) -> Modules {
        self.modules
    }

    /// Whether the time is over that the modules are given after a start.
    pub fn is_settled(&self, now: Instant) -> bool {
        now >= self.settled
    }

    /// How often the FIFO has told of an error since the start.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Empties the FIFO and wipes what was read of it and not handed out.
    pub fn forget(&mut self) {
        self.drop_rest();
        self.flush();
    }

    /// Reads what is there at the time `now` into the front of `buffer`.
    ///
    /// # Errors
    /// See [`poll`](Self::poll). Nothing is in `buffer` then.
    pub fn step(&mut self, buffer: &mut [u8], now: Instant) -> Result<Step, Failure> {
        if self.resting > 0 {
            return Ok(Step::Bytes(self.hand_out(buffer)));
        }
        if let Some(pause) = self.poll(now)? {
            return Ok(Step::Wait(pause));
        }
        let step = self.batch(buffer);
        // Words that read as ones have ended the batch, and what came before them counts. Anything else here, and nobody knows
        // since when.
        let version = self.registers.read(offset::CV_SR);
        if version != self.version && version != NOBODY {
            buffer.zeroize();
            self.drop_rest();
            return Err(vanished(version));
        }
        Ok(step)
    }

    /// Tells how long is to be waited at the time `now` before there is anything to read; `None`: there is.
    ///
    /// # Errors
    /// Nobody answers, or something else than this card does; no module is healthy; or nothing came for too long.
    pub fn poll(&mut self, now: Instant) -> Result<Option<Duration>, Failure> {
        if now.saturating_duration_since(self.asked) >= UNWATCHED {
            self.silent = None;
        }
        self.asked = now;
        self.modules = Modules(self.registers.read(offset::MX_SR));
        if self.modules.is_gone() {
            return Err(gone());
        }
        let works = self.modules.in_test() || self.modules.healthy() != 0;
        if !works && self.is_settled(now) {
            let version = self.registers.read(offset::CV_SR);
            return Err(if version == self.version {
                unhealthy(self.modules)
            } else {
                vanished(version)
            });
        }
        if works && self.level == 0 {
            let fifo = Fifo(self.registers.read(offset::FS_RR));
            if fifo.is_gone() {
                return Err(gone());
            }
            self.heed(fifo);
        }
        if works && self.level > 0 {
            return Ok(None);
        }
        let since = *self.silent.get_or_insert(now);
        if now.saturating_duration_since(since) >= SILENCE {
            return Err(silent());
        }
        Ok(Some(self.pause()))
    }

    /// Reads words until `buffer` is full, the level is read, or the FIFO has an error.
    fn batch(&mut self, buffer: &mut [u8]) -> Step {
        let words = self.level.min(buffer.len()) / WORD;
        let (whole, tail) = buffer.split_at_mut(words * WORD);
        let mut count = 0;
        for place in whole.chunks_exact_mut(WORD) {
            let Some(word) = self.word() else {
                return self.read(count);
            };
            place.copy_from_slice(&word);
            count += WORD;
        }
        // Less room than a word: what does not fit waits.
        if count == 0
            && !tail.is_empty()
            && let Some(word) = self.word()
        {
            self.rest = word;
            self.resting = WORD;
            count = self.hand_out(tail);
        }
        self.read(count)
    }

    /// What a batch of `count` bytes comes to.
    fn read(&mut self, count: usize) -> Step {
        if count == 0 {
            return Step::Wait(self.pause());
        }
        self.silent = None;
        Step::Bytes(count)
    }

    /// The next word, its low byte first, unless the FIFO has an error or nobody answers.
    fn word(&mut self) -> Option<[u8; WORD]> {
        let word = self.registers.read(offset::FD_RR);
        let fifo = Fifo(self.registers.read(offset::FS_RR));
        if fifo.is_gone() {
            // Nobody answers, which the next poll tells.
            self.level = 0;
            return None;
        }
        self.heed(fifo).then(|| word.to_le_bytes())
    }

    /// Takes note of the FIFO's status; false if it has an error, which is ended by emptying it.
    fn heed(&mut self, fifo: Fifo) -> bool {
        if fifo.has_error() {
            self.overflows += 1;
            self.flush();
            return false;
        }
        self.level = fifo.level();
        true
    }

    fn flush(&mut self) {
        self.registers.write(offset::FS_CA, 0);
        self.level = 0;
    }

    /// How long is to be waited when there is less than a quarter in the FIFO: until the working modules have filled another.
    fn pause(&self) -> Duration {
        let working = if self.modules.in_test() {
            self.modules.present()
        } else {
            self.modules.healthy()
        };
        let rate = MODULE_RATE * working.count_ones().max(1);
        let quarter = Duration::from_secs(QUARTER as u64) / rate;
        quarter.max(LEAST_WAIT)
    }

    /// Moves what waits of the last word into `buffer`.
    fn hand_out(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.resting.min(buffer.len());
        let start = WORD - self.resting;
        buffer[..count].copy_from_slice(&self.rest[start..start + count]);
        self.resting -= count;
        if self.resting == 0 {
            self.drop_rest();
        }
        count
    }

    fn drop_rest(&mut self) {
        self.rest.zeroize();
        self.resting = 0;
    }
}

impl<R> Drop for Card<R> {
    fn drop(&mut self) {
        self.rest.zeroize();
    }
}

fn gone() -> Failure {
    Failure::new(
        Fault::Gone,
        "the card does not answer (every register reads as ones): it is unplugged, without power, or disabled",
    )
}

/// Where a bridge answers for a card that is not there any more, or something else has got its address.
fn vanished(version: u32) -> Failure {
    let text = format!(
        "the card does not answer (its version reads as {version:#x} now): it is unplugged, without power, or disabled"
    );
    Failure::new(Fault::Gone, text)
}

fn unhealthy(modules: Modules) -> Failure {
    let text = match modules.present() {
        0 => "the card says that no module is plugged in".to_owned(),
        mask => format!(
            "no module of the card is healthy ({}); power it off and on, and if that does not help, have it repaired",
            super::listed(mask)
        ),
    };
    Failure::new(Fault::Unhealthy, text)
}

fn silent() -> Failure {
    Failure::new(
        Fault::Silent,
        format!(
            "the card says that it is healthy, and its FIFO does not fill within {} s",
            SILENCE.as_secs()
        ),
    )
}

#[cfg(test)]
mod tests;
