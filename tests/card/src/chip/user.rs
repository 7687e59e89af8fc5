//! Reads and writes of the user registers.

use super::{ChipCard, USER_BAR_SIZE};
use crate::pci::aligned32;

/// Offsets of the user registers.
pub mod offset {
    /// sw_rst.
    pub const RESET: u32 = 0x000;
    /// module_enable.
    pub const MODULE_ENABLE: u32 = 0x004;
    /// spi_module_ctrl.
    pub const CONTROL: u32 = 0x008;
    /// testmode_hwreject.
    pub const HWREJECT: u32 = 0x014;
    /// q400_num.
    pub const CHIPS: u32 = 0x030;
    /// Presence, readiness and errors of the chips.
    pub const STATUS: u32 = 0x084;
    /// Serial number, four characters.
    pub const BATCH: u32 = 0x0C4;
    /// Serial number, three characters.
    pub const INCREMENT: u32 = 0x0C8;
    /// Serial number, four characters.
    pub const MODEL: u32 = 0x0CC;
    /// PCB revision and firmware.
    pub const VERSION: u32 = 0x100;
    /// Build date.
    pub const BUILD_DATE: u32 = 0x104;
    /// RNG or SAMPLE.
    pub const MODE: u32 = 0x5A8;
}
use offset::*;

/// PCB revision 3, firmware 1.4.2.
const VERSION_VALUE: u32 = 0x0301_0402;
const BUILD_DATE_VALUE: u32 = 0x2024_0115;

impl ChipCard {
    pub(super) fn read_user(&mut self, (bar, place): (u8, u64), data: &mut [u8]) {
        let value = aligned32(bar, place, data.len(), USER_BAR_SIZE).and_then(|offset| {
            let value = self.user_register(offset);
            value.map_err(|why| format!("user register {offset:#05x}: {why}"))
        });
        match value {
            Ok(value) => data.copy_from_slice(&value.to_le_bytes()),
            Err(text) => self.violations.add(text),
        }
    }

    fn user_register(&mut self, offset: u32) -> Result<u32, String> {
        let text = |range: std::ops::Range<usize>| {
            let mut word = [0; 4];
            word[..range.len()].copy_from_slice(&self.config.serial[range]);
            u32::from_le_bytes(word)
        };
        Ok(match offset {
            RESET | MODULE_ENABLE | CONTROL | HWREJECT | CHIPS | MODE => {
                let value = self.init.value(offset);
                self.init.read(offset).map(|()| value)?
            }
            STATUS => self.init.status(),
            BATCH => text(0..4),
            INCREMENT => text(4..7),
            MODEL => text(7..11),
            VERSION => VERSION_VALUE,
            BUILD_DATE => BUILD_DATE_VALUE,
            // Who looks for the XDMA BAR has to read here.
            0x2000 | 0x3000 => 0,
            _ => return Err("this offset is reserved".to_owned()),
        })
    }

    pub(super) fn write_user(&mut self, (bar, place): (u8, u64), data: &[u8]) {
        let written = aligned32(bar, place, data.len(), USER_BAR_SIZE).and_then(|offset| {
            let value = u32::from_le_bytes(data.try_into().unwrap_or_default());
            let written = match offset {
                RESET | MODULE_ENABLE | CONTROL | HWREJECT | CHIPS | MODE => {
                    self.init.write(offset, value)
                }
                _ => Err("cannot be written".to_owned()),
            };
            written.map_err(|why| format!("user register {offset:#05x} <- {value:#x}: {why}"))
        });
        if let Err(text) = written {
            self.violations.add(text);
        }
    }
}
