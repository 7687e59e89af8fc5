//! Faults of a source, and what leaves the real collector when they come.

use std::fs;
use std::thread;

use nix::sys::signal::Signal;
use qrng::health::{self, BLOCK, Tier};
use qrng::report::State;

use super::{NOISE, is, status, until};
use crate::SLOW;
use crate::harness::{Collector, Site, random};

/// A good source that becomes `fault` after five blocks, and what leaves of it: nothing that is not
/// `good`, which is the blocks before the fault and whatever of it nobody could know. Says which test
/// latched it, and after how many bytes of the fault.
fn latched(fault: &[u8], innocent: usize, tests: &[&str]) -> (String, u64) {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let mut noise = random(5 * BLOCK);
    noise.extend(fault);
    noise.extend(random(4 * BLOCK));
    fs::write(site.path("noise"), &noise).unwrap();
    let config = site.configure(NOISE, SLOW);
    let log = site.path("log");
    let collector = Collector::start_logged(&config, &log);
    let (got, report) = until(&mut gateway, |report| is(report, State::Latched));

    let good = &noise[BLOCK..5 * BLOCK + innocent];
    assert!(good.starts_with(&got), "tainted bytes have left");
    // The part of the last good blocks that waited for the next packets is destroyed.
    assert!(
        good.len() - got.len() <= 2 * BLOCK,
        "{} of {}",
        got.len(),
        good.len()
    );
    let health = report.sources[0].health.as_ref().unwrap();
    assert_eq!(health.state, health::State::Latched);
    assert_eq!(health.passed_bytes, good.len() as u64);
    let alarm = health.last_alarm.as_ref().unwrap();
    assert_eq!(
        (alarm.tier, alarm.source.as_str()),
        (Tier::Permanent, "card")
    );
    assert!(tests.contains(&alarm.test.name()), "{alarm}");

    let status = status(&site);
    assert_eq!(status["state"], "latched");
    assert_eq!(status["sources"][0]["health"]["permanent-alarms"], 1);
    let reason = status["reasons"][0].as_str().unwrap().to_owned();
    assert!(reason.starts_with(&alarm.to_string()), "{reason}");
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches(&alarm.to_string()).count(), 1, "{log}");
    // Announcements and reports go on; bytes do not.
    assert!(until(&mut gateway, |_| true).0.is_empty());
    gateway.epoch();
    assert!(collector.end(Signal::SIGTERM).success());
    let bytes = match alarm.test.unit() {
        "bit" => alarm.sample / 8 + 1,
        _ => alarm.sample + 1,
    };
    (alarm.test.name().to_owned(), bytes - 5 * BLOCK as u64)
}

/// Three blocks of independent bits that are one with probability `ones / 65536`.
fn biased(ones: u16) -> Vec<u8> {
    let noise = random(3 * BLOCK * 16);
    let (choices, _) = noise.as_chunks::<2>();
    let (bytes, _) = choices.as_chunks::<8>();
    let bit = |choice: &[u8; 2]| u8::from(u16::from_le_bytes(*choice) < ones);
    let byte = |bits: &[[u8; 2]; 8]| bits.iter().rev().fold(0, |byte, b| byte << 1 | bit(b));
    bytes.iter().map(byte).collect()
}

struct Row {
    name: &'static str,
    fault: Vec<u8>,
    /// Bytes at its begin that nobody could know to be faulty.
    innocent: usize,
    /// The tests that may latch it.
    by: &'static [&'static str],
    /// Within how many of its bytes.
    within: usize,
}

fn row(name: &'static str, fault: Vec<u8>, by: &'static [&'static str], within: usize) -> Row {
    Row {
        name,
        fault,
        innocent: 0,
        by,
        within,
    }
}

fn rows() -> Vec<Row> {
    const STATISTICS: &[&str] = &["bias", "chi-square", "autocorrelation"];
    const OF_BIAS: &[&str] = &["bias", "chi-square", "proportion-bits"];
    const OF_PERIODS: &[&str] = &["bias", "chi-square", "autocorrelation", "repeated-data"];
    const LENGTH: usize = 3 * BLOCK;
    let stuck_bit = random(LENGTH).iter().map(|byte| byte | 8).collect();
    let counter = (0..LENGTH).map(|i| i as u8).collect();
    let words = (0..LENGTH as u32 / 4).flat_map(u32::to_le_bytes).collect();
    let period = random(1000).into_iter().cycle().take(LENGTH).collect();
    vec![
        row("all zero", vec![0; LENGTH], &["repetition-bits"], 8),
        row("all one", vec![0xff; LENGTH], &["repetition-bits"], 8),
        row("stuck byte", vec![0x5a; LENGTH], &["repetition-bytes"], 9),
        row("stuck bit", stuck_bit, STATISTICS, BLOCK),
        row("byte counter", counter, STATISTICS, BLOCK),
        row("32-bit counter", words, &["proportion-bits"], BLOCK),
        row("period of 1000", period, OF_PERIODS, BLOCK),
        row("p = 0.55", biased(36_045), OF_BIAS, BLOCK),
        row("p = 0.51", biased(33_423), OF_BIAS, BLOCK),
        Row {
            innocent: BLOCK,
            ..row(
                "a block repeats",
                random(BLOCK).repeat(3),
                &["repeated-data"],
                2 * BLOCK,
            )
        },
    ]
}

/// Each kind of fault through the real collector, with the table of what caught it after how many
/// bytes. No byte of a block with the fault leaves, but for the first pass of what repeats.
#[test]
fn every_fault_is_latched_before_a_byte_of_it_leaves() {
    let rows = rows();
    let found: Vec<_> = thread::scope(|scope| {
        let run = |row: &Row| latched(&row.fault, row.innocent, row.by);
        let runs: Vec<_> = rows
            .iter()
            .map(|row| scope.spawn(move || run(row)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    println!("fault            | latched by       | after bytes | bytes that left");
    for (row, (test, bytes)) in rows.iter().zip(found) {
        println!(
            "{:16} | {test:16} | {bytes:11} | {}",
            row.name, row.innocent
        );
        assert!(bytes <= row.within as u64, "{}: {bytes}", row.name);
    }
}

/// Ends before the repetition of bytes is permanent.
#[test]
fn sixteen_zeros_are_enough() {
    latched(&[0; 16], 0, &["repetition-bits", "repetition-bytes"]);
}
