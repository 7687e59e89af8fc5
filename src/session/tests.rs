use super::*;
use crate::packet::{Datagram, MAX_DATAGRAM, Malformed};
use crate::report::Kind;
use crate::testing::{pair, rng};
use serde::Deserialize;

const EPOCH: u64 = 1_700_000_000_000_000;
const NOW: u64 = EPOCH + 1;
const USB: Content = Content::Bytes(Kinds::of(Kind::Usb));

/// The data packet's seven fields, as any MessagePack decoder sees them.
#[derive(Deserialize)]
struct SevenFields(u8, Bytes, u64, u64, Bytes, u32, Bytes);

/// The announcement's nine.
#[derive(Deserialize)]
struct NineFields(u8, Bytes, u64, u64, u32, u64, Bytes, u32, Bytes);

/// A MessagePack `bin`.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

fn sealer(key: &CollectorKey) -> Sealer {
    Sealer::start(key, 0xabc, EPOCH, &mut rng(2)).unwrap()
}

fn announce(sealer: &Sealer) -> Vec<u8> {
    let mut out = [0; ANNOUNCEMENT_LEN];
    sealer.announce(NOW, &mut out);
    out.to_vec()
}

fn seal(sealer: &mut Sealer, content: Content, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0xee; MAX_DATAGRAM];
    let len = sealer.seal(NOW, content, bytes, &mut out).unwrap();
    assert!(out[len..].iter().all(|&b| b == 0xee));
    out.truncate(len);
    out
}

fn opener(key: &GatewayKey, announcement: &mut [u8]) -> Result<Opener, SessionError> {
    match Datagram::new_checked(announcement) {
        Ok(Datagram::Announcement(announcement)) => Opener::start(key, &announcement),
        other => panic!("not an announcement: {other:?}"),
    }
}

fn open(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut packet = packet.to_vec();
    match Datagram::new_checked(&mut packet) {
        Ok(Datagram::Data(data)) => {
            assert!(data.crc_matches());
            opener.open(data).map(|plain| plain.to_vec())
        }
        other => panic!("not a data packet: {other:?}"),
    }
}

#[test]
fn sealed_is_opened() {
    let (gateway, collector) = pair(1);
    let mut sealer = sealer(&collector);
    let mut opener = opener(&gateway, &mut announce(&sealer)).unwrap();
    assert_eq!((opener.epoch(), opener.slot()), (EPOCH, 0xabc));
    for len in [17, 18, 1000, 1375] {
        let packet = seal(&mut sealer, USB, &vec![0x42; len]);
        assert_eq!(packet.len(), len + 1 + OVERHEAD);
        let plain = open(&mut opener, &packet).unwrap();
        assert_eq!(plain[0], Kinds::of(Kind::Usb).bits());
        assert_eq!(plain[1..], vec![0x42; len]);
        // The payload does not travel in the clear.
        assert!(!packet.windows(8).any(|w| w == [0x42; 8]));
    }
    assert_eq!(sealer.next_sequence(), 4);
}

#[test]
fn any_decoder_reads_a_data_packet() {
    let (_, collector) = pair(1);
    let mut sealer = sealer(&collector);
    seal(&mut sealer, USB, &[1; 17]);
    let packet = seal(&mut sealer, USB, &[1; 1355]);
    let fields: SevenFields = rmp_serde::from_slice(&packet).unwrap();
    let SevenFields(version, id, sequence, timestamp, data, crc, mac) = fields;
    assert_eq!((version, sequence, timestamp), (2, 1, NOW));
    assert_eq!(id.0[..6], sealer.tag.0);
    // Version 8 and slot; variant 10 and sequence.
    assert_eq!(id.0[6..], [0x8a, 0xbc, 0x80, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(data.0.len(), 1356 + 16);
    assert_eq!(crc, crc32fast::hash(&data.0));
    assert_eq!(mac.0, packet[packet.len() - 32..]);
}

#[test]
fn any_decoder_reads_an_announcement() {
    let (_, collector) = pair(1);
    let mut sealer = sealer(&collector);
    seal(&mut sealer, USB, &[1; 17]);
    let announcement = announce(&sealer);
    let fields: NineFields = rmp_serde::from_slice(&announcement).unwrap();
    let NineFields(version, id, sequence, timestamp, key_id, epoch, data, crc, mac) = fields;
    assert_eq!((version, sequence, timestamp, epoch), (2, 1, NOW, EPOCH));
    assert_eq!(format!("{key_id:08x}"), collector.key_id().to_string());
    assert_eq!(id.0[..6], sealer.tag.0);
    assert_eq!(data.0[..], sealer.encapsulation[..]);
    assert_eq!(crc, crc32fast::hash(&data.0));
    assert_eq!(mac.0.len(), 32);
}

/// The bytes of a vector: hexadecimal digits, white space anywhere.
fn vector(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn assert_vector(name: &str, bytes: &[u8], text: &str) {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(bytes), hex(&vector(text)), "tests/vectors/{name}");
}

/// Fixed keys and fixed randomness give these very bytes, and these bytes open.
#[test]
fn golden_packets() {
    let (gateway_text, collector_text) = (
        include_str!("../../tests/vectors/gateway.key"),
        include_str!("../../tests/vectors/collector.key"),
    );
    let (made_gateway, made_collector, _) = crate::keys::generate(&mut rng(1));
    assert_eq!(
        (made_gateway.as_str(), made_collector.as_str()),
        (gateway_text, collector_text)
    );
    let collector = CollectorKey::parse(collector_text).unwrap();
    let gateway = GatewayKey::parse(gateway_text).unwrap();

    let mut sealer = sealer(&collector);
    let announcement = include_str!("../../tests/vectors/announcement.hex");
    assert_vector("announcement.hex", &announce(&sealer), announcement);
    let mut opener = opener(&gateway, &mut vector(announcement)).unwrap();

    let bytes: Vec<u8> = (0..64).collect();
    let data = include_str!("../../tests/vectors/data.hex");
    assert_vector("data.hex", &seal(&mut sealer, USB, &bytes), data);
    assert_eq!(open(&mut opener, &vector(data)).unwrap()[1..], bytes);

    let report = include_str!("../../tests/vectors/report.hex");
    let mut body = [0; 120];
    let source = crate::report::SourceReport {
        kind: Kind::Usb,
        name: "card".into(),
        serial: Some("1234567A".into()),
        state: crate::report::State::Running,
        sensors: Default::default(),
        health: None,
    };
    let sent = crate::report::Report {
        collector: "0.1.0".into(),
        sources: vec![source],
    };
    sent.encode(&mut body).unwrap();
    assert_vector(
        "report.hex",
        &seal(&mut sealer, Content::Report, &body),
        report,
    );
    let plain = open(&mut opener, &vector(report)).unwrap();
    assert_eq!(crate::report::Report::decode(&plain[1..]).unwrap(), sent);

    // The first packet of the second ratchet step.
    sealer.next = STEP_PACKETS;
    let second = include_str!("../../tests/vectors/data-step-1.hex");
    assert_vector("data-step-1.hex", &seal(&mut sealer, USB, &bytes), second);
    assert_eq!(open(&mut opener, &vector(second)).unwrap()[1..], bytes);
}

#[test]
fn another_pair_or_psk_or_epoch_joins_nothing() {
    let (_, collector) = pair(1);
    let sealer = sealer(&collector);
    let (stranger, _) = pair(3);
    let error = opener(&stranger, &mut announce(&sealer)).unwrap_err();
    assert_eq!(error, SessionError::Forged);
    // Same PSK, another private key: the MAC is right, the secret is not.
    let psk = |seed: u8| zeroize::Zeroizing::new([seed, 1].repeat(16).try_into().unwrap());
    let collector = pair(1).1.with_psk(psk(7));
    let error = opener(
        &pair(3).0.with_psk(psk(7)),
        &mut announce(&self::sealer(&collector)),
    );
    assert_eq!(error.unwrap_err(), SessionError::Contradiction);
}

#[test]
fn what_can_not_be_sealed() {
    let (_, collector) = pair(1);
    assert_eq!(
        Sealer::start(&collector, 4096, EPOCH, &mut rng(2)).unwrap_err(),
        SessionError::Slot(4096)
    );
    let mut sealer = sealer(&collector);
    let mut out = [0; MAX_DATAGRAM];
    for len in [0, 16, 1376, 5000] {
        let error = sealer.seal(NOW, USB, &vec![0; len], &mut out).unwrap_err();
        assert_eq!(error, SessionError::DataLength(len));
    }
    let error = sealer.seal(NOW, Content::Bytes(Kinds::NONE), &[0; 17], &mut out);
    assert_eq!(error, Err(SessionError::NoKinds));
    let error = sealer.seal(NOW, USB, &[0; 17], &mut out[..113]);
    assert_eq!(
        error,
        Err(SessionError::NoRoom {
            needed: 114,
            room: 113
        })
    );
    assert_eq!(sealer.next_sequence(), 0);
}

#[test]
fn a_session_ends() {
    let (gateway, collector) = pair(1);
    let mut sealer = sealer(&collector);
    sealer.next = SPENT_AT - 1;
    assert!(!sealer.spent());
    // A quarter of a million steps to catch up with, by an announcement.
    let mut opener = opener(&gateway, &mut announce(&sealer)).unwrap();
    let packet = seal(&mut sealer, USB, &[9; 17]);
    assert!(open(&mut opener, &packet).is_ok());
    assert!(sealer.spent());
    sealer.next = END - 1;
    let packet = seal(&mut sealer, USB, &[9; 17]);
    assert!(open(&mut opener, &packet).is_ok());
    let mut out = [0; MAX_DATAGRAM];
    assert_eq!(
        sealer.seal(NOW, USB, &[9; 17], &mut out),
        Err(SessionError::Spent)
    );
    assert_eq!(announce(&sealer)[21..29], END.to_be_bytes());
}

#[test]
fn steps_ahead_and_gone() {
    let (gateway, collector) = pair(1);
    let mut sealer = sealer(&collector);
    let mut opener = opener(&gateway, &mut announce(&sealer)).unwrap();
    let at = |step: u64| {
        let mut fresh = Sealer::start(&collector, 0xabc, EPOCH, &mut rng(2)).unwrap();
        fresh.next = step * STEP_PACKETS;
        seal(&mut fresh, USB, &[9; 17])
    };
    assert!(open(&mut opener, &at(16)).is_ok());
    assert_eq!(open(&mut opener, &at(17)), Err(Refusal::TooFarAhead));
    // Opening alone moves nothing.
    assert_eq!(opener.step(), 0);
    opener.commit(16 * STEP_PACKETS, 15 * STEP_PACKETS);
    assert_eq!(opener.step(), 16);
    assert!(open(&mut opener, &at(15)).is_ok());
    assert_eq!(open(&mut opener, &at(14)), Err(Refusal::TooOld));
    // An announcement goes as far as it must.
    sealer.next = 5000 * STEP_PACKETS + 1;
    let mut bytes = announce(&sealer);
    let Ok(Datagram::Announcement(announcement)) = Datagram::new_checked(&mut bytes) else {
        panic!("not an announcement");
    };
    opener.advance(&announcement);
    assert!(open(&mut opener, &at(4999)).is_ok());
    assert!(open(&mut opener, &at(5000)).is_ok());
    assert_eq!(open(&mut opener, &at(4998)), Err(Refusal::TooOld));
}

#[test]
fn the_door() {
    let (_, collector) = pair(1);
    let mut sealer = sealer(&collector);
    let check = |bytes: &[u8]| Datagram::new_checked(&mut bytes.to_vec()).map(|_| ()).err();
    for packet in [
        announce(&sealer),
        seal(&mut sealer, USB, &[1; 17]),
        seal(&mut sealer, USB, &[1; 1375]),
    ] {
        assert_eq!(check(&packet), None);
        for len in 0..packet.len() {
            assert_eq!(check(&packet[..len]), Some(Malformed::Length), "{len}");
        }
        let longer = [&packet[..], &[0]].concat();
        assert_eq!(check(&longer), Some(Malformed::Length));
        let with = |at: usize, byte: u8| {
            let mut changed = packet.clone();
            changed[at] = byte;
            check(&changed)
        };
        assert_eq!(with(0, 0x98), Some(Malformed::Shape));
        assert_eq!(with(1, 1), Some(Malformed::Version));
        assert_eq!(with(3, 15), Some(Malformed::Shape));
        assert_eq!(with(10, 0x7a), Some(Malformed::Id));
        assert_eq!(with(12, 0xc0), Some(Malformed::Id));
        assert_eq!(with(28, 99), Some(Malformed::Id));
        assert_eq!(with(packet.len() - 33, 31), Some(Malformed::Shape));
    }
    assert_eq!(check(&[0; 2000]), Some(Malformed::Shape));
}

#[test]
fn debug_shows_no_secret() {
    let (gateway, collector) = pair(1);
    let sealer = sealer(&collector);
    let opener = opener(&gateway, &mut announce(&sealer)).unwrap();
    let id = collector.key_id();
    let expected = format!("{{ key_id: KeyId({id}), epoch: {EPOCH}, slot: 2748, ");
    assert_eq!(
        format!("{sealer:?}"),
        format!("Sealer {expected}next: 0, .. }}")
    );
    assert_eq!(
        format!("{opener:?}"),
        format!("Opener {expected}step: 0, .. }}")
    );
}

/// Trains give the datagrams that single packets give, over the end of a step, with a shorter piece at the end.
#[test]
fn a_train_is_as_good_as_its_packets() {
    let (gateway, collector) = pair(1);
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let starts = [0, 1, STEP_PACKETS - 1, STEP_PACKETS - 2, STEP_PACKETS - 20];
    for (start, piece) in starts
        .into_iter()
        .flat_map(|s| [(s, 40), (s, 100), (s, 160), (s, 491)])
    {
        let (mut single, mut trains) = (sealer(&collector), sealer(&collector));
        let mut opener = opener(&gateway, &mut announce(&single)).unwrap();
        (single.next, trains.next) = (start, start);
        let mut train = vec![0; 5000];
        let length = trains.seal_train(NOW, USB, &bytes, piece, &mut train);
        train.truncate(length.unwrap());
        let packets: Vec<_> = bytes
            .chunks(piece)
            .map(|b| seal(&mut single, USB, b))
            .collect();
        assert_eq!(train, packets.concat());
        assert_eq!(trains.next_sequence(), single.next_sequence());
        for (packet, bytes) in train.chunks(piece + 1 + OVERHEAD).zip(bytes.chunks(piece)) {
            assert_eq!(open(&mut opener, packet).unwrap()[1..], *bytes);
        }
    }
    let mut sealer = sealer(&collector);
    let mut room = [0; 300];
    assert_eq!(
        sealer.seal_train(NOW, USB, &bytes, 0, &mut room),
        Err(SessionError::DataLength(0))
    );
    assert_eq!(
        sealer.seal_train(NOW, USB, &bytes, 1, &mut room),
        Err(SessionError::DataLength(1))
    );
    let no_room = SessionError::NoRoom {
        needed: 217,
        room: 83,
    };
    assert_eq!(
        sealer.seal_train(NOW, USB, &bytes, 120, &mut room),
        Err(no_room)
    );
    assert_eq!(sealer.next_sequence(), 1, "the first had room");
    assert_eq!(
        sealer.seal_train(NOW, USB, &bytes[..120], usize::MAX, &mut room),
        Ok(217)
    );
    assert_eq!(sealer.seal_train(NOW, USB, &[], 100, &mut room), Ok(0));
}

/// HMACs compared side by side, whatever the packets are, give the verdict that each gets alone.
#[test]
fn rows_are_opened_as_single_packets_are() {
    let (gateway, collector) = pair(1);
    let mut sealer = sealer(&collector);
    let announcement = announce(&sealer);
    let mut packets = Vec::new();
    for next in [0, 1, STEP_PACKETS, STEP_PACKETS + 1, 40 * STEP_PACKETS] {
        sealer.next = next;
        for len in [20, 40] {
            sealer.next = next;
            packets.push(seal(&mut sealer, USB, &vec![3; len]));
        }
        let mut forged = packets[packets.len() - 1].clone();
        forged[60] ^= 1;
        packets.push(forged);
    }
    for (first, second) in packets
        .iter()
        .flat_map(|a| packets.iter().map(move |b| (a, b)))
    {
        let mut single = opener(&gateway, &mut announcement.clone()).unwrap();
        let mut paired = opener(&gateway, &mut announcement.clone()).unwrap();
        // The first step's keys are there, or none.
        if first.len() == second.len() {
            let _ = (
                open(&mut single, &packets[0]),
                open(&mut paired, &packets[0]),
            );
        }
        let expected = [open_any(&mut single, first), open_any(&mut single, second)];
        let (mut first, mut second) = (first.clone(), second.clone());
        let (Ok(Datagram::Data(mut first)), Ok(Datagram::Data(mut second))) = (
            Datagram::new_checked(&mut first),
            Datagram::new_checked(&mut second),
        ) else {
            panic!("not data packets");
        };
        paired.compare_row([&mut first, &mut second].into_iter());
        let verdicts = [first, second].map(|data| paired.open(data).map(|plain| plain.to_vec()));
        assert_eq!(verdicts, expected);
    }
}

fn open_any(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut packet = packet.to_vec();
    match Datagram::new_checked(&mut packet) {
        Ok(Datagram::Data(data)) => opener.open(data).map(|plain| plain.to_vec()),
        other => panic!("not a data packet: {other:?}"),
    }
}
