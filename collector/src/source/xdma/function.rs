//! What the driver needs of an open card, whoever gives it: VFIO, or the software card in tests.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::source::Failure;
use crate::sysfs::pci::{CHIP_CARD_40M, CHIP_CARD_240M, Id};

pub use crate::source::pcie::registers::{NOBODY, Registers};

/// A BAR of which it is not known yet what it is for.
pub struct Bar {
    /// How many bytes of it can be reached.
    pub reach: usize,
    /// Its registers.
    pub registers: Box<dyn Registers>,
}

/// Memory that the card reads and writes by itself, at a bus address that it is told.
///
/// The card is a second thread without a lock, so its memory is a slice of atomics: a completion is loaded with `Acquire`
/// before the bytes that it speaks of, and a descriptor is stored with `Release` before the one that leads to it. On x86-64
/// that is all that the PCI Express order of posted writes needs; on other processors the device must be coherent in the
/// same domain as the CPUs. Words are little-endian as the device sees them.
pub trait DmaMemory: Send {
    /// The bus address of its first byte, a multiple of 4096.
    fn address(&self) -> u64;

    /// The memory, at least [`super::ring::MEMORY`] bytes.
    fn words(&self) -> &[AtomicU64];
}

/// What can be done to an open card as a whole.
pub trait Control: Send {
    /// Whether the kernel has taken the card back, because it was unplugged or is to get another driver. Its registers then
    /// read as those of a card that is gone.
    fn is_taken_back(&mut self) -> bool;

    /// Keeps the card from reaching memory, whatever its engine does: it masters the bus no more.
    fn cut_off(&mut self);
}

/// An open card, just reset if it can be. Dropping it closes the card, then makes the memory unreachable for it, then gives that back: the order of the
/// fields.
pub struct Function {
    /// The BAR with the generator's registers.
    pub user: Box<dyn Registers>,
    /// The BAR with the DMA engine's registers.
    pub config: Box<dyn Registers>,
    /// What the card can be made to do as a whole.
    pub control: Box<dyn Control>,
    /// Memory of this process that the card can reach.
    pub memory: Box<dyn DmaMemory>,
    /// Which card it is.
    pub model: Model,
    /// Where it is, for people: the address on the PCI bus.
    pub place: String,
}

/// A place where a card is, may be, or may be again.
pub trait Slot: Send {
    /// Opens the card, in whatever state it is. `None`: that is under way, and not done at `deadline`; ask again.
    ///
    /// # Errors
    /// There is no card, or it can't be used; the text says how to mend that.
    fn open(&mut self, deadline: Instant) -> Result<Option<Function>, Failure>;

    /// Closes the card, without waiting for it.
    fn close(&mut self, function: Function);
}

/// The cards that are driven this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Quantis QRNG PCIe 40M.
    Q40M,
    /// Quantis QRNG PCIe 240M.
    Q240M,
}

impl Model {
    /// The model with this id on the PCI bus.
    pub fn from_id(id: Id) -> Option<Self> {
        match id {
            CHIP_CARD_40M => Some(Self::Q40M),
            CHIP_CARD_240M => Some(Self::Q240M),
            _ => None,
        }
    }

    /// Bytes a second in RNG mode, as the vendor names them.
    pub const fn rate(self) -> u32 {
        match self {
            Self::Q40M => 5_000_000,
            Self::Q240M => 30_000_000,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q40M => "Quantis QRNG PCIe 40M",
            Self::Q240M => "Quantis QRNG PCIe 240M",
        }
    }
}
