//! The driver of the module cards over the software card: in simulated time here, in real time in `faults`.

mod faults;
mod software;

use std::time::{Duration, Instant};

use qrng_card::module::{MODULE_RATE, ModuleCard, ModuleConfig, Register};
use qrng_card::pace::Full;
use qrng_card::{Device, Fault, Rate, Shared};
use qrng_collector::source::pcie::card::{Card, Step};
use qrng_collector::source::pcie::registers::{FIFO, QUARTER};
use software::CardRegisters;

/// A driver and its card, whose time passes only while the driver waits.
struct Bench {
    card: Shared<ModuleCard>,
    driver: Card<CardRegisters>,
    now: Instant,
    waits: usize,
}

impl Bench {
    fn new(config: ModuleConfig) -> Self {
        let card = Shared::stepped(ModuleCard::new(config));
        let now = Instant::now();
        let driver = Card::start(CardRegisters(card.clone()), now).ok().unwrap();
        Self {
            card,
            driver,
            now,
            waits: 0,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.card.step(time);
        self.now += time;
    }

    /// Reads until there are `count` bytes, `size` at a time.
    fn read(&mut self, count: usize, size: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0xee; size];
        while all.len() < count {
            let room = size.min(count - all.len());
            match self.driver.step(&mut buffer[..room], self.now).unwrap() {
                Step::Bytes(more) => all.extend_from_slice(&buffer[..more]),
                Step::Wait(pause) => {
                    self.waits += 1;
                    self.pass(pause);
                }
            }
        }
        all
    }

    /// What the driver has to have passed on by now.
    fn good(&self) -> Vec<u8> {
        let card = self.card.lock();
        card.ledger().good(card.stream())
    }

    fn reads(&self, register: Register) -> usize {
        self.card.lock().accesses(register).reads as usize
    }

    fn assert_allowed(&self) {
        self.card.lock().violations().assert_none();
    }
}

fn modules(modules: u8) -> ModuleConfig {
    ModuleConfig {
        modules,
        ..ModuleConfig::default()
    }
}

/// Whether `got` is the beginning of `good`; tells where it is not.
#[track_caller]
fn assert_begins(good: &[u8], got: &[u8]) {
    assert!(got.len() <= good.len(), "{} of {}", got.len(), good.len());
    let wrong = got.iter().zip(good).position(|(a, b)| a != b);
    assert_eq!(wrong, None, "the first wrong byte");
}

#[test]
fn every_byte_comes_once_and_in_order_from_any_number_of_modules() {
    for count in 1..=4 {
        let mut bench = Bench::new(modules(count));
        let got = bench.read(100_000, 65_536);
        // Not one is lost: all that comes is the stream from its beginning.
        let card = bench.card.lock();
        assert!(got == card.stream().bytes(0, got.len()), "{count} modules");
        assert_eq!(card.ledger().overflowed(), 0);
        card.violations().assert_none();
    }
}

#[test]
fn reads_of_any_size_fit_together() {
    let mut bench = Bench::new(modules(4));
    let mut got = Vec::new();
    for size in [1, 2, 3, 4, 5, 7, 1023, 1025, 4096, 4097, 60_975, 65_536, 13] {
        got.extend(bench.read(size, size));
    }
    assert_begins(&bench.good(), &got);
    assert_eq!(bench.driver.overflows(), 0);
    bench.assert_allowed();
}

#[test]
fn few_registers_are_read_beside_the_words_and_their_status() {
    const COUNT: usize = 256 * QUARTER;
    for count in 1..=4 {
        let mut bench = Bench::new(modules(count));
        assert_eq!(bench.read(COUNT, 65_536).len(), COUNT);
        let words = COUNT / 4;
        assert_eq!(bench.reads(Register::FD_RR), words);
        // Two for each quarter: one finds too little, one after the wait finds enough.
        let looks = bench.reads(Register::FS_RR) - words;
        assert!(looks <= 2 * COUNT / QUARTER + 1, "{looks} looks");
        // Once for each look and each batch, and twice at the start.
        let modules = bench.reads(Register::MX_SR);
        assert!(modules <= 2 + 3 * COUNT / QUARTER, "{modules} of MX_SR");
        bench.assert_allowed();
    }
}

#[test]
fn a_full_fifo_is_read_in_one_batch() {
    let mut bench = Bench::new(ModuleConfig {
        rate: Rate::Unlimited,
        ..modules(4)
    });
    bench.read(FIFO, FIFO);
    let (modules, status) = (bench.reads(Register::MX_SR), bench.reads(Register::FS_RR));
    assert_eq!(bench.read(16 * FIFO, 65_536).len(), 16 * FIFO);
    // Its last status says that it is full again, so nothing else is asked.
    assert_eq!(bench.reads(Register::FS_RR) - status, 16 * FIFO / 4);
    assert_eq!(bench.reads(Register::MX_SR) - modules, 16);
    assert_eq!(bench.waits, 0);
}

#[test]
fn waits_are_as_long_as_the_fifo_needs() {
    // The same bytes cost about as many waits, however fast they come, and never more than two a quarter: it is the waits that
    // adapt. Four modules fill two quarters in the least wait.
    let waits = [1, 2, 4].map(|count| {
        let mut bench = Bench::new(modules(count));
        bench.read(100 * QUARTER, 65_536);
        bench.waits
    });
    assert!(waits.iter().all(|w| (50..=201).contains(w)), "{waits:?}");
    // A card of which three modules have failed fills its FIFO as slowly as one with a single module.
    let mut bench = Bench::new(modules(4));
    bench.pass(Duration::from_secs(2));
    bench.read(QUARTER, QUARTER);
    for module in 1..4 {
        let mut card = bench.card.lock();
        card.inject(Fault::ModuleFails(module)).unwrap();
    }
    bench.waits = 0;
    bench.read(100 * QUARTER, 65_536);
    assert!(bench.waits <= 201, "{}", bench.waits);
}

#[test]
fn a_host_that_is_too_slow_loses_bytes_and_says_how_often() {
    let mut bench = Bench::new(modules(4));
    let mut got = Vec::new();
    let mut missed = 0;
    for round in 0..200 {
        got.extend(bench.read(1000 + 4 * round, 65_536));
        // Up to 20 ms; the FIFO is full after 2.
        bench.pass(Duration::from_micros(100 * round as u64));
        missed += u64::from(bench.card.lock().ledger().overflowed() > 0);
    }
    got.extend(bench.read(10_000, 10_000));
    assert!(missed > 0);
    let good = bench.good();
    assert_begins(&good, &got);
    assert_eq!(got.len(), good.len());
    let overflows = bench.driver.overflows();
    assert!((150..=200).contains(&overflows), "{overflows}");
    let card = bench.card.lock();
    assert!(card.ledger().overflowed() > 0);
    card.violations().assert_none();
}

#[test]
fn a_forgotten_card_gives_fresh_bytes_only() {
    let mut bench = Bench::new(ModuleConfig {
        full: Full::Waits,
        ..modules(4)
    });
    let got = bench.read(1001, 1001);
    bench.pass(Duration::from_secs(60));
    let before = bench.card.lock().ledger().produced();
    bench.driver.forget();
    let fresh = bench.read(2048, 2048);
    let card = bench.card.lock();
    assert!(got == card.stream().bytes(0, 1001));
    assert!(fresh == card.stream().bytes(before, 2048));
    card.violations().assert_none();
}

#[test]
fn the_rate_of_the_model_is_that_of_the_driver() {
    use qrng_collector::source::pcie::registers::MODULE_RATE as RATE;
    assert_eq!(u64::from(RATE), MODULE_RATE);
}
