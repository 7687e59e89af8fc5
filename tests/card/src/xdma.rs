//! Xilinx XDMA: one C2H AXI4-Stream channel with scatter-gather, as its configuration BAR shows it.
//!
//! Facts from AMD's product guide PG195 (DMA/Bridge Subsystem for PCI Express 4.1). Registers of 32 bits:
//!
//! ```text
//! 0x1000 C2H channel 0     0x00 identifier 0x1FC18006    0x40 status (write 1 clears)   0x88/0x8C poll-mode address
//!                          0x04 control, 0x08 set, 0x0C clear   0x44 status (read clears)   0x90 interrupt mask, 0x94 set, 0x98 clear
//!                          0x48 completed descriptors    0x4C alignments
//! 0x2000 interrupts        0x00 identifier 0x1FC20006, enables and requests
//! 0x3000 configuration     0x00 identifier 0x1FC30006
//! 0x5000 C2H channel 0     0x00 identifier 0x1FC58006    0x80/0x84 first descriptor   0x88 adjacent   0x8C credits
//! 0x6000 all descriptors   0x00 identifier 0x1FC60006    0x10 halt, 0x14 set, 0x18 clear   0x20 credit mode, 0x24 set, 0x28 clear
//! ```
//!
//! The identifier of a channel that is not there may be read (0). Other accesses that a driver of this channel does not need are
//! violations. No interrupt is ever delivered: a driver polls.
//!
//! Chosen here: addresses and lengths need no alignment beyond the 64 bytes of a descriptor's length; when Run is cleared
//! the engine stops at once, unless it hangs.

mod descriptor;
mod engine;
mod registers;
#[cfg(test)]
mod tests;

pub use descriptor::{Descriptor, flag};
pub(crate) use engine::Bus;
pub use engine::{Engine, PacketSource};
pub use registers::{control, offset, status};

/// Size of the configuration BAR in bytes.
pub const BAR_SIZE: u32 = 0x1_0000;
/// Version in the identifiers.
const VERSION: u32 = 0x06;
