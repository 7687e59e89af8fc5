//! The driver of the chip cards over the software card, in simulated time unless said otherwise.

mod faults;
mod software;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qrng::report::Kind;
use qrng_card::chip::{ChipCard, ChipConfig, Layout, Model};
use qrng_card::pace::Full;
use qrng_card::{Device, Fault, Rate, Shared};
use qrng_collector::source::xdma::chip::Mode;
use qrng_collector::source::xdma::ring::{BUFFER, BUFFERS};
use qrng_collector::source::xdma::{Clock, RealClock, Xdma};
use qrng_collector::source::{Failure, NoiseSource, SourceError};
use software::{CardSlot, StepClock, Watch};

/// How long a read may take, as the stage that reads allows.
const READ: Duration = Duration::from_millis(50);
/// Reads that a test waits for at most.
const READS: usize = 20_000;

/// A driver and its card.
struct Bench {
    card: Shared<ChipCard>,
    clock: StepClock,
    watch: Watch,
    slot: Arc<Mutex<Shared<ChipCard>>>,
    xdma: Xdma,
}

/// A card that makes no more bytes than are fetched, so that none are lost.
fn patient() -> ChipConfig {
    ChipConfig {
        full: Full::Waits,
        ..ChipConfig::default()
    }
}

impl Bench {
    fn new(config: ChipConfig, mode: Mode) -> Self {
        Self::of(Shared::stepped(ChipCard::new(config)), mode)
    }

    fn of(card: Shared<ChipCard>, mode: Mode) -> Self {
        let slot = CardSlot::new(&card);
        let clock = StepClock::new(&card);
        let watch = slot.watch.clone();
        let place = slot.card.clone();
        let xdma = Xdma::open("card", mode, Box::new(slot), Box::new(clock.clone())).unwrap();
        Self {
            card,
            clock,
            watch,
            slot: place,
            xdma,
        }
    }

    /// Reads once, into a buffer of `size` bytes that holds something else before.
    fn read(&mut self, size: usize) -> Result<Vec<u8>, Failure> {
        let mut buffer = vec![0xEE; size];
        let deadline = self.clock.now() + READ;
        match self.xdma.read(&mut buffer, deadline) {
            Ok(count) => {
                buffer.truncate(count);
                Ok(buffer)
            }
            Err(SourceError::Retry(failure)) => Err(failure),
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads until there are `count` bytes, `size` at a time.
    fn read_all(&mut self, count: usize, size: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..READS {
            if all.len() >= count {
                return all;
            }
            all.extend(self.read(size.min(count - all.len())).unwrap());
        }
        panic!("{} of {count} bytes came", all.len());
    }

    /// The first failure, and what came before it.
    fn until_failure(&mut self) -> (Vec<u8>, Failure) {
        let mut all = Vec::new();
        for _ in 0..READS {
            match self.read(BUFFER) {
                Ok(bytes) => all.extend(bytes),
                Err(failure) => return (all, failure),
            }
        }
        panic!("nothing failed");
    }

    /// Reads until bytes come again, whatever fails before.
    fn recover(&mut self) -> Vec<u8> {
        for _ in 0..READS {
            match self.read(BUFFER) {
                Ok(bytes) if !bytes.is_empty() => return bytes,
                Ok(_) => {}
                Err(_) => self.clock.pass(Duration::from_millis(100)),
            }
        }
        panic!("nothing came");
    }

    /// Everything that the driver should have passed on, if it had read all that the card wrote.
    fn good(&self) -> Vec<u8> {
        let card = self.card.lock();
        card.ledger().good(card.stream())
    }

    fn assert_allowed(&self) {
        self.card.lock().violations().assert_none();
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
fn every_byte_comes_once_and_in_order() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    // Some times round the ring.
    let got = bench.read_all(5 * BUFFERS * BUFFER + 77, 65_536);
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
    assert_eq!(bench.watch.counts(), (1, 0, 0));
}

#[test]
fn reads_of_any_size_fit_together() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let mut got = Vec::new();
    for size in [
        1, 2, 7, 8, 9, 4095, 4096, 4097, 60_975, 3, 5, 300_000, 1_500_000, 13,
    ] {
        got.extend(bench.read_all(size, size));
    }
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
}

#[test]
fn raw_samples_begin_after_what_is_thrown_away() {
    let mut bench = Bench::new(patient(), Mode::Sample);
    let got = bench.read_all(100_000, 65_536);
    assert_begins(&bench.good(), &got);
    let card = bench.card.lock();
    assert_eq!(card.ledger().pieces()[0].range, 0..Mode::Sample.discard());
    card.violations().assert_none();
}

#[test]
fn both_cards_are_driven_wherever_their_registers_are() {
    for model in [Model::M40, Model::M240] {
        for layout in [Layout::UserFirst, Layout::UserSecond] {
            let config = ChipConfig {
                model,
                layout,
                ..patient()
            };
            let mut bench = Bench::new(config, Mode::Rng);
            let got = bench.read_all(200_000, 65_536);
            assert_begins(&bench.good(), &got);
            bench.assert_allowed();
        }
    }
}

#[test]
fn short_packets_are_as_long_as_they_are() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let mut got = bench.read_all(100_000, 65_536);
    bench.card.lock().inject(Fault::Short).unwrap();
    // More than the ring could hold of whole packets.
    got.extend(bench.read_all(2 * BUFFERS * BUFFER, 65_536));
    bench.card.lock().clear();
    got.extend(bench.read_all(100_000, 65_536));
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
}

#[test]
fn an_engine_that_was_left_alone_has_stopped_and_goes_on() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let mut got = Vec::new();
    for _ in 0..5 {
        got.extend(bench.read_all(123_456, 65_536));
        bench.clock.pass(Duration::from_secs(20));
    }
    got.extend(bench.read_all(2 * BUFFERS * BUFFER, 65_536));
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
}

#[test]
fn a_full_card_loses_its_own_bytes_and_no_others() {
    let mut bench = Bench::new(ChipConfig::default(), Mode::Rng);
    let mut got = bench.read_all(123_456, 65_536);
    bench.clock.pass(Duration::from_secs(20));
    got.extend(bench.read_all(3 * BUFFERS * BUFFER, 65_536));
    assert!(bench.card.lock().ledger().overflowed() > 0);
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
}

#[test]
fn the_card_says_what_it_is() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let identity = bench.xdma.identity().clone();
    assert_eq!(identity.kind, Kind::PcieChip);
    assert_eq!(identity.name, "card");
    assert_eq!(identity.serial.as_deref(), Some("2407001Q240"));
    bench.read_all(1000, 1000);
    let sensors = bench.xdma.sensors();
    assert_eq!(sensors["chips_present"], 0xFFF);
    assert_eq!(sensors["chip_packet_errors"], 0);
    assert_eq!(sensors["firmware"], 0x01_04_02);
    assert_eq!(sensors["pcb_revision"], 3);
}

#[test]
fn what_was_read_is_wiped_from_memory_and_all_of_it_at_the_end() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.read_all(10 * BUFFER, BUFFER);
    // A buffer that was read stays with the driver until there are sixteen to give back, so nothing new is in it.
    let start = 0x5000 + Mode::Rng.discard() as usize;
    let memory = bench.watch.memory();
    let is_wiped = |start, count| memory.bytes(start, count).iter().all(|byte| *byte == 0);
    assert!(is_wiped(start, 10 * BUFFER));
    bench.clock.pass(Duration::from_millis(10));
    assert!(!is_wiped(start + 10 * BUFFER, BUFFER));
    drop(bench);
    assert!(memory.is_wiped());
}

#[test]
fn what_was_read_ahead_can_be_forgotten() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let before = bench.read_all(1000, 1000);
    bench.clock.pass(Duration::from_secs(1));
    bench.xdma.wait(bench.clock.now() + READ);
    bench.xdma.forget();
    let after = bench.read_all(BUFFER, BUFFER);
    let good = bench.good();
    assert_begins(&good, &before);
    assert!(
        !good[..BUFFERS * BUFFER - 1000]
            .windows(16)
            .any(|w| w == &after[..16])
    );
    assert!(good.windows(BUFFER).any(|w| w == after));
    bench.assert_allowed();
}

#[test]
fn waiting_ends_when_bytes_come_or_at_the_deadline() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.read_all(1000, 1000);
    bench.card.lock().inject(Fault::Slow(1)).unwrap();
    let start = bench.clock.now();
    // What is in the ring and in the card is still to come.
    while !bench.read(1 << 20).unwrap().is_empty() {}
    bench.xdma.wait(start + Duration::from_millis(400));
    assert!(bench.clock.now() < start + Duration::from_millis(500));
    bench.card.lock().clear();
    bench.xdma.wait(bench.clock.now() + Duration::from_secs(1));
    assert!(!bench.read(16).unwrap().is_empty());
}

/// In real time, with the engine in another thread: what is seen of memory must be in order without any lock.
#[test]
fn a_card_in_another_thread_loses_nothing() {
    let config = ChipConfig {
        rate: Rate::BytesPerSecond(5_000_000),
        ..patient()
    };
    let card = Shared::real_time(ChipCard::new(config));
    let ticker = card.tick(Duration::from_micros(200));
    let slot = CardSlot::new(&card);
    let mut xdma = Xdma::open("card", Mode::Rng, Box::new(slot), Box::new(RealClock)).unwrap();
    let mut got = vec![0; 6 * BUFFERS * BUFFER];
    let patience = Instant::now() + Duration::from_secs(120);
    let mut count = 0;
    while count < got.len() {
        assert!(Instant::now() < patience, "{count} bytes came");
        let end = got.len().min(count + 65_536);
        count += xdma
            .read(&mut got[count..end], Instant::now() + READ)
            .unwrap();
    }
    drop(ticker);
    let card = card.lock();
    assert_begins(&card.ledger().good(card.stream()), &got);
    card.violations().assert_none();
}
