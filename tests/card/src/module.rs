//! The *module* card: Quantis PCI and PCIe 4M and 16M (179A:0001), hardware reference section 1.
//!
//! ```text
//! BAR1  0x00 CC_ER  w  bit 0 SWRST: assert reset        0x2C FD_RR  r  FIFO data, each read pops 32 bits
//!       0x04 CC_DR  w  bit 0 SWRST: release reset       0x30 MX_ER  w  module enable
//!       0x0C CC_SR  r  core status                      0x34 MX_DR  w  module disable
//!       0x1C CV_SR  r  version                          0x3C MX_SR  r  module status
//!       0x20 FS_CA  w  0 = flush FIFO
//!       0x28 FS_RR  r  FIFO status                      all other offsets are reserved
//! ```
//!
//! Left open by the reference, and chosen here:
//! - BAR0 has 128 bytes and BAR2 has 64; any access to them is a violation.
//! - CC_SR bit 0 is set while reset is asserted. Reset is released at once.
//! - HST does not depend on SEN. A module that is not healthy, or is shut down, makes no bytes.
//! - An empty FIFO gives the last word again. An overflowed one takes nothing in until it is flushed.
//! - What the modules make is one stream.

mod fifo;
mod registers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Device;
use crate::fault::{Fault, FaultError, Faults};
use crate::ledger::Ledger;
use crate::pace::{Pace, Rate};
use crate::pci::{Bar, PciCard, PciIdentity, aligned32};
use crate::stream::{Stream, Window};
use crate::violations::Violations;

pub use crate::pace::Full;
pub use fifo::CAPACITY;
use fifo::Fifo;
pub use registers::{Register, module, status};

/// Bytes a second of one module.
pub const MODULE_RATE: u64 = 500_000;
/// The most modules that a card has.
pub const MODULES: u8 = 4;
/// The BAR with the registers.
pub const BAR: u8 = 1;
/// Size of the registers' BAR in bytes.
pub const BAR_SIZE: u32 = 64;

const BARS: [Bar; 3] = [
    Bar {
        index: 0,
        size: 128,
    },
    Bar {
        index: BAR,
        size: BAR_SIZE,
    },
    Bar { index: 2, size: 64 },
];

/// What a card is made of.
#[derive(Debug, Clone)]
pub struct ModuleConfig {
    /// How many modules it has, 1 to 4: bits 0 to `modules - 1` of the mask.
    pub modules: u8,
    /// How fast *each* module is.
    pub rate: Rate,
    /// What happens when the FIFO is full.
    pub full: Full,
    /// The number of its stream.
    pub seed: u64,
    /// CV_SR: year, month, day, release, from the highest byte.
    pub version: u32,
}

impl Default for ModuleConfig {
    /// A 16M card as sold: four modules at 500,000 bytes a second each.
    fn default() -> Self {
        Self {
            modules: MODULES,
            rate: Rate::BytesPerSecond(MODULE_RATE),
            full: Full::Overflows,
            seed: 1,
            version: 0x0A03_1102,
        }
    }
}

/// How far the host has come with the initialisation CC_ER=1, CC_DR=1, MX_ER=mask, FS_CA=0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    PoweredOn,
    InReset,
    Released,
    Enabled,
    Ready,
}

/// How often a register was accessed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Accesses {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// A word that was popped; what it is worth is known at the next read of FS_RR.
#[derive(Debug, Clone, Copy)]
struct Popped {
    offset: u64,
    worth: crate::ledger::Worth,
}

/// The card.
pub struct ModuleCard {
    config: ModuleConfig,
    stream: Stream,
    ledger: Ledger,
    violations: Violations,
    faults: Faults,
    pace: Pace,
    fifo: Fifo,
    progress: Progress,
    /// SD, SEN and TM of each module, at their place in MX_SR.
    switches: u32,
    popped: Option<Popped>,
    window: Window,
    last_word: [u8; 4],
    /// FS_RR has shown bit 7, and nothing was flushed since.
    overflow_told: bool,
    accesses: [Accesses; BAR_SIZE as usize / 4],
}

impl ModuleCard {
    /// A card after power-on.
    ///
    /// # Panics
    /// There are no modules, or more than 4.
    pub fn new(config: ModuleConfig) -> Self {
        assert!((1..=MODULES).contains(&config.modules), "1 to 4 modules");
        Self {
            stream: Stream::new(config.seed),
            config,
            ledger: Ledger::default(),
            violations: Violations::default(),
            faults: Faults::default(),
            pace: Pace::default(),
            fifo: Fifo::default(),
            progress: Progress::PoweredOn,
            switches: 0,
            popped: None,
            window: Window::new(),
            last_word: [0; 4],
            overflow_told: false,
            accesses: Default::default(),
        }
    }

    /// How often a register was accessed, with the right width and while the card was there.
    pub fn accesses(&self, register: Register) -> Accesses {
        self.accesses[register as usize / 4]
    }

    /// Bytes in the FIFO.
    pub fn fill(&self) -> u64 {
        self.fifo.fill()
    }

    /// Module present, one bit each.
    fn present(&self) -> u32 {
        (1 << self.config.modules) - 1
    }

    /// MX_SR.
    fn module_status(&self) -> u32 {
        let of = |n: u8| {
            if self.present() >> n & 1 == 0 {
                return 0;
            }
            let failing = self.faults.has(Fault::ModuleFails(n));
            let test = self.faults.has(Fault::TestMode(n));
            module::HEN | if failing { 0 } else { module::HST } | if test { module::TM } else { 0 }
        };
        (0..MODULES).fold(self.switches, |all, n| all | of(n) << (8 * n))
    }

    /// How many modules make bytes now.
    fn working(&self) -> u64 {
        let all = self.module_status();
        let works = |n: &u8| {
            let one = all >> (8 * n);
            one & module::SEN != 0 && one & module::HST != 0 && one & module::SD == 0
        };
        (0..MODULES).filter(works).count() as u64
    }

    fn make(&mut self, bytes: u64) {
        let (made, lost) = self.fifo.put(bytes, self.config.full);
        self.ledger.make(made);
        self.ledger.overflow(lost);
    }

    /// An unlimited card is always full.
    fn refill(&mut self) {
        let works = self.working() > 0 && !self.faults.has(Fault::Hang);
        if self.config.rate == Rate::Unlimited && self.faults.slow().is_none() && works {
            self.make(CAPACITY - self.fifo.fill());
        }
    }

    fn flush(&mut self) {
        self.settle(true);
        self.ledger.flush(self.fifo.flush());
        self.overflow_told = false;
    }

    /// Enters the popped word into the books.
    fn settle(&mut self, condemned: bool) {
        use crate::ledger::Worth;
        if let Some(Popped { offset, worth }) = self.popped.take() {
            let worth = if condemned { Worth::Condemned } else { worth };
            self.ledger.hand(offset..offset + 4, worth);
        }
    }

    fn power_on(&mut self) {
        self.flush();
        self.switches = 0;
        self.progress = Progress::PoweredOn;
    }

    fn violate(&mut self, register: Register, what: &str) {
        self.violations.add(format!("{register:?}: {what}"));
    }
}

impl Device for ModuleCard {
    fn advance(&mut self, now: Duration) {
        let working = self.working();
        let rate = match (self.faults.slow(), self.config.rate) {
            _ if self.faults.has(Fault::Hang) || self.gone() => 0,
            (Some(slow), _) => slow * working.min(1),
            (None, Rate::BytesPerSecond(each)) => each * working,
            (None, Rate::Unlimited) => 0,
        };
        let bytes = self.pace.advance(now, rate);
        self.make(bytes);
    }

    fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::ModuleFails(n) | Fault::TestMode(n) if n < self.config.modules => {}
            Fault::Stuck | Fault::Biased | Fault::Zeros | Fault::Ones => {}
            Fault::Slow(_) | Fault::Hang => {}
            Fault::Overflow => {
                self.fifo.overflow();
                return Ok(());
            }
            Fault::Gone => self.power_on(),
            _ => return Err(FaultError::NotHere(fault)),
        }
        self.faults.add(fault);
        Ok(())
    }

    fn clear(&mut self) {
        self.faults.clear();
    }

    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn violations(&self) -> &Violations {
        &self.violations
    }

    fn state(&self) -> String {
        format!(
            "module {:?} MX_SR={:#010x} fifo={} overflow={} faults=[{}]",
            self.progress,
            self.module_status(),
            self.fifo.fill(),
            self.fifo.overflowed(),
            self.faults
        )
    }
}

impl PciCard for ModuleCard {
    fn identity(&self) -> PciIdentity {
        PciIdentity {
            vendor: 0x179A,
            device: 0x0001,
            class: 0xFF_00_00,
            revision: 0,
        }
    }

    fn bars(&self) -> &'static [Bar] {
        &BARS
    }

    fn read(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        data.fill(if self.gone() { 0xFF } else { 0 });
        match self.checked(bar, offset, data.len()) {
            Some(_) if self.gone() => {}
            Some(register) => data.copy_from_slice(&self.read_register(register).to_le_bytes()),
            None => {}
        }
    }

    fn write(&mut self, bar: u8, offset: u64, data: &[u8]) {
        let register = self.checked(bar, offset, data.len());
        if let (Some(register), Ok(value), false) = (register, data.try_into(), self.gone()) {
            self.write_register(register, u32::from_le_bytes(value));
        }
    }

    fn reset(&mut self) {
        self.power_on();
    }

    fn gone(&self) -> bool {
        self.faults.has(Fault::Gone)
    }
}

impl ModuleCard {
    /// The one door for accesses: which register it is, or a violation.
    fn checked(&mut self, bar: u8, offset: u64, width: usize) -> Option<Register> {
        if bar != BAR {
            self.violations
                .add(format!("BAR{bar}+{offset:#x}: the registers are in BAR1"));
            return None;
        }
        let known = aligned32(bar, offset, width, BAR_SIZE).and_then(|offset| {
            Register::at(offset).ok_or(format!("BAR1+{offset:#x}: this offset is reserved"))
        });
        known.map_err(|text| self.violations.add(text)).ok()
    }
}
