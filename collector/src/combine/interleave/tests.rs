use std::thread;
use std::time::Duration;

use qrng::condition::combine::{Combining, Identity, Member, Policy};
use qrng::report::{Kind, Kinds};

use super::*;
use crate::block::ring;
use crate::config::CombineConfig;
use crate::stats::Combined;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);
const CUT: Cut = Cut { full: 10, least: 4 };
const USB: Kinds = Kinds::of(Kind::Usb);
const CHIP: Kinds = Kinds::of(Kind::PcieChip);

/// Two sources: a USB generator and a chip card.
fn config(policy: Policy) -> CombineConfig {
    let members = [(Kind::Usb, "a"), (Kind::PcieChip, "b")].map(|(kind, name)| Member {
        identity: Identity {
            kind,
            serial: Some(name.into()),
            path: None,
        },
        group: name.into(),
        min_entropy: 0.98,
    });
    let combination = Combination::new(Combining::Interleave, policy, members.into());
    CombineConfig {
        combination: combination.unwrap(),
        unit: 1,
        method: "interleave",
        policy,
    }
}

/// Gives `bytes` to the stage; none is word of a failure.
fn give(source: &Filler<Block>, bytes: &[u8]) {
    let mut block = source.empty.recv_timeout(PATIENCE).unwrap();
    assert!(block.filled().is_empty());
    block.room()[..bytes.len()].copy_from_slice(bytes);
    block.advance(bytes.len());
    assert!(source.full.send(block).is_ok());
}

/// The next block that comes out.
fn take(out: &User<Block>) -> (Vec<u8>, Kinds) {
    let mut block = out.full.recv_timeout(PATIENCE).unwrap();
    let taken = (block.filled().to_vec(), block.kinds);
    block.wipe();
    assert!(out.empty.send(block).is_ok());
    taken
}

/// Bytes of these kinds that come out, until there are `count`; nothing else may come.
fn take_all(out: &User<Block>, wanted: Kinds, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let (bytes, kinds) = take(out);
        assert_eq!(kinds, wanted);
        all.extend(bytes);
    }
    all
}

/// Runs the stage while `test` plays the others.
fn with_stage(policy: Policy, test: impl FnOnce([Filler<Block>; 2], User<Block>, &Stats)) {
    let (a, from_a) = ring(4, || Block::new(100));
    let (b, from_b) = ring(4, || Block::new(100));
    let (to_seal, out) = ring(4, || Block::new(50));
    let stats = Stats::default();
    thread::scope(|scope| {
        let (config, stats) = (config(policy), &stats);
        let rings = vec![from_a, from_b];
        let stage =
            scope.spawn(move || crate::combine::run(config, rings, 100, &to_seal, CUT, stats));
        // By value, so that the stage ends when the test fails.
        test([a, b], out, stats);
        // The sources are gone now.
        assert!(stage.join().unwrap().is_err());
    });
}

#[test]
fn every_byte_comes_once_in_order_and_under_its_own_kind() {
    // Blocks of all lengths, so that packets do not end with them.
    let blocks = (0..400u32).map(|n| ((n % 3 == 0) as usize, vec![n as u8; (n % 97 + 1) as usize]));
    let blocks: Vec<(usize, Vec<u8>)> = blocks.collect();
    let of = |source| {
        let own = blocks.iter().filter(move |(from, _)| *from == source);
        own.flat_map(|(_, bytes)| bytes.clone())
            .collect::<Vec<u8>>()
    };
    let from = [of(0), of(1)];
    with_stage(Policy::RequireAll, |sources, out, stats| {
        thread::scope(|scope| {
            let drain = scope.spawn(|| {
                let out = out;
                let mut came = [Vec::new(), Vec::new()];
                // The last few bytes are too few for a packet.
                let missing = |came: &[Vec<u8>; 2]| {
                    (0..2).any(|n| came[n].len() + CUT.least <= from[n].len())
                };
                while missing(&came) {
                    let (bytes, kinds) = take(&out);
                    came[(kinds == CHIP) as usize].extend(bytes);
                }
                came
            });
            for (source, bytes) in &blocks {
                give(&sources[*source], bytes);
            }
            let came = drain.join().unwrap();
            for (came, from) in came.iter().zip(&from) {
                assert!(from.starts_with(came));
            }
            let all: usize = from.iter().map(Vec::len).sum();
            assert_eq!(stats.bytes_acquired(), all as u64);
        });
    });
}

#[test]
fn nothing_waits_for_the_other_source() {
    with_stage(Policy::RequireAll, |[a, _b], out, stats| {
        give(&a, &[1; 60]);
        assert_eq!(take_all(&out, USB, 60), [1; 60]);
        assert_eq!(stats.combined().unwrap().working, 2);
    });
}

#[test]
fn a_failed_source_drops_out_and_comes_back() {
    with_stage(Policy::ContinueWithRest, |[a, b], out, stats| {
        give(&a, &[1; 20]);
        give(&a, &[]);
        assert_eq!(take_all(&out, USB, 20), [1; 20]);
        give(&b, &[2; 20]);
        assert_eq!(take_all(&out, CHIP, 20), [2; 20]);
        assert_eq!(stats.combined().unwrap().working, 1);
        give(&a, &[3; 20]);
        assert_eq!(take_all(&out, USB, 20), [3; 20]);
        let all = Combined {
            working: 2,
            stopped: None,
        };
        assert_eq!(stats.combined(), Some(all));
    });
}

#[test]
fn if_all_are_required_nothing_comes_until_all_are_back() {
    with_stage(Policy::RequireAll, |[a, b], out, stats| {
        give(&a, &[1; 20]);
        give(&a, &[]);
        assert_eq!(take_all(&out, USB, 20), [1; 20]);
        while stats.combined().unwrap().stopped.is_none() {
            thread::yield_now();
        }
        give(&b, &[2; 20]);
        assert!(out.full.recv_timeout(Duration::from_millis(200)).is_err());
        give(&a, &[3; 20]);
        let mut kinds = Kinds::NONE;
        let mut sum = 0;
        while sum < 40 {
            let (bytes, of) = take(&out);
            sum += bytes.len();
            kinds = kinds.union(of);
        }
        assert_eq!(kinds, USB.union(CHIP));
        assert_eq!(stats.combined().unwrap().stopped, None);
    });
}
