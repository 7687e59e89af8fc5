//! The engine: fetches descriptors, fills their buffers, and tells the host.

use std::collections::VecDeque;

use super::descriptor::{BLOCK_BOUNDARY, Descriptor, SIZE, flag};
use super::registers::{control, status};
use crate::memory::HostMemory;
use crate::violations::Violations;

const WRITEBACK_MAGIC: u32 = 0x52B4_0000;
const END_OF_PACKET: u32 = 1;
/// Packets moved in one go, so that a ring without credits does not go round for ever.
const AT_ONCE: usize = 512;

/// Where the stream comes from: packets, each ended by EOP.
pub trait PacketSource {
    /// Bytes of the next packet, if a whole one is there.
    fn packet(&mut self) -> Option<usize>;

    /// Takes the next bytes of it, `out.len()` of them.
    fn take(&mut self, out: &mut [u8]);
}

/// The state of the channel. Registers are fields; see [`super::offset`] for their places.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) control: u32,
    pub(super) status: u32,
    pub(super) completed: u32,
    pub(super) poll_address: u64,
    pub(super) interrupt_mask: u32,
    pub(super) first: u64,
    pub(super) first_adjacent: u32,
    pub(super) credits: u32,
    pub(super) halted: bool,
    pub(super) credit_mode: bool,
    pub(super) interrupts: u32,
    /// It does nothing, and does not even stop.
    pub(crate) hangs: bool,
    busy: bool,
    /// Run was cleared while it hung: it completes its descriptor, then stops.
    stopping: bool,
    /// Fetched, and not yet filled.
    fetched: VecDeque<Descriptor>,
    next: u64,
    /// Descriptors of the present block that were not fetched yet.
    block_rest: u32,
    end_of_list: bool,
    /// Bytes of the present packet that did not fit the descriptors before.
    packet_rest: usize,
}

/// An access of memory for the engine.
pub(crate) struct Bus<'a> {
    pub(crate) memory: &'a dyn HostMemory,
    pub(crate) violations: &'a mut Violations,
}

impl Engine {
    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    pub(super) fn running(&self) -> bool {
        self.control & control::RUN != 0
    }

    /// Writes the control register.
    pub(super) fn set_control(&mut self, value: u32) {
        let (ran, run) = (self.running(), value & control::RUN != 0);
        self.control = value;
        match (ran, run) {
            (false, true) => self.start(),
            (true, false) if self.busy && self.hangs => self.stopping = true,
            (true, false) => self.stop(),
            _ => {}
        }
    }

    fn start(&mut self) {
        self.status = 0;
        self.completed = 0;
        self.fetched.clear();
        self.next = self.first;
        self.block_rest = self.first_adjacent + 1;
        self.end_of_list = false;
        self.stopping = false;
        self.busy = true;
    }

    fn stop(&mut self) {
        if self.busy {
            self.log(status::IDLE_STOPPED);
        }
        self.busy = false;
        self.stopping = false;
        self.fetched.clear();
        self.credits = 0;
    }

    /// Sets a bit of the status, if the control register enables it.
    fn log(&mut self, bits: u32) {
        self.status |= bits & self.control;
    }

    /// Does what can be done now.
    pub(crate) fn run(&mut self, source: &mut dyn PacketSource, bus: &mut Bus) {
        for _ in 0..AT_ONCE {
            if !self.busy || self.hangs {
                return;
            }
            self.fetch(bus);
            if !self.fill_one(source, bus) {
                return;
            }
            if self.stopping {
                self.stop();
            }
        }
    }

    /// Fetches descriptors if there are none, as far as the block and the credits reach. From then on the engine does not see
    /// what the host changes in them.
    fn fetch(&mut self, bus: &mut Bus) {
        while self.busy && self.fetched.is_empty() && !self.end_of_list && !self.halted {
            let count = match self.credit_mode {
                true => self.block_rest.min(self.credits),
                false => self.block_rest,
            };
            if count == 0 {
                return;
            }
            self.check_block(bus.violations);
            for _ in 0..count {
                match self.fetch_one(bus) {
                    Some(descriptor) => self.queue(descriptor, bus.violations),
                    None => return self.busy = false,
                }
                if self.end_of_list {
                    break;
                }
            }
        }
    }

    fn check_block(&self, violations: &mut Violations) {
        let start = self.next;
        if !start.is_multiple_of(SIZE) {
            violations.add(format!("descriptor at {start:#x}: not a multiple of 32"));
        }
        if start % BLOCK_BOUNDARY + u64::from(self.block_rest) * SIZE > BLOCK_BOUNDARY {
            violations.add(format!(
                "{} adjacent descriptors at {start:#x} cross a multiple of 4096",
                self.block_rest
            ));
        }
    }

    fn fetch_one(&mut self, bus: &mut Bus) -> Option<Descriptor> {
        let mut bytes = [0; SIZE as usize];
        if let Err(error) = bus.memory.read(self.next, &mut bytes) {
            bus.violations.add(format!("descriptor fetch: {error}"));
            self.log(status::UNSUPPORTED_REQUEST);
            return None;
        }
        let descriptor = Descriptor::parse(&bytes, &mut |text| bus.violations.add(text));
        if descriptor.is_none() {
            self.log(status::MAGIC_STOPPED);
        }
        descriptor
    }

    /// Takes a fetched descriptor, and finds where the next one is.
    fn queue(&mut self, descriptor: Descriptor, violations: &mut Violations) {
        let adjacent = self.next.wrapping_add(SIZE);
        self.block_rest -= 1;
        self.credits = self.credits.saturating_sub(u32::from(self.credit_mode));
        self.end_of_list = descriptor.flags & flag::STOP != 0;
        if self.block_rest > 0 {
            if self.end_of_list {
                violations.add("stop on a descriptor that is not the last of its block");
            } else if descriptor.next != adjacent {
                violations.add("a descriptor's next one is not adjacent, as the block says");
            }
            self.next = adjacent;
        } else {
            self.next = descriptor.next;
            self.block_rest = descriptor.next_adjacent + 1;
        }
        self.fetched.push_back(descriptor);
    }

    /// Fills one descriptor; says whether there was one, and something to fill it with.
    fn fill_one(&mut self, source: &mut dyn PacketSource, bus: &mut Bus) -> bool {
        let Some(descriptor) = self.fetched.front().copied() else {
            return false;
        };
        if self.packet_rest == 0 {
            match source.packet() {
                Some(length) => self.packet_rest = length,
                None => return false,
            }
        }
        let mut data = vec![0; self.packet_rest.min(descriptor.length as usize)];
        source.take(&mut data);
        self.fetched.pop_front();
        self.packet_rest -= data.len();
        bus.write("data", descriptor.destination, &data);
        self.complete(descriptor, data.len() as u32, bus);
        true
    }

    /// Tells the host: data is written before this, the writeback before the count.
    fn complete(&mut self, descriptor: Descriptor, length: u32, bus: &mut Bus) {
        if self.control & control::NO_STREAM_WRITEBACK == 0 {
            let end = if self.packet_rest == 0 {
                END_OF_PACKET
            } else {
                0
            };
            let mut writeback = [0; 8];
            writeback[..4].copy_from_slice(&(WRITEBACK_MAGIC | end).to_le_bytes());
            writeback[4..].copy_from_slice(&length.to_le_bytes());
            bus.write("writeback", descriptor.writeback, &writeback);
        }
        self.completed = self.completed.wrapping_add(1);
        if descriptor.flags & flag::COMPLETED != 0 {
            self.log(status::DESCRIPTOR_COMPLETED);
            if self.control & control::POLL_MODE != 0 {
                let error = if self.status & status::ERRORS != 0 {
                    1 << 31
                } else {
                    0
                };
                let count = error | self.completed & 0x00FF_FFFF;
                bus.write("completed count", self.poll_address, &count.to_le_bytes());
            }
        }
        if descriptor.flags & flag::STOP != 0 {
            self.log(status::DESCRIPTOR_STOPPED);
            self.busy = false;
        }
    }

    /// The stream has ended in the middle of a packet, perhaps.
    pub(crate) fn drop_packet(&mut self) {
        self.packet_rest = 0;
    }

    /// The host sees all registers as after power-on.
    pub(crate) fn power_on(&mut self) {
        let hangs = self.hangs;
        *self = Self::default();
        self.hangs = hangs;
    }
}

impl Bus<'_> {
    fn write(&mut self, what: &str, iova: u64, data: &[u8]) {
        if let Err(error) = self.memory.write(iova, data) {
            self.violations.add(format!("DMA write of {what}: {error}"));
        }
    }
}
