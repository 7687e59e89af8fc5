//! The order in which the registers have to be written, the waits between, and what follows from it.

use std::fmt;
use std::time::Duration;

use super::Model;

/// What the chips give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Post-processed.
    Rng,
    /// Raw.
    Sample,
}

impl Mode {
    /// Bytes that the vendor's driver discards after initialisation.
    pub const fn stale(self) -> u64 {
        match self {
            Self::Rng => 65_536,
            Self::Sample => 16_809_984,
        }
    }
}

/// A step of the initialisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A write of one of these values, so many milliseconds after the step before.
    Write(u32, &'static [u32], u64),
    /// A read, likewise.
    Read(u32, u64),
}
use Step::{Read, Write};

/// The initialisation, step by step.
pub const STEPS: [Step; 11] = [
    Write(0x000, &[0x10], 0),
    Write(0x000, &[0x00], 0),
    Write(0x000, &[0x10], 0),
    Write(0x008, &[0x00], 100),
    Write(0x030, &[0x00, 0x10, 0x20], 0),
    Write(0x014, &[0x0A, 0x0C], 0),
    Write(0x5A8, &[0xA0000, 0xA0001], 0),
    Read(0x5A8, 100),
    Write(0x008, &[0x40], 0),
    Write(0x004, &[0x11], 300),
    Write(0x008, &[0x81], 0),
];

/// What can be written once the card is initialised, beside a new initialisation.
const LATER: [(u32, &[u32]); 3] = [
    (0x000, &[0x00]),
    (0x004, &[0x00, 0x11]),
    (0x008, &[0x00, 0x01, 0x40, 0x41, 0x80, 0x81, 0xC0, 0xC1]),
];

const READY: u32 = 1 << 12;

/// The user registers that can be written, and how far the initialisation has come.
#[derive(Debug)]
pub(super) struct Init {
    model: Model,
    ready_after: Duration,
    now: Duration,
    /// The step to come; all are done if there is none.
    step: usize,
    /// When the step before it was done.
    since: Duration,
    reset: u32,
    enable: u32,
    control: u32,
    hwreject: u32,
    chips: u32,
    mode: u32,
    /// One bit each.
    errors: u32,
    ready: bool,
    hangs: bool,
}

impl Init {
    pub(super) fn new(model: Model, ready_after: Duration) -> Self {
        Self {
            model,
            ready_after,
            now: Duration::ZERO,
            step: 0,
            since: Duration::ZERO,
            reset: 0x10,
            enable: 0,
            control: 0,
            hwreject: 0,
            chips: 0,
            mode: 0,
            errors: 0,
            ready: false,
            hangs: false,
        }
    }

    pub(super) fn power_on(&mut self) {
        *self = Self {
            now: self.now,
            errors: self.errors,
            hangs: self.hangs,
            ..Self::new(self.model, self.ready_after)
        };
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let waited = self.now - self.since >= self.ready_after;
        self.ready |= self.done() && waited && !self.hangs;
    }

    /// While it hangs, a card that is not ready does not become so.
    pub(super) fn hang(&mut self, hangs: bool) {
        self.hangs = hangs;
    }

    pub(super) fn fail(&mut self, chip: u8) {
        self.errors |= 1 << chip;
    }

    pub(super) fn mend(&mut self) {
        self.errors = 0;
    }

    fn done(&self) -> bool {
        self.step == STEPS.len()
    }

    /// Of which kind the bytes are that are made now, if any are.
    pub(super) fn flows(&self) -> Option<Mode> {
        let on = self.enable == 0x11 && self.control & 0x81 == 0x81;
        (self.done() && self.ready && on).then_some(self.mode())
    }

    fn mode(&self) -> Mode {
        match self.mode {
            0xA0001 => Mode::Sample,
            _ => Mode::Rng,
        }
    }

    fn present(&self) -> u32 {
        (1 << self.model.chips()) - 1
    }

    /// How many chips work.
    pub(super) fn working(&self) -> u64 {
        u64::from((self.present() & !self.errors).count_ones())
    }

    pub(super) fn status(&self) -> u32 {
        if self.reset == 0 {
            return 0;
        }
        let ready = if self.ready { READY } else { 0 };
        self.present() | ready | self.errors << 20
    }

    /// What a register that can be written reads as.
    pub(super) fn value(&self, offset: u32) -> u32 {
        match offset {
            0x000 => self.reset,
            0x004 => self.enable,
            0x008 => self.control,
            0x014 => self.hwreject,
            0x030 => self.chips,
            _ => self.mode,
        }
    }

    /// Takes note of a read.
    pub(super) fn read(&mut self, offset: u32) -> Result<(), String> {
        match STEPS.get(self.step) {
            Some(Read(expected, wait)) if *expected == offset => {
                let early = self.too_early(*wait);
                self.next();
                early
            }
            _ => Ok(()),
        }
    }

    /// Writes a register, and says what was wrong with that.
    pub(super) fn write(&mut self, offset: u32, value: u32) -> Result<(), String> {
        let begins = (offset, value) == (0x000, 0x10);
        let result = match STEPS.get(self.step) {
            Some(Write(expected, values, wait))
                if *expected == offset && values.contains(&value) =>
            {
                let early = self.too_early(*wait);
                self.next();
                early.and_then(|()| self.fits(offset, value))
            }
            _ if begins => {
                self.step = 1;
                self.since = self.now;
                Ok(())
            }
            Some(step) => Err(format!("the initialisation's next step is {step:x?}")),
            None if LATER
                .iter()
                .any(|(o, v)| *o == offset && v.contains(&value)) =>
            {
                Ok(())
            }
            None => Err("not allowed after the initialisation".to_owned()),
        };
        self.set(offset, value);
        result
    }

    fn next(&mut self) {
        self.step += 1;
        self.since = self.now;
    }

    fn too_early(&self, wait: u64) -> Result<(), String> {
        let waited = self.now - self.since;
        let wait = Duration::from_millis(wait);
        if waited < wait {
            return Err(format!("{waited:?} after the step before, not {wait:?}"));
        }
        Ok(())
    }

    /// Whether a value that the step allows suits this card and the values before.
    fn fits(&self, offset: u32, value: u32) -> Result<(), String> {
        let chips = match self.model {
            Model::M40 => 0x10,
            Model::M240 => 0x20,
        };
        match offset {
            0x030 if value != 0 && value != chips => Err("the card has other chips".to_owned()),
            0x5A8 if (value == 0xA0000) != (self.hwreject == 0x0A) => {
                Err("0x014 was written for the other mode".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn set(&mut self, offset: u32, value: u32) {
        match offset {
            0x000 => self.set_reset(value),
            0x004 => self.enable = value,
            0x008 => self.control = value,
            0x014 => self.hwreject = value,
            0x030 => self.chips = value,
            _ => self.mode = value,
        }
    }

    fn set_reset(&mut self, value: u32) {
        if value == 0 {
            self.ready = false;
            (
                self.enable,
                self.control,
                self.hwreject,
                self.chips,
                self.mode,
            ) = (0, 0, 0, 0, 0);
            if self.done() {
                self.step = 0;
            }
        }
        self.reset = value;
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match STEPS.get(self.step) {
            Some(_) => write!(f, "step {} of {}", self.step, STEPS.len()),
            None => write!(f, "initialised {:?}", self.mode()),
        }
    }
}
