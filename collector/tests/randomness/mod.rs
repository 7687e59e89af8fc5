//! Health tests, conditioning and combination in the real collector: what leaves it is compared
//! with what the library makes of the same file.

mod faults;

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use qrng::condition::hmac::Hmac;
use qrng::condition::matrix::{self, Matrix};
use qrng::condition::toeplitz::Toeplitz;
use qrng::condition::von_neumann::VonNeumann;
use qrng::condition::{Conditioner, Sizes};
use qrng::health::BLOCK;
use qrng::packet::MIN_DATA;
use qrng::report::{Report, State};

use crate::harness::{Collector, Gateway, Got, Site, random, run};
use crate::{SLOW, refused};

/// A source that reads the file `noise`.
const NOISE: &str = "kind = \"node\"\nname = \"card\"\npath = \"noise\"\nprocessing = \"raw\"\n";

/// Everything until a report fits, with two reports more: one may overtake the last bytes.
fn until(gateway: &mut Gateway, fits: impl Fn(&Report) -> bool) -> (Vec<u8>, Report) {
    let mut bytes = Vec::new();
    let mut fitting = 0;
    loop {
        match gateway.next() {
            Got::Bytes(_, more) => bytes.extend(more),
            Got::Report(report) if fits(&report) => {
                fitting += 1;
                if fitting == 3 {
                    return (bytes, report);
                }
            }
            _ => {}
        }
    }
}

fn is(report: &Report, state: State) -> bool {
    report.sources.iter().any(|source| source.state == state)
}

/// What leaves when `noise` is read to its end.
fn leaves(site: &Site, gateway: &mut Gateway, source: &str) -> Vec<u8> {
    let config = site.configure(source, SLOW);
    let collector = Collector::start(&config);
    let (bytes, _) = until(gateway, |report| is(report, State::Ended));
    assert!(collector.end(Signal::SIGTERM).success());
    bytes
}

/// All of `expected` but what makes no packet.
fn complete(got: &[u8], expected: &[u8]) {
    assert!(
        expected.starts_with(got),
        "{} of {}",
        got.len(),
        expected.len()
    );
    assert!(
        expected.len() - got.len() < MIN_DATA - 1,
        "{} of {}",
        got.len(),
        expected.len()
    );
}

fn status(site: &Site) -> serde_json::Value {
    serde_json::from_slice(&fs::read(site.path("run/status.json")).unwrap()).unwrap()
}

#[test]
fn a_tested_file_leaves_without_its_first_block() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let noise = random(5 * BLOCK + 1000);
    fs::write(site.path("noise"), &noise).unwrap();
    let got = leaves(&site, &mut gateway, NOISE);
    complete(&got, &noise[BLOCK..5 * BLOCK]);
    // What start-up tests use up, and what makes no whole block, never leaves.
    for short in [100, BLOCK, 2 * BLOCK - 1] {
        gateway.forget();
        fs::write(site.path("noise"), &noise[..short]).unwrap();
        assert!(leaves(&site, &mut gateway, NOISE).is_empty());
    }
}

#[test]
fn an_operator_clears_a_latch() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let after = random(40 * BLOCK);
    let noise = [random(3 * BLOCK), vec![7; BLOCK], after.clone()].concat();
    fs::write(site.path("noise"), &noise).unwrap();
    let config = site.configure(NOISE, SLOW);
    let log = site.path("log");
    let collector = Collector::start_logged(&config, &log);
    until(&mut gateway, |report| is(report, State::Latched));
    let word = site.path("run/clear-latch");
    fs::write(&word, "").unwrap();
    let got = gateway.bytes(4 * BLOCK);
    // One run of the good bytes behind the fault.
    let start = after.windows(32).position(|bytes| bytes == &got[..32]);
    let start = start.expect("bytes from behind the fault");
    assert!(start >= BLOCK, "start-up tests ran");
    assert!(after[start..].starts_with(&got));
    assert!(!word.exists());
    let (_, report) = until(&mut gateway, |report| is(report, State::Ended));
    let health = report.sources[0].health.as_ref().unwrap();
    assert_eq!(health.permanent_alarms, 1);
    let log = fs::read_to_string(log).unwrap();
    let uid = nix::unistd::geteuid();
    assert!(
        log.contains(&format!(
            "the latch of source card is cleared by user {uid}"
        )),
        "{log}"
    );
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn conditioned_bytes_are_the_librarys() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let noise = random(9 * BLOCK);
    let large = Sizes::LARGE;
    let rows = matrix::generate(Sizes::DEFAULT, "collector");
    let seed = random(large.seed_len());
    for (name, bytes) in [("noise", &noise), ("rows", &rows), ("seed", &seed)] {
        fs::write(site.path(name), bytes).unwrap();
    }
    let key: [u8; 32] = random(32).try_into().unwrap();
    fs::write(site.path("key"), key).unwrap();
    let methods: [(&str, Box<dyn Conditioner>); 5] = [
        (
            "method = \"matrix\"\nfile = \"rows\"",
            Box::new(Matrix::new(Sizes::DEFAULT, &rows).unwrap()),
        ),
        (
            "method = \"toeplitz\"\nfile = \"seed\"\ninput-bits = 2048\noutput-bits = 1792",
            Box::new(Toeplitz::new(large, &seed).unwrap()),
        ),
        (
            "method = \"von-neumann\"\nindependent-bits = true",
            Box::new(VonNeumann::new()),
        ),
        (
            "method = \"hmac\"",
            Box::new(Hmac::new(&Hmac::PUBLIC_KEY, 64)),
        ),
        (
            "method = \"hmac\"\nfile = \"key\"\ninput-bytes = 100",
            Box::new(Hmac::new(&key, 100)),
        ),
    ];
    for (method, mut conditioner) in methods {
        let source = format!("{NOISE}[source.conditioning]\n{method}\n");
        let got = leaves(&site, &mut gateway, &source);
        let mut expected = Vec::new();
        conditioner.condition(&noise[BLOCK..], &mut expected);
        complete(&got, &expected);
        gateway.forget();
    }
}

/// Two files as sources, and how they are combined.
fn pair(second: &str, combine: &str) -> String {
    let file = "kind = \"node\"\nprocessing = \"raw\"\n";
    format!(
        "[[source]]\n{file}path = \"noise\"\ngroup = \"a\"\n\
         [[source]]\n{file}path = \"{second}\"\ngroup = \"b\"\n[combine]\n{combine}\n"
    )
}

#[test]
fn two_files_are_combined() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let (a, b) = (random(5 * BLOCK), random(8 * BLOCK));
    fs::write(site.path("noise"), &a).unwrap();
    fs::write(site.path("other"), &b).unwrap();
    let mut both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    both.drain(..BLOCK);

    let config = site.configure_sections(&pair("other", "method = \"xor\""), SLOW);
    let log = site.path("log");
    let collector = Collector::start_logged(&config, &log);
    let all_ended = |report: &Report| is(report, State::Ended);
    let (got, _) = until(&mut gateway, all_ended);
    complete(&got, &both);
    let shown = status(&site);
    assert_eq!(shown["combining"]["on_failure"], "stop");
    assert_eq!(shown["combining"]["sources_working"], 1);
    assert!(
        shown["combining"]["stopped"]
            .as_str()
            .unwrap()
            .contains("all sources are required")
    );
    assert!(
        fs::read_to_string(&log)
            .unwrap()
            .contains("nothing is combined")
    );
    assert!(collector.end(Signal::SIGTERM).success());

    gateway.forget();
    let combine = "method = \"xor\"\non-failure = \"continue\"";
    let config = site.configure_sections(&pair("other", combine), SLOW);
    let collector = Collector::start_logged(&config, &log);
    let ended = |report: &Report| report.sources.iter().all(|s| s.state == State::Ended);
    let (got, _) = until(&mut gateway, ended);
    both.extend(&b[5 * BLOCK..]);
    complete(&got, &both);
    assert!(
        fs::read_to_string(&log)
            .unwrap()
            .contains("going on without the rest")
    );
    assert!(collector.end(Signal::SIGTERM).success());

    gateway.forget();
    let config = site.configure_sections(&pair("other", "method = \"hkdf\""), SLOW);
    let collector = Collector::start(&config);
    let (got, _) = until(&mut gateway, all_ended);
    // 32 bytes of each 64 that both gave.
    let most = 4 * BLOCK / 2;
    assert!(
        got.len() <= most && got.len() + MIN_DATA > most,
        "{}",
        got.len()
    );
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn a_latched_source_drops_out_if_the_rest_may_go_on() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let (a, b) = (
        [random(3 * BLOCK), vec![9; BLOCK]].concat(),
        random(8 * BLOCK),
    );
    fs::write(site.path("noise"), &a).unwrap();
    fs::write(site.path("other"), &b).unwrap();
    let combine = "method = \"xor\"\non-failure = \"continue\"";
    let config = site.configure_sections(&pair("other", combine), SLOW);
    let collector = Collector::start(&config);
    let (got, report) = until(&mut gateway, |report| is(report, State::Ended));
    assert!(is(&report, State::Latched));
    let both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    // What the latched source had ready may be combined or destroyed; what follows is the other's.
    let common = got
        .iter()
        .zip(&both[BLOCK..])
        .take_while(|(a, b)| a == b)
        .count();
    assert!(common <= 2 * BLOCK + 8, "{common}");
    complete(&got[common..], &b[BLOCK + common..]);
    assert!(collector.end(Signal::SIGTERM).success());
}

#[test]
fn senseless_configurations_are_refused() {
    let mut site = Site::new();
    let _gateway = site.gateway("one");
    fs::write(site.path("noise"), random(1000)).unwrap();
    std::os::unix::fs::symlink(site.path("noise"), site.path("link")).unwrap();
    fs::hard_link(site.path("noise"), site.path("hard")).unwrap();
    for other in ["noise", "./noise", "link", "hard"] {
        let config = site.configure_sections(&pair(other, "method = \"hkdf\""), "");
        refused(&config, &["are one device", "remove one"]);
    }
    let conditioned = |source: &str, method: &str| {
        site.configure(&format!("{source}\n[source.conditioning]\n{method}\n"), "")
    };
    let config = conditioned(NOISE, "method = \"von-neumann\"");
    refused(&config, &["source.conditioning", "independent bits"]);
    let generator = "kind = \"node\"\npath = \"/dev/urandom\"\nprocessing = \"raw\"";
    fs::write(site.path("seed"), random(224)).unwrap();
    let config = conditioned(generator, "method = \"toeplitz\"\nfile = \"seed\"");
    refused(
        &config,
        &["source.conditioning", "conditions its output itself"],
    );
    let device = "kind = \"node\"\npath = \"/dev/zero\"\n[source.health]\nenabled = false";
    refused(
        &site.configure(device, ""),
        &["source.health.enabled", "a device is always tested"],
    );
    let (status, text) = run(Path::new(&site.configure(NOISE, "")), &["--check"]);
    assert!(status.success(), "{text}");
}
