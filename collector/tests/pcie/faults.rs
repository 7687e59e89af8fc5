//! What goes wrong with a card, what the collector does then, and that it goes on when that ends: the driver in the stage that
//! acquires, in real time. Nothing that is asserted depends on how long anything takes.

use std::sync::Arc;
use std::thread;

use qrng::health::{Alarm, Settings};
use qrng::report::State;
use qrng_collector::acquire::{self, Cut, Output};
use qrng_collector::block::{Block, User, ring};
use qrng_collector::config::Conditioning;
use qrng_collector::latched::Latched;
use qrng_collector::pipeline::Input;
use qrng_collector::refine::Refine;
use qrng_collector::source::Pcie;
use qrng_collector::stats::{SourceStats, Stats};

use super::software::{CardSlot, keep_log, logged};
use super::*;

/// Nothing here takes nearly as long: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// As the collector cuts packets.
const CUT: Cut = Cut {
    full: 1355,
    least: 17,
};

/// A card, and the stage that acquires from it.
struct Chain {
    name: &'static str,
    card: Shared<ModuleCard>,
    stats: Arc<Stats>,
    blocks: User<Block>,
    got: Vec<u8>,
}

impl Chain {
    /// A card that loses nothing by itself, and whose bytes are tested as `settings` says.
    fn start(name: &'static str, settings: Option<Settings>) -> Self {
        keep_log();
        let config = ModuleConfig {
            full: Full::Waits,
            ..ModuleConfig::default()
        };
        let card = Shared::real_time(ModuleCard::new(config));
        let source = Pcie::new(name, CardSlot::new(&card)).unwrap();
        let identity = qrng_collector::source::NoiseSource::identity(&source).clone();
        let stats = Arc::new(Stats::new(vec![identity]));
        let (filler, blocks) = ring(8, || Block::new(60_975));
        let own = stats.clone();
        // It ends when the blocks' user is gone.
        thread::spawn(move || {
            let refine = Refine::new(settings, Conditioning::NONE).unwrap();
            let output = Output {
                ring: &filler,
                cut: CUT,
                counts: true,
            };
            let directory = tempfile::tempdir().unwrap();
            let input = Input {
                source: Box::new(source),
                refine,
                latched: Latched::open(directory.path()).unwrap().into(),
            };
            acquire::run(input, output, &own, 0)
        });
        Self {
            name,
            card,
            stats,
            blocks,
            got: Vec::new(),
        }
    }

    fn untested(name: &'static str) -> Self {
        let mut chain = Self::start(name, None);
        chain.more(100_000);
        chain
    }

    fn source(&self) -> &SourceStats {
        &self.stats.sources()[0]
    }

    /// Takes `count` bytes more.
    fn more(&mut self, count: usize) {
        let wanted = self.got.len() + count;
        while self.got.len() < wanted {
            let mut block = self.blocks.full.recv_timeout(PATIENCE).expect("bytes");
            self.got.extend_from_slice(block.filled());
            block.wipe();
            self.blocks.empty.send(block).unwrap();
        }
    }

    /// Takes bytes until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.source());
            if let Ok(mut block) = self.blocks.full.recv_timeout(Duration::from_millis(5)) {
                self.got.extend_from_slice(block.filled());
                block.wipe();
                self.blocks.empty.send(block).unwrap();
            }
        }
    }

    fn until_fault(&mut self, fault: &'static str) {
        self.until(fault, |chain| chain.source().faults().contains_key(fault));
        assert_eq!(self.source().condition().state, State::Failed);
    }

    fn inject(&self, fault: Fault) {
        self.inject_all(&[fault]);
    }

    /// Makes these go wrong at one and the same moment.
    fn inject_all(&self, faults: &[Fault]) {
        let mut card = self.card.lock();
        for fault in faults {
            card.inject(*fault).unwrap();
        }
    }

    fn clear(&self) {
        self.card.lock().clear();
    }

    /// Every byte that has come is one that the card gave, in its order, and none is missing or there twice.
    #[track_caller]
    fn assert_exact(&self) {
        let card = self.card.lock();
        assert_begins(&card.ledger().good(card.stream()), &self.got);
        card.violations().assert_none();
    }

    /// What was logged, but for the beginning of each start.
    fn log(&self) -> Vec<String> {
        let lines = logged(self.name);
        lines
            .into_iter()
            .filter(|line| !line.contains("card in a slot"))
            .collect()
    }

    /// Asserts that these are the lines of the log, by words that are in them.
    #[track_caller]
    fn assert_log(&self, words: &[&str]) {
        let log = self.log();
        let matches = log
            .iter()
            .zip(words)
            .all(|(line, word)| line.contains(word));
        assert!(matches && log.len() == words.len(), "{log:#?}");
    }

    fn sensor(&self, name: &str) -> Option<u64> {
        self.source().sensors().get(name).copied()
    }
}

#[test]
fn a_failing_module_is_told_and_the_others_are_served() {
    let mut chain = Chain::untested("degraded");
    // The modules have their time to become healthy.
    chain.until("sensors", |c| c.sensor("modules_healthy") == Some(0b1111));
    chain.inject_all(&[Fault::ModuleFails(1), Fault::ModuleFails(3)]);
    chain.until("a line", |chain| !chain.log().is_empty());
    chain.until("sensors", |c| c.sensor("modules_healthy") == Some(0b0101));
    chain.more(100_000);
    assert_eq!(chain.sensor("modules_present"), Some(0b1111));
    assert_eq!(chain.source().condition().state, State::Running);
    chain.clear();
    chain.until("a line", |chain| chain.log().len() > 1);
    chain.until("sensors", |c| c.sensor("modules_healthy") == Some(0b1111));
    chain.more(100_000);
    chain.assert_exact();
    chain.assert_log(&[
        "WARN: not healthy: modules 1, 3 of the card",
        "INFO: all modules of the card are healthy",
    ]);
    assert!(chain.source().faults().is_empty());
}

#[test]
fn a_card_without_a_healthy_module_fails_and_recovers() {
    let mut chain = Chain::untested("unhealthy");
    chain.until("settled", |c| c.sensor("modules_healthy") == Some(0b1111));
    chain.inject_all(&[0, 1, 2, 3].map(Fault::ModuleFails));
    chain.until_fault("unhealthy");
    chain.until("sensors", |c| c.sensor("modules_healthy") == Some(0));
    let error = chain.source().condition().error.unwrap();
    assert!(
        error.contains("no module of the card is healthy"),
        "{error}"
    );
    chain.clear();
    chain.more(100_000);
    chain.assert_exact();
    assert_eq!(chain.source().faults(), [("unhealthy", 1)].into());
    chain.assert_log(&[
        "WARN: no module of the card is healthy",
        "INFO: it gives bytes again",
    ]);
}

#[test]
fn a_module_in_test_mode_is_told() {
    let mut chain = Chain::untested("test mode");
    chain.until("settled", |c| c.sensor("modules_healthy") == Some(0b1111));
    chain.inject(Fault::TestMode(2));
    chain.until("a line", |chain| !chain.log().is_empty());
    chain.more(100_000);
    chain.assert_exact();
    chain.assert_log(&["WARN: a module of the card is in test mode"]);
}

#[test]
fn an_overflow_is_counted_and_costs_what_was_in_the_fifo() {
    let mut chain = Chain::untested("overflow");
    for count in 1..=3 {
        chain.inject(Fault::Overflow);
        chain.until("count", |c| c.sensor("fifo_overflows") == Some(count));
        chain.more(20_000);
    }
    chain.assert_exact();
    assert!(chain.source().faults().is_empty());
    // The first is told, the others are summed up later.
    chain.assert_log(&["WARN: the card's FIFO overflowed (1 times"]);
}

#[test]
fn a_fifo_that_does_not_fill_is_silence_and_ends() {
    let mut chain = Chain::untested("silent");
    chain.inject(Fault::Hang);
    chain.until_fault("silent");
    chain.clear();
    chain.more(100_000);
    chain.assert_exact();
    assert_eq!(chain.source().faults(), [("silent", 1)].into());
    chain.assert_log(&[
        "WARN: the card says that it is healthy, and",
        "INFO: it gives bytes again",
    ]);
}

#[test]
fn a_slow_card_is_served_at_its_rate() {
    let mut chain = Chain::untested("slow");
    chain.inject(Fault::Slow(20_000));
    chain.more(20_000);
    chain.clear();
    chain.more(100_000);
    chain.assert_exact();
    assert!(chain.source().faults().is_empty());
    chain.assert_log(&[]);
}

#[test]
fn a_card_that_is_unplugged_is_told_and_found_again() {
    let mut chain = Chain::untested("gone");
    chain.inject(Fault::Gone);
    chain.until_fault("gone");
    chain.until_fault("unavailable");
    let before = chain.got.len();
    chain.clear();
    chain.more(100_000);
    assert!(chain.got.len() > before);
    chain.assert_exact();
    assert_eq!(
        chain.source().faults(),
        [("gone", 1), ("unavailable", 1)].into()
    );
    chain.assert_log(&[
        "WARN: the card does not answer",
        "WARN: there is no card",
        "INFO: it gives bytes again",
    ]);
}

#[test]
fn what_is_no_noise_does_not_leave_and_latches() {
    for (name, fault) in [
        ("stuck", Fault::Stuck),
        ("biased", Fault::Biased),
        ("zeros", Fault::Zeros),
        ("ones", Fault::Ones),
    ] {
        let mut chain = Chain::start(name, Some(Settings::new(name)));
        chain.more(100_000);
        chain.inject(fault);
        chain.until("latch", |c| c.source().condition().state == State::Latched);
        let alarm: Option<Alarm> = chain.source().health().unwrap().last_alarm;
        assert!(alarm.is_some());
        chain.clear();
        let served = chain.got.len();
        chain.source().ask_clear();
        chain.until("service", |c| c.got.len() > served + 100_000);
        assert_continuous_blocks(&chain);
    }
}

/// What has come is made of stretches of the stream, each later than the one before. Whole tested blocks are missing between them.
#[track_caller]
fn assert_continuous_blocks(chain: &Chain) {
    let card = chain.card.lock();
    let good = card.ledger().good(card.stream());
    let mut rest = &good[..];
    let mut stretches = 0;
    let mut got = &chain.got[..];
    while !got.is_empty() {
        let head = &got[..got.len().min(32)];
        let start = rest.windows(head.len()).position(|bytes| bytes == head);
        rest = &rest[start.expect("bytes of the stream, later than those before")..];
        let same = got.iter().zip(rest).take_while(|(a, b)| a == b).count();
        (got, rest) = (&got[same..], &rest[same..]);
        stretches += 1;
    }
    assert!((1..=4).contains(&stretches), "{stretches} stretches");
    card.violations().assert_none();
}
