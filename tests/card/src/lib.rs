//! The software card: strict models of Quantis devices that stand in for the real ones in tests.
//!
//! ```text
//! stream (numbered bytes) ─ pace (bytes a second) ─┬─ module   PCI 179A:0001, registers and a FIFO
//!                                                  ├─ chip     PCI 1E89:0002 and 0003, registers and DMA by xdma
//!                                                  ├─ usb      USB 0ABA:0102, requests and a bulk endpoint
//!                                                  ├─ appliance   answers to HTTP requests
//!                                                  └─ faults on command, ledger of every byte, violations
//! ```
//!
//! The models know no clock and no socket: they are told the time ([`Device::advance`]) and asked. [`Shared`] puts a clock to a
//! model and lets several threads use it.
//!
//! They are written from the hardware reference alone and are *strict*: what a host does that the reference does not allow is
//! answered somehow, and recorded ([`Device::violations`]), so that the test fails. Where the reference leaves something open,
//! the model's documentation says what was chosen; a driver must not depend on it.

use std::time::Duration;

pub mod appliance;
pub mod certificates;
pub mod chip;
pub mod control;
pub mod fault;
pub mod https;
pub mod ledger;
pub mod memory;
pub mod module;
pub mod pace;
pub mod pci;
pub mod shared;
pub mod stream;
mod supply;
pub mod usb;
pub mod usbip;
pub mod vfio;
pub mod violations;
pub mod xdma;

pub use fault::{Fault, FaultError};
pub use ledger::Ledger;
pub use pace::{Full, Rate};
pub use pci::PciCard;
pub use shared::Shared;
pub use stream::Stream;
pub use violations::Violations;

/// What every model can do.
pub trait Device: Send {
    /// Lets time pass: `now` is the time since the model was made. A time before the last one counts as the same.
    fn advance(&mut self, now: Duration);

    /// Makes something go wrong.
    ///
    /// # Errors
    /// This device can't have the fault.
    fn inject(&mut self, fault: Fault) -> Result<(), FaultError>;

    /// Ends all faults. A device that was gone is plugged in anew: as after power-on.
    fn clear(&mut self);

    /// The stream that its bytes come from.
    fn stream(&self) -> &Stream;

    /// Where each byte went.
    fn ledger(&self) -> &Ledger;

    /// What the host did that is not allowed.
    fn violations(&self) -> &Violations;

    /// One line about its present state, for people.
    fn state(&self) -> String;
}
