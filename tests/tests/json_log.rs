//! Logs for machines: every line of every process is one object; and the levels that the journal reads.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::sys::signal::Signal;
use qrng_tests::chain::{Chain, PATIENCE, program, wait_until};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::helper::Helper;
use qrng_tests::processes::signal;
use qrng_tests::skip;
use serde_json::Value;

/// The lines of a log, each of which must be an object with all that is always there.
fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for key in ["time", "level", "process", "target", "message"] {
            assert!(value[key].is_string(), "{key} is missing: {line}");
        }
        let level = value["level"].as_str().unwrap();
        assert!(
            ["error", "warn", "info", "debug"].contains(&level),
            "{line}"
        );
        value
    });
    lines.collect()
}

fn processes(objects: &[Value]) -> Vec<&str> {
    let mut names: Vec<_> = objects
        .iter()
        .filter_map(|o| o["process"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn every_line_of_every_process_is_an_object() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    // The helper by its environment, the daemons by their configuration.
    let socket = Helper::socket(&chain);
    let mut helper = Command::new(program("qrng-mount"));
    helper
        .args(["--user", "root", "--listen"])
        .arg(&socket)
        .arg(chain.path("mnt"))
        .env("QRNG_LOG_FORMAT", "json");
    let mut helper = qrng_tests::chain::spawn(&mut helper, &chain.path("helper.log"));
    wait_until("the helper", || socket.exists());
    let json = "[log]\nformat = \"json\"\n";
    let more = format!("accept-simulated = true\n{}", Helper::setting(&chain));
    let mut gateway = chain.gateway_command(&more, json);
    chain.start_gateway_by(gateway.env("QRNG_LOG", "debug"));
    let source = format!("[source]\nkind = \"simulator\"\n\n{json}");
    chain.start_collector_with(None, &source, &[("QRNG_LOG", "debug")]);
    chain.read_raw(1000, PATIENCE);
    chain.stop_collector();
    chain.stop_gateway();
    signal(helper.id(), Signal::SIGTERM);
    helper.wait().unwrap();

    let gateway = chain.log("gateway");
    // Until the configuration is read, a message has the form of the environment.
    let first = gateway.find('{').unwrap();
    let gateway = objects(&gateway[first..]);
    let begun = gateway.iter().find(|o| o["key_id"].is_string()).unwrap();
    assert!(begun["epoch"].is_u64() && begun["slot"] == 0, "{begun}");
    assert_eq!(processes(&gateway), ["qrng-gateway"]);
    let collector = chain.log("collector");
    let first = collector.find('{').unwrap();
    let collector = objects(&collector[first..]);
    assert_eq!(processes(&collector), ["qrng-collector", "qrng-sender"]);
    let helper = objects(&chain.log("helper"));
    assert_eq!(processes(&helper), ["qrng-mount"]);
}

#[test]
fn what_is_wrong_is_an_object_too() {
    let chain = Chain::new();
    let mut command = chain.gateway_command("no-such-key = 1", "");
    let output = command.env("QRNG_LOG_FORMAT", "json").output().unwrap();
    assert!(!output.status.success());
    let lines = objects(&String::from_utf8_lossy(&output.stderr));
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    // More than one line of text.
    assert!(last["message"].as_str().unwrap().contains("no-such-key"));
    let mut wrong = chain.gateway_command("", "");
    let output = wrong
        .arg("--check")
        .env("QRNG_LOG_FORMAT", "xml")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("QRNG_LOG_FORMAT is \"xml\"") && text.contains("WARN"),
        "{text}"
    );
}

#[test]
fn the_journal_is_told_the_level_of_each_line() {
    let chain = Chain::new();
    let log = chain.path("journal");
    let file = fs::File::create(&log).unwrap();
    let meta = file.metadata().unwrap();
    let mut command = chain.gateway_command("no-such-key = 1", "");
    command
        .stderr(file)
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    assert!(!command.status().unwrap().success());
    let text = fs::read_to_string(&log).unwrap();
    let prefixes: Vec<&str> = text.lines().map(|line| line.get(..3).unwrap()).collect();
    assert!(prefixes.len() > 1 && prefixes.contains(&"<3>"), "{text}");
    assert!(
        prefixes.iter().all(|p| ["<3>", "<4>", "<6>"].contains(p)),
        "{text}"
    );
    // Where something else reads, there are none.
    let output = chain
        .gateway_command("no-such-key = 1", "")
        .env("JOURNAL_STREAM", "1:2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("ERROR]") && !text.contains("<3>"), "{text}");
}
