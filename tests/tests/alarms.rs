//! Alarms of both tiers in real processes: a collector that reads what the test feeds it, a gateway, a mount, and the
//! operator's commands.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use qrng::health::BLOCK;
use qrng::report::{Kind, Report, SourceReport, State};
use qrng_tests::broken::{Broken, good};
use qrng_tests::chain::{Chain, PATIENCE, program, wait_until};
use qrng_tests::feed::{Feed, with_run};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::numbered::{self, Numbering};
use qrng_tests::skip;

/// Numbered blocks of 16 bytes in a block of the health tests.
const NUMBERS: u64 = (BLOCK / numbered::BLOCK) as u64;

/// A gateway and a collector whose noise source the test feeds with numbered bytes.
struct Fed {
    chain: Chain,
    feed: Feed,
    numbering: Numbering,
    /// The next block's place in the feed.
    next: u64,
}

impl Fed {
    fn start() -> Self {
        let mut chain = Chain::new();
        chain.start_gateway("", "");
        let feed = Feed::new(chain.path("noise"));
        let mut fed = Self {
            chain,
            feed,
            numbering: Numbering::default(),
            next: 0,
        };
        fed.start_collector();
        fed
    }

    fn start_collector(&mut self) {
        // Packets of whole numbered blocks: 1344 bytes and the content byte.
        let tables = format!(
            "[source]\nkind = \"node\"\nname = \"card\"\npath = {:?}\n[send]\ndata-size = 1345\n",
            self.feed.path()
        );
        self.chain.start_collector(None, &tables);
    }

    /// The next blocks of numbers; what is fed of them is up to the caller.
    fn blocks(&mut self, count: u64) -> Vec<u8> {
        let end = (self.next + count) * NUMBERS;
        let all = self.numbering.bytes(end);
        let start = (self.next * NUMBERS) as usize * numbered::BLOCK;
        self.next += count;
        all[start..].to_vec()
    }

    fn feed(&mut self, count: u64) {
        let bytes = self.blocks(count);
        self.feed.write(&bytes);
    }

    /// A value in the collector's status, such as `/state`.
    fn of_collector(&self, pointer: &str) -> serde_json::Value {
        let status = self.chain.collector_status();
        let value = status.as_ref().and_then(|s| s.pointer(pointer));
        value.cloned().unwrap_or_default()
    }

    /// `qrng status` over both daemons.
    fn qrng_status(&self) -> String {
        let output = self.qrng(&[
            "status",
            "--once",
            "--mount",
            &self.chain.path("mnt").display().to_string(),
            "--collector-runtime",
            &self.chain.path("collector").display().to_string(),
        ]);
        String::from_utf8(output.stdout).unwrap()
    }

    fn qrng(&self, arguments: &[&str]) -> Output {
        Command::new(program("qrng"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Waits until `raw` has given so many numbers, and says which these and all others there are: each once, in order.
    /// An error of these means that there is nothing now.
    fn numbers(&self, at_least: u64, nothing_now: &[i32]) -> BTreeSet<u64> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.chain.file("raw"))
            .unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.read(&mut buffer) {
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(e) if e.raw_os_error().is_some_and(|e| nothing_now.contains(&e)) => {
                    if bytes.len() as u64 >= at_least * numbered::BLOCK as u64 {
                        break;
                    }
                    assert!(Instant::now() < deadline, "{} bytes came", bytes.len());
                    thread::sleep(Duration::from_millis(5));
                }
                Err(e) => panic!("raw: {e}"),
            }
        }
        let (cells, rest) = bytes.as_chunks::<{ numbered::BLOCK }>();
        assert!(rest.is_empty());
        let numbers = cells.iter().map(|cell| self.numbering.number(*cell));
        let numbers: Vec<u64> = numbers.map(|n| n.expect("a numbered byte")).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "each once and in order");
        numbers.into_iter().collect()
    }
}

/// Whether any number of the block at `place` of the feed is among them.
fn any_of(numbers: &BTreeSet<u64>, place: u64) -> bool {
    let block = place * NUMBERS..(place + 1) * NUMBERS;
    numbers.range(block).next().is_some()
}

/// All that there is of the blocks from `place` on is there, and no less than `blocks` blocks but a packet.
fn all_of(numbers: &BTreeSet<u64>, place: u64, blocks: u64) -> bool {
    let found = numbers.range(place * NUMBERS..(place + blocks) * NUMBERS);
    found.count() as u64 >= blocks * NUMBERS - 84
}

#[test]
fn an_intermittent_alarm_costs_its_block_and_start_up_and_is_told_everywhere() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut fed = Fed::start();
    // Blocks 0 to 3: one starts up the collector, one the gateway.
    fed.feed(4);
    let before = fed.numbers(NUMBERS, &[libc::EAGAIN]);
    assert!(!any_of(&before, 0) && !any_of(&before, 1));
    assert!(all_of(&before, 2, 1), "{} numbers", before.len());
    // Block 4: 45 equal bits in a row, where 42 are intermittent and 63 permanent. Then good ones.
    let block = fed.blocks(1);
    fed.feed.write(&with_run(&block, 8 * 30_000 + 3, 45));
    fed.feed(8);
    let after = fed.numbers(5 * NUMBERS, &[libc::EAGAIN]);
    assert!(!any_of(&after, 4), "bytes of the block that failed");
    assert!(!any_of(&after, 5), "bytes of the start-up tests");
    assert!(all_of(&after, 6, 4), "{} numbers", after.len());

    wait_until("the collector's status", || {
        fed.of_collector("/sources/0/health/passed-bytes") == 10 * BLOCK as u64
    });
    assert_eq!(fed.of_collector("/sources/0/state"), "running");
    assert_eq!(fed.of_collector("/sources/0/health/intermittent-alarms"), 1);
    assert_eq!(fed.of_collector("/sources/0/health/permanent-alarms"), 0);
    assert_eq!(fed.of_collector("/sources/0/health/state"), "passing");
    let log = fed.chain.log("collector");
    let alarm = "source card: intermittent alarm of the repetition-bits test at bit ";
    assert_eq!(log.matches(alarm).count(), 1, "{log}");
    assert!(log.contains("start-up tests run again"), "{log}");
    // The alarm has come with the stream.
    wait_until("the report", || {
        let status = fed.chain.status();
        status.pointer("/sources/0/health/intermittent-alarms") == Some(&1.into())
    });
    let status = fed.chain.status();
    assert_eq!(status["health"]["intermittent-alarms"], 0);
    let last = &status["sources"][0]["health"]["last-alarm"];
    assert_eq!(
        (&last["test"], &last["statistic"]),
        (&"repetition-bits".into(), &42.0.into())
    );
    let shown = fed.qrng_status();
    let words = "intermittent alarm of the repetition-bits test: 42 against a limit of 42";
    assert_eq!(shown.matches(words).count(), 2, "by both daemons:\n{shown}");
}

#[test]
fn a_collectors_latch_is_seen_at_the_gateway_outlasts_a_restart_and_is_cleared_by_command() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut fed = Fed::start();
    fed.feed(6);
    // Everything that a reader gets until there is an error; it waits meanwhile.
    let path = fed.chain.file("raw");
    let reader = thread::spawn(move || {
        let (mut file, mut got, mut bytes) = (File::open(path).unwrap(), Vec::new(), vec![0; 4096]);
        loop {
            match file.read(&mut bytes) {
                Ok(n) => got.extend_from_slice(&bytes[..n]),
                Err(e) => return (got, e.raw_os_error()),
            }
        }
    });
    wait_until("some bytes", || fed.chain.count("/bytes/served") > 0);
    fed.feed.write(&[0x5a; BLOCK]);
    wait_until("the collector's latch", || {
        fed.of_collector("/state") == "latched"
    });
    let (got, error) = reader.join().unwrap();
    assert_eq!(error, Some(libc::EIO), "a reader of what will not come");
    for cell in got.as_chunks::<{ numbered::BLOCK }>().0 {
        let number = fed
            .numbering
            .number(*cell)
            .expect("a byte from before the fault");
        assert!(number < 6 * NUMBERS);
    }
    wait_until("the gateway's word", || {
        fed.chain.status()["state"] == "latched"
    });
    let status = fed.chain.status();
    let reasons = status["reasons"].to_string();
    let alarm =
        "the collector has latched: source card: permanent alarm of the repetition-bytes test";
    assert!(reasons.contains(alarm), "{reasons}");
    assert_eq!(
        status["health"]["state"], "passing",
        "its own tests saw nothing"
    );
    let shown = fed.qrng_status();
    for words in [
        "LATCHED",
        "on the collector's host",
        "qrng clear --collector",
    ] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }

    // A restart, and good bytes, clear nothing.
    assert!(fed.chain.stop_collector().is_some_and(|s| s.success()));
    fed.start_collector();
    wait_until("the collector", || {
        fed.of_collector("/uptime_seconds").as_u64() == Some(0)
    });
    fed.feed.write(&good(BLOCK / 2));
    wait_until("a second status", || {
        fed.of_collector("/uptime_seconds").as_u64() > Some(0)
    });
    assert_eq!(fed.of_collector("/state"), "latched");
    assert_eq!(fed.of_collector("/source/bytes_acquired"), 0);
    assert!(
        fed.chain
            .log("collector")
            .contains("still latched since an earlier run")
    );

    let directory = fed.chain.path("collector").display().to_string();
    let output = fed.qrng(&["clear", "--collector", &directory]);
    assert!(output.status.success(), "{output:?}");
    assert!(!fed.chain.path("collector/latched.json").exists());
    // What the driver had read ahead is wiped, so much more than start-up needs is fed.
    let first = fed.next * NUMBERS;
    fed.feed(20);
    // For up to a second the gateway goes on saying EIO when there is nothing.
    let numbers = fed.numbers(4 * NUMBERS, &[libc::EAGAIN, libc::EIO]);
    assert!(numbers.first().is_some_and(|number| *number >= first));
    let log = fed.chain.log("collector");
    let user = nix::unistd::geteuid();
    let words = format!("the latch of source card is cleared by user {user}");
    assert!(log.contains(&words), "{log}");
}

#[test]
fn an_intermittent_alarm_of_the_gateway_destroys_what_it_holds_and_no_more() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let mut collector = Broken::new(&chain);
    wait_until("the session", || chain.count("/packets/announcements") == 1);
    collector.good(3 * BLOCK);
    wait_until("good bytes", || {
        chain.count("/bytes/admitted") == 2 * BLOCK as u64
    });
    collector.send(&with_run(&good(BLOCK), 8 * 1000, 45));
    wait_until("the alarm", || {
        chain.count("/health/intermittent-alarms") == 1
    });
    // What is left of that block is the beginning of start-up.
    collector.good(3 * BLOCK);
    wait_until("good bytes", || {
        chain.count("/bytes/verified") == 7 * BLOCK as u64
    });
    wait_until("good bytes", || {
        chain.count("/bytes/admitted") == 4 * BLOCK as u64
    });
    let status = chain.status();
    assert_eq!(status["state"], "serving");
    assert_eq!(status["buffer"]["fill_bytes"], 4 * BLOCK as u64);
    assert_eq!(status["health"]["permanent-alarms"], 0);
    assert_eq!(status["bytes"]["destroyed"], 0);
    let held = status["bytes"]["held"].as_u64().unwrap();
    assert_eq!(
        status["bytes"]["withheld"].as_u64(),
        Some(3 * BLOCK as u64 - held)
    );
    let log = chain.log("gateway");
    let alarm = "source link: intermittent alarm of the repetition-bits test";
    assert_eq!(log.matches(alarm).count(), 1, "{log}");
    assert!(!chain.path("gateway/latched").exists());
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}

#[test]
fn what_a_device_says_of_itself_is_seen_at_the_gateway() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let mut collector = Broken::new(&chain);
    wait_until("the session", || chain.count("/packets/announcements") == 1);
    let sensors = [("modules-present", 15), ("modules-healthy\x1b[2J", 11)];
    let source = SourceReport {
        kind: Kind::PcieModule,
        name: "card".into(),
        serial: None,
        state: State::Running,
        sensors: sensors.map(|(name, value)| (name.to_owned(), value)).into(),
        health: None,
    };
    collector.report(&Report {
        collector: "0.1.0".into(),
        sources: vec![source],
    });
    wait_until("the report", || chain.count("/packets/reports") == 1);
    let sensors = chain.status()["sources"][0]["sensors"].clone();
    let expected = serde_json::json!({"modules-present": 15, "modules-healthy[2J": 11});
    assert_eq!(sensors, expected);
    let output = Command::new(program("qrng"))
        .args(["status", "--once", "--mount"])
        .arg(chain.path("mnt"))
        .args(["--collector-runtime", "/nonexistent"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let words = "sensors   modules-healthy[2J 11, modules-present 15";
    assert!(shown.contains(words), "{shown}");
    fs::remove_file(chain.path("gateway/latched")).unwrap_err();
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}
