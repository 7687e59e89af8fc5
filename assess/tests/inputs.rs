//! Good bytes pass; each known bad input fails, and by which check is told.
#![allow(missing_docs)]

use qrng::drbg::CtrDrbg;
use qrng_assess::{AssessError, Assessment, Options, Progress, Verdict, run};
use std::io::Read;

const MIB: usize = 1 << 20;
/// Length of the bad inputs: two sequences.
const BAD: usize = 1 << 18;

fn random(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    CtrDrbg::new(&[seed; 48], &[0; 48])
        .fill(&mut bytes)
        .unwrap();
    bytes
}

fn assess(bytes: &[u8]) -> Assessment {
    run(
        bytes,
        Options {
            what: "a <test>".into(),
            ..Options::default()
        },
        |_| (),
    )
    .unwrap()
}

fn failed(assessment: &Assessment) -> Vec<&str> {
    let failed = assessment
        .findings()
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed);
    failed.map(|finding| finding.name.as_str()).collect()
}

#[test]
fn good_bytes_pass_whatever_their_number() {
    for (seed, len) in [
        (1, 4096),
        (2, 20_000),
        (3, 131_071),
        (4, 131_072),
        (5, 300_000),
        (6, 2 * MIB),
    ] {
        let assessment = assess(&random(seed, len));
        assert!(assessment.passed(), "{len}: {}", assessment.text());
        assert_eq!(assessment.bytes(), len as u64);
        if len >= 125_000 {
            assert!(
                assessment.min_entropy().unwrap() > 0.75,
                "{}",
                assessment.text()
            );
        }
    }
}

#[test]
fn all_checks_run_on_good_bytes_of_a_mebibyte() {
    let assessment = assess(&random(7, MIB));
    assert_eq!(assessment.findings().len(), 4 + 15 + 1);
    let not_run = assessment
        .findings()
        .iter()
        .filter(|finding| finding.verdict == Verdict::NotRun)
        .count();
    assert_eq!(not_run, 0, "{}", assessment.text());
    assert_eq!(assessment.estimates().len(), 10);
}

/// English that does not repeat: words in random order.
fn prose(len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the", "of", "and", "light", "is", "split", "by", "a", "mirror", "which", "way", "each",
        "photon", "goes", "nobody", "knows",
    ];
    let mut text = String::new();
    let choices = random(11, len);
    for choice in choices {
        if text.len() >= len {
            break;
        }
        text.push_str(WORDS[usize::from(choice & 15)]);
        text.push(if choice & 0xE0 == 0 { '\n' } else { ' ' });
    }
    text.into_bytes()
}

/// Each bit one with probability 51 %: a threshold on 16 random bits.
fn biased(len: usize) -> Vec<u8> {
    let limit = (0.51 * 65_536.0) as u16;
    let bit = |pair: &[u8]| u8::from(u16::from_le_bytes([pair[0], pair[1]]) < limit);
    random(12, len * 16)
        .chunks(16)
        .map(|bits| bits.chunks(2).fold(0, |byte, pair| byte << 1 | bit(pair)))
        .collect()
}

#[test]
fn known_bad_inputs_fail() {
    let block = random(13, 65_536);
    let long_block = random(14, 140_000);
    let bad: [(&str, Vec<u8>, &str); 9] = [
        ("all zero", vec![0; BAD], "min-entropy"),
        ("all one", vec![255; BAD], "ones among all bits"),
        (
            "counter",
            (0..BAD).map(|i| i as u8).collect(),
            "all byte values",
        ),
        (
            "counter of 32 bits",
            (0..BAD as u32 / 4).flat_map(u32::to_be_bytes).collect(),
            "spectrum",
        ),
        ("biased 51 %", biased(BAD), "ones among all bits"),
        (
            "repeating 64 KiB",
            block.iter().copied().cycle().take(BAD).collect(),
            "blocks that come again",
        ),
        (
            "repeating 140 kB",
            long_block.iter().copied().cycle().take(BAD).collect(),
            "blocks that come again",
        ),
        ("text", prose(BAD), "min-entropy"),
        ("sticky bits", sticky(BAD), "runs of equal bits"),
    ];
    for (name, bytes, by) in bad {
        let assessment = assess(&bytes);
        assert!(!assessment.passed(), "{name}");
        let failed = failed(&assessment);
        assert!(
            failed.iter().any(|check| check.starts_with(by)),
            "{name} fails by {failed:?}, not by {by}"
        );
        assert!(assessment.verdict().starts_with("Failed"), "{name}");
    }
}

/// Each bit the same as the one before with probability 51 %.
fn sticky(len: usize) -> Vec<u8> {
    let mut state = 0;
    biased(len)
        .into_iter()
        .map(|same| {
            (0..8).rev().fold(0, |byte, bit| {
                state ^= 1 ^ (same >> bit & 1);
                byte << 1 | state
            })
        })
        .collect()
}

#[test]
fn small_bad_inputs_fail_too() {
    for len in [4096, 8192, 50_000] {
        assert!(!assess(&vec![0; len]).passed());
        assert!(!assess(&(0..len).map(|i| i as u8).collect::<Vec<_>>()).passed());
        assert!(!assess(&prose(len)).passed());
    }
}

#[test]
fn too_short_and_unreadable_inputs_are_errors() {
    let short = run(&[0_u8; 4095][..], Options::default(), |_| ());
    assert!(matches!(short, Err(AssessError::TooShort(4095))));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    assert!(matches!(
        run(Broken, Options::default(), |_| ()),
        Err(AssessError::Read(_))
    ));
}

#[test]
fn an_endless_input_is_read_to_the_limit_and_progress_rises_to_one() {
    let mut steps: Vec<Progress> = Vec::new();
    let options = Options {
        max_bytes: 200_000,
        entropy_bits: 10_000,
        ..Options::default()
    };
    let assessment = run(std::io::repeat(0x5A), options, |step| steps.push(step)).unwrap();
    assert_eq!(assessment.bytes(), 200_000);
    assert!(steps.is_sorted_by(|a, b| a.done <= b.done), "{steps:?}");
    assert_eq!(steps.last().unwrap().done, 1.0);
}

#[test]
fn the_reports_say_what_when_and_what_not() {
    let options = Options {
        what: "a <test>".into(),
        when: "2030-01-02 03:04 UTC".into(),
        ..Options::default()
    };
    let assessment = run(&random(21, 1 << 18)[..], options, |_| ()).unwrap();
    let (text, html) = (assessment.text(), assessment.html());
    for part in [
        "2030-01-02 03:04 UTC",
        "1048576",
        "Passed",
        "does not say",
        "LZ78Y",
        "quantum",
    ] {
        assert!(text.contains(part), "{part}: {text}");
        assert!(html.contains(part), "{part}");
    }
    assert!(text.contains("a <test>"));
    assert!(html.contains("a &lt;test&gt;") && !html.contains("a <test>"));
    // Nothing from elsewhere, and no scripts.
    for part in ["<script", "http:", "https:", "<link", "@import", "url("] {
        assert!(!html.contains(part), "{part}");
    }
    assert_eq!(html.matches("<svg").count(), 3);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(html.contains("data:image/bmp;base64,"));
    assert!(html.contains("prefers-color-scheme:dark"));
    assert!(text.lines().all(|line| line.len() <= 140), "{text}");
}
