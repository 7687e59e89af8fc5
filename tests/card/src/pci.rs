//! A PCI function as a host sees it, without its configuration space.

pub mod config;

use crate::Device;
use crate::memory::HostMemory;

/// What a function's configuration space says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciIdentity {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class code, 24 bits: base class, subclass, programming interface.
    pub class: u32,
    /// Revision id.
    pub revision: u8,
}

/// A 32-bit memory BAR that can't be prefetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5.
    pub index: u8,
    /// Its size in bytes, a power of two.
    pub size: u32,
}

/// A PCI function. Accesses of any width and offset can be made; those that are not allowed are recorded as violations.
pub trait PciCard: Device {
    /// What it is.
    fn identity(&self) -> PciIdentity;

    /// Its BARs.
    fn bars(&self) -> &'static [Bar];

    /// A read of `data.len()` bytes by the host.
    fn read(&mut self, bar: u8, offset: u64, data: &mut [u8]);

    /// A write by the host.
    fn write(&mut self, bar: u8, offset: u64, data: &[u8]);

    /// A reset of the function by the host, or of the bus.
    fn reset(&mut self);

    /// Gives it the memory that it reaches by DMA; a card without DMA has no use for it.
    fn attach_memory(&mut self, _memory: Box<dyn HostMemory>) {}

    /// Whether it is unplugged: then its configuration space reads all ones too.
    fn gone(&self) -> bool;

    /// A 32-bit read.
    fn read32(&mut self, bar: u8, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.read(bar, offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// A 32-bit write.
    fn write32(&mut self, bar: u8, offset: u64, value: u32) {
        self.write(bar, offset, &value.to_le_bytes());
    }
}

/// Checks that an access is 32 bits wide, aligned and within `size` bytes. Gives the offset, or the violation.
pub(crate) fn aligned32(bar: u8, offset: u64, width: usize, size: u32) -> Result<u32, String> {
    let place = format_args!("BAR{bar}+{offset:#x}");
    if width != 4 {
        return Err(format!("{place}: access of {width} bytes, not 4"));
    }
    match u32::try_from(offset) {
        Ok(small) if small % 4 == 0 && small < size => Ok(small),
        Ok(small) if small < size => Err(format!("{place}: access is not aligned")),
        _ => Err(format!("{place}: beyond the BAR's {size} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_words_within_the_bar_pass() {
        assert_eq!(aligned32(1, 0x3c, 4, 64), Ok(0x3c));
        for (offset, width) in [(0, 1), (0, 2), (0, 8), (2, 4), (64, 4), (1 << 40, 4)] {
            assert!(aligned32(1, offset, width, 64).is_err(), "{offset} {width}");
        }
    }
}
