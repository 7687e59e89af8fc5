//! How to cut and pace.

use super::*;

#[test]
fn wrong_settings_for_sending_are_told() {
    told(
        amended("[send]\ndata-size = 17\n"),
        &["send.data-size", "give 18 to 1376"],
    );
    told(
        amended("[send]\ndata-size = 1377\n"),
        &["send.data-size", "IPv4"],
    );
    told(
        check(&format!(
            "{SOURCE}[[gateway]]\naddress = \"[::1]:1\"\nkey = \"a\"\n[send]\ndata-size = 1376\n"
        )),
        &["send.data-size", "IPv6", "give 18 to 1356"],
    );
    told(
        amended("[send]\nrate = \"fast\"\n"),
        &["send.rate", "unlimited"],
    );
    told(
        amended("[send]\nrate = \"15999 B/s\"\n"),
        &["send.rate", "at least 16000"],
    );
    told(
        amended("[send]\nburst = 1479\n"),
        &["send.burst", "at least 1480"],
    );
    told(amended("[send]\nburst = \"1 Mi\"\n"), &["send.burst", "Mi"]);
    let error = amended("[send]\nbursts = 1\n").unwrap_err();
    assert!(error.contains("unknown field `bursts`"), "{error}");
    let error = amended("[send]\nrate = true\n").unwrap_err();
    assert!(error.contains("whole number"), "{error}");
}

#[test]
fn batches_suit_the_pace() {
    let rate = NonZeroU64::new;
    assert_eq!(segments(1452, 1480, None, 0), 45);
    assert_eq!(segments(114, 142, None, 0), 64);
    assert_eq!(segments(1452, 1480, rate(40_000_000), 262_144), 45);
    assert_eq!(segments(1452, 1480, rate(40_000_000), 14_800), 10);
    assert_eq!(segments(1452, 1480, rate(1_000_000), 262_144), 6);
    assert_eq!(segments(1452, 1480, rate(16_000), 262_144), 1);
}
