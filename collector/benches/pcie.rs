//! What the driver of the module cards costs beside its register reads, which cost what the bus takes.
//!
//! `cargo bench -p qrng-collector --bench pcie [-- SECONDS]`. Four modules make 2 MB/s in real time, first with registers that cost
//! next to nothing, then with the strict software card. Processor time is that of the thread that reads, in percent of a core,
//! system calls and wake-ups included. Then the same registers as fast as they go, beside a copy of the same bytes.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use qrng::health::Settings;
use qrng_card::module::{BAR, ModuleCard, ModuleConfig};
use qrng_card::{Device, PciCard, Shared};
use qrng_collector::acquire::{self, Cut, Output};
use qrng_collector::block::{Block, ring};
use qrng_collector::config::Conditioning;
use qrng_collector::latched::Latched;
use qrng_collector::pipeline::Input;
use qrng_collector::refine::Refine;
use qrng_collector::source::pcie::Slot;
use qrng_collector::source::pcie::card::{Card, Step};
use qrng_collector::source::pcie::registers::{FIFO, QUARTER, Registers, WORD, offset};
use qrng_collector::source::{Failure, NoiseSource, Pcie};
use qrng_collector::stats::Stats;

/// Bytes a second of four modules.
const RATE: u64 = 2_000_000;
/// As much as the stage that acquires asks for at once, and how long it waits.
const READ: usize = 65_536;
const WAIT: Duration = Duration::from_millis(50);
/// How long each measurement takes, unless told otherwise.
const SECONDS: u64 = 5;
/// What may be spent at 2 MB/s beside register reads, in percent of a core.
const TARGET: f64 = 2.0;

/// Registers that cost next to nothing: words from a generator, a FIFO that fills as time passes.
struct Free {
    start: Instant,
    /// Bytes a second; none fills the FIFO at once.
    rate: Option<u64>,
    made: u64,
    taken: u64,
    lost: u64,
    overflowed: bool,
    state: u64,
}

impl Free {
    fn new(rate: Option<u64>) -> Self {
        Self {
            start: Instant::now(),
            rate,
            made: 0,
            taken: 0,
            lost: 0,
            overflowed: false,
            state: 1,
        }
    }

    /// Looks at the clock when it matters only.
    fn fill(&mut self) -> usize {
        if self.made - self.taken < QUARTER as u64 {
            let made = match self.rate {
                Some(rate) => {
                    rate * self.start.elapsed().as_micros() as u64 / 1_000_000 - self.lost
                }
                None => self.taken + FIFO as u64,
            };
            let most = self.taken + FIFO as u64;
            self.lost += made.saturating_sub(most);
            self.overflowed |= made > most;
            self.made = made.min(most);
        }
        (self.made - self.taken) as usize
    }
}

impl Registers for Free {
    #[inline]
    fn read(&mut self, at: u32) -> u32 {
        match at {
            offset::FS_RR => {
                let level = [0x01, 0x02, 0x06, 0x0e, 0x4e][self.fill() / QUARTER];
                level | if self.overflowed { 0x80 } else { 0 }
            }
            offset::FD_RR => {
                self.taken += WORD as u64;
                // SplitMix64, which passes the health tests.
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ mixed >> 31) as u32
            }
            offset::MX_SR => 0xc2c2_c2c2,
            _ => 0,
        }
    }

    fn write(&mut self, at: u32, _: u32) {
        if at == offset::FS_CA {
            self.taken = self.made;
            self.overflowed = false;
        }
    }
}

/// The strict card.
struct Strict(Shared<ModuleCard>);

impl Registers for Strict {
    fn read(&mut self, at: u32) -> u32 {
        self.0.lock().read32(BAR, at.into())
    }

    fn write(&mut self, at: u32, value: u32) {
        self.0.lock().write32(BAR, at.into(), value);
    }
}

/// Gives registers once.
struct Once<R>(Option<R>);

impl<R: Registers> Slot for Once<R> {
    type Registers = R;

    fn open(&mut self) -> Result<(R, String), Failure> {
        let registers = self.0.take();
        let gone = || Failure::new(qrng_collector::source::Fault::Gone, "only once");
        Ok((registers.ok_or_else(gone)?, "a benchmark".into()))
    }
}

fn source<R: Registers>(registers: R) -> Pcie<Once<R>> {
    match Pcie::new("benchmark", Once(Some(registers))) {
        Ok(source) => source,
        Err(failure) => panic!("{failure}"),
    }
}

fn processor_time(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Percent of a core, and bytes a second, of `work` for `time`.
fn measure(clock: ClockId, time: Duration, mut work: impl FnMut(Instant) -> u64) -> (f64, f64) {
    let (start, before) = (Instant::now(), processor_time(clock));
    let mut bytes = 0;
    while start.elapsed() < time {
        bytes += work(start + time);
    }
    let spent = processor_time(clock) - before;
    let seconds = start.elapsed().as_secs_f64();
    (
        100.0 * spent.as_secs_f64() / seconds,
        bytes as f64 / seconds,
    )
}

/// Reads as the stage that acquires does.
fn real_time<R: Registers>(name: &str, registers: R, time: Duration) -> f64 {
    let mut source = source(registers);
    let mut buffer = vec![0; READ];
    let (percent, rate) = measure(ClockId::CLOCK_THREAD_CPUTIME_ID, time, |_| {
        let read = source.read(&mut buffer, Instant::now() + WAIT);
        read.map_or(0, |count| count as u64)
    });
    let overflows = source.sensors().get("fifo_overflows").copied();
    println!(
        "{name:<44} {percent:>6.2} % of a core  {:>5.2} MB/s  {} overflows",
        rate / 1e6,
        overflows.unwrap_or(0)
    );
    percent
}

/// The whole stage that acquires, health tests included: the process' time, as nothing else is done.
fn stage(time: Duration) {
    let source = source(Free::new(Some(RATE)));
    let stats = Arc::new(Stats::new(vec![source.identity().clone()]));
    let (filler, user) = ring(8, || Block::new(60_975));
    thread::spawn(move || {
        let settings = Settings::new("benchmark");
        let refine = Refine::new(Some(settings), Conditioning::NONE)?;
        let output = Output {
            ring: &filler,
            cut: Cut {
                full: 1355,
                least: 17,
            },
            counts: true,
        };
        let directory = tempfile::tempdir()?;
        let input = Input {
            source: Box::new(source),
            refine,
            latched: Latched::open(directory.path())?.into(),
        };
        acquire::run(input, output, &stats, 0)
    });
    let (percent, rate) = measure(ClockId::CLOCK_PROCESS_CPUTIME_ID, time, |end| {
        match user.full.recv_deadline(end) {
            Ok(mut block) => {
                let count = block.filled().len() as u64;
                block.wipe();
                // The stage has ended if it takes no block; then nothing comes any more.
                let _ = user.empty.send(block);
                count
            }
            Err(_) => 0,
        }
    });
    println!(
        "{:<44} {percent:>6.2} % of a core  {:>5.2} MB/s",
        "the stage that acquires, tests included",
        rate / 1e6
    );
}

/// The best of several rounds.
fn best(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let round = Instant::now();
        work();
        best = best.min(round.elapsed());
    }
    best
}

/// The driver with registers that are always full, beside a copy.
fn unlimited() {
    let now = Instant::now();
    let Ok(mut card) = Card::start(Free::new(None), now) else {
        return;
    };
    let mut buffer = vec![0; READ];
    let driven = best(|| {
        let mut count = 0;
        while count < READ {
            match card.step(&mut buffer[count..], now) {
                Ok(Step::Bytes(more)) => count += more,
                Ok(Step::Wait(_)) => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        black_box(&mut buffer);
    });
    let from = buffer.clone();
    let copied = best(|| black_box(&mut buffer).copy_from_slice(black_box(&from)));
    let share = driven.as_secs_f64() / READ as f64 * RATE as f64 * 100.0;
    println!(
        "\nfree registers, always full: {:.2} ns a word, {:.0} times a copy of the same bytes ({:.0} MB/s beside {:.0} MB/s)",
        driven.as_nanos() as f64 / (READ / WORD) as f64,
        driven.as_secs_f64() / copied.as_secs_f64(),
        READ as f64 / driven.as_secs_f64() / 1e6,
        READ as f64 / copied.as_secs_f64() / 1e6,
    );
    println!("at 2 MB/s that is {share:.2} % of a core; the rest of the above is waking up");
}

/// Waking up as often as the driver does, and nothing else.
fn waking(time: Duration) {
    let mut count = 0;
    let (percent, _) = measure(ClockId::CLOCK_THREAD_CPUTIME_ID, time, |_| {
        thread::sleep(Duration::from_millis(1));
        count += 1;
        0
    });
    println!(
        "{:<44} {percent:>6.2} % of a core  {:.0} times a second",
        "waking up each millisecond and nothing else",
        f64::from(count) / time.as_secs_f64()
    );
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let percent = real_time(
        "the driver, registers cost nothing",
        Free::new(Some(RATE)),
        time,
    );
    waking(time);
    let card = Shared::real_time(ModuleCard::new(ModuleConfig::default()));
    real_time(
        "the driver, registers of the strict card",
        Strict(card.clone()),
        time,
    );
    let strict = card.lock();
    println!(
        "{:<44} {} violations, {} bytes lost to overflows",
        "",
        strict.violations().texts().len(),
        strict.ledger().overflowed()
    );
    drop(strict);
    stage(time);
    unlimited();
    let verdict = if percent < TARGET {
        "reached"
    } else {
        "MISSED"
    };
    println!("target: less than {TARGET} % of a core beside register reads: {verdict}");
}
