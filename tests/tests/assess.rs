//! `qrng assess` as people run it, and beside it other people's judges of random bytes on the same data.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use qrng::drbg::CtrDrbg;
use qrng_tests::chain::{Chain, program};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::skip;

/// Bytes of each input: as many as dieharder's tests below use up without going back to the start.
const LEN: usize = 4 << 20;

/// Good random bytes, the same in every run, so that no verdict is an accident.
fn random(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    CtrDrbg::new(&[seed; 48], &[0; 48])
        .fill(&mut bytes)
        .unwrap();
    bytes
}

/// Each bit one with probability 51 %: a threshold on 16 random bits.
fn biased() -> Vec<u8> {
    let limit = (0.51 * 65_536.0) as u16;
    let bit = |pair: &[u8]| u8::from(u16::from_le_bytes([pair[0], pair[1]]) < limit);
    random(2, LEN * 16)
        .chunks(16)
        .map(|bits| bits.chunks(2).fold(0, |byte, pair| byte << 1 | bit(pair)))
        .collect()
}

/// English words in random order.
fn prose() -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "light ", "is ", "split ", "by ", "a ", "mirror ", "nobody ", "knows\n",
    ];
    let mut text = String::new();
    for choice in random(3, LEN) {
        text.push_str(WORDS[usize::from(choice & 7)]);
    }
    text.truncate(LEN);
    text.into_bytes()
}

/// What each input is, and whether it is good.
const INPUTS: [(&str, bool); 7] = [
    ("good", true),
    ("also-good", true),
    ("zero", false),
    ("counter", false),
    ("biased-51", false),
    ("repeated-64-KiB", false),
    ("text", false),
];

fn bytes_of(input: &str) -> Vec<u8> {
    match input {
        "good" => random(10, LEN),
        "also-good" => random(11, LEN),
        "zero" => vec![0; LEN],
        "counter" => (0..LEN).map(|i| i as u8).collect(),
        "biased-51" => biased(),
        "repeated-64-KiB" => random(4, 65_536).into_iter().cycle().take(LEN).collect(),
        "text" => prose(),
        other => panic!("no input is called {other}"),
    }
}

/// A directory with every input as a file, made once for all tests.
struct Inputs(PathBuf);

static INPUT_FILES: LazyLock<Inputs> = LazyLock::new(|| {
    // Statics are never dropped: a directory of the build, overwritten by the next run, leaves nothing elsewhere.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("assess");
    fs::create_dir_all(&directory).unwrap();
    for (input, _) in INPUTS {
        fs::write(directory.join(input), bytes_of(input)).unwrap();
    }
    Inputs(directory)
});

fn file(input: &str) -> PathBuf {
    INPUT_FILES.0.join(input)
}

fn assess(arguments: &[&str]) -> Output {
    Command::new(program("qrng"))
        .arg("assess")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether `program` can be started; `tests/run.sh` installs it where it can.
fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("-h")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Compares one judge's verdicts with ours. `blind` are bad inputs that this judge cannot see by its nature:
/// that it passes them is tested too, so that the exception does not outlive its reason.
fn agree(judge: &str, blind: &[&str], passes: impl Fn(&Path) -> bool) {
    let table: Vec<(&str, bool, bool)> = INPUTS
        .into_iter()
        .map(|(input, good)| (input, good || blind.contains(&input), passes(&file(input))))
        .collect();
    for (input, expected, passed) in &table {
        println!("{judge}: {input}: passed {passed}, expected {expected}");
    }
    assert!(
        table.iter().all(|(_, expected, passed)| expected == passed),
        "{judge}: {table:?}"
    );
}

#[test]
fn known_bad_inputs_fail_and_good_ones_pass() {
    for (input, good) in INPUTS {
        // The first mebibyte of what the others are given.
        let output = assess(&["--quick", file(input).to_str().unwrap()]);
        let words = text(&output.stdout);
        println!("{input}: {:?}", output.status);
        assert_eq!(
            output.status.code(),
            Some(i32::from(!good)),
            "{input}: {words}"
        );
        let verdict = if good { "\nPassed: " } else { "\nFailed: " };
        assert!(words.contains(verdict), "{input}: {words}");
        assert_eq!(words.contains("\n  FAILED "), !good, "{input}: {words}");
        // Neither a bar nor anything else where there is no terminal.
        assert_eq!(text(&output.stderr), "", "{input}");
    }
}

#[test]
fn rngtest_agrees() {
    if !is_there("rngtest") {
        skip!("rngtest is missing (package rng-tools5): the verdicts were NOT compared with its");
    }
    // It looks at 20,000 bits at a time, so it cannot see that a longer block comes again.
    agree("rngtest", &["repeated-64-KiB"], |path| {
        let output = Command::new("rngtest")
            .stdin(File::open(path).unwrap())
            .output()
            .unwrap();
        let words = text(&output.stderr);
        let number = |name: &str| -> u64 {
            let rest = words
                .split_once(name)
                .unwrap_or_else(|| panic!("no {name}: {words}"))
                .1;
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (good, bad) = (
            number("FIPS 140-2 successes:"),
            number("FIPS 140-2 failures:"),
        );
        assert_eq!(good + bad, LEN as u64 * 8 / 20_000);
        // One block of good bits in about 1250 fails.
        bad * 100 < good + bad
    });
}

#[test]
fn ent_agrees() {
    if !is_there("ent") {
        skip!("ent is missing (package ent): the verdicts were NOT compared with its");
    }
    agree("ent", &[], |path| {
        let output = Command::new("ent").arg("-t").arg(path).output().unwrap();
        let words = text(&output.stdout);
        let row = words.lines().nth(1).expect("a row of numbers");
        let number =
            |column: usize| -> f64 { row.split(',').nth(column).unwrap().parse().unwrap() };
        let (entropy, chi_square, correlation) = (number(2), number(3), number(6));
        // Chi-square of 255 degrees of freedom, two-sided at 2^-30; five deviations of the correlation.
        entropy > 7.999
            && (140.1..418.4).contains(&chi_square)
            && correlation.abs() < 5.0 / (LEN as f64).sqrt()
    });
}

#[test]
fn dieharder_agrees() {
    if !is_there("dieharder") {
        skip!("dieharder is missing (package dieharder): the verdicts were NOT compared with its");
    }
    // Its tests that say something on so few bytes: birthdays, runs, ones and zeros, distribution of bytes.
    let tests = [
        ["-d", "0", "-p", "20"],
        ["-d", "15", "-p", "10"],
        ["-d", "100", "-p", "10"],
        ["-d", "205", "-t", "300000"],
    ];
    agree("dieharder", &[], |path| {
        tests.iter().all(|test| {
            // Generator 201 is a file of raw bytes.
            let output = Command::new("dieharder")
                .args(["-g", "201", "-f"])
                .arg(path)
                .args(test)
                .output()
                .unwrap();
            let words = text(&output.stdout);
            let verdicts = words.matches("PASSED").count() + words.matches("WEAK").count();
            assert!(verdicts > 0 || words.contains("FAILED"), "{words}");
            !words.contains("FAILED")
        })
    });
}

#[test]
fn the_page_needs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let output = assess(&[
        "--quick",
        "--html",
        page.to_str().unwrap(),
        file("good").to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the first 1.00 MiB of 4.00 MiB"));
    let html = fs::read_to_string(&page).unwrap();
    for part in [
        "<script", "http:", "https:", "//", "<link", "@import", "url(", "<iframe", "onload",
    ] {
        // Base64 of a picture may hold any letters and slashes.
        let outside_pictures: String = html
            .split("data:image/bmp;base64,")
            .enumerate()
            .map(|(i, piece)| match i {
                0 => piece,
                _ => piece.split_once('"').unwrap().1,
            })
            .collect();
        assert!(!outside_pictures.contains(part), "{part}");
    }
    assert!(html.contains("<svg") && html.contains("data:image/bmp;base64,"));
}

#[test]
fn standard_input_is_read_to_the_limit() {
    let mut child = Command::new(program("qrng"))
        .args(["assess", "-", "--bytes", "200 kB"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than is asked for: the rest is refused when the command has ended.
    let _ = input.write_all(&random(12, 4 << 20));
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let words = text(&output.stdout);
    assert!(words.contains("standard input"), "{words}");
    assert!(words.contains(" 200000\n"), "{words}");
}

#[test]
fn what_cannot_be_assessed_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let short = directory.path().join("short");
    fs::write(&short, [7; 1000]).unwrap();
    let page = directory.path().join("page.html");
    for (arguments, expected) in [
        (vec!["/nonexistent/bytes"], "cannot find /nonexistent/bytes"),
        (vec!["/"], "is a directory"),
        (vec!["-"], "only 0 bytes"),
        (
            vec![short.to_str().unwrap(), "--html", page.to_str().unwrap()],
            "only 1000 bytes",
        ),
        (
            vec![short.to_str().unwrap(), "--html", short.to_str().unwrap()],
            "these are the bytes to assess",
        ),
        (vec!["-", "--bytes", "lots"], "lots"),
        (vec!["-", "--quick", "--bytes", "5"], "cannot be used with"),
        (vec![], "<FILE>"),
    ] {
        let output = assess(&arguments);
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
        assert!(words.contains(expected), "{arguments:?}: {words}");
    }
    assert!(!page.exists());
    assert_eq!(fs::metadata(&short).unwrap().len(), 1000);
}

#[test]
fn a_bar_is_drawn_on_a_terminal_only() {
    // `script` gives the command a terminal.
    if !is_there("script") {
        skip!("script is missing (package bsdutils)");
    }
    let command = format!(
        "{} assess --quick {}",
        program("qrng").display(),
        file("good").display()
    );
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(null)
        .output()
        .unwrap();
    let words = text(&output.stdout);
    assert!(words.contains("[####"), "{words}");
    assert!(words.contains(" %  reading"), "{words}");
    assert!(words.contains("Passed"), "{words}");
}

#[test]
fn a_gateways_file_is_assessed_with_its_sources_named() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"");
    qrng_tests::chain::wait_until("a report of the sources", || {
        chain.status()["sources"]
            .as_array()
            .is_some_and(|s| !s.is_empty())
    });
    let output = assess(&[chain.file("raw").to_str().unwrap(), "--bytes", "1 MiB"]);
    let words = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{words}{}",
        text(&output.stderr)
    );
    assert!(
        words.contains("noise source: simulator (NOT QUANTUM"),
        "{words}"
    );
    assert_eq!(chain.count("/bytes/served"), 1 << 20);
}
