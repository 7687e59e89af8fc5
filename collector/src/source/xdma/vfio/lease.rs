//! What the kernel has lent this process, and how it gets it back.
//!
//! When a card is unplugged or is to get another driver, the kernel tells so and then waits until its file is closed, however
//! long that takes. The driver may be busy then, or not be read for hours. So all that keeps the file open is in one place,
//! from which any thread can take it; registers then read as those of a card that is gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::abi::{self, Region};

/// The command register of the configuration space.
const COMMAND: u64 = 0x04;
/// Command: the function answers at its memory BARs.
pub const MEMORY_SPACE: u16 = 1 << 1;
/// Command: the function may reach memory by itself.
pub const BUS_MASTER: u16 = 1 << 2;

/// An open device, its group and its container. Dropping it stops the device's engine, then keeps it from the bus, then unmaps
/// the memory, then closes all three.
pub struct Loan {
    /// The device's file.
    pub device: File,
    /// Its configuration space.
    pub config: Region,
    /// Its group, without which the container would forget what is mapped.
    pub _group: File,
    /// The address space of its DMA.
    pub container: File,
    /// What is mapped in that: address and size in bytes.
    pub mapped: (u64, u64),
    /// What stops its engine, once that is known: where in its file to write what.
    pub stop: Option<(u64, u32)>,
}

impl Loan {
    /// Sets or clears bits of the command register.
    ///
    /// # Errors
    /// The function does not answer.
    pub fn command(&self, bits: u16, set: bool) -> io::Result<()> {
        let at = self.config.offset + COMMAND;
        let mut bytes = [0; 2];
        self.device.read_exact_at(&mut bytes, at)?;
        let word = u16::from_le_bytes(bytes);
        let word = if set { word | bits } else { word & !bits };
        self.device.write_all_at(&word.to_le_bytes(), at)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // A card that is gone does not answer, and does nothing either.
        if let Some((at, value)) = self.stop {
            let _ = self.device.write_all_at(&value.to_le_bytes(), at);
        }
        let _ = self.command(BUS_MASTER, false);
        let (iova, size) = self.mapped;
        if let Err(error) = abi::unmap_dma(&self.container, iova, size) {
            // The kernel keeps the pages for the card until the container is closed, so nobody else gets them meanwhile.
            log::warn!("the IOMMU does not unmap the card's memory: {error}");
        }
    }
}

/// A loan that can be ended by whoever has this.
#[derive(Clone)]
pub struct Lease(Arc<Mutex<Option<Loan>>>);

impl Lease {
    /// Of this loan.
    pub fn new(loan: Loan) -> Self {
        Self(Arc::new(Mutex::new(Some(loan))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Loan>> {
        // A panic elsewhere cannot leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the loan; none if it has ended. It does not end meanwhile.
    pub fn with<T>(&self, use_it: impl FnOnce(&Loan) -> T) -> Option<T> {
        self.lock().as_ref().map(use_it)
    }

    /// Before it ends, `value` is to be written at `at` in the device's file.
    pub fn stop_by(&self, at: u64, value: u32) {
        if let Some(loan) = &mut *self.lock() {
            loan.stop = Some((at, value));
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    /// Ends it. When this returns, the device does not reach this process's memory.
    pub fn end(&self) {
        // The lock is held while it ends: who finds it over may rely on it.
        *self.lock() = None;
    }
}
