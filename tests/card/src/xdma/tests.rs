use super::engine::Bus;
use super::*;
use crate::memory::{HostMemory, Pages};
use crate::violations::Violations;
use offset::*;

const BASE: u64 = 0x10_0000;
const RING: u64 = BASE;
const WRITEBACKS: u64 = BASE + 0x1000;
const POLL: u64 = BASE + 0x2000;
const DATA: u64 = BASE + 0x10000;

/// Packets whose bytes are their numbers.
#[derive(Default)]
struct Packets {
    lengths: Vec<usize>,
    sent: usize,
    rest: usize,
}

impl PacketSource for Packets {
    fn packet(&mut self) -> Option<usize> {
        assert_eq!(self.rest, 0, "the packet before was not taken");
        self.rest = *self.lengths.get(self.sent)?;
        self.sent += 1;
        Some(self.rest)
    }

    fn take(&mut self, out: &mut [u8]) {
        out.fill(self.sent as u8);
        self.rest -= out.len();
    }
}

struct Bench {
    engine: Engine,
    memory: Pages,
    packets: Packets,
    violations: Violations,
}

impl Bench {
    fn new(lengths: &[usize]) -> Self {
        let mut bench = Self {
            engine: Engine::default(),
            memory: Pages::new(BASE, 0x40000),
            packets: Packets {
                lengths: lengths.to_vec(),
                ..Default::default()
            },
            violations: Violations::default(),
        };
        bench.set(DESCRIPTOR_LOW, RING as u32);
        bench.set(DESCRIPTOR_HIGH, (RING >> 32) as u32);
        bench.set(POLL_LOW, POLL as u32);
        bench.set(POLL_HIGH, 0);
        bench
    }

    fn set(&mut self, register: u32, value: u32) {
        let place = (1, u64::from(register));
        self.engine
            .write(place, &value.to_le_bytes(), &mut self.violations);
        self.work();
    }

    fn get(&mut self, register: u32) -> u32 {
        let mut data = [0; 4];
        let place = (1, u64::from(register));
        self.engine.read(place, &mut data, &mut self.violations);
        u32::from_le_bytes(data)
    }

    fn work(&mut self) {
        let mut bus = Bus {
            memory: &self.memory,
            violations: &mut self.violations,
        };
        self.engine.run(&mut self.packets, &mut bus);
    }

    /// Writes descriptor `n` of a chain whose descriptors are all adjacent, `count` of them.
    fn descriptor(&self, n: u64, count: u64, change: impl FnOnce(&mut Descriptor)) {
        let mut descriptor = Descriptor {
            flags: flag::COMPLETED,
            next_adjacent: count.saturating_sub(n + 2) as u32,
            length: 4096,
            writeback: WRITEBACKS + 8 * n,
            destination: DATA + 4096 * n,
            next: RING + 32 * (n + 1),
        };
        if n + 1 == count {
            descriptor.flags |= flag::STOP;
            descriptor.next = 0;
        }
        change(&mut descriptor);
        let bytes = descriptor.to_bytes();
        self.memory.write(RING + 32 * n, &bytes).unwrap();
    }

    /// A chain of `count` adjacent descriptors.
    fn chain(&mut self, count: u64) {
        (0..count).for_each(|n| self.descriptor(n, count, |_| {}));
        self.set(DESCRIPTOR_ADJACENT, count as u32 - 1);
    }

    fn word(&self, iova: u64) -> u32 {
        let mut data = [0; 4];
        self.memory.read(iova, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn byte(&self, iova: u64) -> u8 {
        self.word(iova) as u8
    }

    #[track_caller]
    fn violated(&self, text: &str) {
        let texts = self.violations.texts();
        let found = texts.iter().any(|t| t.contains(text));
        assert!(found, "{text:?} expected: {texts:?}");
    }
}

const START: u32 = control::RUN | control::LOG | control::POLL_MODE;

#[test]
fn a_chain_is_filled_told_of_and_stopped_at_its_end() {
    let mut bench = Bench::new(&[4096; 5]);
    bench.chain(4);
    bench.set(CONTROL, START);
    for n in 0..4 {
        assert_eq!(bench.byte(DATA + 4096 * n), n as u8 + 1);
        assert_eq!(bench.byte(DATA + 4096 * n + 4092), n as u8 + 1);
        assert_eq!(bench.word(WRITEBACKS + 8 * n), 0x52B4_0001);
        assert_eq!(bench.word(WRITEBACKS + 8 * n + 4), 4096);
    }
    assert_eq!(bench.word(POLL), 4);
    assert_eq!(bench.get(COMPLETED), 4);
    let done = status::DESCRIPTOR_STOPPED | status::DESCRIPTOR_COMPLETED;
    assert_eq!(bench.get(STATUS), done);
    assert_eq!(bench.get(STATUS_READ_CLEARS), done);
    assert_eq!(bench.get(STATUS), 0);
    bench.set(CONTROL_SET, control::RUN);
    assert_eq!(bench.get(COMPLETED), 4, "Run had no rising edge");
    bench.set(CONTROL_CLEAR, control::RUN);
    bench.set(CONTROL_SET, control::RUN);
    assert_eq!(bench.get(COMPLETED), 1);
    assert_eq!(bench.byte(DATA), 5);
    assert_eq!(
        bench.get(STATUS),
        status::BUSY | status::DESCRIPTOR_COMPLETED
    );
    bench.violations.assert_none();
}

#[test]
fn a_packet_that_is_shorter_or_longer_than_its_descriptor_shows_in_the_writebacks() {
    let mut bench = Bench::new(&[1024, 4096]);
    bench.chain(3);
    bench.descriptor(1, 3, |d| d.length = 2560);
    bench.set(CONTROL, START);
    let told: Vec<_> = (0..3)
        .map(|n| {
            (
                bench.word(WRITEBACKS + 8 * n),
                bench.word(WRITEBACKS + 8 * n + 4),
            )
        })
        .collect();
    let expected = [
        (0x52B4_0001, 1024),
        (0x52B4_0000, 2560),
        (0x52B4_0001, 1536),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        bench.byte(DATA + 1024),
        0,
        "nothing behind the end of the packet"
    );
    bench.violations.assert_none();
}

#[test]
fn what_the_control_register_does_not_ask_for_is_not_written() {
    let mut bench = Bench::new(&[4096]);
    bench.chain(2);
    bench.set(CONTROL, control::RUN | control::NO_STREAM_WRITEBACK);
    assert_eq!(bench.byte(DATA), 1);
    assert_eq!(bench.word(WRITEBACKS), 0);
    assert_eq!(bench.word(POLL), 0);
    assert_eq!(bench.get(STATUS), status::BUSY);
    bench.violations.assert_none();
}

#[test]
fn credits_limit_what_is_fetched_from_a_ring() {
    let mut bench = Bench::new(&[4096; 100]);
    for n in 0..4 {
        bench.descriptor(n, 4, |d| {
            d.flags = flag::COMPLETED;
            d.next_adjacent = if n == 3 { 3 } else { 2 - n.min(2) as u32 };
            d.next = RING + 32 * ((n + 1) % 4);
        });
    }
    bench.set(DESCRIPTOR_ADJACENT, 3);
    bench.set(CREDIT_MODE_SET, 1 << 16);
    bench.set(CONTROL, START);
    assert_eq!(bench.get(COMPLETED), 0);
    for (credits, completed) in [(2, 2), (3, 5), (4, 9)] {
        bench.set(CREDITS, credits);
        assert_eq!(bench.get(COMPLETED), completed);
        assert_eq!(bench.get(CREDITS), 0);
    }
    assert_eq!(bench.byte(DATA), 9, "the ring went round twice");
    assert_eq!(bench.word(POLL), 9);
    bench.set(CONTROL, 0);
    assert_eq!(bench.get(CREDITS), 0);
    bench.violations.assert_none();
}

#[test]
fn a_fetched_descriptor_is_used_as_it_was() {
    let mut bench = Bench::new(&[]);
    bench.chain(2);
    bench.set(CONTROL, START);
    bench.descriptor(0, 2, |d| d.destination = DATA + 0x8000);
    bench.packets.lengths = vec![4096];
    bench.work();
    assert_eq!((bench.byte(DATA), bench.byte(DATA + 0x8000)), (1, 0));
}

#[test]
fn an_engine_that_hangs_is_busy_until_it_has_completed_its_descriptor() {
    let mut bench = Bench::new(&[4096; 2]);
    bench.chain(2);
    bench.engine.hangs = true;
    bench.set(CONTROL, START);
    bench.set(CONTROL, START & !control::RUN);
    assert_eq!(bench.get(STATUS), status::BUSY);
    bench.engine.hangs = false;
    bench.work();
    assert_eq!(bench.get(COMPLETED), 1);
    assert_eq!(
        bench.get(STATUS) & (status::BUSY | status::IDLE_STOPPED),
        status::IDLE_STOPPED
    );
    assert_eq!(bench.byte(DATA), 1);
}

#[test]
fn halt_keeps_it_from_fetching() {
    let mut bench = Bench::new(&[4096; 2]);
    bench.chain(2);
    bench.set(HALT_SET, 1 << 16);
    bench.set(CONTROL, START);
    assert_eq!((bench.get(HALT), bench.get(COMPLETED)), (1 << 16, 0));
    bench.set(HALT_CLEAR, 1 << 16);
    assert_eq!(bench.get(COMPLETED), 2);
}

#[test]
fn wrong_descriptors_are_violations() {
    type Change = fn(&mut Descriptor);
    let changes: [(Change, &str); 8] = [
        (|d| d.length = 0, "multiple of 64"),
        (|d| d.length = 100, "multiple of 64"),
        (|d| d.length = 1 << 28, "below 2^28"),
        (|d| d.flags |= 1 << 2, "reserved bits"),
        (|d| d.flags |= flag::STOP, "not the last of its block"),
        (|d| d.next = RING + 64, "not adjacent"),
        (|d| d.destination = 0, "write of data: 4096 bytes at 0x0"),
        (|d| d.writeback = 0, "write of writeback: 8 bytes at 0x0"),
    ];
    for (change, text) in changes {
        let mut bench = Bench::new(&[4096; 2]);
        bench.chain(2);
        bench.descriptor(0, 2, change);
        bench.set(CONTROL, START);
        bench.violated(text);
    }
}

#[test]
fn descriptors_that_cannot_be_fetched_stop_the_engine_and_are_violations() {
    let mut bench = Bench::new(&[4096; 2]);
    bench.set(CONTROL, START);
    bench.violated("without magic number");
    assert_eq!(bench.get(STATUS), status::MAGIC_STOPPED);

    let mut bench = Bench::new(&[4096; 2]);
    bench.set(DESCRIPTOR_LOW, 0);
    bench.set(CONTROL, START);
    bench.violated("descriptor fetch: 32 bytes at 0x0");
    assert_eq!(bench.get(STATUS), status::UNSUPPORTED_REQUEST);

    let mut bench = Bench::new(&[4096; 2]);
    bench.chain(1);
    bench.set(DESCRIPTOR_LOW, RING as u32 + 16);
    bench.set(CONTROL, START);
    bench.violated("not a multiple of 32");

    let mut bench = Bench::new(&[4096; 2]);
    bench.set(DESCRIPTOR_LOW, RING as u32 + 4096 - 32);
    bench.set(DESCRIPTOR_ADJACENT, 1);
    bench.set(CONTROL, START);
    bench.violated("cross a multiple of 4096");
}

#[test]
fn wrong_registers_and_values_are_violations() {
    for (register, value, text) in [
        (0x1010, 0, "nothing to write"),
        (C2H_IDENTIFIER, 0, "nothing to write"),
        (COMPLETED, 0, "nothing to write"),
        (0x0004, 1, "nothing to write"),
        (CONTROL, 1 << 28, "reserved bits"),
        (CONTROL_SET, 1 << 14, "reserved bits"),
        (DESCRIPTOR_ADJACENT, 64, "more than 63"),
        (CREDITS, 1, "without credit mode"),
        (HALT, 1, "not there"),
        (CREDIT_MODE, 1 << 17, "not there"),
        (0x1002, 0, "not aligned"),
        (0x1_0000, 0, "beyond"),
    ] {
        let mut bench = Bench::new(&[]);
        bench.set(register, value);
        bench.violated(text);
    }
    for register in [0x0084, 0x1010, 0x10C0, CONTROL_SET, 0x1104, 0x7000] {
        let mut bench = Bench::new(&[]);
        assert_eq!(bench.get(register), 0);
        bench.violated(if register == CONTROL_SET {
            ""
        } else {
            "nothing to read"
        });
        assert_eq!(bench.violations.count(), 1);
    }
    let mut bench = Bench::new(&[]);
    bench.chain(2);
    bench.set(CONTROL, START);
    bench.set(POLL_LOW, 0);
    bench.violated("while the engine runs");
    bench.set(CREDIT_MODE, 1 << 16);
    bench.set(CREDITS, 1023);
    bench.set(CREDITS, 1);
    bench.violated("more than 1023 credits");
}

#[test]
fn the_identifiers_are_those_of_one_c2h_stream() {
    let mut bench = Bench::new(&[]);
    for (register, value) in [
        (C2H_IDENTIFIER, 0x1FC1_8006),
        (IRQ_IDENTIFIER, 0x1FC2_0006),
        (CONFIG_IDENTIFIER, 0x1FC3_0006),
        (SGDMA_IDENTIFIER, 0x1FC5_8006),
        (COMMON_IDENTIFIER, 0x1FC6_0006),
        (0x0000, 0),
        (0x0300, 0),
        (0x1100, 0),
        (0x4000, 0),
        (0x5300, 0),
        (ALIGNMENTS, 0x0001_0140),
    ] {
        assert_eq!(bench.get(register), value, "{register:#x}");
    }
    bench.violations.assert_none();
}

#[test]
fn interrupts_show_as_pending_where_they_are_not_masked() {
    let mut bench = Bench::new(&[4096]);
    bench.chain(1);
    bench.set(CONTROL, START);
    assert_eq!(bench.get(CHANNEL_PENDING), 0);
    bench.set(INTERRUPT_MASK_SET, status::DESCRIPTOR_COMPLETED);
    assert_eq!(
        (bench.get(CHANNEL_PENDING), bench.get(CHANNEL_REQUEST)),
        (1, 0)
    );
    bench.set(CHANNEL_ENABLE_SET, 1);
    assert_eq!(bench.get(CHANNEL_REQUEST), 1);
    bench.set(STATUS, status::DESCRIPTOR_COMPLETED);
    assert_eq!(bench.get(CHANNEL_REQUEST), 0);
}
