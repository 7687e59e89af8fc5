//! How verdicts follow one another, and how often good data fails.

use super::testdata::{Good, good, set_bits};
use super::*;

/// Good data, block after block.
struct Source {
    monitor: Monitor,
    stream: Good,
    block: Vec<u8>,
}

impl Source {
    fn new(settings: Settings) -> Self {
        Self {
            block: vec![0; settings.block_bytes],
            monitor: Monitor::new(settings).unwrap(),
            stream: Good::new(60),
        }
    }

    fn next(&mut self, fault: impl Fn(&mut [u8])) -> Verdict {
        self.stream.fill(&mut self.block);
        fault(&mut self.block);
        self.monitor.examine(&self.block, 7)
    }

    fn good(&mut self) -> Verdict {
        self.next(|_| {})
    }

    /// A run of 45 bits: beyond the intermittent cutoff of 42, short of the permanent one of 63.
    fn hiccup(&mut self) -> Verdict {
        self.next(|block| set_bits(block, 1003..1048, true))
    }
}

fn small() -> Settings {
    Settings {
        block_bytes: 8192,
        ..Settings::new("slow")
    }
}

#[test]
fn an_intermittent_alarm_discards_the_block_and_starts_again() {
    let mut source = Source::new(Settings::new("card"));
    assert_eq!(source.monitor.state(), State::Starting);
    assert_eq!(source.good(), Verdict::StartUp);
    assert_eq!(source.good(), Verdict::Serve);
    let Verdict::Discard(alarm) = source.hiccup() else {
        panic!("intermittent")
    };
    assert_eq!(
        (alarm.test, alarm.tier),
        (Test::RepetitionBits, Tier::Intermittent)
    );
    // The run may be longer than was put in, and so begin earlier; the cutoff is crossed within it.
    let place = alarm.sample - 2 * 8 * BLOCK as u64;
    assert!((1030..1048).contains(&place), "{place}");
    assert_eq!((alarm.source.as_str(), alarm.at_us), ("card", 7));
    assert_eq!(source.good(), Verdict::StartUp);
    assert_eq!(source.good(), Verdict::Serve);
    let summary = source.monitor.summary();
    assert_eq!(summary.passed_bytes, 2 * BLOCK as u64);
    assert_eq!(summary.examined_bytes, 5 * BLOCK as u64);
    assert_eq!(
        (summary.intermittent_alarms, summary.permanent_alarms),
        (1, 0)
    );
    assert_eq!(summary.findings, [(Test::RepetitionBits, [1, 0])].into());
    assert!(
        summary
            .min_entropy_per_byte
            .is_some_and(|entropy| entropy > 7.5)
    );
    assert_eq!(summary.last_alarm, Some(alarm));
}

#[test]
fn a_latch_lasts_until_an_operator_clears_it() {
    let mut source = Source::new(Settings::new("card"));
    let verdict = source.next(|block| block.fill(0));
    assert_eq!(
        verdict.alarm().map(|alarm| alarm.tier),
        Some(Tier::Permanent)
    );
    assert!(matches!(verdict, Verdict::Latch(_)));
    for _ in 0..3 {
        assert_eq!(source.good(), Verdict::Latched);
        source.monitor.restart();
        assert_eq!(source.monitor.tick(1 << 40), None);
    }
    assert_eq!(source.monitor.summary().examined_bytes, BLOCK as u64);
    assert!(source.monitor.clear());
    assert!(!source.monitor.clear());
    assert_eq!(source.good(), Verdict::StartUp);
    assert_eq!(source.good(), Verdict::Serve);
}

#[test]
fn a_latch_of_an_earlier_run_lasts_as_well() {
    let mut first = Source::new(Settings::new("card"));
    let verdict = first.next(|block| block.fill(0));
    let mut source = Source::new(Settings::new("card"));
    source.monitor.latch(verdict.alarm().unwrap().clone());
    assert_eq!(source.good(), Verdict::Latched);
    let summary = source.monitor.summary();
    assert_eq!(summary.last_alarm.as_ref(), verdict.alarm());
    assert_eq!(
        (summary.state, summary.permanent_alarms),
        (State::Latched, 0)
    );
    assert!(source.monitor.clear());
    assert_eq!(source.good(), Verdict::StartUp);
}

#[test]
fn the_third_alarm_within_2_30_bits_is_permanent() {
    let mut source = Source::new(small());
    for _ in 0..2 {
        assert!(matches!(source.hiccup(), Verdict::Discard(_)));
        source.monitor.restart();
    }
    let Verdict::Latch(alarm) = source.hiccup() else {
        panic!("permanent")
    };
    assert_eq!((alarm.test, alarm.statistic), (Test::RepeatedAlarms, 3.0));
    assert!(source.monitor.clear());
    assert!(
        matches!(source.hiccup(), Verdict::Discard(_)),
        "clear() forgets the others"
    );
}

#[test]
fn small_blocks_are_judged_by_the_sample_at_once_and_by_statistics_at_64_kib() {
    let mut source = Source::new(small());
    for _ in 0..8 {
        assert_eq!(source.good(), Verdict::StartUp, "start-up takes 64 KiB");
    }
    assert_eq!(source.good(), Verdict::Serve);
    assert!(matches!(source.hiccup(), Verdict::Discard(_)));
    for _ in 0..8 {
        assert_eq!(source.good(), Verdict::StartUp);
    }
    let stuck_bit = |block: &mut [u8]| block.iter_mut().for_each(|byte| *byte |= 8);
    for _ in 0..7 {
        assert_eq!(
            source.next(stuck_bit),
            Verdict::Serve,
            "SP 800-90B cannot see it"
        );
    }
    assert!(matches!(source.next(stuck_bit), Verdict::Latch(_)));
}

#[test]
fn a_biased_source_is_judged_by_its_claim() {
    let mut settings = Settings::new("raw");
    settings.uniform = false;
    settings.entropy_per_bit = 0.4;
    settings.entropy_per_byte = 3.2;
    let mut source = Source::new(settings);
    let mut other = Good::new(61);
    let mut mask = vec![0; BLOCK];
    other.fill(&mut mask);
    let three_quarters = |block: &mut [u8]| {
        block
            .iter_mut()
            .zip(&mask)
            .for_each(|(byte, mask)| *byte |= mask);
    };
    assert_eq!(source.next(three_quarters), Verdict::StartUp);
    assert_eq!(source.next(three_quarters), Verdict::Serve);
    let verdict = source.next(|block| block.fill(0xf7));
    assert!(matches!(verdict, Verdict::Latch(_)));
}

#[test]
fn other_lengths_are_refused() {
    let mut source = Source::new(Settings::new("card"));
    for length in [0, 1, BLOCK - 1, BLOCK + 1] {
        let verdict = source.monitor.examine(&vec![0; length], 0);
        assert_eq!(verdict, Verdict::WrongLength);
        assert!(!verdict.may_serve());
    }
    assert_eq!(source.good(), Verdict::StartUp);
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = Settings::new("card");
        change(&mut settings);
        Monitor::new(settings).err().expect("refused").to_string()
    };
    assert!(refused(|s| s.entropy_per_bit = 0.0).contains("per bit is 0"));
    assert!(refused(|s| s.entropy_per_bit = 1.01).contains("per bit"));
    assert!(refused(|s| s.entropy_per_byte = f64::NAN).contains("per byte"));
    assert!(refused(|s| s.entropy_per_byte = 8.5).contains("per byte"));
    assert!(refused(|s| s.block_bytes = 4096).contains("8, 16, 32 or 64 KiB"));
    assert!(refused(|s| s.block_bytes = 65_535).contains("65535 bytes"));
    assert!(refused(|s| s.block_bytes = 1 << 17).contains("131072 bytes"));
    assert!(refused(|s| s.expected_rate = Some(0)).contains("rate of 0"));
    let slow = refused(|s| s.expected_rate = Some(16_383));
    assert!(slow.contains("expect 16384 B/s or more"), "{slow}");
}

/// Blocks come so seldom that windows hold two or three of them, at every phase of the clock.
#[test]
fn the_slowest_rate_that_may_be_expected_raises_no_alarm() {
    const SECOND: u64 = 1_000_000;
    for block_bytes in [8192, BLOCK] {
        let mut settings = Settings::new("slow");
        settings.block_bytes = block_bytes;
        settings.expected_rate = Some(settings.least_rate());
        for phase_us in (0..4 * SECOND).step_by(370_000) {
            let mut source = Source::new(settings.clone());
            let mut next_us = phase_us;
            for second in 0..400 {
                let now_us = second * SECOND;
                while next_us <= now_us {
                    source.stream.fill(&mut source.block);
                    let verdict = source.monitor.examine(&source.block, next_us);
                    assert_eq!(verdict.alarm(), None, "{phase_us}");
                    next_us += 4 * SECOND;
                }
                assert_eq!(source.monitor.tick(now_us), None, "{phase_us} {second}");
            }
        }
    }
}

/// A gate gives out exactly the bytes after start-up, in order, whatever the packets.
#[test]
fn a_gate_serves_every_byte_that_passed_once() {
    let data = good(62, 5 * BLOCK + 1234);
    let mut gate = Gate::new(Settings::new("card")).unwrap();
    let mut served = Vec::new();
    for packet in data.chunks(1355) {
        assert_eq!(
            gate.push(packet, 0, |bytes| served.extend_from_slice(bytes)),
            []
        );
    }
    assert!(served == data[BLOCK..5 * BLOCK]);
    assert_eq!(gate.held_bytes(), 1234);
    gate.restart();
    assert_eq!(
        (gate.held_bytes(), gate.monitor().state()),
        (0, State::Starting)
    );
}

/// After a latch in the middle of a packet nothing comes out, of this packet or a later one.
#[test]
fn a_gate_serves_nothing_of_a_tainted_block() {
    let mut data = good(63, 6 * BLOCK);
    data[3 * BLOCK + 40_000..][..16].fill(0);
    let mut gate = Gate::new(Settings::new("card")).unwrap();
    let (mut served, mut alarms) = (0, 0);
    for packet in data.chunks(100_000) {
        alarms += gate.push(packet, 0, |bytes| served += bytes.len()).len();
    }
    assert_eq!((served, alarms), (2 * BLOCK, 1));
    assert_eq!(gate.monitor().state(), State::Latched);
    assert!(gate.clear());
    assert_eq!(gate.held_bytes(), 0);
}

/// Good data fails lax limits as often as they say; the limits in use differ by the exponent alone.
#[test]
fn false_alarms_come_at_the_stated_rate() {
    let blocks = if cfg!(debug_assertions) { 96 } else { 20_000 };
    let lax = [-3.0, -5.0];
    let mut autocorrelation = autocorrelation::Autocorrelation::new(lax);
    let mut histogram = histogram::Histogram::new();
    let tests = histogram::HistogramTests::new(7.84, lax);
    let mut stream = Good::new(64);
    let mut block = vec![0; BLOCK];
    let mut failed = [[0_u32; 2]; 3];
    for _ in 0..blocks {
        stream.fill(&mut block);
        histogram.reset();
        histogram.add(&block);
        let (pieces, _) = block.as_chunks();
        let correlated = pieces
            .iter()
            .filter_map(|piece| autocorrelation.piece(piece))
            .last();
        let found = [
            tests.chi_square(&histogram),
            tests.bias(&histogram),
            correlated,
        ];
        for (failed, finding) in failed.iter_mut().zip(found) {
            let Some(finding) = finding else { continue };
            failed[0] += 1;
            failed[1] += u32::from(finding.tier == Tier::Permanent);
        }
    }
    println!(
        "of {blocks} blocks failed at 2^-3 and 2^-5: chi-square, bias, autocorrelation {failed:?}"
    );
    for (test, failed) in failed.into_iter().enumerate() {
        for (exponent, count) in lax.into_iter().zip(failed) {
            let expected = f64::from(blocks) * f64::exp2(exponent);
            let slack = 5.0 * expected.sqrt();
            assert!(
                f64::from(count) < expected + slack,
                "{test}: {count} {expected}"
            );
            // The screens of the autocorrelation take most alarms at limits as lax as these away.
            let least = if test == 2 { 0.0 } else { expected };
            assert!(
                f64::from(count) > least - slack,
                "{test}: {count} {expected}"
            );
        }
    }
}

/// 8 MiB without an alarm; the benchmark examines 8 GiB.
#[test]
fn good_data_raises_no_alarm() {
    let mut source = Source::new(Settings::new("card"));
    assert_eq!(source.good(), Verdict::StartUp);
    for _ in 0..128 {
        assert_eq!(source.good(), Verdict::Serve);
    }
}
