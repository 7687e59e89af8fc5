use super::*;
use crate::report::Kind;

fn member(kind: Kind, serial: &str, group: &str) -> Member {
    Member {
        identity: Identity {
            kind,
            serial: Some(serial.to_owned()),
            path: None,
        },
        group: group.to_owned(),
        min_entropy: 0.98,
    }
}

fn usb(serial: &str) -> Member {
    member(Kind::Usb, serial, serial)
}

fn at(kind: Kind, serial: Option<&str>, path: Option<&str>) -> Identity {
    Identity {
        kind,
        serial: serial.map(str::to_owned),
        path: path.map(str::to_owned),
    }
}

fn three(combining: Combining, policy: Policy) -> Combination {
    let members = vec![usb("a"), member(Kind::PcieChip, "b", "b"), usb("c")];
    Combination::new(combining, policy, members).unwrap()
}

#[test]
fn devices_are_told_apart_by_serial_or_path() {
    use Kind::{KernelNode, PcieChip, Usb};
    let same = |a: Identity, b: Identity| {
        assert_eq!(a.is_same_device(&b), b.is_same_device(&a));
        a.is_same_device(&b)
    };
    assert!(same(
        at(Usb, Some("1"), None),
        at(Usb, Some(" 1 "), Some("/x"))
    ));
    assert!(!same(at(Usb, Some("1"), None), at(Usb, Some("2"), None)));
    assert!(!same(
        at(Usb, Some("1"), None),
        at(PcieChip, Some("1"), None)
    ));
    assert!(same(
        at(KernelNode, Some("1"), Some("/dev/a")),
        at(PcieChip, Some("1"), None)
    ));
    assert!(same(
        at(KernelNode, None, Some("/dev/a")),
        at(PcieChip, Some("1"), Some("/dev/a"))
    ));
    assert!(!same(at(Usb, Some(""), None), at(Usb, Some(""), None)));
    assert_eq!(
        at(Usb, Some("1"), Some("/x")).to_string(),
        "usb serial 1 at /x"
    );
}

#[test]
fn declarations_are_checked() {
    let new = |members: Vec<Member>, combining| {
        let combination = Combination::new(combining, Policy::RequireAll, members);
        combination.err().map(|error| error.to_string())
    };
    let refused = |members, words: &str| {
        let message = new(members, Combining::Xor).unwrap();
        assert!(message.contains(words), "{message}");
    };
    refused(vec![], "at least two");
    refused(vec![usb("a")], "at least two");
    refused(vec![usb("a"), usb("b"), usb("a")], "are one device");
    refused(
        vec![usb("a"), member(Kind::Usb, "b", "a")],
        "declare two groups",
    );
    refused(
        vec![usb("a"), member(Kind::Usb, "b", " ")],
        "declares no independence group",
    );
    refused(
        vec![usb("a"), member(Kind::Usb, " ", "b")],
        "its serial number or its path",
    );
    let mut empty = usb("b");
    empty.min_entropy = f64::NAN;
    refused(vec![usb("a"), empty], "not NaN");
    assert_eq!(new(vec![usb("a"), usb("b")], Combining::Xor), None);

    // One device twice is refused under HKDF too; one group twice counts once.
    let hkdf = |bytes_each| Combining::Hkdf {
        bytes_each,
        output_len: 32,
    };
    assert!(
        new(vec![usb("a"), usb("a")], hkdf(100))
            .unwrap()
            .contains("one device")
    );
    let one_group = || vec![usb("a"), member(Kind::Usb, "b", "a")];
    assert!(
        new(one_group(), hkdf(40))
            .unwrap()
            .contains("need 320 bits")
    );
    assert_eq!(new(one_group(), hkdf(41)), None);
    assert!(
        new(vec![usb("a"), usb("b")], hkdf(20))
            .unwrap()
            .contains("313.6 go in")
    );
    assert_eq!(new(vec![usb("a"), usb("b")], hkdf(21)), None);
}

#[test]
fn hkdf_output_is_at_most_its_hash() {
    for output_len in [0, 33, usize::MAX / 16] {
        let combining = Combining::Hkdf {
            bytes_each: 1 << 20,
            output_len,
        };
        let error = Combination::new(combining, Policy::RequireAll, vec![usb("a"), usb("b")]);
        assert_eq!(error.unwrap_err(), CombineError::OutputLen(output_len));
    }
}

#[test]
fn xor_adds_up_and_unites_kinds() {
    let combination = three(Combining::Xor, Policy::RequireAll);
    let mut out = vec![9];
    let kinds = combination.combine(
        &[
            Some(&[1, 2, 3]),
            Some(&[0x10, 0x20, 0x30]),
            Some(&[0x80, 0x80, 0x83]),
        ],
        &mut out,
    );
    assert_eq!(out, [9, 0x91, 0xa2, 0xb0]);
    assert_eq!(kinds.unwrap(), Kinds::of(Kind::Usb).with(Kind::PcieChip));
    assert_eq!(combination.min_entropy(), 0.98);
}

#[test]
fn interleaved_blocks_pass_as_they_are() {
    let mut combination = three(Combining::Interleave, Policy::ContinueWithRest);
    assert_eq!(combination.pass(1), Ok(Kinds::of(Kind::PcieChip)));
    assert_eq!(combination.pass(2), Ok(Kinds::of(Kind::Usb)));
    assert_eq!(combination.pass(3), Err(CombineError::NotWorking(3)));
    let blocks: [Option<&[u8]>; 3] = [Some(&[1]), Some(&[2]), Some(&[4])];
    let mut out = vec![];
    let combined = combination.combine(&blocks, &mut out);
    assert_eq!(combined, Err(CombineError::OneAtATime));
    assert!(out.is_empty());
    combination.failed(1).unwrap();
    assert_eq!(combination.pass(1), Err(CombineError::NotWorking(1)));
    assert_eq!(combination.pass(0), Ok(Kinds::of(Kind::Usb)));
    combination.failed(0).unwrap();
    combination.failed(2).unwrap();
    assert_eq!(combination.pass(0), Err(CombineError::AllFailed));

    let mut all = three(Combining::Interleave, Policy::RequireAll);
    all.failed(1).unwrap();
    assert!(matches!(all.pass(0), Err(CombineError::Failed(_))));
}

#[test]
fn interleaved_sources_are_independent_and_as_good_as_the_worst() {
    let new = |members| Combination::new(Combining::Interleave, Policy::RequireAll, members);
    let worst = Member {
        min_entropy: 0.7,
        ..usb("b")
    };
    let combination = new(vec![usb("a"), worst]).unwrap();
    assert_eq!(combination.min_entropy(), 0.7);
    let error = new(vec![usb("a"), member(Kind::Usb, "b", "a")]).unwrap_err();
    assert!(error.to_string().contains("interleaving needs independent"));
    let error = new(vec![usb("a"), usb("a")]).unwrap_err();
    assert!(error.to_string().contains("are one device"));
}

#[test]
fn blocks_must_be_there_and_equally_long() {
    let combination = three(Combining::Xor, Policy::ContinueWithRest);
    let mut out = vec![];
    let mut error = |blocks: &[Option<&[u8]>]| combination.combine(blocks, &mut out).unwrap_err();
    assert_eq!(
        error(&[Some(&[1]), Some(&[1, 2]), Some(&[1])]),
        CombineError::Lengths
    );
    let missing = CombineError::NoBlock("pcie-chip serial b".to_owned());
    assert_eq!(error(&[Some(&[1]), None, Some(&[1])]), missing);
    assert_eq!(error(&[Some(&[1])]), missing);
    assert!(out.is_empty());
}

#[test]
fn all_are_required_if_so_declared() {
    let mut combination = three(Combining::Xor, Policy::RequireAll);
    let blocks: [Option<&[u8]>; 3] = [Some(&[1]), Some(&[2]), Some(&[4])];
    let notice = combination.failed(1).unwrap();
    assert_eq!(
        notice.to_string(),
        "source pcie-chip serial b failed: 2 of 3 sources work, nothing is combined: \
         source pcie-chip serial b failed, and all sources are required"
    );
    assert_eq!(combination.failed(1), None);
    assert_eq!(combination.failed(3), None);
    assert!(combination.combine(&blocks, &mut vec![]).is_err());
    assert_eq!(combination.min_entropy(), 0.0);
    let notice = combination.is_back(1).unwrap();
    assert_eq!(
        notice.to_string(),
        "source pcie-chip serial b is back: 3 of 3 sources work, all contribute"
    );
    assert!(combination.combine(&blocks, &mut vec![]).is_ok());
}

#[test]
fn the_rest_goes_on_if_so_declared() {
    let mut combination = three(Combining::Xor, Policy::ContinueWithRest);
    let blocks: [Option<&[u8]>; 3] = [Some(&[1]), Some(&[2]), Some(&[4])];
    let notice = combination.failed(1).unwrap();
    assert!(
        notice
            .to_string()
            .ends_with("2 of 3 sources work, going on without the rest")
    );
    let mut out = vec![];
    // The failed source's block is not looked at, and its kind is not claimed.
    assert_eq!(
        combination.combine(&blocks, &mut out),
        Ok(Kinds::of(Kind::Usb))
    );
    assert_eq!(out, [5]);
    combination.failed(0);
    let notice = combination.failed(2).unwrap();
    assert_eq!(notice.stopped, Some(CombineError::AllFailed));
    assert_eq!(
        combination.combine(&blocks, &mut out),
        Err(CombineError::AllFailed)
    );
}

#[test]
fn hkdf_stops_when_the_rest_holds_too_little() {
    let combining = Combining::Hkdf {
        bytes_each: 21,
        output_len: 32,
    };
    let mut combination = three(combining, Policy::ContinueWithRest);
    assert_eq!(combination.min_entropy(), 1.0);
    assert_eq!(combination.failed(0).unwrap().stopped, None);
    let stopped = combination.failed(1).unwrap().stopped;
    assert!(matches!(
        stopped,
        Some(CombineError::TooLittle { needed: 320, .. })
    ));
    assert!(
        combination
            .combine(&[None, None, Some(&[0; 21])], &mut vec![])
            .is_err()
    );
}

#[test]
fn hkdf_is_rfc_5869_over_framed_blocks() {
    let combining = Combining::Hkdf {
        bytes_each: 25,
        output_len: 24,
    };
    let members = vec![usb("a"), usb("b")];
    let combination = Combination::new(combining, Policy::RequireAll, members).unwrap();
    let (a, b): (Vec<u8>, Vec<u8>) = ((0..50).collect(), (100..150).collect());
    let mut out = vec![];
    combination
        .combine(&[Some(&a), Some(&b)], &mut out)
        .unwrap();
    let mut expected = vec![];
    for half in [0..25, 25..50] {
        let frame = |place: u8| [0, 0, 0, place, 0, 0, 0, 25];
        let material = [&frame(0)[..], &a[half.clone()], &frame(1), &b[half]].concat();
        let mut output = [0; 24];
        let hkdf = Hkdf::<Sha256>::new(None, &material);
        hkdf.expand(b"qrng combine", &mut output).unwrap();
        expected.extend(output);
    }
    assert_eq!(out, expected);
    let error = combination.combine(&[Some(&a[..26]), Some(&b[..26])], &mut out);
    assert_eq!(
        error,
        Err(CombineError::Multiple {
            len: 26,
            bytes_each: 25
        })
    );
}
