//! Bytes from somebody who has no key.

use super::support::{Collector, Gateway, Got, SECOND, T0, joined};
use crate::admit::Reject;
use proptest::prelude::*;
use qrng::packet::Content;
use qrng::report::{Kind, Kinds};

/// Refuses every single-bit flip of `datagram`, then takes it as it was made.
fn refuse_every_flip(gateway: &mut Gateway, datagram: &[u8], now_us: u64) -> Got {
    let before = (gateway.admit.counts(), gateway.file.writes);
    let mut flipped = datagram.to_vec();
    for bit in 0..datagram.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let verdict = gateway.take(&flipped, now_us);
        let reject = verdict.expect_err("a flipped bit must not pass");
        assert!(!reject.commits(), "bit {bit}: {reject:?}");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!((gateway.admit.counts(), gateway.file.writes), before);
    gateway
        .take(datagram, now_us)
        .expect("the untouched one passes")
}

#[test]
fn every_single_bit_flip_of_a_data_packet_is_refused() {
    let (mut collector, mut gateway) = joined();
    let small = collector.packet(T0 + SECOND);
    assert_eq!(
        refuse_every_flip(&mut gateway, &small, T0 + SECOND),
        Got::Number(1)
    );
    let usb = Content::Bytes(Kinds::of(Kind::Usb));
    let large = collector.seal(T0 + SECOND, usb, &[0; 1355]);
    assert_eq!(
        refuse_every_flip(&mut gateway, &large, T0 + SECOND),
        Got::Number(0)
    );
}

#[test]
fn every_single_bit_flip_of_an_announcement_is_refused() {
    // The one that starts a session, and the one that repeats it.
    let collector = Collector::start(1, T0);
    let mut gateway = Gateway::start(1, T0);
    let announcement = collector.announce(T0 + SECOND);
    assert_eq!(
        refuse_every_flip(&mut gateway, &announcement, T0 + SECOND),
        Got::Started
    );
    let announcement = collector.announce(T0 + 2 * SECOND);
    assert_eq!(
        refuse_every_flip(&mut gateway, &announcement, T0 + 2 * SECOND),
        Got::Announced
    );
}

#[test]
fn every_two_bytes_swapped_or_cut_is_refused() {
    let (mut collector, mut gateway) = joined();
    let packet = collector.packet(T0 + SECOND);
    for at in 0..packet.len() - 1 {
        let mut swapped = packet.clone();
        swapped.swap(at, at + 1);
        if swapped != packet {
            assert!(gateway.take(&swapped, T0 + SECOND).is_err(), "{at}");
        }
        assert_eq!(
            gateway.take(&packet[..at], T0 + SECOND),
            Err(Reject::Length)
        );
    }
    assert!(gateway.take(&packet, T0 + SECOND).is_ok());
}

/// Corrects what an attacker can compute himself, so that the dear checks are reached too.
fn with_right_crc(mut datagram: Vec<u8>) -> Vec<u8> {
    let data = match datagram.len() {
        1214 if datagram[0] == 0x99 => 55..1175,
        114..=1472 => 41..datagram.len() - 39,
        _ => return datagram,
    };
    let end = data.end;
    let crc = crc32fast::hash(&datagram[data]);
    datagram[end + 1..end + 5].copy_from_slice(&crc.to_be_bytes());
    datagram
}

#[test]
fn a_right_crc_is_no_authentication() {
    let (mut collector, mut gateway) = joined();
    let mut packet = collector.packet(T0 + SECOND);
    packet[50] ^= 1;
    assert_eq!(gateway.take(&packet, T0 + SECOND), Err(Reject::Crc));
    assert_eq!(
        gateway.take(&with_right_crc(packet), T0 + SECOND),
        Err(Reject::Forged)
    );
    let mut announcement = collector.announce(T0 + SECOND);
    announcement[100] ^= 1;
    assert_eq!(gateway.take(&announcement, T0 + SECOND), Err(Reject::Crc));
    assert_eq!(
        gateway.take(&with_right_crc(announcement), T0 + SECOND),
        Err(Reject::Forged)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes give a verdict, and never a good one.
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1600), now in any::<u64>()) {
        let (_, mut gateway) = joined();
        let before = gateway.admit.counts();
        for first in [None, Some(0x97), Some(0x99)] {
            let mut bytes = bytes.clone();
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = first;
            }
            prop_assert!(gateway.take(&bytes, now).is_err());
        }
        prop_assert_eq!(gateway.admit.counts(), before);
    }

    /// A genuine datagram with arbitrary bytes written over any part of it, its CRC32 corrected or not.
    #[test]
    fn overwritten_datagrams(
        at in 0_usize..1300,
        patch in prop::collection::vec(any::<u8>(), 1..40),
        announcement in any::<bool>(),
        correct in any::<bool>(),
        ahead in 1_u64..1000,
    ) {
        let (mut collector, mut gateway) = joined();
        let now = T0 + ahead * SECOND;
        let genuine = if announcement { collector.announce(now) } else { collector.packet(now) };
        let mut forged = genuine.clone();
        let at = at % forged.len();
        for (byte, patch) in forged[at..].iter_mut().zip(patch) {
            *byte = patch;
        }
        if correct {
            forged = with_right_crc(forged);
        }
        prop_assume!(forged != genuine);
        let before = gateway.admit.counts();
        prop_assert!(gateway.take(&forged, now).is_err());
        prop_assert_eq!(gateway.admit.counts(), before);
        prop_assert!(gateway.take(&genuine, now).is_ok());
    }
}
