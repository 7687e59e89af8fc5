//! Speed of all health tests together against a copy, side by side in one run, and false alarms over
//! good data.
//!
//! `cargo bench --bench health` examines 8 GiB; a number of MiB as argument examines that much. Run as
//! a test, it examines 8 MiB and times nothing.
//! Speeds are given for the median and for the best of blocks, as a busy machine slows the median.

use std::hint::black_box;
use std::time::Instant;

use aes::cipher::{KeyIvInit, StreamCipher};
use qrng::health::{BLOCK, Monitor, Settings, Test, Tier, Verdict};
use qrng_simd::Vectors;

/// Seed of the good data, so that a run can be repeated.
const SEED: [u8; 32] = [0x51; 32];

/// Blocks timed.
const TIMED: usize = 4000;

/// Least speed of all tests together, in bytes a second.
const LEAST_SPEED: f64 = 400e6;

struct Times(Vec<f64>);

impl Times {
    fn take(&mut self, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        self.0.push(start.elapsed().as_secs_f64());
    }

    /// Bytes a second at the best and at the median block.
    fn speeds(mut self) -> (f64, f64) {
        self.0.sort_by(f64::total_cmp);
        let speed = |seconds: f64| BLOCK as f64 / seconds;
        (speed(self.0[0]), speed(self.0[self.0.len() / 2]))
    }
}

struct Good(ctr::Ctr128BE<aes::Aes256>);

impl Good {
    fn fill(&mut self, block: &mut [u8]) {
        block.fill(0);
        self.0.apply_keystream(block);
    }
}

/// Times blocks in turn with copies of the same blocks.
fn speed(good: &mut Good) {
    let mut monitor = Monitor::new(Settings::new("good")).expect("settings");
    let mut block = vec![0; BLOCK];
    let mut copy = vec![0; BLOCK];
    let (mut tests, mut copies) = (Times(Vec::new()), Times(Vec::new()));
    for _ in 0..TIMED {
        good.fill(&mut block);
        tests.take(|| assert!(monitor.examine(black_box(&block), 0).alarm().is_none()));
        copies.take(|| black_box(&mut copy).copy_from_slice(black_box(&block)));
    }
    let (best, median) = tests.speeds();
    let (copy_best, copy_median) = copies.speeds();
    let row = |name: &str, best: f64, median: f64| {
        println!("{name:18} {:9.0} {:9.0} MB/s", best / 1e6, median / 1e6);
    };
    println!("vectors: {}", Vectors::best().path().name());
    println!("{:18} {:>9} {:>9}", "", "best", "median");
    row("all health tests", best, median);
    row("copy", copy_best, copy_median);
    println!(
        "copy / tests       {:9.1} {:9.1}",
        copy_best / best,
        copy_median / median
    );
    println!(
        "tests / 400 MB/s   {:9.2} {:9.2}",
        best / LEAST_SPEED,
        median / LEAST_SPEED
    );
}

/// Examines good data and compares the alarms with what chance makes of them: over 8 GiB, the
/// repetition of bits crosses 2^-40 with probability 2 %, all other tests below 0.1 % together.
fn false_alarms(good: &mut Good, mebibytes: usize) {
    let mut monitor = Monitor::new(Settings::new("good")).expect("settings");
    let mut block = vec![0; BLOCK];
    let mut served = 0_u64;
    for _ in 0..mebibytes * (1 << 20) / BLOCK {
        good.fill(&mut block);
        match monitor.examine(&block, 0) {
            Verdict::Serve => served += BLOCK as u64,
            Verdict::Discard(alarm) | Verdict::Latch(alarm) => println!("{alarm}"),
            _ => {}
        }
    }
    println!("good data: {mebibytes} MiB examined, {served} bytes served");
    for test in Test::ALL {
        let of = |tier| monitor.findings(test, tier);
        let (intermittent, permanent) = (of(Tier::Intermittent), of(Tier::Permanent));
        println!("{test:18} {intermittent} intermittent, {permanent} permanent");
    }
    let summary = monitor.summary();
    assert_eq!(summary.permanent_alarms, 0, "false permanent alarms");
    assert!(
        summary.intermittent_alarms <= 1,
        "false intermittent alarms"
    );
}

fn main() {
    let benchmark = std::env::args().any(|argument| argument == "--bench");
    let mebibytes = std::env::args().find_map(|argument| argument.parse().ok());
    let mut good = Good(ctr::Ctr128BE::new(&SEED.into(), &[0; 16].into()));
    if benchmark {
        speed(&mut good);
    }
    false_alarms(
        &mut good,
        mebibytes.unwrap_or(if benchmark { 8 << 10 } else { 8 }),
    );
}
