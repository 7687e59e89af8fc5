use std::convert::Infallible;

use getrandom::SysRng;
use getrandom::rand_core::{Rng, UnwrapErr};
use qrng::condition::toeplitz::Toeplitz;
use qrng::condition::{Conditioner, Sizes};
use qrng::health::Tier;

use super::*;

fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}

/// Gives `bytes` in pieces; what came out, and the alarms.
fn push(refine: &mut Refine, bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Alarm>) {
    let (mut out, mut alarms) = (Vec::new(), Vec::new());
    let mut left = bytes;
    while !left.is_empty() {
        let room = refine.room();
        let (now, later) = left.split_at(left.len().min(room.len()).min(piece));
        room[..now.len()].copy_from_slice(now);
        left = later;
        let serve = |bytes: &[u8]| -> Result<(), Infallible> {
            out.extend_from_slice(bytes);
            Ok(())
        };
        alarms.extend(refine.advance(now.len(), 0, serve).unwrap());
    }
    (out, alarms)
}

fn tested(conditioning: Conditioning) -> Refine {
    Refine::new(Some(Settings::new("card")), conditioning).unwrap()
}

#[test]
fn nothing_leaves_before_its_block_has_passed() {
    let bytes = random(3 * BLOCK);
    let mut refine = tested(Conditioning::NONE);
    let (out, alarms) = push(&mut refine, &bytes[..2 * BLOCK - 1], 999);
    assert_eq!((out.len(), alarms.len()), (0, 0));
    let (out, _) = push(&mut refine, &bytes[2 * BLOCK - 1..], 70_000);
    assert!(out == bytes[BLOCK..]);
}

#[test]
fn untested_bytes_leave_at_once() {
    let mut refine = Refine::new(None, Conditioning::NONE).unwrap();
    assert!(!refine.tested());
    assert_eq!(push(&mut refine, b"abc", 2).0, b"abc");
    assert_eq!((refine.state(), refine.summary()), (None, None));
    assert_eq!(refine.tick(u64::MAX), None);
}

#[test]
fn a_latch_lasts_until_it_is_cleared_and_forgets_what_was_held() {
    let sizes = Sizes::DEFAULT;
    let seed = random(sizes.seed_len());
    let toeplitz = || Toeplitz::new(sizes, &seed).unwrap();
    let mut refine = tested(Conditioning::by(toeplitz()));
    let good = random(2 * BLOCK);
    let (out, _) = push(&mut refine, &good, 4096);
    let mut expected = Vec::new();
    toeplitz().condition(&good[BLOCK..], &mut expected);
    assert!(out == expected);

    let (out, alarms) = push(&mut refine, &[1; BLOCK], BLOCK);
    assert!(out.is_empty());
    assert_eq!(alarms[0].tier, Tier::Permanent);
    refine.restart();
    assert_eq!(refine.state(), Some(State::Latched));
    let (out, alarms) = push(&mut refine, &random(3 * BLOCK), BLOCK);
    assert_eq!((out.len(), alarms.len()), (0, 0));

    let half = random(BLOCK / 2);
    push(&mut refine, &half, BLOCK);
    refine.clear();
    assert_eq!(refine.state(), Some(State::Starting));
    assert_eq!(refine.room().len(), BLOCK);
    let good = random(2 * BLOCK);
    expected.clear();
    toeplitz().condition(&good[BLOCK..], &mut expected);
    assert!(push(&mut refine, &good, BLOCK).0 == expected);
}

#[test]
fn silence_where_a_rate_is_expected_is_an_alarm() {
    let settings = Settings {
        expected_rate: Some(1_000_000),
        ..Settings::new("card")
    };
    let mut refine = Refine::new(Some(settings), Conditioning::NONE).unwrap();
    let alarms: Vec<_> = (0..=10)
        .filter_map(|s| refine.tick(s * 1_000_000))
        .collect();
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].test.name(), "silence");
    assert_eq!(alarms[0].tier, Tier::Intermittent);
}
