//! The adapter beside a whole gateway: the kernel's pool, the old protocol, the named pipe.

mod clients;
mod egd;
mod fifo;
mod pool;

use std::process::Output;

use qrng::health::BLOCK;
use qrng_tests::adapter::{Adapter, stream};
use qrng_tests::broken::{Broken, good};
use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::feed::with_run;

/// A gateway that has 128 KiB of a card.
fn of_a_card() -> (Chain, Broken) {
    let mut chain = Chain::new();
    let tables = stream(&chain);
    chain.start_gateway("", &tables);
    let mut card = Broken::new(&chain);
    // The first block is used up by the gateway's tests.
    card.good(3 * BLOCK);
    wait_until("bytes of the card", || {
        chain.count("/buffer/fill_bytes") >= 2 * BLOCK as u64
    });
    (chain, card)
}

/// A gateway that a simulator fills.
fn of_a_simulator(rate: &str) -> Chain {
    let mut chain = Chain::new();
    let tables = stream(&chain);
    chain.start_gateway("accept-simulated = true", &tables);
    let source = format!("[source]\nkind = \"simulator\"\nrate = \"{rate}\"\n");
    chain.start_collector(None, &source);
    wait_until("bytes", || chain.count("/buffer/fill_bytes") > 0);
    chain
}

/// Has the gateway latch.
fn latch(chain: &Chain, card: &mut Broken) {
    card.send(&with_run(&good(BLOCK), 8 * 1000, 200));
    wait_until("the latch", || chain.status()["state"] == "latched");
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What has left the gateway for consumers. Asserts that its books balance.
fn left(chain: &Chain) -> u64 {
    let status = chain.status();
    let n = |name: &str| status["bytes"][name].as_u64().expect("a counter");
    let fill = status["buffer"]["fill_bytes"].as_u64().expect("a counter");
    let gone = ["served", "destroyed", "in_flight"].map(n);
    let lost = ["overflow_discarded", "overflow_replaced", "seeding"].map(n);
    let all = gone.iter().chain(&lost).sum::<u64>() + fill;
    assert_eq!(n("admitted"), all, "{status:#}");
    n("served")
}

#[test]
fn what_is_wrong_is_said_before_anything_starts() {
    let chain = Chain::new();
    let mut command = Adapter::command(
        &chain,
        "fifo",
        "[fifo]\nmode = \"0666\"\n[egd]\nlisten = \"0.0.0.0:1\"\n",
    );
    let output = command.arg("--check").output().unwrap();
    assert!(!output.status.success());
    let said = words(&output);
    assert!(
        said.contains("lets others write") && said.contains("other hosts could reach"),
        "{said}"
    );
    let output = Adapter::command(&chain, "egd", "")
        .arg("--check")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let output = Adapter::command(&chain, "egd", "")
        .arg("--once")
        .output()
        .unwrap();
    assert!(words(&output).contains("--once is for the form `pool`"));
}

#[test]
fn its_log_can_be_objects() {
    let chain = Chain::new();
    let tables = format!(
        "[fifo]\npath = {:?}\n[log]\nformat = \"json\"\n",
        chain.path("fifo")
    );
    let mut adapter = Adapter::start(&chain, "fifo", &tables, "no gateway listens");
    assert!(adapter.stop().success());
    let log = adapter.log();
    // Until the configuration is read, a message has the form of the environment.
    let first = log.find('{').expect("an object");
    for line in log[first..].lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(object["process"], "qrng-adapter", "{line}");
        assert!(
            object["message"].is_string() && object["level"].is_string(),
            "{line}"
        );
    }
}
