//! What the HTTP service tells Prometheus, and that the shipped rules and dashboard ask for numbers that there are. Prometheus' own
//! `promtool` judges.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use qrng_tests::chain::Chain;
use qrng_tests::shim::Shim;
use qrng_tests::skip;
use serde_json::Value;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name)
}

/// Runs promtool with `input`; none if there is no promtool.
fn promtool(arguments: &[&str], input: &[u8]) -> Option<Output> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The names of numbers in an expression, without what a histogram adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("qrng_"));
    names
        .map(|name| name.trim_end_matches("_bucket").to_owned())
        .collect()
}

fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(packaging("grafana/qrng.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().replace("$instance", ".*"))
        .collect()
}

#[test]
fn the_numbers_are_as_prometheus_wants_them_and_are_those_that_are_asked_for() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    let shim = Shim::start(&chain, "", "");
    shim.wait_for_bytes();
    assert_eq!(shim.local.get("/api/random?bytes=1000").status, 200);
    assert_eq!(shim.local.get("/nothing").status, 404);
    let answer = shim.local.get("/metrics");
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.text();
    for line in [
        "qrng_gateway_up 1",
        "qrng_gateway_state{state=\"serving\"} 1",
        "qrng_gateway_state{state=\"latched\"} 0",
        "qrng_http_requests_total{class=\"2xx\",route=\"/api/random\"} 1",
        "qrng_http_requests_total{class=\"4xx\",route=\"other\"} 1",
        "qrng_http_bytes_total{end=\"served\"} 1000",
        "qrng_http_request_seconds_count{route=\"/api/random\"} 1",
    ] {
        assert!(
            text.lines().any(|have| have == line),
            "{line} is missing in\n{text}"
        );
    }
    let told: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# TYPE ")?
                .split(' ')
                .next()
                .map(str::to_owned)
        })
        .collect();
    let rules = fs::read_to_string(packaging("prometheus/qrng.rules.yml")).unwrap();
    let rules = rules
        .lines()
        .filter(|line| line.trim_start().starts_with("expr:"));
    let asked: BTreeSet<_> = rules
        .map(str::to_owned)
        .chain(dashboard())
        .flat_map(|e| names(&e))
        .collect();
    assert!(asked.len() > 10);
    let missing: Vec<_> = asked.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let Some(judged) = promtool(&["check", "metrics"], &answer.body) else {
        skip!("promtool is missing");
    };
    assert!(judged.status.success(), "{}", words(&judged));
}

#[test]
fn prometheus_accepts_the_rules_and_the_dashboards_expressions() {
    let rules = packaging("prometheus/qrng.rules.yml");
    let Some(judged) = promtool(&["check", "rules", rules.to_str().unwrap()], b"") else {
        skip!("promtool is missing");
    };
    assert!(judged.status.success(), "{}", words(&judged));
    let tests = packaging("prometheus/qrng.rules.test.yml");
    let judged = promtool(&["test", "rules", tests.to_str().unwrap()], b"").unwrap();
    assert!(judged.status.success(), "{}", words(&judged));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yml");
    let mut text = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (index, expr) in dashboard().iter().enumerate() {
        text += &format!(
            "      - record: dashboard:{index}\n        expr: {}\n",
            Value::from(expr.as_str())
        );
    }
    fs::write(&path, text).unwrap();
    let judged = promtool(&["check", "rules", path.to_str().unwrap()], b"").unwrap();
    assert!(judged.status.success(), "{}", words(&judged));
}
