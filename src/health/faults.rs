//! Faults put into good data: which test catches each, after how many bytes, and what was served.

use super::rate::WINDOW_US;
use super::testdata::{Good, good, set_bits};
use super::*;

/// Bytes of good data before a fault begins, start-up included: whole blocks.
const GOOD_BYTES: usize = 4 * BLOCK;

/// Bytes a second that the tested source is expected to make.
const RATE: u64 = 50_000;

/// A fault, as a change to the next block.
type Fault = Box<dyn FnMut(&mut [u8])>;

struct Outcome {
    first: Option<Alarm>,
    latch: Option<Alarm>,
    /// Bytes from the fault's begin to the last byte that the alarm needed.
    bytes_to_first: u64,
    bytes_to_latch: u64,
    /// Bytes of faulty data that were served before the latch.
    served_before_latch: u64,
    served_after_latch: u64,
    /// Every test that failed permanently at the latch.
    tests: Vec<&'static str>,
}

/// Serves good data, then blocks with the fault until the source latches or `limit` bytes have come,
/// then some more.
fn run(mut fault: Fault, limit: u64, rate: u64) -> Outcome {
    let mut settings = Settings::new("simulated");
    settings.expected_rate = Some(RATE);
    let mut gate = Gate::new(settings).unwrap();
    let mut stream = Good::new(1);
    let mut block = vec![0; BLOCK];
    let mut now_us = 0;
    let mut served = 0;
    for _ in 0..GOOD_BYTES / BLOCK {
        stream.fill(&mut block);
        now_us += BLOCK as u64 * 1_000_000 / RATE;
        assert_eq!(gate.push(&block, now_us, |bytes| served += bytes.len()), []);
    }
    assert_eq!(
        served,
        GOOD_BYTES - BLOCK,
        "all but the start-up block is served"
    );

    let mut outcome = Outcome {
        first: None,
        latch: None,
        bytes_to_first: 0,
        bytes_to_latch: 0,
        served_before_latch: 0,
        served_after_latch: 0,
        tests: Vec::new(),
    };
    let mut faulty = 0;
    let mut after_latch = 0;
    while faulty < limit && after_latch < 4 {
        stream.fill(&mut block);
        fault(&mut block);
        now_us += BLOCK as u64 * 1_000_000 / rate;
        faulty += BLOCK as u64;
        let mut served = 0;
        // Packets do not end where blocks do, but blocks are pushed whole here, so that what is
        // served of a faulty block is known.
        for alarm in gate.push(&block, now_us, |bytes| served += bytes.len() as u64) {
            let needed = match alarm.test.unit() {
                "bit" => alarm.sample / 8 + 1,
                _ => alarm.sample + 1,
            };
            let bytes = needed - GOOD_BYTES as u64;
            assert_eq!(served, 0, "nothing of a block that failed is served");
            outcome.first.get_or_insert_with(|| {
                outcome.bytes_to_first = bytes;
                alarm.clone()
            });
            if alarm.tier == Tier::Permanent {
                outcome.bytes_to_latch = bytes;
                outcome.latch = Some(alarm);
            }
        }
        if outcome.latch.is_some() {
            after_latch += 1;
            outcome.served_after_latch += served;
        } else {
            outcome.served_before_latch += served;
        }
    }
    let failed = |test: &Test| gate.monitor().findings(*test, Tier::Permanent) > 0;
    outcome.tests = Test::ALL
        .into_iter()
        .filter(failed)
        .map(Test::name)
        .collect();
    outcome
}

/// Each bit is one with probability `ones / 65536`, independently.
fn biased(ones: u16) -> Fault {
    let mut choices = Good::new(2);
    let mut choice = vec![0; 16 * BLOCK];
    Box::new(move |block| {
        choices.fill(&mut choice);
        let (words, _) = choice.as_chunks::<2>();
        let (bits, _) = words.as_chunks::<8>();
        for (byte, bits) in block.iter_mut().zip(bits) {
            let bit = |i: usize| u8::from(u16::from_le_bytes(bits[i]) < ones) << i;
            *byte = (0..8).map(bit).sum();
        }
    })
}

/// The same bytes over and over.
fn periodic(pattern: Vec<u8>) -> Fault {
    let mut at = 0;
    Box::new(move |block| {
        for byte in block {
            *byte = pattern[at % pattern.len()];
            at += 1;
        }
    })
}

fn constant(value: u8) -> Fault {
    Box::new(move |block| block.fill(value))
}

/// Each bit repeats the one `lag` places before with probability `(1 + rho / 256) / 2`.
fn echo(lag: usize, rho: u8) -> Fault {
    let mut choices = Good::new(3);
    let mut choice = vec![0; 8 * BLOCK];
    Box::new(move |block| {
        choices.fill(&mut choice);
        for i in (lag..8 * BLOCK).filter(|&i| choice[i] < rho) {
            let earlier = (block[(i - lag) / 8] >> ((i - lag) % 8)) & 1 == 1;
            set_bits(block, i..i + 1, earlier);
        }
    })
}

struct Row {
    name: &'static str,
    fault: Fault,
    rate: u64,
    /// The tests that may raise the latching alarm.
    caught_by: &'static [Test],
    /// Most bytes from the fault's begin to the first alarm, and to the latch.
    within: (u64, u64),
    /// Most faulty bytes served before the latch.
    served: u64,
}

fn row(name: &'static str, fault: Fault, by: &'static [Test], within: (u64, u64)) -> Row {
    Row {
        name,
        fault,
        rate: RATE,
        caught_by: by,
        within,
        served: 0,
    }
}

fn rows() -> Vec<Row> {
    use Test::*;
    const KIB: u64 = 1024;
    let one_block = (64 * KIB, 64 * KIB);
    let statistics: &[Test] = &[ChiSquare, Bias, Autocorrelation];
    let mut count = 0_u32;
    let counter_32: Fault = Box::new(move |block| {
        for word in block.as_chunks_mut::<4>().0 {
            *word = count.to_le_bytes();
            count += 1;
        }
    });
    vec![
        row("all zero", constant(0), &[RepetitionBits], (8, 8)),
        row("all ones", constant(0xff), &[RepetitionBits], (8, 8)),
        row(
            "stuck byte 0x5a",
            constant(0x5a),
            &[RepetitionBytes],
            (9, 10),
        ),
        row(
            "stuck bit (bit 3 of each byte)",
            Box::new(|block| block.iter_mut().for_each(|byte| *byte |= 8)),
            statistics,
            one_block,
        ),
        row(
            "byte counter",
            periodic((0..=255).collect()),
            statistics,
            one_block,
        ),
        row(
            "32-bit counter",
            counter_32,
            &[RepetitionBits, ProportionBits, ProportionBytes, ChiSquare],
            one_block,
        ),
        row(
            "period of 7 bytes",
            periodic(good(40, 7)),
            &[ProportionBytes, ProportionBits],
            (KIB, KIB),
        ),
        row(
            "period of 1000 bytes",
            periodic(good(41, 1000)),
            &[ChiSquare, RepeatedData],
            one_block,
        ),
        row(
            "period of 20,000 bytes",
            periodic(good(42, 20_000)),
            &[RepeatedData, ChiSquare],
            one_block,
        ),
        row(
            "repeating 64 KiB block",
            periodic(good(43, BLOCK)),
            &[RepeatedData],
            (128 * KIB, 128 * KIB),
        ),
        row(
            "repeating 1,000,003 bytes",
            periodic(good(44, 1_000_003)),
            &[RepeatedData],
            (1088 * KIB, 1088 * KIB),
        ),
        row(
            "bias 5 % (p = 0.55)",
            biased(36_045),
            &[Bias, ChiSquare, ProportionBits],
            one_block,
        ),
        row(
            "bias 1 % (p = 0.51)",
            biased(33_423),
            &[Bias, ChiSquare],
            one_block,
        ),
        row(
            "bias 0.5 % (p = 0.505)",
            biased(33_096),
            &[Bias, RepeatedAlarms],
            (256 * KIB, 1024 * KIB),
        ),
        row(
            "echo after 1 bit (rho 0.03)",
            echo(1, 8),
            statistics,
            one_block,
        ),
        row(
            "echo after 9 bits (rho 0.03)",
            echo(9, 8),
            &[Autocorrelation],
            one_block,
        ),
        Row {
            rate: RATE * 2 / 5,
            ..row(
                "rate drop to 40 %",
                Box::new(|_| {}),
                &[Rate],
                (20 * RATE, 40 * RATE),
            )
        },
    ]
}

#[test]
fn every_fault_is_caught_in_time() {
    println!(
        "{:31} | {:>16} {:>8} | {:>16} {:>8} {:>7} | {:>5} | all that failed",
        "fault", "first alarm", "bytes", "latched by", "bytes", "served", "after",
    );
    for mut row in rows() {
        // What one undetected pass through the data leaves to be served, as nothing is wrong yet.
        row.served = row.within.1.saturating_sub(64 * 1024);
        let outcome = run(row.fault, 3 * row.within.1 + 16 * BLOCK as u64, row.rate);
        let first = outcome
            .first
            .unwrap_or_else(|| panic!("{} was not caught", row.name));
        let latch = outcome
            .latch
            .unwrap_or_else(|| panic!("{} did not latch", row.name));
        println!(
            "{:31} | {:>16} {:>8} | {:>16} {:>8} {:>7} | {:>5} | {}",
            row.name,
            first.test.name(),
            outcome.bytes_to_first,
            latch.test.name(),
            outcome.bytes_to_latch,
            outcome.served_before_latch,
            outcome.served_after_latch,
            outcome.tests.join(" "),
        );
        assert!(row.caught_by.contains(&latch.test), "{}: {latch}", row.name);
        assert!(
            outcome.bytes_to_first <= row.within.0,
            "{}: {first}",
            row.name
        );
        assert!(
            outcome.bytes_to_latch <= row.within.1,
            "{}: {latch}",
            row.name
        );
        assert!(outcome.served_before_latch <= row.served, "{}", row.name);
        assert_eq!(outcome.served_after_latch, 0, "{}", row.name);
    }
}

#[test]
fn silence_is_reported_and_start_up_follows() {
    let mut settings = Settings::new("simulated");
    settings.expected_rate = Some(RATE);
    let mut gate = Gate::new(settings).unwrap();
    assert_eq!(
        gate.push(&good(50, 3 * BLOCK / 2), 0, |_| panic!("start-up")),
        []
    );
    assert_eq!(gate.monitor().state(), State::Passing);
    let alarm = gate.tick(WINDOW_US).unwrap();
    assert_eq!(
        (alarm.test, alarm.tier),
        (Test::Silence, Tier::Intermittent)
    );
    assert_eq!(
        (gate.monitor().state(), gate.held_bytes()),
        (State::Starting, 0)
    );
}
