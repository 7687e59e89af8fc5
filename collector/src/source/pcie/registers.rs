//! The registers of a module card (docs/hardware.md section 1): where they are, and what their bits say.

/// What a register reads as when nobody answers: the card is unplugged, powered off, or its memory space is disabled.
pub const NOBODY: u32 = u32::MAX;

/// 32-bit registers that are read and written whole, as numbers of the host's byte order.
pub trait Registers: Send {
    /// Reads the register at `offset`. A read may change the device: it takes bytes out of a FIFO.
    fn read(&mut self, offset: u32) -> u32;

    /// Writes the register at `offset`.
    fn write(&mut self, offset: u32, value: u32);
}

/// Offsets in bytes from the beginning of BAR 1. All others are reserved.
pub mod offset {
    /// Core enable: writing [`SWRST`](super::SWRST) asserts the reset.
    pub const CC_ER: u32 = 0x00;
    /// Core disable: writing [`SWRST`](super::SWRST) releases the reset.
    pub const CC_DR: u32 = 0x04;
    /// Core version: a date and a release.
    pub const CV_SR: u32 = 0x1c;
    /// FIFO clear: writing 0 empties the FIFO, and ends its error.
    pub const FS_CA: u32 = 0x20;
    /// FIFO status, see [`Fifo`](super::Fifo).
    pub const FS_RR: u32 = 0x28;
    /// FIFO data: each read takes 4 bytes out of the FIFO.
    pub const FD_RR: u32 = 0x2c;
    /// Module enable: writing bits of [`Modules`](super::Modules) sets them.
    pub const MX_ER: u32 = 0x30;
    /// Module status, see [`Modules`](super::Modules).
    pub const MX_SR: u32 = 0x3c;
}

/// Bytes of BAR 1.
pub const WINDOW: usize = 64;
/// The reset bit of CC_ER and CC_DR.
pub const SWRST: u32 = 1;
/// Bytes that the FIFO holds.
pub const FIFO: usize = 4096;
/// The least bytes that the FIFO tells of.
pub const QUARTER: usize = FIFO / 4;
/// Bytes of a word.
pub const WORD: usize = 4;
/// Modules of a card at most.
pub const MODULES: usize = 4;
/// Bytes a second that one module makes.
pub const MODULE_RATE: u32 = 500_000;

/// A value of FS_RR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fifo(pub u32);

impl Fifo {
    const QUARTER: u32 = 1 << 1;
    const HALF: u32 = 1 << 2;
    const THREE_QUARTERS: u32 = 1 << 3;
    const FULL: u32 = 1 << 6;
    const ERROR: u32 = 1 << 7;

    /// Whether nobody answers.
    pub fn is_gone(self) -> bool {
        self.0 == NOBODY
    }

    /// Whether bytes were lost: it overflowed, or was read while it was empty.
    pub fn has_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }

    /// Bytes that are in it at least: a multiple of [`QUARTER`].
    pub fn level(self) -> usize {
        let levels = [
            (Self::FULL, FIFO),
            (Self::THREE_QUARTERS, 3 * QUARTER),
            (Self::HALF, 2 * QUARTER),
            (Self::QUARTER, QUARTER),
        ];
        let set = levels.iter().find(|(bit, _)| self.0 & bit != 0);
        set.map_or(0, |(_, bytes)| *bytes)
    }
}

/// A value of MX_SR: one byte a module, module 0 in the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modules(pub u32);

impl Modules {
    /// A bit of module 0 in all four bytes.
    const EVERY: u32 = 0x0101_0101;
    /// Software enable: what MX_ER sets.
    const SEN: u32 = 1;
    /// Test mode.
    const TM: u32 = 2;
    /// The module is plugged in.
    const HEN: u32 = 6;
    /// The module says that it is healthy.
    const HST: u32 = 7;

    /// Bit `bit` of each module's byte, as a mask: bit i is module i's.
    fn mask(self, bit: u32) -> u8 {
        let bits = self.0 >> bit & Self::EVERY;
        (0..MODULES).fold(0, |mask, module| {
            mask | ((bits >> (8 * module) & 1) as u8) << module
        })
    }

    /// Whether nobody answers.
    pub fn is_gone(self) -> bool {
        self.0 == NOBODY
    }

    /// The modules that are plugged in, as a mask.
    pub fn present(self) -> u8 {
        self.mask(Self::HEN)
    }

    /// The modules that are enabled and say that they are healthy, as a mask.
    pub fn healthy(self) -> u8 {
        self.mask(Self::SEN) & self.mask(Self::HST)
    }

    /// The modules that are plugged in and not healthy, as a mask.
    pub fn failed(self) -> u8 {
        self.present() & !self.healthy()
    }

    /// Whether any module is in its test mode, in which it says nothing of its health.
    pub fn in_test(self) -> bool {
        self.mask(Self::TM) != 0
    }

    /// What enables every module that is plugged in, for MX_ER.
    pub fn enable_all(self) -> u32 {
        (self.0 >> Self::HEN & Self::EVERY) << Self::SEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_greatest_bit_set() {
        for (status, level) in [
            (0x00, 0),
            (0x01, 0),
            (0x02, 1024),
            (0x06, 2048),
            (0x0e, 3072),
            (0x4e, 4096),
            (0x40, 4096),
            (0x30, 0),
        ] {
            assert_eq!(Fifo(status).level(), level, "{status:#x}");
            assert!(!Fifo(status).has_error() && !Fifo(status).is_gone());
        }
        assert!(Fifo(0xce).has_error());
        assert!(Fifo(NOBODY).is_gone());
    }

    #[test]
    fn modules_are_told_byte_by_byte() {
        // Module 0 works; 1 is there and not healthy; 2 is missing; 3 is healthy and not enabled.
        let modules = Modules(0xc0_00_42_c2);
        assert_eq!(modules.present(), 0b1011);
        assert_eq!(modules.healthy(), 0b0001);
        assert_eq!(modules.failed(), 0b1010);
        assert_eq!(modules.enable_all(), 0x02_00_02_02);
        assert!(!modules.in_test() && !modules.is_gone());
        assert!(Modules(0x0004_0000).in_test());
        assert!(Modules(NOBODY).is_gone());
        assert_eq!(Modules(0).present(), 0);
    }

    #[test]
    fn every_register_lies_in_the_window() {
        for offset in [offset::CC_ER, offset::MX_SR, offset::FD_RR] {
            assert!(offset as usize + WORD <= WINDOW && offset.is_multiple_of(4));
        }
    }
}
