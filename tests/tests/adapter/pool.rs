//! The kernel's pool: that of this machine. What it is given can do it no harm: bytes that do not count are mixed in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;
use qrng_tests::adapter::{Adapter, stream};
use qrng_tests::chain::{Chain, program, wait_until};
use qrng_tests::container::is_there;
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::skip;

use super::{latch, left, of_a_card, of_a_simulator, words};

/// Why the pool cannot be fed here, if so.
fn impossible() -> Option<String> {
    if !geteuid().is_root() {
        return Some("only root can feed the kernel's pool".into());
    }
    let privileges = qrng_confine::privileges::effective().unwrap_or(0);
    if privileges & (1 << 21) == 0 {
        return Some("this root has no CAP_SYS_ADMIN".into());
    }
    no_mount()
}

fn once(chain: &Chain, tables: &str, more: &[(&str, &str)]) -> Output {
    let mut command = Adapter::command(chain, "pool", tables);
    command.arg("--once").envs(more.iter().copied());
    command.output().unwrap()
}

/// The calls by which `command` gave the kernel bytes, as strace shows them.
fn calls(chain: &Chain, command: &Command) -> String {
    let trace = chain.path("trace");
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=ioctl",
            "-e",
            "verbose=all",
            "-e",
            "raw=none",
            "-o",
        ])
        .arg(&trace)
        .arg(command.get_program())
        .args(command.get_args());
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let text = fs::read_to_string(trace).unwrap();
    let lines = text.lines().filter(|line| line.contains("RNDADDENTROPY"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_kernel_is_told_of_as_much_entropy_as_is_configured_and_of_none_by_default() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    if !is_there("strace") {
        skip!("strace is missing");
    }
    let (chain, _card) = of_a_card();
    for (tables, credit, bytes) in [
        ("", 0, 64),
        ("[pool]\ncredit = 8\n", 512, 64),
        ("[pool]\ncredit = 3\nbytes = 32\n", 96, 32),
        ("[pool]\ncredit = 8\nbytes = 512\n", 4096, 512),
    ] {
        let before = left(&chain);
        let mut command = Adapter::command(&chain, "pool", tables);
        command.arg("--once");
        let calls = calls(&chain, &command);
        assert_eq!(calls.lines().count(), 1, "{calls}");
        assert!(
            calls.trim_end().ends_with("= 0"),
            "the kernel took it: {calls}"
        );
        let entropy = format!("entropy_count={credit}, buf_size={bytes}");
        assert!(calls.contains(&entropy), "{entropy} is not in {calls}");
        wait_until("the gateway has so much less", || {
            left(&chain) - before == bytes
        });
    }
    let available = fs::read_to_string("/proc/sys/kernel/random/entropy_avail").unwrap();
    assert!(available.trim().parse::<u32>().unwrap() > 0);
}

#[test]
fn simulated_bytes_count_only_where_that_is_allowed() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    let chain = of_a_simulator("500 kB/s");
    let given = |tables| {
        let output = once(&chain, tables, &[("QRNG_POOL_CREDIT", "8")]);
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    let said = given("");
    assert!(
        said.contains("64 bytes, which count as 0 bits of entropy; they may be simulated"),
        "{said}"
    );
    let said = given("[pool]\ncredit-simulated = true\n");
    assert!(said.contains("64 bytes, which count as 512 bits"), "{said}");
}

#[test]
fn a_latched_gateway_gives_the_kernel_nothing() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    let (chain, mut card) = of_a_card();
    let said = |output: Output| {
        assert!(!output.status.success());
        words(&output)
    };
    latch(&chain, &mut card);
    let before = left(&chain);
    let words = said(once(&chain, "", &[]));
    assert!(
        words.contains("the kernel's pool got nothing: the gateway is latched"),
        "{words}"
    );
    assert_eq!(left(&chain), before);
}

#[test]
fn a_stalled_gateway_gives_the_kernel_nothing_and_without_one_there_is_nothing() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    let mut chain = Chain::new();
    let words_of = |chain: &Chain| {
        let output = once(chain, "", &[]);
        assert!(!output.status.success());
        words(&output)
    };
    let words = words_of(&chain);
    assert!(words.contains("no gateway listens"), "{words}");
    let tables = stream(&chain);
    chain.start_gateway("stall-limit = 1", &tables);
    wait_until("it stalls", || chain.status()["state"] == "stalled");
    let words = words_of(&chain);
    assert!(words.contains("the gateway is stalled"), "{words}");
}

#[test]
fn the_daemon_feeds_again_and_again_and_survives_its_gateway() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    let mut chain = Chain::new();
    let tables = "[pool]\ninterval = \"1 s\"\nbytes = 32\n";
    // Before there is a gateway.
    let mut adapter = Adapter::start(&chain, "pool", tables, "no gateway listens");
    let gateway = stream(&chain);
    chain.start_gateway("accept-simulated = true", &gateway);
    chain.start_collector(
        None,
        "[source]\nkind = \"simulator\"\nrate = \"500 kB/s\"\n",
    );
    adapter.wait_for("the kernel's pool got 32 bytes");
    wait_until("it feeds again", || {
        adapter
            .log()
            .matches("the kernel's pool got 32 bytes")
            .count()
            >= 3
    });
    // All that it has is the one capability, however much it was started with.
    let status = fs::read_to_string(
        Path::new("/proc")
            .join(adapter.child.id().to_string())
            .join("status"),
    )
    .unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("CapEff"))
        .unwrap();
    let mask = u64::from_str_radix(line.trim_start_matches("CapEff:").trim(), 16).unwrap();
    let (admin, files, lock) = (1 << 21, 1 << 1, 1 << 14);
    assert_eq!(mask & !(files | lock), admin, "{line}");
    chain.kill_gateway();
    let before = adapter.log().matches("got nothing").count();
    wait_until("it says so", || {
        adapter.log().matches("got nothing").count() > before
    });
    // The same is said once.
    thread::sleep(Duration::from_millis(2500));
    let said = adapter.log().matches("got nothing").count();
    assert!(said <= before + 2, "{}", adapter.log());
    chain.start_gateway("accept-simulated = true", &gateway);
    let before = adapter.log().matches("got 32 bytes").count();
    wait_until("it feeds the next one's bytes", || {
        adapter.log().matches("got 32 bytes").count() > before
    });
    assert!(adapter.stop().success());
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!((taken, destroyed), (handed_on, 0));
    assert!(taken > 0 && taken % 32 == 0);
}

#[test]
fn without_the_privilege_it_ends_and_says_what_is_missing() {
    if let Some(why) = impossible() {
        skip!("{why}");
    }
    let (chain, _card) = of_a_card();
    let config = Adapter::command(&chain, "pool", "");
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"])
        .arg(program("qrng-adapter"))
        .args(config.get_args())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = words(&output);
    assert!(
        said.contains("let this process have CAP_SYS_ADMIN"),
        "{said}"
    );
    assert!(
        said.contains("64 bytes taken, 0 handed on, 64 destroyed"),
        "{said}"
    );
}
