//! The configuration space of a function with 32-bit memory BARs, without capabilities and interrupts (type 0 header).
//!
//! ```text
//! 0x00 vendor, device    0x08 revision, class    0x10..0x28 BAR0 to BAR5
//! 0x04 command, status   0x0C cache line         0x2C subsystem vendor, device     0x3C interrupt line
//! ```

use super::{Bar, PciIdentity};

/// Its size in bytes.
pub const SIZE: usize = 256;
/// Bits of the command register that can be written.
const COMMAND_BITS: u16 = MEMORY | MASTER | 1 << 6 | 1 << 8 | 1 << 10;
const MEMORY: u16 = 1 << 1;
const MASTER: u16 = 1 << 2;

const COMMAND: usize = 0x04;
const CACHE_LINE: usize = 0x0C;
const BAR0: usize = 0x10;
const SUBSYSTEM: usize = 0x2C;
const INTERRUPT_LINE: usize = 0x3C;

/// What a configuration space holds.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    bars: &'static [Bar],
}

impl ConfigSpace {
    /// After power-on.
    pub fn new(identity: PciIdentity, bars: &'static [Bar]) -> Self {
        let mut bytes = [0; SIZE];
        bytes[0..2].copy_from_slice(&identity.vendor.to_le_bytes());
        bytes[2..4].copy_from_slice(&identity.device.to_le_bytes());
        let class = identity.class << 8 | u32::from(identity.revision);
        bytes[8..12].copy_from_slice(&class.to_le_bytes());
        // The subsystem has the card's own ids.
        bytes.copy_within(0..4, SUBSYSTEM);
        Self { bytes, bars }
    }

    /// What can be written is as after power-on.
    pub fn reset(&mut self) {
        self.bytes[COMMAND..COMMAND + 2].fill(0);
        self.bytes[CACHE_LINE] = 0;
        self.bytes[BAR0..BAR0 + 24].fill(0);
        self.bytes[INTERRUPT_LINE] = 0;
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]])
    }

    /// Whether the BARs answer.
    pub fn memory_enabled(&self) -> bool {
        self.command() & MEMORY != 0
    }

    /// Whether the card may reach memory.
    pub fn bus_master(&self) -> bool {
        self.command() & MASTER != 0
    }

    /// A read of any width; beyond the end there are zeros.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            let at = usize::try_from(at).unwrap_or(SIZE);
            *byte = self.bytes.get(at).copied().unwrap_or(0);
        }
    }

    /// A write of any width; what can't be written stays.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            let at = usize::try_from(at).unwrap_or(SIZE);
            let mask = self.writable(at);
            if let Some(old) = self.bytes.get_mut(at) {
                *old = *old & !mask | byte & mask;
            }
        }
    }

    /// Which bits of a byte can be written.
    fn writable(&self, at: usize) -> u8 {
        match at {
            COMMAND => COMMAND_BITS.to_le_bytes()[0],
            0x05 => COMMAND_BITS.to_le_bytes()[1],
            CACHE_LINE | INTERRUPT_LINE => 0xFF,
            BAR0..0x28 => {
                let bar = self
                    .bars
                    .iter()
                    .find(|b| usize::from(b.index) == (at - BAR0) / 4);
                // A BAR is aligned to its size: the bits below read 0, which tells the size.
                bar.map_or(0, |bar| (!(bar.size - 1)).to_le_bytes()[at % 4])
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let identity = PciIdentity {
            vendor: 0x179A,
            device: 1,
            class: 0xFF0000,
            revision: 3,
        };
        ConfigSpace::new(
            identity,
            &[
                Bar { index: 1, size: 64 },
                Bar {
                    index: 2,
                    size: 0x1_0000,
                },
            ],
        )
    }

    fn word(space: &ConfigSpace, offset: u64) -> u32 {
        let mut data = [0; 4];
        space.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn it_tells_ids_and_the_sizes_of_bars() {
        let mut space = space();
        assert_eq!(word(&space, 0), 0x0001_179A);
        assert_eq!(word(&space, 0x2C), 0x0001_179A);
        assert_eq!(word(&space, 8), 0xFF00_0003);
        for (offset, size) in [
            (0x10, 0),
            (0x14, 0xFFFF_FFC0),
            (0x18, 0xFFFF_0000),
            (0x1C, 0),
        ] {
            space.write(offset, &[0xFF; 4]);
            assert_eq!(word(&space, offset), size);
        }
        space.write(0x14, &0xFEBF_1040_u32.to_le_bytes());
        assert_eq!(word(&space, 0x14), 0xFEBF_1040);
    }

    #[test]
    fn only_what_can_be_written_is() {
        let mut space = space();
        assert!(!space.memory_enabled() && !space.bus_master());
        space.write(0, &[0xFF; 16]);
        assert_eq!(word(&space, 0), 0x0001_179A);
        assert_eq!(word(&space, 4), 0x0546);
        assert_eq!(word(&space, 0xC), 0xFF);
        assert!(space.memory_enabled() && space.bus_master());
        space.write(5, &[0]);
        assert_eq!(word(&space, 4), 0x46);
        space.reset();
        assert_eq!(word(&space, 4), 0);
        space.write(250, &[0xFF; 16]);
        assert_eq!(word(&space, 253), 0);
    }
}
