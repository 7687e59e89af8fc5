//! The description of the HTTP interface: schemathesis makes requests of it, good and bad, and finds no answer that it does not
//! describe.

use std::process::Command;

use qrng_tests::chain::Chain;
use qrng_tests::http::At;
use qrng_tests::shim::{Shim, write_keys};
use qrng_tests::{python, skip};
use serde_json::Value;

#[test]
fn schemathesis_finds_nothing() {
    let st = match python::program("schemathesis") {
        Ok(st) => st,
        Err(why) => skip!("schemathesis: {why}"),
    };
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"40 MB/s\"\n");
    let (path, keys) = write_keys(&chain, &["schemathesis"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}");
    // Bodies of megabytes would only take time.
    let more = &format!("{more}\nlog-requests = \"none\"");
    let tables = "[rate]\nper-second = 100000\nburst = 100000\n[limits]\nbytes = \"64 KiB\"\nwait = \"100 ms\"";
    let mut shim = Shim::start(&chain, more, tables);
    shim.wait_for_bytes();
    let At::Address(address) = shim.remote() else {
        panic!("an address");
    };
    let output = Command::new(st)
        .args([
            "--config-file",
            concat!(env!("CARGO_MANIFEST_DIR"), "/python/schemathesis.toml"),
        ])
        .args(["run", &format!("http://{address}/openapi.json")])
        .args([
            "--checks",
            "all",
            "--max-examples",
            "40",
            "--seed",
            "20261126",
        ])
        .args(["--header", &format!("Authorization: Bearer {}", keys[0])])
        .args([
            "--generation-database",
            "none",
            "--no-color",
            "--continue-on-failure",
        ])
        .current_dir(chain.path("collector"))
        .output()
        .unwrap();
    let words =
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{words}");
    shim.assert_alive();
    assert!(!shim.log().contains("panicked"), "{}", shim.log());
    assert!(!shim.log().contains(&keys[0]));
}

/// What stands for all other paths, what speaks another protocol, and what is for people.
const NOT_DESCRIBED: [&str; 5] = ["other", "/mcp", "/", "/page.css", "/page.js"];

#[test]
fn the_description_has_every_path_and_the_limits_that_are_set() {
    let chain = Chain::new();
    let (keys, _) = write_keys(&chain, &["collector"]);
    let tables = format!("[limits]\nbytes = \"1 MiB\"\nwait = \"7 s\"\n[push]\nkeys = {keys:?}\n");
    let shim = Shim::start(&chain, "", &tables);
    let document = shim.local.get("/openapi.json").json();
    assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
    let paths: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for (path, _) in qrng_http::routes::PATHS {
        assert!(
            NOT_DESCRIBED.contains(&path) || paths.contains(&path),
            "{path} is not described"
        );
    }
    for path in &paths {
        assert!(
            qrng_http::routes::LABELS.contains(path),
            "{path} is not counted by itself"
        );
    }
    let of = |name: &str| {
        let parameters = document["paths"]["/api/random"]["get"]["parameters"]
            .as_array()
            .unwrap();
        let found = parameters
            .iter()
            .find(|parameter| parameter["name"] == name);
        found.unwrap()["schema"]["maximum"].clone()
    };
    assert_eq!(
        (of("bytes"), of("wait")),
        (Value::from(1 << 20), Value::from(7000))
    );
    assert_eq!(
        document["paths"]["/health"]["get"]["security"],
        serde_json::json!([{}])
    );
}
