//! The registers of the configuration BAR.

use super::{BAR_SIZE, Engine, VERSION};
use crate::pci::aligned32;
use crate::violations::Violations;

/// Offsets of the registers that a driver of a C2H stream needs.
pub mod offset {
    #![allow(missing_docs)] // The names are PG195's.
    pub const C2H_IDENTIFIER: u32 = 0x1000;
    pub const CONTROL: u32 = 0x1004;
    pub const CONTROL_SET: u32 = 0x1008;
    pub const CONTROL_CLEAR: u32 = 0x100C;
    pub const STATUS: u32 = 0x1040;
    pub const STATUS_READ_CLEARS: u32 = 0x1044;
    pub const COMPLETED: u32 = 0x1048;
    pub const ALIGNMENTS: u32 = 0x104C;
    pub const POLL_LOW: u32 = 0x1088;
    pub const POLL_HIGH: u32 = 0x108C;
    pub const INTERRUPT_MASK: u32 = 0x1090;
    pub const INTERRUPT_MASK_SET: u32 = 0x1094;
    pub const INTERRUPT_MASK_CLEAR: u32 = 0x1098;
    pub const IRQ_IDENTIFIER: u32 = 0x2000;
    pub const CHANNEL_ENABLE: u32 = 0x2010;
    pub const CHANNEL_ENABLE_SET: u32 = 0x2014;
    pub const CHANNEL_ENABLE_CLEAR: u32 = 0x2018;
    pub const CHANNEL_REQUEST: u32 = 0x2044;
    pub const CHANNEL_PENDING: u32 = 0x204C;
    pub const CONFIG_IDENTIFIER: u32 = 0x3000;
    pub const SGDMA_IDENTIFIER: u32 = 0x5000;
    pub const DESCRIPTOR_LOW: u32 = 0x5080;
    pub const DESCRIPTOR_HIGH: u32 = 0x5084;
    pub const DESCRIPTOR_ADJACENT: u32 = 0x5088;
    pub const CREDITS: u32 = 0x508C;
    pub const COMMON_IDENTIFIER: u32 = 0x6000;
    pub const HALT: u32 = 0x6010;
    pub const HALT_SET: u32 = 0x6014;
    pub const HALT_CLEAR: u32 = 0x6018;
    pub const CREDIT_MODE: u32 = 0x6020;
    pub const CREDIT_MODE_SET: u32 = 0x6024;
    pub const CREDIT_MODE_CLEAR: u32 = 0x6028;
}
use offset::*;

/// Bits of the channel's control register.
pub mod control {
    /// The engine runs.
    pub const RUN: u32 = 1 << 0;
    /// Each status bit is recorded only if the same bit of this register is set: stopped, completed, alignment, magic, length,
    /// idle, read errors, descriptor errors.
    pub const LOG: u32 = 0b111_1110 | 0x1F << 9 | 0x1F << 19;
    /// Do not increment addresses.
    pub const NOT_INCREMENTING: u32 = 1 << 25;
    /// Write the count of completed descriptors into memory.
    pub const POLL_MODE: u32 = 1 << 26;
    /// Do not write length and end of packet into memory.
    pub const NO_STREAM_WRITEBACK: u32 = 1 << 27;
    pub(super) const ALL: u32 = RUN | LOG | NOT_INCREMENTING | POLL_MODE | NO_STREAM_WRITEBACK;
}

/// Bits of the channel's status register.
pub mod status {
    /// The engine is busy.
    pub const BUSY: u32 = 1 << 0;
    /// A descriptor with the stop bit was completed.
    pub const DESCRIPTOR_STOPPED: u32 = 1 << 1;
    /// A descriptor with the completed bit was completed.
    pub const DESCRIPTOR_COMPLETED: u32 = 1 << 2;
    /// A descriptor had no magic number.
    pub const MAGIC_STOPPED: u32 = 1 << 4;
    /// The engine became idle because Run was cleared.
    pub const IDLE_STOPPED: u32 = 1 << 6;
    /// A descriptor could not be fetched.
    pub const UNSUPPORTED_REQUEST: u32 = 1 << 19;
    /// All bits of errors.
    pub const ERRORS: u32 = 0b11_1000 | 0x1F << 9 | 0x1F << 19;
}

/// This channel's bit in the registers for all descriptors.
const C2H_0: u32 = 1 << 16;
/// One byte each: 1 byte of alignment, 1 byte of granularity, 64 bits of address.
const ALIGNMENT: u32 = 1 << 16 | 1 << 8 | 64;
/// Ten bits of credits.
const MOST_CREDITS: u32 = 0x3FF;

/// The little-endian word at a place in bytes.
pub(super) fn field(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk().copied();
    u32::from_le_bytes(word.unwrap_or_default())
}

fn identifier(target: u32, stream: bool) -> u32 {
    0x1FC0_0000 | target << 16 | u32::from(stream) << 15 | VERSION
}

/// The identifiers of the channels that such a block can have, and this card has not.
fn absent_channel(offset: u32) -> bool {
    let (target, channel, register) = (offset >> 12, offset >> 8 & 0xF, offset & 0xFF);
    let channels = if matches!(target, 1 | 5) { 1..4 } else { 0..4 };
    matches!(target, 0 | 1 | 4 | 5) && channels.contains(&channel) && register == 0
}

impl Engine {
    /// A read by the host of the BAR with number `bar`.
    pub(crate) fn read(
        &mut self,
        (bar, offset): (u8, u64),
        data: &mut [u8],
        violations: &mut Violations,
    ) {
        let value = match aligned32(bar, offset, data.len(), BAR_SIZE) {
            Ok(offset) => self.read_register(offset).ok_or_else(|| {
                format!("BAR{bar}+{offset:#x}: XDMA has nothing to read here for this channel")
            }),
            Err(text) => Err(text),
        };
        match value {
            Ok(value) => data.copy_from_slice(&value.to_le_bytes()),
            Err(text) => violations.add(text),
        }
    }

    fn read_register(&mut self, offset: u32) -> Option<u32> {
        let busy = if self.busy() { status::BUSY } else { 0 };
        let pending = u32::from(self.status & self.interrupt_mask != 0);
        Some(match offset {
            C2H_IDENTIFIER => identifier(1, true),
            IRQ_IDENTIFIER => identifier(2, false),
            CONFIG_IDENTIFIER => identifier(3, false),
            SGDMA_IDENTIFIER => identifier(5, true),
            COMMON_IDENTIFIER => identifier(6, false),
            CONTROL => self.control,
            STATUS => self.status | busy,
            STATUS_READ_CLEARS => std::mem::take(&mut self.status) | busy,
            COMPLETED => self.completed,
            ALIGNMENTS => ALIGNMENT,
            POLL_LOW => self.poll_address as u32,
            POLL_HIGH => (self.poll_address >> 32) as u32,
            INTERRUPT_MASK => self.interrupt_mask,
            CHANNEL_ENABLE => self.interrupts,
            CHANNEL_PENDING => pending,
            CHANNEL_REQUEST => pending & self.interrupts,
            DESCRIPTOR_LOW => self.first as u32,
            DESCRIPTOR_HIGH => (self.first >> 32) as u32,
            DESCRIPTOR_ADJACENT => self.first_adjacent,
            CREDITS => self.credits,
            HALT => u32::from(self.halted) * C2H_0,
            CREDIT_MODE => u32::from(self.credit_mode) * C2H_0,
            _ if absent_channel(offset) => 0,
            _ => return None,
        })
    }

    /// A write by the host.
    pub(crate) fn write(
        &mut self,
        (bar, offset): (u8, u64),
        data: &[u8],
        violations: &mut Violations,
    ) {
        let written = aligned32(bar, offset, data.len(), BAR_SIZE).and_then(|offset| {
            self.write_register(offset, field(data, 0))
                .map_err(|why| format!("BAR{bar}+{offset:#x} <- {:#x}: {why}", field(data, 0)))
        });
        if let Err(text) = written {
            violations.add(text);
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), &'static str> {
        match offset {
            CONTROL | CONTROL_SET | CONTROL_CLEAR => return self.write_control(offset, value),
            STATUS => self.status &= !value,
            POLL_LOW | POLL_HIGH | DESCRIPTOR_LOW | DESCRIPTOR_HIGH | DESCRIPTOR_ADJACENT => {
                return self.write_address(offset, value);
            }
            INTERRUPT_MASK => self.interrupt_mask = value,
            INTERRUPT_MASK_SET => self.interrupt_mask |= value,
            INTERRUPT_MASK_CLEAR => self.interrupt_mask &= !value,
            CHANNEL_ENABLE => self.interrupts = value & 1,
            CHANNEL_ENABLE_SET => self.interrupts |= value & 1,
            CHANNEL_ENABLE_CLEAR => self.interrupts &= !value,
            CREDITS => return self.add_credits(value),
            HALT | HALT_SET | HALT_CLEAR => {
                self.halted = one_bit(self.halted, offset - HALT, value)?;
            }
            CREDIT_MODE | CREDIT_MODE_SET | CREDIT_MODE_CLEAR => {
                self.credit_mode = one_bit(self.credit_mode, offset - CREDIT_MODE, value)?;
                if !self.credit_mode {
                    self.credits = 0;
                }
            }
            _ => return Err("XDMA has nothing to write here for this channel"),
        }
        Ok(())
    }

    fn write_control(&mut self, offset: u32, value: u32) -> Result<(), &'static str> {
        if value & !control::ALL != 0 {
            return Err("reserved bits of the control register");
        }
        self.set_control(match offset {
            CONTROL_SET => self.control | value,
            CONTROL_CLEAR => self.control & !value,
            _ => value,
        });
        Ok(())
    }

    fn write_address(&mut self, offset: u32, value: u32) -> Result<(), &'static str> {
        if self.running() || self.busy() {
            return Err("written while the engine runs");
        }
        let low = |old: u64| old & !0xFFFF_FFFF | u64::from(value);
        let high = |old: u64| old & 0xFFFF_FFFF | u64::from(value) << 32;
        match offset {
            POLL_LOW => self.poll_address = low(self.poll_address),
            POLL_HIGH => self.poll_address = high(self.poll_address),
            DESCRIPTOR_LOW => self.first = low(self.first),
            DESCRIPTOR_HIGH => self.first = high(self.first),
            _ if value > 0x3F => return Err("more than 63 adjacent descriptors"),
            _ => self.first_adjacent = value,
        }
        Ok(())
    }

    fn add_credits(&mut self, value: u32) -> Result<(), &'static str> {
        if !self.credit_mode {
            return Err("credits without credit mode");
        }
        if value > MOST_CREDITS || self.credits + value > MOST_CREDITS {
            return Err("more than 1023 credits");
        }
        self.credits += value;
        Ok(())
    }
}

/// A register with one bit for this channel, written at its place, its set place (+4) or its clear place (+8).
fn one_bit(old: bool, place: u32, value: u32) -> Result<bool, &'static str> {
    if value & !C2H_0 != 0 {
        return Err("bits of channels that are not there");
    }
    let bit = value != 0;
    Ok(match place {
        0 => bit,
        4 => old || bit,
        _ => old && !bit,
    })
}
