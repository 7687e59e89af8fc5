//! Datagrams that come together: nobody can tell it from one at a time, but by a clock.

use super::*;
use proptest::prelude::*;

/// What happens to a datagram on its way. Numbers choose a datagram, or a place in it.
#[derive(Clone, Debug)]
enum Event {
    Packet,
    LongPacket,
    Skipped,
    Simulated,
    Report,
    Late,
    Early,
    Again(prop::sample::Index),
    Damaged(prop::sample::Index),
    Announcement,
    Restart,
    Garbage(Vec<u8>),
    BrokenDisk(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Packet),
        2 => Just(Event::LongPacket),
        2 => Just(Event::Skipped),
        1 => Just(Event::Simulated),
        1 => Just(Event::Report),
        1 => Just(Event::Late),
        1 => Just(Event::Early),
        6 => any::<prop::sample::Index>().prop_map(Event::Again),
        4 => any::<prop::sample::Index>().prop_map(Event::Damaged),
        1 => Just(Event::Announcement),
        1 => Just(Event::Restart),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Event::Garbage),
        1 => any::<bool>().prop_map(Event::BrokenDisk),
    ]
}

/// The datagrams that arrive, and whether the bound can be written from then on.
fn arrivals(collector: &mut Collector, events: &[Event]) -> Vec<(Vec<u8>, Option<bool>)> {
    let mut arrivals: Vec<(Vec<u8>, Option<bool>)> = Vec::new();
    let mut now = T0 + 1;
    for event in events {
        now += 100_000;
        let usb = Content::Bytes(Kinds::of(Kind::Usb));
        let simulated = Content::Bytes(Kinds::of(Kind::Simulator));
        let mut broken = None;
        let datagram = match event {
            Event::Packet => collector.packet(now),
            Event::LongPacket => collector.seal(now, usb, &[0xff; 90]),
            Event::Skipped => {
                collector.packet(now);
                collector.packet(now)
            }
            Event::Simulated => collector.seal(now, simulated, &[0; 24]),
            Event::Report => collector.seal(now, Content::Report, &[0xc1; 24]),
            Event::Late => collector.packet(now - MAX_AGE_US - 60 * SECOND),
            Event::Early => collector.packet(now + MAX_AHEAD_US + 60 * SECOND),
            Event::Again(index) if !arrivals.is_empty() => index.get(&arrivals).0.clone(),
            Event::Damaged(index) => {
                let mut packet = collector.packet(now);
                let at = index.index(packet.len());
                packet[at] ^= 0x10;
                packet
            }
            Event::Again(_) | Event::Announcement => collector.announce(now),
            Event::Restart => {
                collector.restart(now);
                collector.announce(now)
            }
            Event::Garbage(bytes) => bytes.clone(),
            Event::BrokenDisk(is_broken) => {
                broken = Some(*is_broken);
                collector.packet(now)
            }
        };
        arrivals.push((datagram, broken));
    }
    arrivals
}

fn state(gateway: &Gateway) -> (Counts, Vec<SessionInfo>, Option<i64>, u64) {
    let admit = &gateway.admit;
    let sessions = admit.sessions().collect();
    (admit.counts(), sessions, admit.skew_us(), admit.bound_us())
}

proptest! {
    #[test]
    fn rows_are_as_good_as_one_at_a_time(
        events in prop::collection::vec(event(), 2..120),
        length in 1..=ROW,
        known in prop::bool::weighted(0.9),
    ) {
        let (mut collector, mut single) = joined();
        let mut together = joined().1;
        if !known {
            collector.restart(T0 + 1);
        }
        let now = T0 + SECOND;
        for row in arrivals(&mut collector, &events).chunks(length) {
            for gateway in [&mut single, &mut together] {
                let broken = row.iter().find_map(|arrival| arrival.1);
                gateway.file.broken = broken.unwrap_or(gateway.file.broken);
            }
            let row: Vec<&[u8]> = row.iter().map(|arrival| &arrival.0[..]).collect();
            let one_by_one: Vec<_> = row.iter().map(|datagram| single.take(datagram, now)).collect();
            prop_assert_eq!(together.take_row(&row, now), one_by_one);
            prop_assert_eq!(state(&single), state(&together));
            prop_assert_eq!(&single.file, &together.file);
        }
    }
}

#[test]
fn a_repetition_within_a_row_is_refused() {
    let (mut collector, mut gateway) = joined();
    let packet = collector.packet(T0);
    let verdicts = gateway.take_row(&[&packet, &packet], T0);
    assert_eq!(verdicts, [Ok(Got::Number(1)), Err(Reject::Duplicate)]);
    assert_eq!(gateway.admit.counts().committed, 1);
}

#[test]
fn a_forgery_harms_nothing_beside_it() {
    let (mut collector, mut gateway) = joined();
    let good = collector.packet(T0);
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let verdicts = gateway.take_row(&[&forged, &good], T0);
    assert_eq!(verdicts, [Err(Reject::Forged), Ok(Got::Number(1))]);
    let (good, mut forged) = (collector.packet(T0), collector.packet(T0));
    forged[last] ^= 1;
    let verdicts = gateway.take_row(&[&good, &forged], T0);
    assert_eq!(verdicts, [Ok(Got::Number(2)), Err(Reject::Forged)]);
}
