//! The registers: what a read gives, what a write does, and which of them are not allowed.

use super::{ModuleCard, Popped, Progress};
use crate::module::fifo::CAPACITY;

/// A register, by its offset in BAR1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // The names are the reference's; see the module's drawing.
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub enum Register {
    CC_ER = 0x00,
    CC_DR = 0x04,
    CC_SR = 0x0C,
    CV_SR = 0x1C,
    FS_CA = 0x20,
    FS_RR = 0x28,
    FD_RR = 0x2C,
    MX_ER = 0x30,
    MX_DR = 0x34,
    MX_SR = 0x3C,
}

/// Bits of FS_RR.
pub mod status {
    /// Nothing is in the FIFO.
    pub const EMPTY: u32 = 1 << 0;
    /// At least 1024 bytes are.
    pub const QUARTER: u32 = 1 << 1;
    /// At least 2048 bytes are.
    pub const HALF: u32 = 1 << 2;
    /// At least 3072 bytes are.
    pub const THREE_QUARTERS: u32 = 1 << 3;
    /// 4096 bytes are.
    pub const FULL: u32 = 1 << 6;
    /// Bytes were lost.
    pub const ERROR: u32 = 1 << 7;
}

/// Bits of a module's byte in MX_ER, MX_DR and MX_SR; module i has bits 8i to 8i+7.
pub mod module {
    /// Shut down.
    pub const SD: u32 = 1 << 0;
    /// Enabled by software.
    pub const SEN: u32 = 1 << 1;
    /// Test mode.
    pub const TM: u32 = 1 << 2;
    /// Present.
    pub const HEN: u32 = 1 << 6;
    /// Healthy.
    pub const HST: u32 = 1 << 7;
    /// A bit in the bytes of all modules.
    pub const ALL: u32 = 0x0101_0101;
}

const SWRST: u32 = 1;
const INIT: &str = "initialise with CC_ER=1, CC_DR=1, MX_ER=mask, FS_CA=0";

impl Register {
    pub(super) fn at(offset: u32) -> Option<Self> {
        use Register::*;
        let all = [
            CC_ER, CC_DR, CC_SR, CV_SR, FS_CA, FS_RR, FD_RR, MX_ER, MX_DR, MX_SR,
        ];
        all.into_iter().find(|r| *r as u32 == offset)
    }

    /// Whether it may be accessed while reset is asserted.
    fn works_in_reset(self) -> bool {
        use Register::*;
        matches!(self, CC_ER | CC_DR | CC_SR | CV_SR | MX_SR)
    }
}

impl ModuleCard {
    fn count_access(&mut self, register: Register) -> &mut super::Accesses {
        if self.progress == Progress::InReset && !register.works_in_reset() {
            self.violate(register, "accessed while reset is asserted");
        }
        &mut self.accesses[register as usize / 4]
    }

    pub(super) fn read_register(&mut self, register: Register) -> u32 {
        self.count_access(register).reads += 1;
        match register {
            Register::CC_SR => u32::from(self.progress == Progress::InReset) * SWRST,
            Register::CV_SR => self.config.version,
            Register::FS_RR => self.fifo_status(),
            Register::FD_RR => self.pop(),
            Register::MX_SR => self.module_status(),
            _ => {
                self.violate(register, "can only be written, and was read");
                0
            }
        }
    }

    fn fifo_status(&mut self) -> u32 {
        self.refill();
        let error = self.fifo.overflowed();
        self.settle(error);
        self.overflow_told |= error;
        let fill = self.fifo.fill();
        let levels = [
            (fill == 0, status::EMPTY),
            (fill >= CAPACITY / 4, status::QUARTER),
            (fill >= CAPACITY / 2, status::HALF),
            (fill >= CAPACITY / 4 * 3, status::THREE_QUARTERS),
            (fill == CAPACITY, status::FULL),
            (error, status::ERROR),
        ];
        levels.iter().filter(|l| l.0).fold(0, |all, l| all | l.1)
    }

    fn pop(&mut self) -> u32 {
        if self.progress != Progress::Ready {
            self.violate(Register::FD_RR, &format!("read too early: {INIT}"));
        }
        if self.popped.is_some() {
            self.violate(Register::FD_RR, "read twice without FS_RR between");
            self.settle(false);
        }
        if self.overflow_told {
            self.violate(Register::FD_RR, "read after an overflow: flush first");
        }
        self.refill();
        match self.fifo.pop() {
            Some(offset) => {
                self.last_word = self.window.word(&self.stream, offset);
                let worth = self.faults.distort(&mut self.last_word);
                self.popped = Some(Popped { offset, worth });
            }
            None => self.violate(Register::FD_RR, "read when the FIFO is empty"),
        }
        u32::from_le_bytes(self.last_word)
    }

    pub(super) fn write_register(&mut self, register: Register, value: u32) {
        self.count_access(register).writes += 1;
        match register {
            Register::CC_ER => self.assert_reset(value),
            Register::CC_DR => self.release_reset(value),
            Register::FS_CA if value == 0 => {
                self.flush();
                if self.progress == Progress::Enabled {
                    self.progress = Progress::Ready;
                }
            }
            Register::FS_CA => self.violate(register, "only 0 may be written"),
            Register::MX_ER => self.enable(value),
            Register::MX_DR => {
                if self.only_switches(register, value) {
                    self.switches &= !value;
                }
            }
            _ => self.violate(register, "can only be read, and was written"),
        }
    }

    fn assert_reset(&mut self, value: u32) {
        if value == SWRST {
            self.power_on();
            self.progress = Progress::InReset;
        } else {
            self.violate(Register::CC_ER, "only 1 may be written");
        }
    }

    fn release_reset(&mut self, value: u32) {
        match (value, self.progress) {
            (SWRST, Progress::InReset) => self.progress = Progress::Released,
            (SWRST, _) => self.violate(Register::CC_DR, "written while reset is not asserted"),
            _ => self.violate(Register::CC_DR, "only 1 may be written"),
        }
    }

    fn enable(&mut self, value: u32) {
        if !self.only_switches(Register::MX_ER, value) {
            return;
        }
        let sen = (0..super::MODULES)
            .filter(|n| self.present() >> n & 1 == 1)
            .fold(0, |all, n| all | module::SEN << (8 * n));
        if value & (module::SEN * module::ALL) & !sen != 0 {
            self.violate(Register::MX_ER, "enables a module that is not present");
        }
        let shutdown = module::SD * module::ALL;
        self.switches |= value & (sen | shutdown);
        if self.progress == Progress::Released {
            if value == sen {
                self.progress = Progress::Enabled;
            } else {
                self.violate(
                    Register::MX_ER,
                    "initialisation enables the modules present",
                );
            }
        }
    }

    /// SD and SEN may be switched; TM has no use here, and HEN and HST are the card's.
    fn only_switches(&mut self, register: Register, value: u32) -> bool {
        let allowed = value & !((module::SD | module::SEN) * module::ALL) == 0;
        if !allowed {
            self.violate(
                register,
                &format!("{value:#010x} writes other bits than SD and SEN"),
            );
        }
        allowed
    }
}
