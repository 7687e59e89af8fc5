//! Registers of the DMA engine: card-to-host channel 0 of the Xilinx XDMA, in the config BAR (product guide PG195,
//! "Register Space").
//!
//! ```text
//!  0x1000  channel: identifier, control, status, poll-mode writeback address, interrupt mask
//!  0x2000  interrupt block, whose identifier tells the config BAR
//!  0x3000  config block, likewise
//!  0x5000  scatter-gather: address of the first descriptor
//! ```
//!
//! No interrupt is used. The card makes thousands of buffers a second at a known rate, so a timer finds many of them
//! complete at once, from memory and without a system call; an interrupt for each would cost more than it saves, and an
//! interrupt less is a path less that can fail.

use super::chip::gone;
use super::function::{Bar, NOBODY, Registers};
use crate::source::{Failure, Fault};

/// Offsets of the registers, each 32 bits, little-endian.
pub mod register {
    /// What the channel is.
    pub const IDENTIFIER: u32 = 0x1000;
    /// Run, what is logged in the status, and where completions are told.
    pub const CONTROL: u32 = 0x1004;
    /// Writing ones here clears bits of the control.
    pub const CONTROL_CLEAR: u32 = 0x100C;
    /// Busy, and what has happened since the start.
    pub const STATUS: u32 = 0x1040;
    /// Where the count of completed descriptors is written, low half.
    pub const COUNT_LOW: u32 = 0x1088;
    /// The high half.
    pub const COUNT_HIGH: u32 = 0x108C;
    /// Which events make an interrupt.
    pub const INTERRUPTS: u32 = 0x1090;
    /// Identifier of the interrupt block.
    pub const INTERRUPT_BLOCK: u32 = 0x2000;
    /// Identifier of the config block.
    pub const CONFIG_BLOCK: u32 = 0x3000;
    /// Bus address of the first descriptor, low half.
    pub const FIRST_LOW: u32 = 0x5080;
    /// The high half.
    pub const FIRST_HIGH: u32 = 0x5084;
    /// How many descriptors follow the first one directly in memory and may be fetched with it.
    pub const FIRST_ADJACENT: u32 = 0x5088;
}

/// How much of the config BAR is used.
pub const REACH: usize = 0x6000;

/// Upper half of the identifier of a card-to-host channel.
const CHANNEL_ID: u32 = 0x1FC1;
/// Bit of that identifier: the channel is a stream, not a memory.
const STREAM: u32 = 1 << 15;
/// Upper half of the identifier of the interrupt block.
const INTERRUPT_ID: u32 = 0x1FC2;
/// Upper half of the identifier of the config block.
const CONFIG_ID: u32 = 0x1FC3;

/// Bits of [`register::CONTROL`]. Those of events let the status log them, and let errors stop the engine.
mod control {
    pub const RUN: u32 = 1;
    pub const STOPPED: u32 = 1 << 1;
    /// Also a condition of the poll-mode writeback.
    pub const COMPLETED: u32 = 1 << 2;
    pub const POLL_MODE: u32 = 1 << 26;
}

/// Bits of [`register::STATUS`].
mod status {
    pub const BUSY: u32 = 1;
    pub const ALIGN_MISMATCH: u32 = 1 << 3;
    pub const MAGIC_STOPPED: u32 = 1 << 4;
    pub const INVALID_LENGTH: u32 = 1 << 5;
    pub const READ_ERROR: u32 = 0x1f << 9;
    pub const DESCRIPTOR_ERROR: u32 = 0x1f << 19;
    pub const ERRORS: u32 =
        ALIGN_MISMATCH | MAGIC_STOPPED | INVALID_LENGTH | READ_ERROR | DESCRIPTOR_ERROR;
}

/// What the engine is told at its start. The bits of errors are the same as in the status.
const START: u32 =
    control::RUN | control::STOPPED | control::COMPLETED | control::POLL_MODE | status::ERRORS;

/// The register that stops the engine, and what is written there.
pub const STOP: (u32, u32) = (register::CONTROL_CLEAR, control::RUN);

/// The numbers of the user BAR and of the config BAR behind it, among `bars`, the BARs that the card has, in order.
///
/// They are looked at from the last to the first, because the config BAR is behind the user BAR, whose registers
/// [`register::INTERRUPT_BLOCK`] and [`register::CONFIG_BLOCK`] would not be.
///
/// # Errors
/// There is none, or it is the first, or the card is gone.
pub fn find(bars: &mut [Bar]) -> Result<(usize, usize), Failure> {
    let mut ones = false;
    for (index, bar) in bars.iter_mut().enumerate().rev() {
        if bar.reach < REACH {
            continue;
        }
        let mut read = |offset| bar.registers.read(offset);
        let interrupt = read(register::INTERRUPT_BLOCK);
        ones |= interrupt == NOBODY;
        if interrupt >> 16 != INTERRUPT_ID || read(register::CONFIG_BLOCK) >> 16 != CONFIG_ID {
            continue;
        }
        return match index.checked_sub(1) {
            Some(user) => Ok((user, index)),
            None => Err(strange("there is no BAR before that of its DMA engine")),
        };
    }
    Err(if ones {
        gone()
    } else {
        strange("no BAR of it has the identifiers of an XDMA engine")
    })
}

fn strange(what: &str) -> Failure {
    Failure::new(
        Fault::Unavailable,
        format!(
            "the card is not built as Quantis 40M and 240M cards are: {what}; \
             use the vendor's driver and kind = \"node\""
        ),
    )
}

/// The channel, over the registers of the config BAR.
pub struct Channel<'r>(pub &'r mut dyn Registers);

impl Channel<'_> {
    /// Refuses what is no card-to-host stream.
    ///
    /// # Errors
    /// The card is gone or has no such channel.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.0.read(register::IDENTIFIER) {
            NOBODY => Err(gone()),
            id if id >> 16 == CHANNEL_ID && id & STREAM != 0 => Ok(()),
            id => Err(strange(&format!(
                "card-to-host channel 0 is none for streams: {id:#010x}"
            ))),
        }
    }

    /// Starts the engine, which must be idle, at the descriptor at the bus address `first`; it counts completed descriptors
    /// at `count`, from 0.
    ///
    /// What the engine is to find in memory must have been stored before; the registers are written in order after it.
    pub fn start(&mut self, first: u64, count: u64) {
        let [count_low, count_high] = halves(count);
        let [first_low, first_high] = halves(first);
        let mut write = |offset, value| self.0.write(offset, value);
        // Run must rise for the status and the count to begin anew.
        write(register::CONTROL, 0);
        write(register::INTERRUPTS, 0);
        write(register::COUNT_LOW, count_low);
        write(register::COUNT_HIGH, count_high);
        write(register::FIRST_LOW, first_low);
        write(register::FIRST_HIGH, first_high);
        // None: each descriptor is fetched by itself, after the one that leads to it (see `ring`).
        write(register::FIRST_ADJACENT, 0);
        write(register::CONTROL, START);
    }

    /// Asks the engine to stop. It ends the descriptor under way first, so it may stay busy as long as no data comes.
    pub fn stop(&mut self) {
        let (register, value) = STOP;
        self.0.write(register, value);
    }

    /// Whether the engine does nothing, whatever errors it met.
    ///
    /// # Errors
    /// The card is gone.
    pub fn idle(&mut self) -> Result<bool, Failure> {
        match self.0.read(register::STATUS) {
            NOBODY => Err(gone()),
            word => Ok(word & status::BUSY == 0),
        }
    }

    /// Whether the engine is at work, or waits for data. What it wrote to memory before is visible after this, because the
    /// answer to a read pushes earlier writes before it.
    ///
    /// # Errors
    /// The card is gone, or the engine has met an error.
    pub fn busy(&mut self) -> Result<bool, Failure> {
        let word = self.0.read(register::STATUS);
        if word == NOBODY {
            return Err(gone());
        }
        if word & status::ERRORS == 0 {
            return Ok(word & status::BUSY != 0);
        }
        let names = [
            (status::ALIGN_MISMATCH, "addresses are not aligned"),
            (status::MAGIC_STOPPED, "a descriptor has no magic number"),
            (status::INVALID_LENGTH, "a descriptor has a wrong length"),
            (
                status::READ_ERROR,
                "the stream of the generator had an error",
            ),
            (
                status::DESCRIPTOR_ERROR,
                "a descriptor could not be fetched",
            ),
        ];
        let told = names.iter().filter(|(bit, _)| word & bit != 0);
        let told: Vec<_> = told.map(|(_, name)| *name).collect();
        Err(Failure::new(
            Fault::Io,
            format!(
                "the DMA engine has stopped (status {word:#010x}): {}; `dmesg` may tell of faults of the IOMMU",
                told.join(", ")
            ),
        ))
    }
}

fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Registers that hold what is put there; the rest is 0.
    struct Fixed(BTreeMap<u32, u32>);
    impl Registers for Fixed {
        fn read(&mut self, offset: u32) -> u32 {
            self.0.get(&offset).copied().unwrap_or(0)
        }
        fn write(&mut self, _: u32, _: u32) {}
    }

    fn bar(reach: usize, registers: &[(u32, u32)]) -> Bar {
        let registers = Box::new(Fixed(registers.iter().copied().collect()));
        Bar { reach, registers }
    }

    const CONFIG: [(u32, u32); 2] = [(0x2000, 0x1FC2_0006), (0x3000, 0x1FC3_0006)];

    #[test]
    fn the_user_bar_is_the_one_before_the_config_bar() {
        let mut bars = [
            bar(0x10000, &[]),
            bar(0x1000, &[]),
            bar(0x10000, &CONFIG),
            bar(0x100, &[]),
        ];
        assert_eq!(find(&mut bars).unwrap(), (1, 2));
    }

    #[test]
    fn what_is_no_card_of_this_kind_is_told() {
        let fault = |bars: &mut [Bar]| find(bars).unwrap_err().fault;
        assert_eq!(fault(&mut [bar(0x10000, &CONFIG)]), Fault::Unavailable);
        let half = [CONFIG[0], (0x3000, 0x1FC2_0000)];
        let mut bars = [bar(0x10000, &[]), bar(0x10000, &half)];
        assert_eq!(fault(&mut bars), Fault::Unavailable);
        let ones = [(0x2000, NOBODY), (0x3000, NOBODY)];
        assert_eq!(fault(&mut [bar(0x10000, &ones)]), Fault::Gone);
        let memory = (register::IDENTIFIER, 0x1FC1_0006);
        assert!(
            Channel(&mut *bar(0x10000, &[memory]).registers)
                .check()
                .is_err()
        );
        let stream = (register::IDENTIFIER, 0x1FC1_8006);
        assert!(
            Channel(&mut *bar(0x10000, &[stream]).registers)
                .check()
                .is_ok()
        );
    }

    #[test]
    fn errors_of_the_engine_are_told_by_name() {
        let status =
            |word| Channel(&mut *bar(0x10000, &[(register::STATUS, word)]).registers).busy();
        assert_eq!(status(1), Ok(true));
        // Stopped at the end of the list, which is no error.
        assert_eq!(status(0b110), Ok(false));
        let told = status(1 << 4 | 1 << 19).unwrap_err();
        assert_eq!(told.fault, Fault::Io);
        assert!(told.text.contains("magic number"), "{told}");
        assert!(told.text.contains("could not be fetched"), "{told}");
        assert_eq!(status(NOBODY).unwrap_err().fault, Fault::Gone);
    }
}
