//! Memory pressure, told as the service manager tells it: the buffer of a running gateway gives way, and comes back.

use std::fs::{self, OpenOptions};
use std::io::Write;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::processes::status_field;
use qrng_tests::skip;

const SIZE: u64 = 16 << 20;
const FLOOR: u64 = 2 << 20;

/// Where each admitted byte went, in one answer of the gateway.
fn balanced(chain: &Chain) {
    let status = chain.status();
    let n = |name: &str| status["bytes"][name].as_u64().unwrap();
    let out = [
        "served",
        "seeding",
        "destroyed",
        "overflow_discarded",
        "overflow_replaced",
        "released",
        "in_flight",
    ];
    let fill = status["buffer"]["fill_bytes"].as_u64().unwrap();
    let gone: u64 = out.iter().map(|name| n(name)).sum();
    assert_eq!(n("admitted"), gone + fill, "{status}");
}

/// Memory that the process has, in kB.
fn resident(chain: &Chain) -> u64 {
    let pid = chain.gateway.as_ref().unwrap().id();
    let field = status_field(pid, "VmRSS").unwrap();
    field.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_buffer_gives_way_to_its_floor_and_comes_back() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    let watch = chain.path("pressure");
    mkfifo(&watch, Mode::S_IRWXU).unwrap();
    let tables = "[buffer]\nsize = \"16 MiB\"\nfloor = \"2 MiB\"\ncalm = 5";
    let mut command = chain.gateway_command("accept-simulated = true", tables);
    chain.start_gateway_by(command.env("MEMORY_PRESSURE_WATCH", &watch));
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"40 MB/s\"\n");
    let capacity = |chain: &Chain| chain.count("/buffer/capacity_bytes");
    assert_eq!(capacity(&chain), SIZE);
    wait_until("a full buffer", || {
        chain.count("/buffer/fill_bytes") == SIZE
    });
    chain.stop_collector();
    let before = resident(&chain);
    let mut pipe = OpenOptions::new().write(true).open(&watch).unwrap();
    wait_until("the floor", || {
        pipe.write_all(b"!").unwrap();
        balanced(&chain);
        capacity(&chain) == FLOOR
    });
    // What did not fit was destroyed, and its memory given back; the rest is still served.
    assert_eq!(chain.count("/bytes/released"), SIZE - FLOOR);
    assert_eq!(chain.count("/buffer/fill_bytes"), FLOOR);
    assert_eq!(chain.count("/buffer/set_capacity_bytes"), SIZE);
    let after = resident(&chain);
    assert!(
        after + (SIZE - FLOOR) / 1024 * 9 / 10 < before,
        "{before} kB before, {after} kB after"
    );
    wait_until("all of it again", || capacity(&chain) == SIZE);
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"40 MB/s\"\n");
    wait_until("a full buffer", || {
        chain.count("/buffer/fill_bytes") == SIZE
    });
    balanced(&chain);
    assert!(chain.stop_gateway().is_some_and(|status| status.success()));
    let log = chain.log("gateway");
    for words in [
        "memory is short: the buffer gives way from 16777216 to 8388608 bytes",
        "from 4194304 to 2097152 bytes",
        "takes back from 8388608 to 16777216 bytes",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn what_cannot_be_watched_is_told_at_the_start() {
    let chain = Chain::new();
    let mut command = chain.gateway_command("", "");
    let output = command
        .env("MEMORY_PRESSURE_WATCH", "/nonexistent/pressure")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(words.contains("MEMORY_PRESSURE_WATCH"), "{words}");
    assert_eq!(fs::read_dir(chain.path("mnt")).unwrap().count(), 0);
}
