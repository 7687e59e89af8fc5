//! The *chip* card: Quantis QRNG PCIe 40M and 240M (1E89:0002 and 0003), hardware reference section 3.
//!
//! ```text
//! user BAR    0x000 sw_rst             rw  0x10 released, 0x00 reset     0x0C4 batch      r  serial: 4 + 3 + 4 characters
//!             0x004 module_enable      rw  0x11 on, 0x00 off             0x0C8 increment  r
//!             0x008 spi_module_ctrl    rw  bits 0, 6, 7                  0x0CC model      r
//!             0x014 testmode_hwreject  rw  0x0A RNG, 0x0C SAMPLE         0x100 version    r  PCB, firmware
//!             0x030 q400_num           rw  0, 0x10, 0x20                 0x104 build date r
//!             0x084 status             r   present, ready, errors       0x5A8 mode       rw 0xA0000 RNG, 0xA0001 SAMPLE
//! the next BAR: XDMA, see the module `xdma`
//! ```
//!
//! Bytes of the chips go into the card's memory, and from there in packets of 4096 bytes to the C2H stream.
//!
//! Left open by the reference, and chosen here:
//! - Both BARs have 64 KiB. The identifiers' places (0x2000 and 0x3000) may be read in the user BAR too, and give 0.
//! - The card's memory holds what the vendor's driver discards (65,536 bytes, in SAMPLE mode 16,809,984). When it is full, new
//!   bytes are lost.
//! - Bytes are made while the card is initialised and ready, 0x004 is 0x11 and bits 0 and 7 of 0x008 are set. When that begins,
//!   memory is full of stale bytes; when it ends, memory is emptied. 0x008 may be written at any time after initialisation.
//! - A chip with packet errors makes no bytes. The mode can be read back 100 ms after it was written.
//! - Data is as fast in both modes: 2,500,000 bytes a second for each chip.

mod init;
#[cfg(test)]
mod tests;
mod user;

use std::time::Duration;

use crate::Device;
use crate::fault::{Fault, FaultError};
use crate::ledger::Ledger;
use crate::memory::{HostMemory, NoMemory};
use crate::pace::{Full, Rate};
use crate::pci::{Bar, PciCard, PciIdentity};
use crate::stream::Stream;
use crate::supply::Supply;
use crate::violations::Violations;
use crate::xdma::{self, Engine, PacketSource};

use init::Init;
pub use init::{Mode, STEPS, Step};
pub use user::offset;

/// Bytes a second of one chip.
pub const CHIP_RATE: u64 = 2_500_000;
/// Size of a packet in bytes.
pub const PACKET: usize = 4096;
/// The same when the fault is that packets are short.
const SHORT_PACKET: usize = 1024;
/// Size of the user registers' BAR in bytes.
pub const USER_BAR_SIZE: u32 = 0x1_0000;

/// Which card it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// 40M: two chips.
    M40,
    /// 240M: twelve chips.
    M240,
}

impl Model {
    /// How many chips it has.
    pub const fn chips(self) -> u8 {
        match self {
            Self::M40 => 2,
            Self::M240 => 12,
        }
    }
}

/// Where the BARs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// BAR0 user registers, BAR1 XDMA.
    UserFirst,
    /// BAR0 something else of 4096 bytes that no driver needs, BAR1 user registers, BAR2 XDMA.
    UserSecond,
}

const USER_FIRST: [Bar; 2] = [
    Bar {
        index: 0,
        size: USER_BAR_SIZE,
    },
    Bar {
        index: 1,
        size: xdma::BAR_SIZE,
    },
];
const USER_SECOND: [Bar; 3] = [
    Bar {
        index: 0,
        size: 4096,
    },
    Bar {
        index: 1,
        size: USER_BAR_SIZE,
    },
    Bar {
        index: 2,
        size: xdma::BAR_SIZE,
    },
];

/// What a card is made of.
#[derive(Debug, Clone)]
pub struct ChipConfig {
    /// Which card it is.
    pub model: Model,
    /// How fast *each* chip is.
    pub rate: Rate,
    /// What happens when the card's memory is full.
    pub full: Full,
    /// The number of its stream.
    pub seed: u64,
    /// Its serial number.
    pub serial: [u8; 11],
    /// Where the BARs are.
    pub layout: Layout,
    /// How long after the initialisation it says that it is ready.
    pub ready_after: Duration,
}

impl Default for ChipConfig {
    /// A 240M card as sold.
    fn default() -> Self {
        Self {
            model: Model::M240,
            rate: Rate::BytesPerSecond(CHIP_RATE),
            full: Full::Overflows,
            seed: 1,
            serial: *b"2407001Q240",
            layout: Layout::UserFirst,
            ready_after: Duration::from_millis(20),
        }
    }
}

/// The card.
pub struct ChipCard {
    config: ChipConfig,
    init: Init,
    supply: Supply,
    engine: Engine,
    memory: Box<dyn HostMemory>,
    violations: Violations,
}

impl ChipCard {
    /// A card after power-on, that can reach no memory yet.
    pub fn new(config: ChipConfig) -> Self {
        Self {
            init: Init::new(config.model, config.ready_after),
            supply: Supply::new(config.rate, config.full, config.seed),
            engine: Engine::default(),
            memory: Box::new(NoMemory),
            violations: Violations::default(),
            config,
        }
    }

    /// Gives it the memory that it reaches by DMA.
    pub fn attach(&mut self, memory: impl HostMemory + 'static) {
        self.memory = Box::new(memory);
    }

    /// The BAR with the user registers; XDMA is in the next one.
    pub fn user_bar(&self) -> u8 {
        match self.config.layout {
            Layout::UserFirst => 0,
            Layout::UserSecond => 1,
        }
    }

    /// Moves what can be moved, after anything has changed.
    fn run(&mut self) {
        match (self.supply.flows(), self.init.flows()) {
            (false, Some(mode)) => self.supply.start(mode.stale(), mode.stale()),
            (true, None) => {
                self.supply.stop();
                self.engine.drop_packet();
            }
            _ => {}
        }
        let mut bus = xdma::Bus {
            memory: &*self.memory,
            violations: &mut self.violations,
        };
        self.engine.run(&mut self.supply, &mut bus);
    }

    fn power_on(&mut self) {
        self.init.power_on();
        self.engine.power_on();
        self.supply.stop();
    }
}

impl PacketSource for Supply {
    fn packet(&mut self) -> Option<usize> {
        let length = match self.faults.has(Fault::Short) {
            true => SHORT_PACKET,
            false => PACKET,
        };
        (self.held() >= length as u64).then_some(length)
    }

    fn take(&mut self, out: &mut [u8]) {
        Supply::take(self, out);
    }
}

impl Device for ChipCard {
    fn advance(&mut self, now: Duration) {
        self.init.advance(now);
        let chips = if self.engine.hangs {
            0
        } else {
            self.init.working()
        };
        self.supply.advance(now, chips);
        self.run();
    }

    fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::Stuck | Fault::Biased | Fault::Zeros | Fault::Ones => {}
            Fault::Slow(_) | Fault::Short => {}
            Fault::PacketError(n) if n < self.config.model.chips() => self.init.fail(n),
            Fault::Hang => {
                self.engine.hangs = true;
                self.init.hang(true);
            }
            Fault::Gone => self.power_on(),
            _ => return Err(FaultError::NotHere(fault)),
        }
        self.supply.faults.add(fault);
        Ok(())
    }

    fn clear(&mut self) {
        self.supply.faults.clear();
        self.engine.hangs = false;
        self.init.hang(false);
        self.init.mend();
    }

    fn stream(&self) -> &Stream {
        &self.supply.stream
    }

    fn ledger(&self) -> &Ledger {
        &self.supply.ledger
    }

    fn violations(&self) -> &Violations {
        &self.violations
    }

    fn state(&self) -> String {
        format!(
            "chip {} status={:#010x} memory={} faults=[{}]",
            self.init,
            self.init.status(),
            self.supply.held(),
            self.supply.faults
        )
    }
}

impl PciCard for ChipCard {
    fn identity(&self) -> PciIdentity {
        PciIdentity {
            vendor: 0x1E89,
            device: match self.config.model {
                Model::M40 => 0x0002,
                Model::M240 => 0x0003,
            },
            class: 0x05_80_00,
            revision: 0,
        }
    }

    fn bars(&self) -> &'static [Bar] {
        match self.config.layout {
            Layout::UserFirst => &USER_FIRST,
            Layout::UserSecond => &USER_SECOND,
        }
    }

    fn read(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        if self.gone() {
            return data.fill(0xFF);
        }
        data.fill(0);
        let place = (bar, offset);
        if bar == self.user_bar() {
            self.read_user(place, data);
        } else if bar == self.user_bar() + 1 {
            self.engine.read(place, data, &mut self.violations);
        } else if !matches!(offset, 0x2000 | 0x3000) || data.len() != 4 {
            self.violations
                .add(format!("BAR{bar}+{offset:#x}: no driver needs this BAR"));
        }
    }

    fn write(&mut self, bar: u8, offset: u64, data: &[u8]) {
        if self.gone() {
            return;
        }
        let place = (bar, offset);
        if bar == self.user_bar() {
            self.write_user(place, data);
        } else if bar == self.user_bar() + 1 {
            self.engine.write(place, data, &mut self.violations);
        } else {
            self.violations
                .add(format!("BAR{bar}+{offset:#x}: no driver needs this BAR"));
        }
        self.run();
    }

    fn reset(&mut self) {
        self.power_on();
    }

    fn attach_memory(&mut self, memory: Box<dyn HostMemory>) {
        self.memory = memory;
    }

    fn gone(&self) -> bool {
        self.supply.faults.has(Fault::Gone)
    }
}
