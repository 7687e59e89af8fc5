use std::collections::HashSet;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qrng::record::Record;

use super::*;

fn space() -> Space {
    Space::new().unwrap()
}

fn balanced(counts: Counts) {
    let Counts {
        admitted,
        served,
        seeding,
        destroyed,
        overflow_discarded,
        overflow_replaced,
        released,
        fill,
        in_flight,
    } = counts;
    assert_eq!(
        admitted,
        served
            + seeding
            + destroyed
            + overflow_discarded
            + overflow_replaced
            + released
            + fill
            + in_flight,
        "{counts:?}"
    );
}

fn drain(buffer: &Buffer, want: usize) -> Vec<u8> {
    let mut space = space();
    let Some(claim) = buffer.claim(want, &mut space) else {
        return Vec::new();
    };
    let mut out = vec![0; claim.len()];
    claim.copy_to(&mut out);
    claim.delivered();
    out
}

/// After everything has been claimed and settled, no byte is left anywhere.
fn assert_wiped(buffer: &Buffer) {
    let state = buffer.lock();
    for slab in state.free.iter().chain(&state.filled) {
        assert!(slab.is_clean_outside());
    }
    assert!(state.free.iter().all(|slab| slab.len() == 0));
}

#[test]
fn bytes_come_out_in_order_and_once() {
    let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
    let bytes: Vec<u8> = (0..300_000u32)
        .map(|i| (i * 7 + i / 256) as u8 | 1)
        .collect();
    bytes.chunks(1355).for_each(|chunk| buffer.push(chunk));
    let mut out = Vec::new();
    for want in [1, 31, 32, 4096, 65_536, 65_535, 1, 100_000, 1 << 20] {
        let piece = drain(&buffer, want);
        assert!(piece.len() <= want);
        out.extend(piece);
        assert_wiped(&buffer);
        balanced(buffer.counts());
    }
    assert_eq!(out, bytes);
    assert!(drain(&buffer, 1).is_empty());
    assert_eq!(buffer.counts().served, 300_000);
}

#[test]
fn gather_gives_the_same_bytes_as_copy() {
    let buffer = Buffer::new(2 << 20, Overflow::Discard).unwrap();
    let bytes: Vec<u8> = (0..1_500_000u32).map(|i| (i / 3) as u8).collect();
    buffer.push(&bytes);
    drain(&buffer, SLAB - 1);
    let mut space = space();
    let claim = buffer.claim(MAX_CLAIM, &mut space).unwrap();
    assert_eq!(claim.len(), MAX_CLAIM);
    let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
    let count = claim.gather(&mut pieces);
    let gathered: Vec<u8> = pieces[..count]
        .iter()
        .flat_map(|piece| piece.iter().copied())
        .collect();
    assert_eq!(gathered, bytes[SLAB - 1..SLAB - 1 + MAX_CLAIM]);
}

#[test]
fn records_are_whole_across_slabs() {
    for (record, skip) in [
        (Record::Hex, 5),
        (Record::Base64, 65_535),
        (Record::Uuid, 31),
    ] {
        let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
        buffer.push(&bytes);
        drain(&buffer, skip);
        let mut space = space();
        let claim = buffer
            .claim_units(record.random_len(), 4000, &mut space)
            .unwrap();
        let (mut text, mut whole) = (
            vec![0; 4000 * record.line_len()],
            vec![0; 4000 * record.line_len()],
        );
        assert_eq!(claim.write_records(record, &mut text), text.len());
        assert_eq!(record.encode(&bytes[skip..], &mut whole), 4000);
        assert!(text == whole, "{record:?}");
    }
}

#[test]
fn a_dropped_claim_is_destroyed_and_never_served_again() {
    let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
    buffer.push(&[7; 100]);
    buffer.push(&[9; 50]);
    let mut space = space();
    drop(buffer.claim(100, &mut space).unwrap());
    assert_eq!(drain(&buffer, 1000), vec![9; 50]);
    let counts = buffer.counts();
    assert_eq!(
        (
            counts.destroyed,
            counts.served,
            counts.fill,
            counts.in_flight
        ),
        (100, 50, 0, 0)
    );
    balanced(counts);
    assert_wiped(&buffer);
}

#[test]
fn exact_claims_take_all_or_nothing() {
    let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
    let mut space = space();
    buffer.push(&[1; 31]);
    assert!(buffer.claim_exact(32, &mut space).is_none());
    assert_eq!(buffer.fill(), 31);
    buffer.push(&[1; 40]);
    assert_eq!(buffer.claim_exact(32, &mut space).unwrap().len(), 32);
    assert_eq!(buffer.claim_units(16, 9, &mut space).unwrap().len(), 32);
    assert!(buffer.claim_units(16, 9, &mut space).is_none());
    assert!(buffer.claim_exact(MAX_CLAIM + 1, &mut space).is_none());
    assert!(buffer.claim(0, &mut space).is_none());
    assert_eq!(buffer.fill(), 7);
}

#[test]
fn discard_drops_the_new_and_counts_them() {
    let buffer = Buffer::new(100, Overflow::Discard).unwrap();
    buffer.push(&[1; 70]);
    buffer.push(&[2; 70]);
    let counts = buffer.counts();
    assert_eq!(
        (
            counts.fill,
            counts.overflow_discarded,
            counts.overflow_replaced
        ),
        (100, 40, 0)
    );
    balanced(counts);
    assert_eq!(drain(&buffer, 1000), [vec![1; 70], vec![2; 30]].concat());
}

#[test]
fn replace_destroys_the_oldest_and_counts_them() {
    let buffer = Buffer::new(100_000, Overflow::Replace).unwrap();
    let bytes: Vec<u8> = (0..400_000u32).map(|i| (i / 17) as u8).collect();
    bytes.chunks(1000).for_each(|chunk| buffer.push(chunk));
    let counts = buffer.counts();
    assert_eq!(
        (
            counts.fill,
            counts.overflow_discarded,
            counts.overflow_replaced
        ),
        (100_000, 0, 300_000)
    );
    balanced(counts);
    assert_eq!(drain(&buffer, 100_000), bytes[300_000..]);
    buffer.push(&bytes);
    assert_eq!(
        drain(&buffer, 100_000),
        bytes[300_000..],
        "a push longer than the buffer keeps its end"
    );
    balanced(buffer.counts());
    assert_wiped(&buffer);
}

#[test]
fn without_a_free_slab_new_bytes_are_discarded() {
    for overflow in [Overflow::Discard, Overflow::Replace] {
        let buffer = Buffer::new(1, overflow).unwrap();
        let mut spaces: Vec<_> = (0..4).map(|_| space()).collect();
        let mut held = Vec::new();
        for space in &mut spaces {
            buffer.push(&[5]);
            held.extend(buffer.claim(1, space));
        }
        assert_eq!(held.len(), 3, "there are three slabs");
        assert_eq!(buffer.counts().overflow_discarded, 1);
        balanced(buffer.counts());
        drop(held);
        buffer.push(&[6]);
        assert_eq!(drain(&buffer, 2), [6]);
        balanced(buffer.counts());
    }
}

#[test]
fn a_ring_between_the_look_and_the_wait_is_not_lost() {
    let buffer = Arc::new(Buffer::new(1 << 16, Overflow::Discard).unwrap());
    let rings = buffer.arm();
    assert_eq!(buffer.fill(), 0);
    buffer.push(&[1]);
    buffer.notify();
    buffer.wait(rings, None);
    // Nobody has armed it: a notify doesn't ring.
    let rings = buffer.rings();
    buffer.notify();
    assert_eq!(rings, buffer.rings());
    buffer.alert();
    assert_ne!(rings, buffer.rings());
}

/// Numbered bytes, many claimers with mixed sizes and drops: nothing twice, everything accounted for.
#[test]
fn stress_every_number_has_one_fate() {
    for overflow in [Overflow::Discard, Overflow::Replace] {
        stress(overflow);
    }
}

fn stress(overflow: Overflow) {
    const NUMBERS: u64 = 400_000;
    let buffer = Arc::new(Buffer::new(300_000, overflow).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let claimers: Vec<_> = (0..8u64)
        .map(|who| {
            let (buffer, done) = (buffer.clone(), done.clone());
            std::thread::spawn(move || claimer(who, &buffer, &done))
        })
        .collect();
    for first in (0..NUMBERS).step_by(100) {
        let bytes: Vec<u8> = (first..first + 100).flat_map(u64::to_le_bytes).collect();
        buffer.push(&bytes);
        buffer.notify();
        if first % 10_000 == 0 {
            balanced(buffer.counts());
        }
    }
    done.store(true, Ordering::SeqCst);
    buffer.alert();
    let (mut seen, mut served, mut destroyed) = (HashSet::new(), 0, 0);
    for claimer in claimers {
        let (numbers, dropped) = claimer.join().unwrap();
        served += numbers.len() as u64 * 8;
        destroyed += dropped;
        for number in numbers {
            assert!(number < NUMBERS, "a torn number");
            assert!(seen.insert(number), "{number} was served twice");
        }
    }
    let counts = buffer.counts();
    balanced(counts);
    assert_eq!(
        (counts.admitted, counts.fill, counts.in_flight),
        (NUMBERS * 8, 0, 0)
    );
    assert_eq!((counts.served, counts.destroyed), (served, destroyed));
    assert_wiped(&buffer);
}

/// Claims whole numbers until the buffer is done and empty; returns those delivered and the bytes dropped.
fn claimer(who: u64, buffer: &Buffer, done: &AtomicBool) -> (Vec<u64>, u64) {
    let mut space = space();
    let (mut numbers, mut dropped, mut turn) = (Vec::new(), 0, who);
    loop {
        let rings = buffer.arm();
        let last = done.load(Ordering::SeqCst);
        turn = turn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let count = [1, 4, 500, 8192, 16_000, 131_072][(turn >> 33) as usize % 6];
        match buffer.claim_units(8, count, &mut space) {
            Some(claim) if (turn >> 40).is_multiple_of(5) => dropped += claim.len() as u64,
            Some(claim) => {
                let mut out = vec![0; claim.len()];
                claim.copy_to(&mut out);
                claim.delivered();
                numbers.extend(
                    out.chunks(8)
                        .map(|n| u64::from_le_bytes(n.try_into().unwrap())),
                );
            }
            None if last => return (numbers, dropped),
            None => buffer.wait(rings, None),
        }
    }
}

#[test]
fn a_latch_empties_the_buffer_and_nothing_goes_in_or_out_until_it_is_cleared() {
    let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
    buffer.push(&[7; 200_000]);
    let mut space = space();
    let claim = buffer.claim(1000, &mut space).unwrap();
    let before = buffer.latches();
    buffer.latch();
    assert!(buffer.latched() && buffer.latches() != before);
    claim.delivered();
    buffer.push(&[8; 100]);
    assert!(drain(&buffer, 1).is_empty());
    let counts = buffer.counts();
    assert_eq!(
        (counts.destroyed, counts.served, counts.fill),
        (199_100, 1000, 0)
    );
    balanced(counts);
    assert_wiped(&buffer);
    buffer.latch();
    buffer.unlatch();
    assert!(!buffer.latched() && buffer.latches() != before);
    buffer.push(&[9; 100]);
    assert_eq!(drain(&buffer, 200), [9; 100]);
}

#[test]
fn seeds_are_counted_as_such_and_a_claim_can_be_changed_in_place() {
    let buffer = Buffer::new(1 << 20, Overflow::Discard).unwrap();
    buffer.push(&[1; SLAB + 100]);
    let mut space = space();
    buffer.claim_exact(48, &mut space).unwrap().seeded();
    let mut claim = buffer.claim(SLAB, &mut space).unwrap();
    claim
        .pieces_mut()
        .for_each(|piece| piece.iter_mut().for_each(|byte| *byte ^= 3));
    let mut out = vec![0; SLAB];
    claim.copy_to(&mut out);
    claim.delivered();
    assert_eq!(out, vec![2; SLAB]);
    let counts = buffer.counts();
    assert_eq!((counts.seeding, counts.served), (48, SLAB as u64));
    balanced(counts);
    assert_eq!(drain(&buffer, 100), [1; 52]);
    assert_wiped(&buffer);
}
