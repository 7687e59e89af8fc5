//! Descriptors: where the engine puts what it receives.
//!
//! ```text
//! 0x00  magic 0xAD4B | 2 reserved | next adjacent (6) | control (8: EOP bit 4, completed bit 1, stop bit 0)
//! 0x04  length (28 bits)
//! 0x08  source: for C2H streams, where the writeback goes
//! 0x10  destination
//! 0x18  next descriptor
//! ```

use super::registers::field;

/// Size of a descriptor in bytes, and what its address is a multiple of.
pub(super) const SIZE: u64 = 32;
const MAGIC: u32 = 0xAD4B;
/// A block of adjacent descriptors must not cross a multiple of this.
pub(super) const BLOCK_BOUNDARY: u64 = 4096;
/// What a C2H stream's length is a multiple of.
const GRANULARITY: u32 = 64;

/// Bits of a descriptor's control field.
pub mod flag {
    /// Do not fetch another one.
    pub const STOP: u32 = 1 << 0;
    /// Tell when it is completed.
    pub const COMPLETED: u32 = 1 << 1;
    /// End of packet; without meaning in this direction.
    pub const EOP: u32 = 1 << 4;
}

/// One descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// See [`flag`].
    pub flags: u32,
    /// How many descriptors are adjacent to the next one.
    pub next_adjacent: u32,
    /// Bytes at the destination.
    pub length: u32,
    /// Address of the writeback.
    pub writeback: u64,
    /// Address of the data.
    pub destination: u64,
    /// Address of the next descriptor.
    pub next: u64,
}

impl Descriptor {
    /// As it is in the host's memory, for tests that play the host.
    pub fn to_bytes(&self) -> [u8; SIZE as usize] {
        let head = MAGIC << 16 | self.next_adjacent << 8 | self.flags;
        let mut bytes = [0; SIZE as usize];
        bytes[0..4].copy_from_slice(&head.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        for (at, address) in [(8, self.writeback), (16, self.destination), (24, self.next)] {
            bytes[at..at + 8].copy_from_slice(&address.to_le_bytes());
        }
        bytes
    }

    /// Reads one; none if the magic number is wrong. What else is wrong with it goes to `violate`.
    pub(super) fn parse(
        bytes: &[u8; SIZE as usize],
        violate: &mut dyn FnMut(String),
    ) -> Option<Self> {
        let head = field(bytes, 0);
        let address = |at| u64::from(field(bytes, at)) | u64::from(field(bytes, at + 4)) << 32;
        if head >> 16 != MAGIC {
            violate(format!("descriptor without magic number: {head:#010x}"));
            return None;
        }
        let descriptor = Self {
            flags: head & 0xFF,
            next_adjacent: head >> 8 & 0x3F,
            length: field(bytes, 4),
            writeback: address(8),
            destination: address(16),
            next: address(24),
        };
        let length = descriptor.length;
        if head & 0xC000 != 0 || descriptor.flags & !(flag::STOP | flag::COMPLETED | flag::EOP) != 0
        {
            violate(format!("descriptor with reserved bits: {head:#010x}"));
        }
        if length == 0 || !length.is_multiple_of(GRANULARITY) || length >= 1 << 28 {
            violate(format!(
                "descriptor of {length} bytes: not a multiple of 64 below 2^28"
            ));
        }
        Some(descriptor)
    }
}
