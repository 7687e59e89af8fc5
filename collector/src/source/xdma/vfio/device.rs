//! A PCI function opened through VFIO: its BARs, its configuration space, the kernel's wish to have it back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::abi::{self, CONFIG_REGION, Region};
use crate::source::xdma::chip::ALL_ONES;
use crate::source::xdma::function::{Bar, Control, Registers};

/// BARs of a PCI function.
const BARS: u32 = 6;
/// The command register of the configuration space.
const COMMAND: u64 = 0x04;
/// Command: the function answers at its memory BARs.
const MEMORY_SPACE: u16 = 1 << 1;
/// Command: the function may reach memory by itself.
const BUS_MASTER: u16 = 1 << 2;

/// The registers of a BAR, by reads and writes of the device's file.
///
/// The kernel does each as one access of 32 bits, with the barriers between it and memory that the processor needs. Mapping the
/// BAR would save a system call for each, of which there are some tens a second, and would turn the loss of the card into
/// SIGBUS.
struct RegionRegisters {
    device: Arc<File>,
    region: Region,
}

impl Registers for RegionRegisters {
    fn read(&mut self, offset: u32) -> u32 {
        let mut bytes = [0; 4];
        let at = self.region.offset + u64::from(offset);
        match self.device.read_exact_at(&mut bytes, at) {
            Ok(()) => u32::from_le_bytes(bytes),
            // What the card would read as if the kernel still reached it.
            Err(_) => ALL_ONES,
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        let at = self.region.offset + u64::from(offset);
        // A card that can't be written is gone, which the next read tells.
        let _ = self.device.write_all_at(&value.to_le_bytes(), at);
    }
}

/// An open PCI function.
pub struct Device {
    file: Arc<File>,
    config: Region,
    resets: bool,
    /// Told when the kernel wants the function back.
    request: EventFd,
}

impl Device {
    /// Takes the device whose file VFIO gave, and has it answer at its BARs and reach the memory that is mapped for it.
    ///
    /// # Errors
    /// It is no PCI function, or the kernel refuses one of the calls.
    pub fn new(file: File) -> io::Result<Self> {
        let info = abi::device_info(&file)?;
        let config = abi::region(&file, CONFIG_REGION)?;
        let Some(config) = config.filter(|_| info.is_pci) else {
            return Err(io::Error::other("it is no PCI function"));
        };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let request = EventFd::from_value_and_flags(0, flags)?;
        abi::notify_request(&file, request.as_fd())?;
        let device = Self {
            file: Arc::new(file),
            config,
            resets: info.resets,
            request,
        };
        device.command(MEMORY_SPACE | BUS_MASTER, true)?;
        Ok(device)
    }

    /// The BARs that are there, in order.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn bars(&self) -> io::Result<Vec<Bar>> {
        let mut bars = Vec::new();
        for index in 0..BARS {
            let Some(region) = abi::region(&self.file, index)? else {
                continue;
            };
            bars.push(Bar {
                reach: usize::try_from(region.size).unwrap_or(usize::MAX),
                registers: Box::new(RegionRegisters {
                    device: Arc::clone(&self.file),
                    region,
                }),
            });
        }
        Ok(bars)
    }

    /// Sets or clears bits of the command register.
    fn command(&self, bits: u16, set: bool) -> io::Result<()> {
        let at = self.config.offset + COMMAND;
        let mut bytes = [0; 2];
        self.file.read_exact_at(&mut bytes, at)?;
        let word = u16::from_le_bytes(bytes);
        let word = if set { word | bits } else { word & !bits };
        self.file.write_all_at(&word.to_le_bytes(), at)
    }
}

impl Control for Device {
    fn wanted_back(&mut self) -> bool {
        match self.request.read() {
            Ok(_) => true,
            Err(error) => error != Errno::EAGAIN && error != Errno::EINTR,
        }
    }

    fn cut_off(&mut self) {
        // Of a card that is gone neither works, and neither is needed.
        let _ = self.command(BUS_MASTER, false);
        if self.resets && abi::reset(&self.file).is_err() {
            log::debug!("the card is not reset now; the kernel resets it when it is closed");
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.command(BUS_MASTER, false);
    }
}
