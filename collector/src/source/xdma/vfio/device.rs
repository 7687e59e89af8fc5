//! A PCI function opened through VFIO: its BARs, and the kernel's wish to have it back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::abi::{self, CONFIG_REGION, Region};
use super::lease::{BUS_MASTER, Lease, Loan, MEMORY_SPACE};
use super::memory::{IOVA, Memory};
use crate::source::xdma::function::{Bar, Control, NOBODY, Registers};
use crate::source::xdma::ring::MEMORY;

/// BARs of a PCI function.
const BARS: u32 = 6;

/// The registers of a BAR, by reads and writes of the device's file.
///
/// The kernel does each as one access of 32 bits, with the barriers between it and memory that the processor needs. Mapping the
/// BAR would save a system call for each, of which there are some tens a second, and would turn the loss of the card into
/// SIGBUS.
struct RegionRegisters {
    lease: Lease,
    region: Region,
}

impl Registers for RegionRegisters {
    fn read(&mut self, offset: u32) -> u32 {
        let mut bytes = [0; 4];
        let at = self.region.offset + u64::from(offset);
        let read = self
            .lease
            .with(|loan| loan.device.read_exact_at(&mut bytes, at));
        match read {
            Some(Ok(())) => u32::from_le_bytes(bytes),
            // What the card would read as if the kernel still reached it.
            _ => NOBODY,
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        let at = self.region.offset + u64::from(offset);
        let bytes = value.to_le_bytes();
        // A card that can't be written is gone, which the next read tells.
        let _ = self.lease.with(|loan| loan.device.write_all_at(&bytes, at));
    }
}

/// An open PCI function. Dropping it ends the loan.
pub struct Device {
    lease: Lease,
    /// Told when the kernel wants the function back, or when this is dropped.
    event: Arc<EventFd>,
}

impl Device {
    /// Takes the device whose file VFIO gave, with memory that it reaches: has it answer at its BARs and master the bus.
    ///
    /// # Errors
    /// It is no PCI function, or the kernel refuses one of the calls.
    pub fn new(
        device: File,
        group: File,
        container: File,
    ) -> Result<(Self, Box<Memory>), OpenError> {
        let is_pci = abi::is_pci(&device)?;
        let config = abi::region(&device, CONFIG_REGION)?;
        let Some(config) = config.filter(|_| is_pci) else {
            return Err(io::Error::other("it is no PCI function").into());
        };
        let event = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        abi::notify_request(&device, event.as_fd())?;
        let memory = Memory::new(&container).map_err(OpenError::Memory)?;
        let lease = Lease::new(Loan {
            device,
            config,
            _group: group,
            container,
            mapped: (IOVA, MEMORY as u64),
            stop: None,
        });
        let memory = Box::new(memory.lent_by(lease.clone()));
        let on = lease.with(|loan| loan.command(MEMORY_SPACE | BUS_MASTER, true));
        on.unwrap_or(Ok(()))?;
        let this = Self { lease, event };
        this.watch()?;
        Ok((this, memory))
    }

    /// Ends the loan when the kernel wants the function back, in a thread of its own that ends with it.
    fn watch(&self) -> io::Result<()> {
        let (lease, event) = (self.lease.clone(), Arc::clone(&self.event));
        let thread = thread::Builder::new().name("vfio-watch".into());
        thread.spawn(move || {
            while event.read() == Err(Errno::EINTR) {}
            lease.end();
        })?;
        Ok(())
    }

    /// The regions of the BARs that are there, in order.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn regions(&self) -> io::Result<Vec<Region>> {
        let mut regions = Vec::new();
        for index in 0..BARS {
            let region = self.lease.with(|loan| abi::region(&loan.device, index));
            regions.extend(region.transpose()?.flatten());
        }
        Ok(regions)
    }

    /// The BAR that is this region.
    pub fn bar(&self, region: Region) -> Bar {
        Bar {
            reach: usize::try_from(region.size).unwrap_or(usize::MAX),
            registers: Box::new(RegionRegisters {
                lease: self.lease.clone(),
                region,
            }),
        }
    }

    /// The function's engine is stopped by writing `value` to the register at `offset` in this region.
    pub fn stop_by(&self, region: Region, offset: u32, value: u32) {
        self.lease.stop_by(region.offset + u64::from(offset), value);
    }
}

impl Control for Device {
    fn is_taken_back(&mut self) -> bool {
        self.lease.is_over()
    }

    fn cut_off(&mut self) {
        // A card that is gone masters no bus.
        self.lease.with(|loan| loan.command(BUS_MASTER, false).ok());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.lease.end();
        // Nothing is left for the thread to do; it ends.
        let _ = self.event.write(1);
    }
}

/// Why a device can't be used.
#[derive(Debug)]
pub enum OpenError {
    /// There is no memory for its DMA.
    Memory(io::Error),
    /// A call was refused.
    Refused(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno.into())
    }
}
