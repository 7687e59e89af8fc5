//! The real collector, its packets opened with the core.

mod appliance;
mod harness;
mod randomness;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use harness::{Collector, Got, Site, random, run};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use qrng::health::BLOCK;
use qrng::report::{Kind, Kinds, State};

/// Slow enough for any receiver.
const SLOW: &str = "[send]\nrate = \"2 MB/s\"\nburst = \"64 KiB\"\n";
/// A file of numbers, which no health test would pass.
const UNTESTED: &str = "kind = \"node\"\npath = \"noise\"\n[source.health]\nenabled = false\n";
/// Random bytes in a packet are then 1352: whole numbers of [`numbers`].
const WHOLE_NUMBERS: &str = "data-size = 1353\n";

/// The numbers from 0, four bytes each.
fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_be_bytes).collect()
}

#[test]
fn a_file_arrives_complete_in_order_and_once() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let file = numbers(100_000);
    fs::write(site.path("noise"), &file).unwrap();
    let config = site.configure(UNTESTED, SLOW);
    let collector = Collector::start(&config);
    let bytes = gateway.bytes(file.len());
    assert!(bytes == file, "{} bytes of {}", bytes.len(), file.len());
    // After its end the announcements go on, and nothing is repeated.
    loop {
        match gateway.next() {
            Got::Bytes(..) => panic!("bytes after the end of the file"),
            Got::Report(report) if report.sources[0].state == State::Ended => break,
            _ => {}
        }
    }
    gateway.epoch();
    let report = gateway.report();
    assert_eq!(report.collector, env!("CARGO_PKG_VERSION"));
    assert_eq!(report.sources[0].kind, Kind::KernelNode);
    assert!(report.sources[0].name.ends_with("noise"));
    assert_eq!(report.sources[0].state, State::Ended);
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn two_gateways_get_disjoint_slices() {
    let mut site = Site::new();
    let mut gateways = [site.gateway("one"), site.gateway("two")];
    const COUNT: u32 = 60_000;
    fs::write(site.path("noise"), numbers(COUNT)).unwrap();
    let send = format!("{SLOW}{WHOLE_NUMBERS}");
    let config = site.configure(UNTESTED, &send);
    let collector = Collector::start(&config);
    let slices = gateways.each_mut().map(|gateway| {
        let mut slice = Vec::new();
        loop {
            match gateway.next() {
                Got::Bytes(kinds, bytes) => {
                    assert_eq!(kinds, Kinds::of(Kind::KernelNode));
                    let (numbers, rest) = bytes.as_chunks();
                    assert!(rest.is_empty());
                    slice.extend(numbers.iter().map(|n| u32::from_be_bytes(*n)));
                }
                // One report may overtake the last blocks; the next cannot.
                Got::Report(report) if report.sources[0].state == State::Ended => break,
                _ => {}
            }
        }
        while let Got::Bytes(_, bytes) = gateway.next() {
            let (numbers, _) = bytes.as_chunks();
            slice.extend(numbers.iter().map(|n| u32::from_be_bytes(*n)));
        }
        slice
    });
    for slice in &slices {
        assert!(slice.is_sorted(), "out of order");
        assert!(slice.len() > COUNT as usize / 3, "{} numbers", slice.len());
    }
    let mut all = slices.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..COUNT), "missing or repeated numbers");
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn the_simulator_is_labelled_and_status_tells() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let collector = Collector::start(&config);
    let mut bytes = Vec::new();
    while bytes.len() < 200_000 {
        if let Got::Bytes(kinds, more) = gateway.next() {
            assert_eq!(kinds, Kinds::of(Kind::Simulator));
            bytes.extend(more);
        }
    }
    // No 16 bytes come twice.
    let (chunks, _) = bytes.as_chunks::<16>();
    let different: std::collections::HashSet<_> = chunks.iter().collect();
    assert_eq!(different.len(), chunks.len());
    assert_eq!(gateway.report().sources[0].kind, Kind::Simulator);

    let epoch = gateway.epoch();
    let path = site.path("run/status.json");
    let read =
        || -> serde_json::Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    let mut status = read();
    // It is written once a second, as reports are sent; the first may tell of a session that has only begun.
    for _ in 0..60 {
        if status["gateways"][0]["epoch"] == epoch {
            break;
        }
        gateway.report();
        status = read();
    }
    assert_eq!(status["source"]["kind"], "simulator");
    assert_eq!(status["source"]["name"], "simulator usb-4m");
    assert_eq!(status["gateways"][0]["name"], "one");
    assert_eq!(status["gateways"][0]["epoch"], epoch);
    assert!(status["gateways"][0]["sent_datagrams"].as_u64().unwrap() > 0);
    assert_eq!(status["send_errors"], serde_json::json!({}));
    assert_eq!(status["pacing"], serde_json::Value::Null);

    assert!(collector.end(Signal::SIGINT).success());
    assert!(!path.exists(), "the status file is left behind");
    let mut left: Vec<_> = fs::read_dir(site.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["epoch", "lock"]);
}

#[test]
fn each_start_has_a_greater_epoch_even_when_the_clock_was_set_back() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let mut last = 0;
    for _ in 0..2 {
        let collector = Collector::start(&config);
        let epoch = gateway.epoch();
        assert!(epoch > last);
        last = epoch;
        gateway.bytes(1000);
        assert!(collector.end(Signal::SIGTERM).success());
        gateway.forget();
    }
    let file = site.path("state/epoch");
    assert_eq!(fs::read(&file).unwrap(), last.to_be_bytes());
    let future = last + 365 * 86_400 * 1_000_000;
    fs::write(&file, future.to_be_bytes()).unwrap();
    let collector = Collector::start(&config);
    assert_eq!(gateway.epoch(), future + 1);
    assert_eq!(fs::read(&file).unwrap(), (future + 1).to_be_bytes());
    gateway.bytes(1000);
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn a_source_that_hangs_does_not_keep_the_process_from_ending() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    // Nobody ever opens the other end.
    mkfifo(&site.path("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let config = site.configure("kind = \"node\"\npath = \"pipe\"", "");
    let collector = Collector::start(&config);
    gateway.epoch();
    assert_eq!(gateway.report().sources[0].state, State::Starting);
    let status = collector.end(Signal::SIGTERM);
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn a_source_that_fails_is_opened_anew() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let pipe = site.path("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let config = site.configure("kind = \"node\"\npath = \"pipe\"", "");
    let collector = Collector::start(&config);
    for _ in 0..2 {
        // Opens when the collector does, and closes after the write: the source has failed then.
        let bytes = random(3 * BLOCK);
        fs::write(&pipe, &bytes).unwrap();
        // Each time start-up tests use up the first block.
        assert!(gateway.bytes(2 * BLOCK) == bytes[BLOCK..]);
        while gateway.report().sources[0].state != State::Failed {}
    }
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn the_environment_can_give_the_shared_key() {
    let mut site = Site::new();
    let hex = "0123456789abcdef".repeat(4);
    let mut gateway = site.gateway("one").replace_psk(&hex);
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let collector = Collector::start_with(&config, &[("QRNG_HMAC_SECRET_KEY", &hex)]);
    gateway.bytes(1000);
    assert!(collector.end(Signal::SIGTERM).success());
}

/// The collector does not start with `config`, and says `words`.
fn refused(config: &std::path::Path, words: &[&str]) {
    let (status, text) = run(config, &[]);
    assert_eq!(status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let mut site = Site::new();
    let _gateway = site.gateway("one");
    let simulator = "kind = \"simulator\"";
    let config = site.configure(simulator, "");
    let (status, text) = run(&config, &["--check"]);
    assert!(status.success(), "{text}");
    assert!(text.contains("collector.toml: the configuration is good"));
    assert!(!site.path("state").exists(), "a check leaves no traces");

    refused(&site.path("none.toml"), &["none.toml", "cannot be read"]);
    let config = site.configure(simulator, "[send]\ndata-sise = 1\n");
    refused(&config, &["collector.toml", "line", "data-sise"]);
    let config = site.configure("kind = \"simulator\"\nrate = \"x\"", "[send]\nburst = 0\n");
    refused(&config, &["source.rate", "pcie-16m", "send.burst"]);
    let (status, _) = run(&config, &["--check"]);
    assert_eq!(status.code(), Some(1));
    let config = site.configure("kind = \"node\"\npath = \"/dev/none\"", "");
    refused(&config, &["source.path", "/dev/none", "No such file"]);
    let config = site.configure("kind = \"usb\"\nserial = \"none such\"", "");
    refused(&config, &["usb none such", "plugged in", "plug it in"]);
    let config = site.configure(simulator, "");
    fs::create_dir_all(site.path("state")).unwrap();
    fs::write(site.path("state/epoch"), "damaged").unwrap();
    refused(&config, &["state/epoch", "7 bytes instead of 8"]);
}

#[test]
fn what_is_sent_is_logged_with_the_key_id() {
    let mut site = Site::new();
    let gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let mut child = harness::command(&config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let wanted = format!("key {}", gateway.key_id());
    let told = log
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("one at 127.0.0.1:") && line.contains(&wanted));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told);
}

#[test]
fn several_signals_at_once_are_one_request_to_end() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let collector = Collector::start(&config);
    gateway.bytes(1000);
    let status = collector.end_with(Signal::SIGTERM, 20);
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(!site.path("run/status.json").exists());
}

#[test]
fn a_parent_of_any_number_is_followed() {
    let mut site = Site::new();
    let _gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"", "");
    // The shell is process 1 of a namespace of its own, as in a container.
    let script = "\"$0\" --config \"$1\" --check --die-with-parent --parent $$; echo code $?";
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "sh", "-c", script])
        .args([
            env!("CARGO_BIN_EXE_qrng-collector").as_ref(),
            config.as_os_str(),
        ])
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: no namespace can be made here");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("code 0\n"), "{output:?}");
}

#[test]
fn a_second_collector_is_refused() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let config = site.configure("kind = \"simulator\"\nrate = \"usb-4m\"", "");
    let collector = Collector::start(&config);
    gateway.bytes(1000);
    refused(&config, &["in use by another collector"]);
    gateway.bytes(1000);
    assert!(collector.end(Signal::SIGTERM).success());
}
