use std::thread;
use std::time::Duration;

use qrng::condition::combine::{Combination, Combining, Identity, Member, Policy};
use qrng::report::{Kind, Kinds};

use super::*;
use crate::block::ring;

const CUT: Cut = Cut { full: 1, least: 0 };
const BLOCK: usize = 100;

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
    CombineConfig {
        combination: Combination::new(Combining::Xor, policy, members.into()).unwrap(),
        unit: 1,
        method: "xor",
        policy,
    }
}

/// Gives `bytes` to the stage; none is word of a failure.
fn give(source: &Filler<Block>, bytes: &[u8]) {
    let mut block = source.empty.recv().unwrap();
    block.room()[..bytes.len()].copy_from_slice(bytes);
    block.advance(bytes.len());
    assert!(source.full.send(block).is_ok());
}

/// The next bytes that come out, at least `count`, all of one set of kinds.
fn take(out: &User<Block>, count: usize) -> (Vec<u8>, Kinds) {
    let mut bytes = Vec::new();
    let mut kinds = None;
    while bytes.len() < count {
        let mut block = out.full.recv_timeout(Duration::from_secs(20)).unwrap();
        bytes.extend_from_slice(block.filled());
        assert_eq!(*kinds.get_or_insert(block.kinds), block.kinds);
        block.wipe();
        assert!(out.empty.send(block).is_ok());
    }
    (bytes, kinds.unwrap())
}

/// Runs the stage while `test` plays the others.
fn with_stage(policy: Policy, test: impl FnOnce([Filler<Block>; 2], &User<Block>, &Stats)) {
    let (a, from_a) = ring(4, || Block::new(BLOCK));
    let (b, from_b) = ring(4, || Block::new(BLOCK));
    let (to_seal, out) = ring(4, || Block::new(BLOCK));
    let stats = Stats::default();
    thread::scope(|scope| {
        let (config, stats) = (config(policy), &stats);
        let rings = vec![from_a, from_b];
        let stage = scope.spawn(move || run(config, rings, BLOCK, &to_seal, CUT, stats));
        test([a, b], &out, stats);
        // The sources are gone now.
        assert!(stage.join().unwrap().is_err());
    });
}

#[test]
fn a_failed_source_drops_out_and_comes_back() {
    with_stage(Policy::ContinueWithRest, |[a, b], out, stats| {
        give(&a, &[1; 60]);
        give(&b, &[2; 100]);
        let both = Kinds::of(Kind::Usb).with(Kind::PcieChip);
        assert_eq!(take(out, 60), (vec![3; 60], both));
        give(&a, &[]);
        assert_eq!(take(out, 40), (vec![2; 40], Kinds::of(Kind::PcieChip)));
        assert_eq!(stats.combined().unwrap().working, 1);
        give(&a, &[4; 10]);
        give(&b, &[8; 10]);
        // It may be back before or after the other's bytes are used.
        let (bytes, kinds) = take(out, 10);
        if kinds == both {
            assert_eq!(bytes, [12; 10]);
        } else {
            assert_eq!(bytes, [8; 10]);
        }
    });
}

#[test]
fn if_all_are_required_nothing_comes_until_all_are_back() {
    with_stage(Policy::RequireAll, |[a, b], out, stats| {
        // What the failed source had ready is destroyed with it.
        give(&b, &[2; 20]);
        give(&a, &[1; 10]);
        give(&a, &[]);
        assert_eq!(take(out, 10).0, [3; 10]);
        give(&b, &[2; 20]);
        assert!(out.full.recv_timeout(Duration::from_millis(200)).is_err());
        assert!(stats.combined().unwrap().stopped.is_some());
        give(&a, &[4; 30]);
        assert_eq!(take(out, 30).0, [6; 30]);
        assert_eq!(
            stats.combined().unwrap(),
            Combined {
                working: 2,
                stopped: None
            }
        );
    });
}
