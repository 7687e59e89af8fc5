//! Restarts of either end, by signal and by SIGKILL: bytes flow again by themselves, nothing is
//! served twice even if somebody on the wire recorded everything and plays it back.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use qrng_tests::chain::{Chain, now_us, wait_until};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::tap::Tap;

/// Numbers are not random, as the health tests would find.
const UNTESTED: &str = "[health]\nenabled = false";

/// Reads `bytes` from `raw` and notes each number; fails on one seen before.
fn read_numbers(chain: &Chain, numbering: &Numbering, seen: &mut HashSet<u64>, bytes: usize) {
    let mut file = File::open(chain.file("raw")).unwrap();
    let mut memory = vec![0; bytes];
    file.read_exact(&mut memory).unwrap();
    for block in memory.chunks_exact(BLOCK) {
        let number = numbering
            .number(block.try_into().unwrap())
            .expect("a byte of the source");
        assert!(seen.insert(number), "number {number} was served twice");
    }
}

#[test]
fn a_restarted_gateway_serves_again_and_nothing_twice() {
    let mut chain = Chain::new();
    let numbering = Numbering::default();
    std::fs::write(
        chain.path("numbers"),
        numbering.bytes((128 << 20) / BLOCK as u64),
    )
    .unwrap();
    let tap = Tap::start(chain.port);
    chain.start_gateway("", UNTESTED);
    chain.start_collector(
        Some(tap.port),
        &format!(
            "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n\n[send]\ndata-size = 1345\nrate = \"4 MB/s\"\n",
            chain.path("numbers")
        ),
    );
    let mut seen = HashSet::new();
    read_numbers(&chain, &numbering, &mut seen, 1 << 20);
    for round in 0..4 {
        // By turns with a clean end and without one.
        if round % 2 == 0 {
            chain.kill_gateway();
        } else {
            assert!(chain.stop_gateway().is_some_and(|s| s.success()));
        }
        let down = Instant::now();
        chain.start_gateway("", UNTESTED);
        tap.play_back();
        read_numbers(&chain, &numbering, &mut seen, 1 << 20);
        eprintln!(
            "round {round}: a MiB read {:?} after the gateway's end",
            down.elapsed()
        );
        let rejected = chain.status()["rejected"].clone();
        let before_start = rejected["before-restart"].as_u64().unwrap();
        assert!(
            before_start > 0,
            "nothing of the play-back was refused: {rejected}"
        );
    }
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}

#[test]
fn a_restarted_collector_is_heard_again() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    let source = "[source]\nkind = \"simulator\"\nrate = \"pcie-16m\"\n";
    let mut last_epoch = 0;
    for round in 0..4 {
        chain.start_collector(None, source);
        let up = Instant::now();
        let before = chain.count("/packets/admitted");
        wait_until("packets of the restarted collector", || {
            chain.count("/packets/admitted") > before + 100
        });
        eprintln!(
            "round {round}: 100 packets {:?} after the collector's start",
            up.elapsed()
        );
        let epoch = chain.count("/session/epoch");
        assert!(epoch > last_epoch, "epoch {epoch} after {last_epoch}");
        last_epoch = epoch;
        if round % 2 == 0 {
            chain.kill_collector();
        } else {
            assert!(chain.stop_collector().is_some_and(|s| s.success()));
        }
    }
}

#[test]
fn a_first_start_waits_out_the_allowed_skew_and_then_serves() {
    let mut chain = Chain::new();
    std::fs::remove_file(chain.path("gateway/bound")).unwrap();
    let started_us = now_us();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"pcie-4m\"\n");
    let mut byte = [0; 1];
    File::open(chain.file("raw"))
        .unwrap()
        .read_exact(&mut byte)
        .unwrap();
    // No time limit, but a lower bound that the design promises: nothing before 5 s have passed.
    assert!(now_us() - started_us >= 5_000_000);
    assert!(
        chain.status()["rejected"]["before-restart"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn a_second_gateway_is_refused_with_words() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    // The same port, another mount.
    let config = std::fs::read_to_string(chain.path("gateway.toml")).unwrap();
    let refused = |config: &str, words: &str| {
        let path = chain.path("second.toml");
        std::fs::write(&path, config).unwrap();
        let output = std::process::Command::new(qrng_tests::chain::program("qrng-gateway"))
            .arg("--config")
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(text.contains(words), "{text}");
    };
    std::fs::create_dir(chain.path("second-mnt")).unwrap();
    std::fs::create_dir(chain.path("second-run")).unwrap();
    let elsewhere = config
        .replace("/mnt\"", "/second-mnt\"")
        .replace("/gateway\"", "/second-run\"");
    refused(&elsewhere, "already in use");
    let other_port = config
        .replace(
            &format!(":{}", chain.port),
            &format!(":{}", qrng_tests::chain::free_port()),
        )
        .replace("/gateway\"", "/second-run\"");
    refused(&other_port, "already");
    // The first one did not suffer.
    chain.assert_alive();
    assert!(chain.file("status").exists());
}
