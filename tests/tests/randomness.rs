//! `random`, `urandom` and `README` over a real mount, and what readers see of a health test that fails.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use qrng::health::BLOCK;
use qrng_gateway::tree::README;
use qrng_tests::broken::Broken;
use qrng_tests::chain::{Chain, PATIENCE, program, wait_until};
use qrng_tests::fuse_harness::{Process, Served, no_mount, sh};
use qrng_tests::skip;
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Raw bytes that a seed is made of.
const SEED: u64 = 96;

/// A mount, or the skip of the test that asked for one.
macro_rules! served {
    ($capacity:expr) => {
        match no_mount() {
            Some(reason) => skip!("{reason}"),
            None => Served::start($capacity),
        }
    };
}

fn open(path: &Path, flags: OFlag) -> File {
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .unwrap()
}

/// The error's name that one read of a byte gives, at once or after it has waited.
fn errno_of(file: &Path) -> Option<i32> {
    File::open(file)
        .unwrap()
        .read(&mut [0])
        .err()
        .and_then(|e| e.raw_os_error())
}

fn would_wait(file: &Path) -> bool {
    let got = open(file, OFlag::O_NONBLOCK).read(&mut [0; 16]);
    got.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
}

/// A reader that will wait: `dd` with one block.
fn reader(file: &Path, more: &[&str]) -> Process {
    let mut command = Command::new("dd");
    command
        .arg(format!("if={}", file.display()))
        .args(["bs=32", "count=1", "status=none"])
        .args(more);
    Process::start(&mut command)
}

// --- README -----------------------------------------------------------------------------------------------------------

#[test]
fn readme_is_a_text_that_ends_and_names_every_file() {
    let served = served!(MIB);
    let text = sh("cat $F", &served.path("README")).success().text();
    assert_eq!(text, README);
    let bytewise = sh("dd if=$F bs=1 status=none", &served.path("README"));
    assert_eq!(bytewise.success().text(), README);
    for entry in fs::read_dir(served.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README" || text.contains(&format!("  {name}")),
            "{name}"
        );
    }
    assert!(text.lines().all(|line| line.len() <= 100));
}

// --- random -----------------------------------------------------------------------------------------------------------

#[test]
fn random_waits_for_raw_bytes_and_takes_one_for_each_it_gives() {
    let served = served!(4 * MIB);
    assert!(would_wait(&served.path("random")));
    let waiting = reader(&served.path("random"), &[]);
    served.wait_for_waiting(1);
    served.feed(32);
    assert_eq!(waiting.end().success().out.len(), 32);
    assert_eq!(served.settled().served, 32);
    // Of equal raw bytes it makes different ones, and leaves none as it was.
    served.buffer.push(&vec![0; 2 * MIB]);
    let mut file = File::open(served.path("random")).unwrap();
    let (mut one, mut two) = (vec![0; MIB], vec![0; MIB]);
    file.read_exact(&mut one).unwrap();
    file.read_exact(&mut two).unwrap();
    assert_ne!(one, two);
    for bytes in [&one, &two] {
        let zeros = bytes.iter().filter(|&&b| b == 0).count();
        assert!((3600..4600).contains(&zeros), "{zeros} zeros in a MiB");
    }
    assert_eq!(served.settled().served, 32 + 2 * MIB as u64);
    assert!(would_wait(&served.path("random")));
}

// --- urandom ----------------------------------------------------------------------------------------------------------

#[test]
fn urandom_waits_for_its_first_seed_and_then_never() {
    let served = served!(MIB);
    let urandom = served.path("urandom");
    assert!(would_wait(&urandom));
    let waiting = reader(&urandom, &[]);
    served.wait_for_waiting(1);
    served.feed(SEED as usize - 1);
    assert!(would_wait(&urandom), "a byte too few for a seed");
    served.wait_for_waiting(1);
    served.feed(1);
    assert_eq!(waiting.end().success().out.len(), 32);
    assert_eq!(served.settled().seeding, SEED);
    // No raw bytes are left, and all threads answer, with different bytes.
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let path = urandom.clone();
            thread::spawn(move || {
                let mut bytes = vec![0; 4 * MIB];
                open(&path, OFlag::O_NONBLOCK)
                    .read_exact(&mut bytes)
                    .unwrap();
                bytes
            })
        })
        .collect();
    let all: Vec<_> = readers.into_iter().map(|r| r.join().unwrap()).collect();
    let mut blocks: Vec<&[u8]> = all.iter().flat_map(|bytes| bytes.chunks(16)).collect();
    let count = blocks.len();
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), count, "the same 16 bytes twice");
    let counts = served.settled();
    assert_eq!((counts.seeding, counts.served, counts.fill), (SEED, 0, 0));
    assert_eq!(served.buffer.generated(), 32 + 16 * MIB as u64);
}

#[test]
fn urandom_gives_any_size_at_any_offset_and_programs_end() {
    let served = served!(MIB);
    served.feed(1000);
    let file = File::open(served.path("urandom")).unwrap();
    let mut bytes = vec![0; MIB];
    for (offset, size) in [(0, 1), (1 << 40, 15), (7, 65_537), (0, MIB)] {
        assert_eq!(file.read_at(&mut bytes[..size], offset).unwrap(), size);
    }
    let zeros = bytes.iter().filter(|&&b| b == 0).count();
    assert!((3600..4600).contains(&zeros), "{zeros} zeros in a MiB");
    for (script, size) in [
        (
            "T=$(mktemp) && cp $F $T && cat $T | wc -c && rm -f $T",
            "65536",
        ),
        ("tail -c8 $F | wc -c", "8"),
        ("head -c 3000000 $F | wc -c", "3000000"),
        ("dd if=$F bs=1M count=3 status=none | wc -c", "3145728"),
    ] {
        let said = sh(script, &served.path("urandom")).success().text();
        assert_eq!(said.trim(), size, "{script}");
    }
}

#[test]
fn an_open_with_o_sync_takes_a_seed_for_each_answer_and_waits_for_it() {
    let served = served!(MIB);
    let urandom = served.path("urandom");
    let mut bytes = vec![0; MIB];
    served.feed(3 * SEED as usize);
    let mut fresh = open(&urandom, OFlag::O_SYNC | OFlag::O_NONBLOCK);
    assert_eq!(fresh.read(&mut bytes[..10]).unwrap(), 10);
    assert_eq!(served.settled().seeding, SEED);
    assert_eq!(
        fresh.read(&mut bytes).unwrap(),
        65_536,
        "one request's worth"
    );
    assert_eq!(served.settled().seeding, 2 * SEED);
    // Any other open is seeded by now, and takes at most one seed for its thread.
    open(&urandom, OFlag::O_NONBLOCK)
        .read_exact(&mut bytes)
        .unwrap();
    let taken = served.settled().seeding;
    assert!(taken <= 3 * SEED, "{taken}");
    let mut rest = vec![0; served.buffer.fill()];
    if !rest.is_empty() {
        File::open(served.path("raw"))
            .unwrap()
            .read_exact(&mut rest)
            .unwrap();
    }
    assert!(fresh.read(&mut bytes).is_err(), "no seed is there");
    let waiting = reader(&urandom, &["iflag=sync"]);
    served.wait_for_waiting(1);
    served.feed(SEED as usize);
    assert_eq!(waiting.end().success().out.len(), 32);
    let counts = served.settled();
    assert_eq!(counts.seeding, taken + SEED);
    let gone = counts.served + counts.seeding;
    assert_eq!((counts.admitted, counts.fill), (gone, 0));
}

// --- latched ----------------------------------------------------------------------------------------------------------

const BYTE_FILES: [&str; 9] = [
    "raw",
    "random",
    "urandom",
    "hex",
    "base64",
    "uuid",
    "stream/hex",
    "stream/base64",
    "stream/uuid",
];

#[test]
fn a_latch_ends_those_who_wait_and_every_file_of_bytes_until_it_is_cleared() {
    let served = served!(MIB);
    let waiting: Vec<_> = ["raw", "random", "urandom"]
        .map(|file| reader(&served.path(file), &[]))
        .into();
    served.wait_for_waiting(3);
    let mut before = Vec::new();
    served.buffer.latch();
    for reader in waiting {
        let ended = reader.end();
        assert!(ended.err.contains("Input/output error"), "{ended:?}");
    }
    for file in BYTE_FILES {
        assert_eq!(errno_of(&served.path(file)), Some(nix::libc::EIO), "{file}");
    }
    for file in ["status", "README"] {
        assert_eq!(errno_of(&served.path(file)), None, "{file}");
    }
    served.feed(1000);
    assert_eq!(served.settled().destroyed, 1000);
    served.buffer.unlatch();
    assert!(would_wait(&served.path("urandom")), "seeded anew");
    served.feed(1000);
    for file in BYTE_FILES {
        let mut bytes = [0; 16];
        File::open(served.path(file))
            .unwrap()
            .read_exact(&mut bytes)
            .unwrap();
        before.push(bytes);
    }
    assert_eq!(before.len(), BYTE_FILES.len());
}

/// Waits until every verified byte is accounted for: what is on its way to a reader is counted as served only when the
/// reader has it.
fn books_balance(chain: &Chain) {
    let mut status = chain.status();
    let deadline = Instant::now() + PATIENCE;
    while !balanced(&status) {
        assert!(Instant::now() < deadline, "bytes are missing: {status:#}");
        thread::sleep(Duration::from_millis(20));
        status = chain.status();
    }
}

fn balanced(status: &Value) -> bool {
    let n = |name: &str| {
        status["bytes"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}"))
    };
    let gone = n("served") + n("seeding") + n("destroyed");
    let overflow = n("overflow_discarded") + n("overflow_replaced");
    let fill = status["buffer"]["fill_bytes"].as_u64().unwrap();
    n("verified") == n("withheld") + n("held") + n("admitted")
        && n("admitted") == gone + overflow + fill
}

#[test]
fn a_permanent_alarm_lets_no_tainted_byte_through_and_lasts_until_an_operator_clears_it() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    const TAINT: u8 = 0x5a;
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let mut collector = Broken::new(&chain);
    wait_until("the session", || chain.count("/packets/announcements") == 1);
    collector.good(4 * BLOCK);
    wait_until("start-up tests", || {
        chain.count("/buffer/fill_bytes") >= 2 * BLOCK as u64
    });
    assert_eq!(chain.status()["state"], "serving");
    books_balance(&chain);
    let mut first = vec![0; 100_000];
    File::open(chain.file("raw"))
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(chain.count("/bytes/served"), 100_000);

    // Everything that a reader gets from here on, until there is an error.
    let path = chain.file("raw");
    let rest = thread::spawn(move || {
        let (mut file, mut got, mut bytes) = (File::open(path).unwrap(), Vec::new(), vec![0; 4096]);
        loop {
            match file.read(&mut bytes) {
                Ok(n) => got.extend_from_slice(&bytes[..n]),
                Err(e) => return (got, e.raw_os_error()),
            }
        }
    });
    collector.good(10_000);
    collector.send(&vec![TAINT; 2 * BLOCK]);
    let (got, error) = rest.join().unwrap();
    assert_eq!(error, Some(nix::libc::EIO));
    let longest = got.chunk_by(|a, b| a == b).map(<[u8]>::len).max();
    assert!(longest <= Some(8), "a run of {longest:?} bytes was served");
    wait_until("the status", || chain.status()["state"] == "latched");
    let status = chain.status();
    let reason = status["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains("permanent alarm") && reason.contains("qrng clear"),
        "{reason}"
    );
    assert_eq!(status["buffer"]["fill_bytes"], 0);
    for file in BYTE_FILES {
        assert_eq!(errno_of(&chain.file(file)), Some(nix::libc::EIO), "{file}");
    }
    collector.good(3 * BLOCK);
    wait_until("all is withheld", || {
        chain.count("/bytes/verified") == (9 * BLOCK + 10_000) as u64
    });
    books_balance(&chain);

    // Neither a restart nor good bytes end it, but the operator does.
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
    chain.start_gateway("", "");
    assert_eq!(chain.status()["state"], "latched");
    assert_eq!(errno_of(&chain.file("urandom")), Some(nix::libc::EIO));
    let cleared = Command::new(program("qrng"))
        .args(["clear", "--gateway"])
        .arg(chain.path("gateway"))
        .output()
        .unwrap();
    assert!(cleared.status.success(), "{cleared:?}");
    wait_until("the alarm is cleared", || {
        chain.status()["state"] == "waiting"
    });
    assert!(!chain.path("gateway/clear-latch").exists());
    let log = chain.log("gateway");
    let user = nix::unistd::geteuid();
    assert!(log.contains(&format!("cleared by user {user}")), "{log}");
    let mut collector = Broken::new(&chain);
    collector.good(3 * BLOCK);
    let mut bytes = vec![0; 2 * BLOCK];
    File::open(chain.file("raw"))
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    books_balance(&chain);
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}
