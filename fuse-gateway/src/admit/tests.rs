use super::*;
use qrng::report::{Kind, SourceReport, State};
use qrng::session::STEP_PACKETS;
use support::{Collector, Gateway, Got, SECOND, T0, joined};

mod calendar;
mod hostile;
mod rows;
mod simulation;
mod support;

#[test]
fn bytes_come_through_once() {
    let (mut collector, mut gateway) = joined();
    let first = collector.packet(T0 + 1);
    assert_eq!(gateway.take(&first, T0 + 2), Ok(Got::Number(1)));
    assert_eq!(gateway.take(&first, T0 + 3), Err(Reject::Duplicate));
    let second = collector.packet(T0 + 4);
    let third = collector.packet(T0 + 4);
    // Reordered is as good as in order.
    assert_eq!(gateway.take(&third, T0 + 5), Ok(Got::Number(3)));
    assert_eq!(gateway.take(&second, T0 + 5), Ok(Got::Number(2)));
    assert_eq!(gateway.admit.counts().committed, 3);
    assert_eq!(gateway.admit.counts().lost, 0);
}

#[test]
fn what_a_status_shows() {
    let (mut collector, mut gateway) = joined();
    let packet = collector.packet(T0 + SECOND);
    gateway.take(&packet, T0 + 3 * SECOND).unwrap();
    let info = gateway.admit.session().unwrap();
    assert_eq!((info.epoch, info.slot, info.next_sequence), (T0, 5, 1));
    assert_eq!(info.last_packet_us, Some(T0 + 3 * SECOND));
    assert_eq!(gateway.admit.skew_us(), Some(2_000_000));
    assert_eq!(gateway.admit.last_verified_us(), Some(T0 + 3 * SECOND));
    assert!(!gateway.admit.skew_alarm());
    let packet = collector.packet(T0 + SECOND);
    gateway.take(&packet, T0 + 32 * SECOND).unwrap();
    assert!(gateway.admit.skew_alarm());
    assert!(format!("{:?}", gateway.admit).starts_with("Admit { accept: {PcieModule, "));
}

#[test]
fn reports_and_unknown_content() {
    let (mut collector, mut gateway) = joined();
    let report = Report {
        collector: "0.1.0".into(),
        sources: vec![SourceReport {
            kind: Kind::Usb,
            name: "card".into(),
            serial: None,
            state: State::Running,
            sensors: Default::default(),
            health: None,
        }],
    };
    let mut body = [0; 200];
    report.encode(&mut body).unwrap();
    let mut packet = collector.seal(T0, Content::Report, &body);
    match gateway.judge(&mut packet, T0) {
        Ok(Admitted::Report { report: got, .. }) => assert_eq!(got, report),
        other => panic!("{other:?}"),
    }
    let packet = collector.seal(T0, Content::Report, &[0xc1; 40]);
    assert_eq!(gateway.take(&packet, T0), Err(Reject::UnreadableReport));
    assert_eq!(gateway.take(&packet, T0), Err(Reject::Duplicate));
}

#[test]
fn simulated_bytes_are_refused_wiped_and_used_up() {
    let (mut collector, mut gateway) = joined();
    let mixed = Kinds::of(Kind::Usb).with(Kind::Simulator);
    let packet = collector.seal(T0, Content::Bytes(mixed), &[0x42; 100]);
    let mut received = packet.clone();
    let verdict = gateway.judge(&mut received, T0);
    assert_eq!(verdict.unwrap_err(), Reject::SourceRefused);
    assert!(!received.windows(4).any(|w| w == [0x42; 4]));
    // A gateway that accepts them from now on can't be given this packet any more; nor is it lost.
    gateway.admit.accept = Kinds::ALL;
    assert_eq!(gateway.take(&packet, T0), Err(Reject::Duplicate));
    assert_eq!(gateway.admit.counts().committed, 1);
    let packet = collector.seal(T0, Content::Bytes(mixed), &[0; 100]);
    assert_eq!(gateway.take(&packet, T0), Ok(Got::Number(0)));
    assert!(gateway.file.bound_us.is_some());
}

#[test]
fn freshness() {
    let (mut collector, mut gateway) = joined();
    let now = T0 + 1000 * SECOND;
    for (timestamp, expected) in [
        (now + MAX_AHEAD_US + 1, Some(Reject::Future)),
        (now + MAX_AHEAD_US, None),
        (now - MAX_AGE_US, None),
        (now - MAX_AGE_US - 1, Some(Reject::Expired)),
    ] {
        let packet = collector.packet(timestamp);
        assert_eq!(gateway.take(&packet, now).err(), expected);
        let announcement = collector.announce(timestamp);
        assert_eq!(gateway.take(&announcement, now).err(), expected);
    }
    // The ends of time are no special case.
    for timestamp in [0, u64::MAX] {
        for now in [0, u64::MAX] {
            let packet = collector.packet(timestamp);
            assert!(gateway.take(&packet, now).is_err() || timestamp == now);
        }
    }
}

#[test]
fn the_bound_is_written_before_anything_beyond_it_is_accepted() {
    let (mut collector, mut gateway) = joined();
    gateway.file.broken = true;
    let packet = collector.packet(T0 + 10);
    let mut received = packet.clone();
    let verdict = gateway.judge(&mut received, T0 + 10);
    assert_eq!(verdict.unwrap_err(), Reject::BoundNotWritten);
    assert!(
        !received.windows(4).any(|w| w == [0x5a; 4]),
        "the plaintext must be wiped"
    );
    assert_eq!(gateway.admit.counts().committed, 0);
    // Once the disk works again, the same packet is as good as before.
    gateway.file.broken = false;
    assert_eq!(gateway.take(&packet, T0 + 11), Ok(Got::Number(1)));
    assert_eq!(gateway.file.bound_us, Some(T0 + 10 + BOUND_AHEAD_US));
    for i in 0..2000 {
        let packet = collector.packet(T0 + i * 1000);
        gateway.take(&packet, T0 + i * 1000).unwrap();
    }
    // Once a second, not once a packet.
    assert_eq!(gateway.file.writes, 2);
}

#[test]
fn replays_after_a_restart_are_refused() {
    let (mut collector, mut gateway) = joined();
    let announcement = collector.announce(T0 + 1);
    let packets: Vec<_> = (0..2000).map(|i| collector.packet(T0 + i * 1000)).collect();
    for (i, packet) in packets.iter().enumerate() {
        gateway.take(packet, T0 + i as u64 * 1000).unwrap();
    }
    let now = T0 + 2 * SECOND;
    gateway.restart(now);
    for packet in &packets {
        assert_eq!(gateway.take(packet, now), Err(Reject::UnknownSession));
    }
    // The session can be had again, its bytes can't.
    assert_eq!(gateway.take(&announcement, now), Ok(Got::Started));
    assert_eq!(
        gateway.admit.last_verified_us(),
        None,
        "a replay proves nothing"
    );
    for packet in &packets {
        assert_eq!(gateway.take(packet, now), Err(Reject::BeforeRestart));
    }
    let beyond = gateway.file.bound_us.unwrap() + 1;
    assert!(beyond <= now + SECOND);
    let fresh = collector.packet(beyond);
    assert_eq!(gateway.take(&fresh, beyond), Ok(Got::Number(2001)));
}

#[test]
fn without_a_bound_on_file_traffic_flows_after_five_seconds() {
    let (mut collector, mut gateway) = joined();
    gateway.file.bound_us = None;
    gateway.restart(T0);
    assert_eq!(gateway.take(&collector.announce(T0), T0), Ok(Got::Started));
    let at = T0 + MAX_AHEAD_US;
    assert_eq!(
        gateway.take(&collector.packet(at), at),
        Err(Reject::BeforeRestart)
    );
    assert!(gateway.take(&collector.packet(at + 1), at + 1).is_ok());
}

#[test]
fn a_restarted_collector_is_taken_at_once() {
    let (mut collector, mut gateway) = joined();
    let old = collector.packet(T0 + 1);
    let old_announcement = collector.announce(T0 + SECOND);
    collector.restart(T0 + 2);
    let early = collector.packet(T0 + 2);
    assert_eq!(gateway.take(&early, T0 + 2), Err(Reject::UnknownSession));
    assert_eq!(
        gateway.take(&collector.announce(T0 + 2), T0 + 2),
        Ok(Got::Started)
    );
    assert!(gateway.take(&collector.packet(T0 + 3), T0 + 3).is_ok());
    // What was under way from the run before still counts, its announcements don't.
    assert!(gateway.take(&old, T0 + 3).is_ok());
    assert_eq!(
        gateway.take(&old_announcement, T0 + 3),
        Err(Reject::OldEpoch)
    );
    // Two epochs are kept, not three.
    let second = collector.packet(T0 + 4);
    collector.restart(T0 + 5);
    let missed = collector.packet(T0 + 5);
    gateway.take(&collector.announce(T0 + 5), T0 + 5).unwrap();
    gateway.take(&second, T0 + 5).unwrap();
    collector.restart(T0 + 6);
    gateway.take(&collector.announce(T0 + 6), T0 + 6).unwrap();
    assert_eq!(gateway.take(&second, T0 + 6), Err(Reject::UnknownSession));
    assert_eq!(gateway.take(&missed, T0 + 6), Ok(Got::Number(5)));
    assert_eq!(gateway.admit.sessions().count(), 2);
    assert_eq!(gateway.admit.counts().sessions, 4);
}

#[test]
fn announcements_are_taken_once_each() {
    let (mut collector, mut gateway) = joined();
    let first = collector.announce(T0 + SECOND);
    let second = collector.announce(T0 + 2 * SECOND);
    let now = T0 + 2 * SECOND;
    assert_eq!(gateway.take(&second, now), Ok(Got::Announced));
    assert_eq!(gateway.take(&second, now), Err(Reject::OldAnnouncement));
    assert_eq!(gateway.take(&first, now), Err(Reject::OldAnnouncement));
    // A collector whose clock is set back goes on announcing as long as its sequence grows.
    collector.packet(T0);
    assert_eq!(
        gateway.take(&collector.announce(T0 + 1), now),
        Ok(Got::Announced)
    );
    assert_eq!(gateway.take(&first, now), Err(Reject::OldAnnouncement));
}

#[test]
fn the_keys_of_the_session_before_go_when_its_packets_have_expired() {
    let (mut collector, mut gateway) = joined();
    collector.packet(T0);
    gateway.take(&collector.packet(T0), T0).unwrap();
    collector.restart(T0 + SECOND);
    gateway
        .take(&collector.announce(T0 + SECOND), T0 + SECOND)
        .unwrap();
    let late = T0 + SECOND + MAX_AGE_US + MAX_AHEAD_US;
    gateway.take(&collector.announce(late), late).unwrap();
    assert_eq!(gateway.admit.sessions().count(), 2);
    gateway
        .take(&collector.announce(late + 1), late + 1)
        .unwrap();
    assert_eq!(gateway.admit.sessions().count(), 1);
    // The packet that never came is lost for good now.
    assert_eq!(gateway.admit.counts().lost, 1);
}

#[test]
fn a_long_outage_heals_at_the_next_announcement() {
    let (mut collector, mut gateway) = joined();
    gateway.take(&collector.packet(T0), T0).unwrap();
    // Hours without a link: 40 steps and some.
    let mut out = [0; 200];
    let usb = Content::Bytes(Kinds::of(Kind::Usb));
    while collector.sealer.next_sequence() < 40 * STEP_PACKETS + 5 {
        collector.sealer.seal(T0, usb, &[1; 17], &mut out).unwrap();
    }
    let now = T0 + 5 * 3600 * SECOND;
    assert_eq!(
        gateway.take(&collector.packet(now), now),
        Err(Reject::TooFarAhead)
    );
    let announcement = collector.announce(now);
    assert_eq!(gateway.take(&announcement, now), Ok(Got::Announced));
    assert!(gateway.take(&collector.packet(now), now).is_ok());
    assert_eq!(gateway.admit.session().unwrap().step, 40);
    // All that is missing left the window, but for its own length.
    assert_eq!(gateway.admit.counts().lost, 40 * STEP_PACKETS + 5 - 8191);
}

#[test]
fn the_window_reaches_over_a_step() {
    let (mut collector, mut gateway) = joined();
    let mut out = [0; 200];
    let usb = Content::Bytes(Kinds::of(Kind::Usb));
    while collector.sealer.next_sequence() < STEP_PACKETS - 50 {
        let len = collector.sealer.seal(T0, usb, &[1; 17], &mut out).unwrap();
        gateway.take(&out[..len], T0).unwrap();
    }
    // The last 50 of one step and the first 50 of the next, backwards.
    let packets: Vec<_> = (0..100).map(|_| collector.packet(T0)).collect();
    for packet in packets.iter().rev() {
        assert!(gateway.take(packet, T0).is_ok());
        assert_eq!(gateway.take(packet, T0), Err(Reject::Duplicate));
    }
    assert_eq!(gateway.admit.session().unwrap().step, 1);
    assert_eq!(gateway.admit.counts().lost, 0);
}

#[test]
fn a_gateway_that_starts_late_misses_nothing() {
    let mut collector = Collector::start(1, T0);
    let mut out = [0; 200];
    let usb = Content::Bytes(Kinds::of(Kind::Usb));
    while collector.sealer.next_sequence() < 20 * STEP_PACKETS {
        collector.sealer.seal(T0, usb, &[1; 17], &mut out).unwrap();
    }
    let mut gateway = Gateway::start(1, T0);
    let overtaken = collector.packet(T0 + 1);
    gateway.take(&collector.announce(T0 + 2), T0 + 2).unwrap();
    assert!(gateway.take(&collector.packet(T0 + 3), T0 + 3).is_ok());
    assert!(gateway.take(&overtaken, T0 + 3).is_ok());
    assert_eq!(gateway.admit.counts().lost, 0);
}

#[test]
fn keys_are_told_apart() {
    let mut collectors = [Collector::start(1, T0), Collector::start(2, T0 + 1)];
    let keys = [1, 2].map(|seed| GatewayKey::parse(&support::key_texts(seed).0).unwrap());
    let mut gateway = Gateway::start(1, T0);
    let now = T0 + 2;
    assert_eq!(
        gateway.take(&collectors[1].announce(now), now),
        Err(Reject::UnknownKey)
    );
    gateway.admit = Admit::new(keys.into(), T0, Kinds::REAL);
    for collector in &mut collectors {
        assert_eq!(
            gateway.take(&collector.announce(now), now),
            Ok(Got::Started)
        );
        assert!(gateway.take(&collector.packet(now), now).is_ok());
    }
    assert_eq!(gateway.admit.sessions().count(), 2);
}
