//! Quantis USB-4M (0ABA:0102), hardware reference section 4.
//!
//! ```text
//! configuration 1 ─ interface 0, alternate 0, class 0xFF ─ endpoint 0x86 bulk IN, 512 bytes (64 at full speed)
//! vendor requests to the interface, IN 0xC1 and OUT 0x41, wValue 0, wIndex 0
//!   0x10 board version 4      0x13 status 1           0x16 rate in kbit/s 4
//!   0x11 disable module 0     0x14 power 1            0x17 AIS31 start-up flag 1
//!   0x12 enable module 0      0x15 modules mask 1     0x18 clear that flag 0
//! ```
//!
//! Left open by the reference, and chosen here:
//! - The module is enabled after power-on. After it was enabled by request, the first 4096 bytes are stale, and nothing may be
//!   read for 1 second.
//! - The device's memory holds 4096 bytes; when it is full, new bytes are lost.
//! - Status must have been asked at least once before the first read.
//! - SET_CONFIGURATION of the configuration that is already set is a violation, because it resets the device.
//! - Requests that are not allowed are refused (stall).

mod descriptors;
pub(crate) use descriptors::{CLASS, RELEASE};
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Device;
use crate::fault::{Fault, FaultError};
use crate::ledger::Ledger;
use crate::pace::{Full, Rate};
use crate::stream::Stream;
use crate::supply::Supply;
use crate::violations::Violations;

/// Bytes a second.
pub const USB_RATE: u64 = 500_000;
/// Address of the endpoint.
pub const ENDPOINT: u8 = 0x86;
/// Vendor id.
pub const VENDOR: u16 = 0x0ABA;
/// Product id.
pub const PRODUCT: u16 = 0x0102;
/// Size of the device's memory in bytes, and what has to be discarded after a reset.
pub const MEMORY: u64 = 4096;
/// How long nothing may be read after a reset.
pub const SETTLE: Duration = Duration::from_secs(1);
/// Length of a packet when the fault is that packets are short.
const SHORT: usize = 100;

/// How fast the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// 12 Mbit/s, packets of 64 bytes.
    Full,
    /// 480 Mbit/s, packets of 512 bytes.
    High,
}

impl Speed {
    /// Size of a bulk packet in bytes.
    pub const fn packet(self) -> usize {
        match self {
            Self::Full => 64,
            Self::High => 512,
        }
    }
}

/// What a device is made of.
#[derive(Debug, Clone)]
pub struct UsbConfig {
    /// How fast it makes bytes.
    pub rate: Rate,
    /// What happens when its memory is full.
    pub full: Full,
    /// The number of its stream.
    pub seed: u64,
    /// Its serial number, the string with index 3.
    pub serial: String,
    /// How fast the bus is.
    pub speed: Speed,
    /// The board's version.
    pub version: u32,
}

impl Default for UsbConfig {
    fn default() -> Self {
        Self {
            rate: Rate::BytesPerSecond(USB_RATE),
            full: Full::Overflows,
            seed: 1,
            serial: "132445A410".to_owned(),
            speed: Speed::High,
            version: 0x0B07_1902,
        }
    }
}

/// The eight bytes that begin a control transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// bmRequestType.
    pub kind: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength.
    pub length: u16,
}

impl Setup {
    /// From the bytes on the bus.
    pub fn parse(bytes: [u8; 8]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self {
            kind: bytes[0],
            request: bytes[1],
            value: word(2),
            index: word(4),
            length: word(6),
        }
    }
}

/// Why a transfer gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsbError {
    /// The device refuses the request, or the endpoint is halted.
    Stall,
    /// The device has nothing yet: ask again. A host waits, until its time is up.
    Nak,
    /// The device is unplugged.
    Gone,
}

/// The device.
pub struct UsbCard {
    config: UsbConfig,
    supply: Supply,
    violations: Violations,
    /// The number of the set configuration, 0 if none is.
    configuration: u8,
    /// When the module was enabled by request.
    enabled: Option<Duration>,
    status_asked: bool,
    ais31: u8,
    unplugs: u64,
}

impl UsbCard {
    /// A device that was just plugged in.
    pub fn new(config: UsbConfig) -> Self {
        let mut card = Self {
            supply: Supply::new(config.rate, config.full, config.seed),
            config,
            violations: Violations::default(),
            configuration: 0,
            enabled: None,
            status_asked: false,
            ais31: 0,
            unplugs: 0,
        };
        card.power_on();
        card
    }

    /// How fast the bus is.
    pub fn speed(&self) -> Speed {
        self.config.speed
    }

    /// Whether it is unplugged.
    pub fn gone(&self) -> bool {
        self.supply.faults.has(Fault::Gone)
    }

    /// How often it was unplugged. Whoever has it open loses it even if it is back at once.
    pub fn unplugs(&self) -> u64 {
        self.unplugs
    }

    fn failing(&self) -> bool {
        self.supply.faults.has(Fault::ModuleFails(0))
    }

    fn power_on(&mut self) {
        self.supply.start(MEMORY, 0);
        self.configuration = 0;
        self.enabled = None;
        self.status_asked = false;
        self.ais31 = 0;
    }

    fn violate(&mut self, text: String) -> UsbError {
        self.violations.add(text);
        UsbError::Stall
    }

    /// A control transfer. Gives what the device answers, at most `setup.length` bytes; none have to be sent to it by any
    /// request that is allowed.
    ///
    /// # Errors
    /// See [`UsbError`].
    pub fn control(&mut self, setup: Setup) -> Result<Vec<u8>, UsbError> {
        if self.gone() {
            return Err(UsbError::Gone);
        }
        if self.supply.faults.has(Fault::Hang) && setup.kind & 0x60 == 0x40 {
            return Err(UsbError::Nak);
        }
        let mut answer = match setup.kind & 0x60 {
            0x00 => self.standard(setup)?,
            0x40 => self.vendor(setup)?,
            _ => return Err(self.violate(format!("{setup:x?}: no such class request"))),
        };
        answer.truncate(setup.length.into());
        Ok(answer)
    }

    fn vendor(&mut self, setup: Setup) -> Result<Vec<u8>, UsbError> {
        let (kind, length) = match setup.request {
            0x10 | 0x16 => (0xC1, 4),
            0x13 | 0x14 | 0x15 | 0x17 => (0xC1, 1),
            0x11 | 0x12 | 0x18 => (0x41, 0),
            _ => return Err(self.violate(format!("{setup:x?}: no such vendor request"))),
        };
        if (setup.kind, setup.value, setup.index, setup.length) != (kind, 0, 0, length) {
            let expected = format!("type {kind:#x}, value 0, index 0, length {length}");
            return Err(self.violate(format!("{setup:x?}: expected {expected}")));
        }
        if self.configuration == 0 {
            return Err(self.violate(format!("{setup:x?}: no configuration is set")));
        }
        Ok(match setup.request {
            0x10 => self.config.version.to_le_bytes().to_vec(),
            0x13 => {
                self.status_asked = true;
                vec![u8::from(!self.failing())]
            }
            0x14 => vec![1],
            0x15 => vec![1],
            0x16 => ((USB_RATE * 8 / 1000) as u32).to_le_bytes().to_vec(),
            0x17 => vec![self.ais31],
            0x11 => {
                self.supply.stop();
                Vec::new()
            }
            0x12 => {
                self.supply.start(MEMORY, MEMORY);
                self.enabled = Some(self.supply.now());
                Vec::new()
            }
            _ => {
                self.ais31 = 0;
                Vec::new()
            }
        })
    }

    /// A bulk IN transfer of `length` bytes.
    ///
    /// # Errors
    /// See [`UsbError`].
    pub fn bulk_in(&mut self, endpoint: u8, length: usize) -> Result<Vec<u8>, UsbError> {
        if self.gone() {
            return Err(UsbError::Gone);
        }
        if endpoint != ENDPOINT || self.configuration == 0 {
            let text = format!("bulk transfer from endpoint {endpoint:#x}: it is not there");
            return Err(self.violate(text));
        }
        self.check_read(length);
        if self.supply.faults.has(Fault::Hang) {
            return Err(UsbError::Nak);
        }
        let short = self.supply.faults.has(Fault::Short);
        let length = if short { SHORT.min(length / 2) } else { length };
        if self.supply.held() < length as u64 {
            return Err(UsbError::Nak);
        }
        let mut data = vec![0; length];
        self.supply.take(&mut data);
        Ok(data)
    }

    /// Records what is wrong with a read.
    fn check_read(&mut self, length: usize) {
        let packet = self.config.speed.packet();
        if length != packet {
            self.violate(format!(
                "bulk transfer of {length} bytes, not of one packet ({packet})"
            ));
        }
        if !self.status_asked {
            self.violate("bulk transfer before the status was asked".to_owned());
            self.status_asked = true;
        }
        let since = self.enabled.map(|then| self.supply.now() - then);
        if let Some(since) = since.filter(|since| *since < SETTLE) {
            self.violate(format!(
                "bulk transfer {since:?} after a reset, not {SETTLE:?}"
            ));
        }
    }
}

impl Device for UsbCard {
    fn advance(&mut self, now: Duration) {
        let units = u64::from(!self.failing() && !self.gone());
        self.supply.advance(now, units);
    }

    fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::ModuleFails(0) | Fault::Hang | Fault::Short | Fault::Slow(_) => {}
            Fault::Stuck | Fault::Biased | Fault::Zeros | Fault::Ones => {}
            Fault::Gone => {
                self.unplugs += 1;
                self.power_on();
            }
            _ => return Err(FaultError::NotHere(fault)),
        }
        self.supply.faults.add(fault);
        Ok(())
    }

    fn clear(&mut self) {
        self.supply.faults.clear();
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
            "usb configuration={} makes bytes={} memory={} faults=[{}]",
            self.configuration,
            self.supply.flows(),
            self.supply.held(),
            self.supply.faults
        )
    }
}
