//! What goes wrong with a card, what the driver says then, and that it goes on when that ends.

use std::convert::Infallible;

use qrng::health::{Settings, Tier};
use qrng_collector::config::Conditioning;
use qrng_collector::refine::Refine;
use qrng_collector::source::Fault as Told;

use super::*;

/// Runs into `fault`, ends it, and goes on. Gives what was told.
fn through(bench: &mut Bench, fault: Fault) -> Failure {
    let mut got = bench.read_all(100_000, 65_536);
    bench.card.lock().inject(fault).unwrap();
    let (before, failure) = bench.until_failure();
    got.extend(before);
    assert_begins(&bench.good(), &got);
    // It is told again as long as it lasts, and nothing comes meanwhile.
    for _ in 0..3 {
        let (bytes, _) = bench.until_failure();
        assert_eq!(bytes, [0; 0]);
    }
    bench.card.lock().clear();
    assert_continues(bench, got.len());
    failure
}

/// Reads again; the bytes are good ones, in order, and later than the first `count` ones.
fn assert_continues(bench: &mut Bench, count: usize) {
    let mut got = bench.recover();
    got.extend(bench.read_all(300_000, 65_536));
    let good = bench.good();
    let later = &good[count..];
    let start = later.windows(64).position(|bytes| bytes == &got[..64]);
    assert_begins(&later[start.expect("bytes of the stream")..], &got);
}

/// Reads until the card says that these chips have packet errors.
fn until_errors(bench: &mut Bench, chips: u64) -> Vec<u8> {
    let mut got = Vec::new();
    for _ in 0..READS {
        if bench.xdma.sensors()["chip_packet_errors"] == chips {
            return got;
        }
        got.extend(bench.read(65_536).unwrap());
    }
    panic!("{:?}", bench.xdma.sensors());
}

#[test]
fn a_stalled_transfer_is_silence_and_ends_with_the_stall() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let failure = through(&mut bench, Fault::Hang);
    assert_eq!(failure.fault, Told::Silent);
    bench.assert_allowed();
    let (opened, closed, cut_off) = bench.watch.counts();
    assert_eq!((opened, cut_off), (closed + 1, closed));
}

#[test]
fn a_card_that_can_not_be_reset_ends_its_old_transfer_first() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.watch.forbid_resets();
    let failure = through(&mut bench, Fault::Hang);
    assert_eq!(failure.fault, Told::Silent);
    bench.assert_allowed();
}

#[test]
fn a_card_that_is_gone_is_told_and_found_again() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let serial = bench.xdma.identity().serial.clone();
    let failure = through(&mut bench, Fault::Gone);
    assert_eq!(failure.fault, Told::Gone);
    assert_eq!(bench.xdma.identity().serial, serial);
    bench.assert_allowed();
}

#[test]
fn an_absent_card_is_unavailable() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.card.lock().inject(Fault::Gone).unwrap();
    assert_eq!(bench.until_failure().1.fault, Told::Gone);
    assert_eq!(bench.until_failure().1.fault, Told::Unavailable);
    let slot = CardSlot::new(&bench.card);
    let opened = Xdma::open(
        "x",
        Mode::Rng,
        Box::new(slot),
        Box::new(bench.clock.clone()),
    );
    assert_eq!(opened.err().map(|e| e.fault), Some(Told::Unavailable));
}

#[test]
fn a_card_that_the_kernel_takes_back_is_let_go() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let got = bench.read_all(100_000, 65_536);
    bench.watch.take_back(true);
    let (more, failure) = bench.until_failure();
    assert_eq!(failure.fault, Told::Gone);
    assert!(failure.text.contains("taken the card back"), "{failure}");
    assert_eq!(bench.watch.counts(), (1, 1, 1));
    bench.watch.take_back(false);
    assert_continues(&mut bench, got.len() + more.len());
    bench.assert_allowed();
}

#[test]
fn failing_chips_are_told_and_the_others_served() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    let mut got = bench.read_all(100_000, 65_536);
    for chip in [1, 4] {
        bench.card.lock().inject(Fault::PacketError(chip)).unwrap();
    }
    got.extend(until_errors(&mut bench, 0b10010));
    assert_eq!(bench.xdma.sensors()["chips_present"], 0xFFF);
    got.extend(bench.read_all(3_000_000, 65_536));
    bench.card.lock().clear();
    got.extend(until_errors(&mut bench, 0));
    assert_begins(&bench.good(), &got);
    bench.assert_allowed();
    assert_eq!(bench.watch.counts(), (1, 0, 0));
}

#[test]
fn a_card_without_a_working_chip_is_unhealthy() {
    let config = ChipConfig {
        model: Model::M40,
        ..patient()
    };
    let card = Shared::stepped(ChipCard::new(config));
    card.lock().inject(Fault::PacketError(1)).unwrap();
    let mut bench = Bench::of(card, Mode::Rng);
    let failure = through(&mut bench, Fault::PacketError(0));
    assert_eq!(failure.fault, Told::Unhealthy);
    assert!(failure.text.contains("no chip works"), "{failure}");
    assert_eq!(bench.xdma.sensors()["chip_packet_errors"], 0);
    bench.assert_allowed();
}

#[test]
fn a_card_that_does_not_become_ready_is_unhealthy_until_it_does() {
    let card = Shared::stepped(ChipCard::new(patient()));
    card.lock().inject(Fault::Hang).unwrap();
    let mut bench = Bench::of(card, Mode::Rng);
    // It was opened nevertheless, and so known.
    assert!(bench.xdma.identity().serial.is_some());
    let failure = bench.read(100).unwrap_err();
    assert_eq!(failure.fault, Told::Unhealthy);
    assert!(failure.text.contains("not ready"), "{failure}");
    bench.card.lock().clear();
    assert_continues(&mut bench, 0);
    bench.assert_allowed();
}

#[test]
fn another_card_in_its_place_is_refused() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.read_all(1000, 1000);
    let other = ChipConfig {
        serial: *b"9907001Q240",
        ..patient()
    };
    let first = bench.card.clone();
    *bench.slot.lock().unwrap() = Shared::stepped(ChipCard::new(other));
    first.lock().inject(Fault::Gone).unwrap();
    bench.until_failure();
    let failure = bench.read(100).unwrap_err();
    assert_eq!(failure.fault, Told::Unavailable);
    assert!(failure.text.contains("9907001Q240"), "{failure}");
    assert_eq!(bench.xdma.identity().serial.as_deref(), Some("2407001Q240"));
    // The right one comes back.
    first.lock().clear();
    *bench.slot.lock().unwrap() = first;
    assert_continues(&mut bench, 1000);
}

#[test]
fn an_error_of_the_engine_is_told_and_the_ring_set_up_anew() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.read_all(100_000, 65_536);
    // The magic numbers of all descriptors are lost.
    let memory = bench.watch.memory();
    for descriptor in 0..BUFFERS {
        memory.store(descriptor * 32, 0);
    }
    let (_, failure) = bench.until_failure();
    assert_eq!(failure.fault, Told::Io);
    assert!(failure.text.contains("magic number"), "{failure}");
    bench.recover();
}

#[test]
fn what_can_not_be_is_not_believed() {
    // The count of completed descriptors, and the lengths of buffers that the driver has not looked at.
    let unseen = |bench: &mut Bench| {
        let got = bench.read_all(100_000, 65_536);
        bench.clock.pass(Duration::from_millis(5));
        got
    };
    for count in [5_000, 0x00ff_ffff] {
        let mut bench = Bench::new(patient(), Mode::Rng);
        unseen(&mut bench);
        bench.watch.memory().store(0x4000, count);
        let (bytes, failure) = bench.until_failure();
        assert_eq!(failure.fault, Told::Nonsense, "{failure}");
        assert!(bytes.len() <= BUFFERS * BUFFER);
        bench.recover();
    }
    for length in [0, BUFFER as u64 + 1, 0xffff_ffff] {
        let mut bench = Bench::new(patient(), Mode::Rng);
        let got = unseen(&mut bench);
        let memory = bench.watch.memory();
        for result in 0..BUFFERS {
            memory.store(0x2000 + result * 32, 0x52b4_0001 | length << 32);
        }
        let (bytes, failure) = bench.until_failure();
        assert_eq!(failure.fault, Told::Nonsense, "{failure}");
        assert_begins(&bench.good(), &[got, bytes].concat());
        bench.recover();
    }
}

#[test]
fn bytes_are_passed_on_as_they_are() {
    for (fault, byte) in [(Fault::Zeros, 0), (Fault::Ones, 0xFF)] {
        let mut bench = Bench::new(patient(), Mode::Rng);
        let mut got = bench.read_all(100_000, 65_536);
        bench.card.lock().inject(fault).unwrap();
        got.extend(bench.read_all(3_000_000, 65_536));
        bench.card.lock().clear();
        got.extend(bench.read_all(3_000_000, 65_536));
        let altered = got
            .windows(1000)
            .position(|bytes| bytes.iter().all(|b| *b == byte));
        let start = altered.expect("the fault's bytes");
        let count = got[start..].iter().take_while(|b| **b == byte).count();
        assert!(count > 1_000_000, "{count}");
        // A good byte at either end may look the same.
        got.drain(start + 8..start + count);
        let good = bench.good();
        assert_begins(&good, &got[..start]);
        let after = &got[start + 8..];
        let goes_on = (start..start + 8).any(|at| good[at..].starts_with(after));
        assert!(goes_on, "good bytes after the fault");
        bench.assert_allowed();
    }
}

#[test]
fn the_health_tests_catch_what_is_no_noise() {
    for fault in [Fault::Zeros, Fault::Ones, Fault::Stuck, Fault::Biased] {
        let mut bench = Bench::new(patient(), Mode::Rng);
        let settings = Settings::new("card");
        let mut refine = Refine::new(Some(settings), Conditioning::NONE).unwrap();
        // What comes out of twenty blocks, and the alarms.
        let mut feed = |bench: &mut Bench| {
            let (mut out, mut alarms) = (0, 0);
            for _ in 0..20 * 16 {
                let room = refine.room();
                let wanted = room.len().min(BUFFER);
                let bytes = bench.read_all(wanted, wanted);
                room[..wanted].copy_from_slice(&bytes);
                let served = |bytes: &[u8]| -> Result<(), Infallible> {
                    out += bytes.len();
                    Ok(())
                };
                let now = bench.clock.passed().as_micros() as u64;
                if let Some(alarm) = refine.advance(wanted, now, served).unwrap() {
                    alarms += 1;
                    if alarm.tier == Tier::Permanent {
                        refine.clear();
                    }
                }
            }
            (out, alarms)
        };
        let (out, alarms) = feed(&mut bench);
        assert!(out > 0 && alarms == 0, "{out} {alarms}");
        bench.card.lock().inject(fault).unwrap();
        // What was good and still on its way.
        bench.read_all(2 * BUFFERS * BUFFER, 65_536);
        let (out, alarms) = feed(&mut bench);
        assert!(out == 0 && alarms > 0, "{fault}: {out} {alarms}");
        bench.card.lock().clear();
        bench.read_all(2 * BUFFERS * BUFFER, 65_536);
        let (out, _) = feed(&mut bench);
        assert!(out > 0, "{fault}: nothing after its end");
    }
}

#[test]
fn reads_keep_their_deadlines_while_the_card_is_initialised() {
    let mut bench = Bench::new(patient(), Mode::Rng);
    bench.card.lock().inject(Fault::Gone).unwrap();
    bench.until_failure();
    bench.card.lock().clear();
    // The initialisation takes half a second, so the first reads give nothing, and none waits for it.
    let mut empty = 0;
    loop {
        let start = bench.clock.now();
        let bytes = bench.read(100).unwrap();
        let took = bench.clock.now() - start;
        assert!(took <= READ + Duration::from_millis(1), "{took:?}");
        if !bytes.is_empty() {
            break;
        }
        empty += 1;
    }
    assert!(empty >= 9, "{empty}");
    bench.assert_allowed();
}
