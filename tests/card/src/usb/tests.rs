use super::*;
use crate::ledger::Worth;

fn get(card: &mut UsbCard, request: u8, length: u16) -> Result<Vec<u8>, UsbError> {
    let kind = 0xC1;
    card.control(Setup {
        kind,
        request,
        value: 0,
        index: 0,
        length,
    })
}

fn put(card: &mut UsbCard, request: u8) -> Result<Vec<u8>, UsbError> {
    let kind = 0x41;
    card.control(Setup {
        kind,
        request,
        value: 0,
        index: 0,
        length: 0,
    })
}

fn descriptor(card: &mut UsbCard, value: u16, length: u16) -> Result<Vec<u8>, UsbError> {
    card.control(Setup {
        kind: 0x80,
        request: 6,
        value,
        index: 0,
        length,
    })
}

fn configure(card: &mut UsbCard, value: u16) -> Result<Vec<u8>, UsbError> {
    card.control(Setup {
        kind: 0,
        request: 9,
        value,
        index: 0,
        length: 0,
    })
}

/// A device that is configured and was asked for its status.
fn ready(config: UsbConfig) -> UsbCard {
    let mut card = UsbCard::new(config);
    configure(&mut card, 1).unwrap();
    assert_eq!(get(&mut card, 0x13, 1), Ok(vec![1]));
    card
}

fn millis(card: &mut UsbCard, millis: u64) {
    let now = card.supply.now();
    card.advance(now + Duration::from_millis(millis));
}

#[track_caller]
fn violated(card: &UsbCard, text: &str) {
    let texts = card.violations().texts();
    assert!(
        matches!(texts, [one] if one.contains(text)),
        "{text:?} expected: {texts:?}"
    );
}

#[test]
fn its_packets_are_the_stream() {
    let mut card = ready(UsbConfig::default());
    assert_eq!(card.bulk_in(ENDPOINT, 512), Err(UsbError::Nak));
    let mut bytes = Vec::new();
    for _ in 0..10 {
        millis(&mut card, 2);
        while let Ok(packet) = card.bulk_in(ENDPOINT, 512) {
            bytes.extend(packet);
        }
    }
    assert_eq!(bytes.len(), 10_000 / 512 * 512);
    assert_eq!(bytes, card.stream().bytes(0, bytes.len()));
    millis(&mut card, 20);
    assert!(card.ledger().overflowed() > 0, "its memory is small");
    card.violations().assert_none();
}

#[test]
fn its_descriptors_say_what_it_is() {
    let mut card = UsbCard::new(UsbConfig::default());
    let device = descriptor(&mut card, 0x0100, 64).unwrap();
    assert_eq!(device.len(), 18);
    assert_eq!(device[8..12], [0xBA, 0x0A, 0x02, 0x01]);
    assert_eq!(device[14..], [1, 2, 3, 1]);
    let configuration = descriptor(&mut card, 0x0200, 255).unwrap();
    assert_eq!(configuration.len(), usize::from(configuration[2]));
    assert_eq!(configuration[18..], [7, 5, 0x86, 2, 0x00, 0x02, 0]);
    assert_eq!(descriptor(&mut card, 0x0200, 9).unwrap().len(), 9);
    let serial = descriptor(&mut card, 0x0303, 255).unwrap();
    assert_eq!(serial[..6], [22, 3, b'1', 0, b'3', 0]);
    assert_eq!(descriptor(&mut card, 0x0F00, 5), Err(UsbError::Stall));
    let full = UsbConfig {
        speed: Speed::Full,
        ..Default::default()
    };
    let mut card = ready(full);
    let configuration = descriptor(&mut card, 0x0200, 255).unwrap();
    assert_eq!(configuration[22..24], [64, 0]);
    millis(&mut card, 2);
    assert_eq!(card.bulk_in(ENDPOINT, 64).unwrap().len(), 64);
    card.violations().assert_none();
}

#[test]
fn its_requests_answer_as_the_reference_says() {
    let mut card = ready(UsbConfig::default());
    assert_eq!(get(&mut card, 0x10, 4), Ok(vec![0x02, 0x19, 0x07, 0x0B]));
    for request in [0x14, 0x15] {
        assert_eq!(get(&mut card, request, 1), Ok(vec![1]));
    }
    assert_eq!(get(&mut card, 0x16, 4), Ok(4000_u32.to_le_bytes().to_vec()));
    assert_eq!(get(&mut card, 0x17, 1), Ok(vec![0]));
    assert_eq!(put(&mut card, 0x18), Ok(vec![]));
    let configuration = Setup {
        kind: 0x80,
        request: 8,
        value: 0,
        index: 0,
        length: 1,
    };
    assert_eq!(card.control(configuration), Ok(vec![1]));
    card.violations().assert_none();
}

#[test]
fn a_reset_is_followed_by_stale_bytes_after_a_second() {
    let mut card = ready(UsbConfig::default());
    millis(&mut card, 4);
    put(&mut card, 0x11).unwrap();
    millis(&mut card, 4);
    assert_eq!(card.bulk_in(ENDPOINT, 512), Err(UsbError::Nak));
    put(&mut card, 0x12).unwrap();
    millis(&mut card, 1000);
    for _ in 0..8 {
        assert_eq!(card.bulk_in(ENDPOINT, 512).unwrap().len(), 512);
    }
    millis(&mut card, 2);
    card.bulk_in(ENDPOINT, 512).unwrap();
    let worths: Vec<_> = card.ledger().pieces().iter().map(|p| p.worth).collect();
    assert_eq!(worths, [Worth::Stale, Worth::Good]);
    card.violations().assert_none();
    put(&mut card, 0x12).unwrap();
    millis(&mut card, 999);
    card.bulk_in(ENDPOINT, 512).unwrap();
    violated(&card, "after a reset");
}

#[test]
fn requests_that_are_not_allowed_are_refused_and_violations() {
    let setups = [
        (0xC1, 0x13, 0, 0, 4, "expected"),
        (0xC1, 0x13, 1, 0, 1, "expected"),
        (0xC1, 0x13, 0, 1, 1, "expected"),
        (0xC0, 0x13, 0, 0, 1, "expected"),
        (0xC1, 0x11, 0, 0, 1, "expected"),
        (0x41, 0x13, 0, 0, 1, "expected"),
        (0xC1, 0x19, 0, 0, 1, "no such vendor"),
        (0xA1, 0x01, 0, 0, 1, "no such class"),
        (0x00, 0x09, 2, 0, 0, "no such configuration"),
        (0x80, 0x0C, 0, 0, 2, "no such standard"),
    ];
    for (kind, request, value, index, length, text) in setups {
        let mut card = ready(UsbConfig::default());
        let setup = Setup {
            kind,
            request,
            value,
            index,
            length,
        };
        assert_eq!(card.control(setup), Err(UsbError::Stall));
        violated(&card, text);
    }
    let mut card = UsbCard::new(UsbConfig::default());
    assert_eq!(get(&mut card, 0x13, 1), Err(UsbError::Stall));
    violated(&card, "no configuration");
    let mut card = ready(UsbConfig::default());
    assert_eq!(configure(&mut card, 1), Ok(vec![]));
    violated(&card, "set already");
}

#[test]
fn reads_of_a_wrong_kind_are_violations() {
    for length in [64, 511, 1024] {
        let mut card = ready(UsbConfig::default());
        millis(&mut card, 8);
        assert_eq!(card.bulk_in(ENDPOINT, length).unwrap().len(), length);
        violated(&card, "not of one packet");
    }
    let mut card = ready(UsbConfig::default());
    assert_eq!(card.bulk_in(0x81, 512), Err(UsbError::Stall));
    violated(&card, "not there");
    let mut card = UsbCard::new(UsbConfig::default());
    configure(&mut card, 1).unwrap();
    millis(&mut card, 8);
    card.bulk_in(ENDPOINT, 512).unwrap();
    card.bulk_in(ENDPOINT, 512).unwrap();
    violated(&card, "before the status");
}

#[test]
fn faults_show_where_the_reference_says() {
    let mut card = ready(UsbConfig::default());
    card.inject(Fault::ModuleFails(0)).unwrap();
    assert_eq!(get(&mut card, 0x13, 1), Ok(vec![0]));
    millis(&mut card, 10);
    assert_eq!(card.bulk_in(ENDPOINT, 512), Err(UsbError::Nak));
    card.clear();
    millis(&mut card, 10);
    card.inject(Fault::Short).unwrap();
    assert_eq!(card.bulk_in(ENDPOINT, 512).unwrap().len(), 100);
    card.clear();
    card.inject(Fault::Ones).unwrap();
    assert_eq!(card.bulk_in(ENDPOINT, 512), Ok(vec![0xFF; 512]));
    card.inject(Fault::Hang).unwrap();
    assert_eq!(card.bulk_in(ENDPOINT, 512), Err(UsbError::Nak));
    assert_eq!(get(&mut card, 0x13, 1), Err(UsbError::Nak));
    assert!(
        card.state().contains("faults=[ones, hang]"),
        "{}",
        card.state()
    );
    card.inject(Fault::Gone).unwrap();
    assert_eq!(get(&mut card, 0x13, 1), Err(UsbError::Gone));
    assert_eq!(card.bulk_in(ENDPOINT, 512), Err(UsbError::Gone));
    card.clear();
    assert_eq!(descriptor(&mut card, 0x0100, 8).unwrap().len(), 8);
    assert_eq!(card.configuration, 0);
    for fault in [Fault::Overflow, Fault::Html, Fault::ModuleFails(1)] {
        assert_eq!(card.inject(fault), Err(FaultError::NotHere(fault)));
    }
    card.violations().assert_none();
}
