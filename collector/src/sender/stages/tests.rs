use std::thread;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::keys::{CollectorKeys, generate};
use qrng::packet::ANNOUNCEMENT_LEN;
use qrng::report::Kind;

use super::*;
use crate::block::ring;
use crate::epoch::{EpochError, Epochs};
use crate::seal::{longest_notice, notice_room};

const SEND: SendConfig = SendConfig {
    data_size: 101,
    rate: None,
    burst: 0,
    segments: 4,
};

struct One;

impl Epochs for One {
    fn next(&mut self, now_us: u64) -> Result<u64, EpochError> {
        Ok(now_us)
    }
}

/// Seals what comes out of the pipe; gives the lengths of the datagrams and why it ended.
fn seal(pipe: &[u8]) -> (Vec<Vec<usize>>, String, Counting) {
    let (_, key, _) = generate(&mut UnwrapErr(SysRng));
    let keys = vec![CollectorKeys::parse(&key).unwrap()];
    let rng = UnwrapErr(SysRng);
    let session = Seal::start(keys, SEND.cut(), Box::new(One), rng, now_us()).unwrap();
    let mut sealing = Sealing::new(session, &SEND);
    let length = SEND.batch().max(notice_room(SEND.cut()));
    let (to_send, from_seal) = ring(2, || Batch::new(length));
    let counting = Counting::new(1);
    let (lengths, why) = thread::scope(|scope| {
        let sent = scope.spawn(move || {
            let mut lengths = Vec::new();
            for batch in &from_seal.full {
                lengths.push(batch.datagrams().map(<[u8]>::len).collect());
                // At the end nobody takes it any more.
                let _ = from_seal.empty.send(batch);
            }
            lengths
        });
        let why = sealing.run(pipe, &to_send, &counting).unwrap_err();
        drop(to_send);
        (sent.join().unwrap(), format!("{why:#}"))
    });
    // Of a frame that was cut off something is left, which is wiped when it is dropped.
    let wiped = sealing.bytes.iter().all(|byte| *byte == 0);
    assert!(wiped || why.contains("within a frame"));
    (lengths, why, counting)
}

fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let mut pipe = Vec::new();
    for (kind, body) in frames {
        pipe::send(&mut pipe, *kind, body).unwrap();
    }
    pipe
}

fn report() -> Vec<u8> {
    vec![0; report_length(SEND.cut())]
}

const USB: u8 = Kinds::of(Kind::Usb).bits();
const REPORT: u8 = 0x80;

#[test]
fn reports_bring_announcements_and_bytes_become_packets() {
    let bytes = [9; 250];
    let pipe = frames(&[(REPORT, &report()), (USB, &bytes), (REPORT, &report())]);
    let (lengths, why, counting) = seal(&pipe);
    let notice = longest_notice(SEND.cut());
    let expected: [&[usize]; 5] = [
        &[ANNOUNCEMENT_LEN],
        &[notice],
        &[197, 197, 147],
        &[ANNOUNCEMENT_LEN],
        &[notice],
    ];
    assert_eq!(lengths, expected);
    assert_eq!(why, "the reader has ended");
    let counters = counting.now().gateways.remove(0);
    let counts = (counters.packets, counters.announcements, counters.reports);
    assert_eq!(counts, (3, 2, 2));
}

#[test]
fn what_a_reader_must_not_say_ends_the_sender_and_nothing_of_it_is_sent() {
    let report = report();
    let long = vec![9; SEND.block() + 100];
    let wrong: [(u8, &[u8], &str); 8] = [
        (USB, b"", "0x04 has 0 bytes"),
        (USB, &long, "0x04 has 500 bytes"),
        // One packet and three bytes, which make none.
        (USB, &[9; 103], "0x04 has 103 bytes"),
        (REPORT, &report[1..], "0x80 has 1116 bytes"),
        (REPORT, &[&report[..], b"x"].concat(), "0x80 has 1118 bytes"),
        (0, b"{}", "kind 0x00 does not belong here"),
        (0x40, b"x", "kind 0x40 does not belong here"),
        (0xff, b"x", "kind 0xff does not belong here"),
    ];
    for (kind, body, words) in wrong {
        let (lengths, why, _) = seal(&frames(&[(REPORT, &report), (kind, body)]));
        assert!(why.contains(words), "{words} is not in: {why}");
        assert_eq!(lengths.len(), 2, "{words}");
    }
    // Bytes before the first report, and so before a session was announced.
    let (lengths, why, _) = seal(&frames(&[(USB, &[9; 100])]));
    assert!(why.contains("0x04 does not belong here") && lengths.is_empty());
    for pipe in [&frames(&[(USB, &[9; 100])])[..50], b"\x04\x00"] {
        let pipe = [&frames(&[(REPORT, &report)])[..], pipe].concat();
        let (lengths, why, _) = seal(&pipe);
        assert!(why.contains("ends within a frame"), "{why}");
        assert_eq!(lengths.len(), 2);
    }
}
