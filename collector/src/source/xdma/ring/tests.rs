use super::*;

const ADDRESS: u64 = 0x12_3456_7000;

struct Memory(Vec<AtomicU64>);

impl Memory {
    fn new() -> Self {
        Self((0..MEMORY / WORD).map(|_| AtomicU64::new(!0)).collect())
    }

    fn load(&self, offset: usize) -> u64 {
        u64::from_le(self.0[offset / WORD].load(Relaxed))
    }

    fn control(&self, place: usize) -> u32 {
        self.load(DESCRIPTORS_AT + place * ENTRY) as u32
    }

    /// The places whose descriptors stop the engine.
    fn stops(&self) -> Vec<usize> {
        (0..BUFFERS)
            .filter(|place| self.control(*place) & STOP != 0)
            .collect()
    }

    /// As the engine: fills the buffer number `number` with `length` bytes of its number, and counts `count`.
    fn complete(&self, number: u64, length: usize, count: u32) {
        let place = place(number);
        for word in 0..length.div_ceil(WORD) {
            store(self, buffer(place).start + word * WORD, number);
        }
        let result = u64::from(RESULT_MAGIC) << 16 | 1 | (length as u64) << 32;
        store(self, RESULTS_AT + place * ENTRY, result);
        store(self, COUNT_AT, count.into());
    }
}

impl DmaMemory for Memory {
    fn address(&self) -> u64 {
        ADDRESS
    }

    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

#[test]
fn descriptors_are_laid_out_as_the_engine_reads_them() {
    let memory = Memory::new();
    let mut ring = Ring::new(&memory);
    for place in 0..BUFFERS {
        let field = |index: usize| memory.load(place * 32 + index * 8);
        let stop = u64::from(place == 255);
        assert_eq!(field(0), 0x1000_AD4B_0002 | stop, "{place}");
        assert_eq!(field(1), ADDRESS + 0x2000 + place as u64 * 32);
        assert_eq!(field(2), ADDRESS + 0x5000 + place as u64 * 4096);
        assert_eq!(field(3), ADDRESS + (place as u64 + 1) % 256 * 32);
    }
    assert_eq!(ring.restart(&memory), (ADDRESS, ADDRESS + 0x4000));
    // No byte of before is left.
    assert!(
        memory.0[RESULTS_AT / WORD..COUNT_AT / WORD]
            .iter()
            .step_by(4)
            .all(|w| w.load(Relaxed) == 0)
    );
    assert!(
        memory.0[BUFFERS_AT / WORD..]
            .iter()
            .all(|w| w.load(Relaxed) == 0)
    );
}

#[test]
fn the_stop_bit_is_always_on_the_last_of_the_engines_buffers_and_nowhere_else() {
    let memory = Memory::new();
    let mut ring = Ring::new(&memory);
    assert_eq!(memory.stops(), [255]);
    let mut number = 0;
    let mut take = |ring: &mut Ring, buffers: u64| {
        for _ in 0..buffers {
            memory.complete(number, BUFFER, number as u32 + 1);
            number += 1;
        }
        assert_eq!(ring.advance(&memory).unwrap() as u64, buffers);
        ring.discard(&memory, u64::MAX);
    };
    take(&mut ring, 10);
    ring.grant(&memory, 16);
    assert_eq!(memory.stops(), [255], "too few to be granted");
    take(&mut ring, 6);
    ring.grant(&memory, 16);
    assert_eq!(memory.stops(), [15]);
    // The whole ring at once: the last one is the same place.
    take(&mut ring, 256);
    assert!(!ring.engine_has_room());
    ring.grant(&memory, 16);
    assert_eq!(memory.stops(), [15]);
    assert!(ring.engine_has_room());
    ring.grant(&memory, 16);
    assert_eq!(memory.stops(), [15], "nothing to grant");
}

#[test]
fn a_buffer_is_complete_when_it_is_counted_and_its_length_is_there() {
    let memory = Memory::new();
    let mut ring = Ring::new(&memory);
    // Its length is there, and the count is on its way.
    memory.complete(0, 64, 0);
    assert_eq!(ring.advance(&memory), Ok(0));
    store(&memory, COUNT_AT, 2);
    assert_eq!(ring.advance(&memory), Ok(1));
    // The second one is counted, and its length is on its way.
    assert_eq!((ring.available(), ring.settled(&memory)), (64, Ok(false)));
    memory.complete(1, 4096, 2);
    assert_eq!(ring.advance(&memory), Ok(1));
    assert_eq!((ring.available(), ring.settled(&memory)), (4160, Ok(true)));
    assert!(!ring.error_told(&memory));
    store(&memory, COUNT_AT, 2 | 1 << 31);
    assert_eq!(ring.advance(&memory), Ok(0));
    assert!(ring.error_told(&memory));
}

#[test]
fn the_count_goes_round_and_begins_anew() {
    let memory = Memory::new();
    let mut ring = Ring::new(&memory);
    // As if so many had been completed since the start.
    let many = 0x00ff_ffff;
    (ring.taken, ring.completed, ring.granted) = (many, many, many + 256);
    memory.complete(many, 4096, 0);
    memory.complete(many + 1, 4096, 1);
    assert_eq!(ring.advance(&memory), Ok(2));
    assert_eq!(ring.take(&memory, &mut vec![0; 2 * BUFFER]), 2 * BUFFER);
    let (first, _) = ring.restart(&memory);
    assert_eq!(first, ADDRESS + 32);
    assert_eq!(ring.advance(&memory), Ok(0));
    memory.complete(many + 2, 4096, 1);
    assert_eq!(ring.advance(&memory), Ok(1));
}

#[test]
fn bytes_are_taken_in_any_pieces_and_wiped_behind() {
    let memory = Memory::new();
    let mut ring = Ring::new(&memory);
    for number in 0..4 {
        memory.complete(number, 24, number as u32 + 1);
        for byte in 0..3 {
            let value = u64::from_le_bytes(std::array::from_fn(|i| {
                (number * 24 + byte * 8) as u8 + i as u8
            }));
            store(
                &memory,
                buffer(number as usize).start + byte as usize * 8,
                value,
            );
        }
    }
    assert_eq!(ring.advance(&memory), Ok(4));
    let mut all = Vec::new();
    for size in [1, 2, 6, 7, 8, 9, 16, 40, 40] {
        let mut out = vec![0; size];
        let count = ring.take(&memory, &mut out);
        all.extend_from_slice(&out[..count]);
    }
    assert_eq!(all, (0..96).collect::<Vec<u8>>());
    assert_eq!((ring.available(), ring.unread()), (0, 0));
    let left = memory.0[BUFFERS_AT / WORD..]
        .iter()
        .any(|w| w.load(Relaxed) != 0);
    assert!(!left, "bytes that were taken");
}
