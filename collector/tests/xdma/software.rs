//! The software card in a slot: what VFIO is to a real one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qrng_card::Shared;
use qrng_card::chip::ChipCard;
use qrng_card::memory::{HostMemory, NotMapped};
use qrng_card::pci::PciCard;
use qrng_collector::source::xdma::Clock;
use qrng_collector::source::xdma::channel;
use qrng_collector::source::xdma::function::{
    Bar, Control, DmaMemory, Function, Model, NOBODY, Registers, Slot,
};
use qrng_collector::source::xdma::ring::MEMORY;
use qrng_collector::source::{Failure, Fault};

/// Where the card finds the host's memory.
const ADDRESS: u64 = 0x7_0000_0000;

/// Memory that host and card share without a lock.
#[derive(Clone)]
pub struct SharedMemory(Arc<[AtomicU64]>);

impl SharedMemory {
    fn new() -> Self {
        Self((0..MEMORY / 8).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether every byte of it is 0.
    pub fn is_wiped(&self) -> bool {
        self.0.iter().all(|word| word.load(SeqCst) == 0)
    }

    /// Bytes at `offset` as they are now.
    pub fn bytes(&self, offset: usize, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        HostMemory::read(self, ADDRESS + offset as u64, &mut bytes).expect("within the memory");
        bytes
    }

    /// Stores a word, as a card that does what it should not.
    pub fn store(&self, offset: usize, word: u64) {
        self.0[offset / 8].store(word.to_le(), SeqCst);
    }

    fn range(&self, iova: u64, length: usize) -> Result<usize, NotMapped> {
        let start = iova.checked_sub(ADDRESS).map(|start| start as usize);
        start
            .filter(|start| start + length <= self.0.len() * 8)
            .ok_or(NotMapped { iova, length })
    }
}

impl HostMemory for SharedMemory {
    fn read(&self, iova: u64, data: &mut [u8]) -> Result<(), NotMapped> {
        let start = self.range(iova, data.len())?;
        for (index, byte) in data.iter_mut().enumerate() {
            let at = start + index;
            *byte = self.0[at / 8].load(SeqCst).to_ne_bytes()[at % 8];
        }
        Ok(())
    }

    fn write(&self, iova: u64, data: &[u8]) -> Result<(), NotMapped> {
        let start = self.range(iova, data.len())?;
        assert_eq!(start % 8, 0, "the engine writes whole words");
        let (words, rest) = data.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            // Later writes are seen after earlier ones, as on PCI Express.
            self.0[start / 8 + index].store(u64::from_ne_bytes(*word), Release);
        }
        if !rest.is_empty() {
            let word = &self.0[start / 8 + words.len()];
            let mut bytes = word.load(Relaxed).to_ne_bytes();
            bytes[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_ne_bytes(bytes), Release);
        }
        Ok(())
    }
}

impl DmaMemory for SharedMemory {
    fn address(&self) -> u64 {
        ADDRESS
    }

    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// What a test sees and does of the slot, while the driver has it.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    opened: usize,
    closed: usize,
    cut_off: usize,
    taken_back: bool,
    unresettable: bool,
    memory: Option<SharedMemory>,
}

impl Watch {
    /// How often a card was opened, closed, and cut off.
    pub fn counts(&self) -> (usize, usize, usize) {
        let watched = self.0.lock().unwrap();
        (watched.opened, watched.closed, watched.cut_off)
    }

    /// The kernel takes the card back, or lends it again.
    pub fn take_back(&self, taken: bool) {
        self.0.lock().unwrap().taken_back = taken;
    }

    /// From now on the kernel can't reset the card.
    pub fn forbid_resets(&self) {
        self.0.lock().unwrap().unresettable = true;
    }

    /// The memory of the card that was opened last.
    pub fn memory(&self) -> SharedMemory {
        let watched = self.0.lock().unwrap();
        watched.memory.clone().expect("a card was opened")
    }
}

/// The card as a whole.
struct Whole {
    card: Shared<ChipCard>,
    watch: Watch,
}

impl Control for Whole {
    fn is_taken_back(&mut self) -> bool {
        self.watch.0.lock().unwrap().taken_back
    }

    fn cut_off(&mut self) {
        let mut watched = self.watch.0.lock().unwrap();
        watched.cut_off += 1;
        if !watched.unresettable {
            self.card.lock().reset();
        }
    }
}

/// A BAR of the software card.
struct CardBar {
    card: Shared<ChipCard>,
    watch: Watch,
    bar: u8,
}

impl Registers for CardBar {
    fn read(&mut self, offset: u32) -> u32 {
        if self.watch.0.lock().unwrap().taken_back {
            return NOBODY;
        }
        self.card.lock().read32(self.bar, offset.into())
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.card.lock().write32(self.bar, offset.into(), value);
    }
}

/// A slot with a software card.
pub struct CardSlot {
    pub card: Arc<Mutex<Shared<ChipCard>>>,
    pub watch: Watch,
}

impl CardSlot {
    pub fn new(card: &Shared<ChipCard>) -> Self {
        Self {
            card: Arc::new(Mutex::new(card.clone())),
            watch: Watch::default(),
        }
    }
}

impl Slot for CardSlot {
    fn open(&mut self, _: Instant) -> Result<Option<Function>, Failure> {
        let shared = self.card.lock().unwrap().clone();
        let mut card = shared.lock();
        if card.gone() {
            return Err(Failure::new(Fault::Unavailable, "there is no card"));
        }
        if !self.watch.0.lock().unwrap().unresettable {
            card.reset();
        }
        let memory = SharedMemory::new();
        card.attach(memory.clone());
        let model = Model::from_id(qrng_collector::sysfs::pci::Id {
            vendor: card.identity().vendor,
            device: card.identity().device,
        });
        let bars = card.bars().iter().map(|bar| Bar {
            reach: bar.size as usize,
            registers: Box::new(CardBar {
                card: shared.clone(),
                watch: self.watch.clone(),
                bar: bar.index,
            }),
        });
        let mut bars: Vec<_> = bars.collect();
        drop(card);
        let (user, config) = channel::find(&mut bars)?;
        let config = bars.swap_remove(config).registers;
        let mut watched = self.watch.0.lock().unwrap();
        watched.opened += 1;
        watched.memory = Some(memory.clone());
        drop(watched);
        Ok(Some(Function {
            user: bars.swap_remove(user).registers,
            config,
            control: Box::new(Whole {
                card: shared,
                watch: self.watch.clone(),
            }),
            memory: Box::new(memory),
            model: model.expect("one of the two cards"),
            place: "slot".to_owned(),
        }))
    }

    fn close(&mut self, function: Function) {
        drop(function);
        self.watch.0.lock().unwrap().closed += 1;
    }
}

/// The time of a stepped card: it passes when somebody waits.
#[derive(Clone)]
pub struct StepClock {
    card: Shared<ChipCard>,
    start: Instant,
    passed: Arc<Mutex<Duration>>,
}

impl StepClock {
    pub fn new(card: &Shared<ChipCard>) -> Self {
        Self {
            card: card.clone(),
            start: Instant::now(),
            passed: Arc::default(),
        }
    }

    /// How much time has passed.
    pub fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    /// Lets `time` pass.
    pub fn pass(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            // A card moves at each step no more than it holds.
            let step = left.min(Duration::from_millis(1));
            *self.passed.lock().unwrap() += step;
            self.card.step(step);
            left -= step;
        }
    }
}

impl Clock for StepClock {
    fn now(&self) -> Instant {
        self.start + self.passed()
    }

    fn sleep_until(&self, time: Instant) {
        // What is done takes time too, so that nobody waits for ever without asking for it.
        let left = time.saturating_duration_since(self.now());
        self.pass(left.max(Duration::from_micros(1)));
    }
}
