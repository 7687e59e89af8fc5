//! The tools for language models, with the protocol's own clients: the Python SDK over standard input and output with a whole
//! chain behind it, the inspector and the conformance suite over the HTTP service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use qrng_tests::chain::{Chain, PATIENCE, program};
use qrng_tests::http::At;
use qrng_tests::shim::{Shim, write_keys};
use qrng_tests::skip;
use serde_json::Value;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mcp");

/// The folder of the clients, or why there are none.
fn clients() -> Result<PathBuf, String> {
    let output = Command::new("bash")
        .arg(Path::new(HERE).join("setup.sh"))
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words
        .trim()
        .lines()
        .last()
        .unwrap_or("it failed")
        .to_owned())
}

/// The HTTP service with a whole chain behind it, open to this host, for clients that send no key.
struct Http {
    shim: Shim,
    chain: Chain,
    address: SocketAddr,
    url: String,
}

impl Http {
    fn start() -> Self {
        let mut chain = Chain::new();
        chain.start_gateway("accept-simulated = true", "");
        chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
        let more = "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.1\"]";
        let tables = "[rate]\nper-second = 100000\nburst = 100000\n[mcp]\nhosts = [\"gateway.example\"]\norigins = [\"https://app.example\"]";
        let shim = Shim::start(&chain, more, tables);
        shim.wait_for_bytes();
        let At::Address(address) = shim.remote() else {
            panic!("an address");
        };
        Self {
            url: format!("http://{address}/mcp"),
            shim,
            chain,
            address,
        }
    }

    /// The status line and body of a POST with these header lines.
    fn post(&self, headers: &str, body: &str) -> String {
        let address = self.address;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = if headers.contains("Host:") {
            String::new()
        } else {
            format!("Host: {address}\r\n")
        };
        let request = format!(
            "POST /mcp HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // A body that is refused by its length may not be read to its end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A program of the npm folder, by the Node that belongs to it.
fn node(clients: &Path, name: &str) -> Command {
    let modules = clients.join("npm/node_modules");
    let bin = modules.join("node/bin");
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new(bin.join("node"));
    command
        .arg(modules.join(".bin").join(name))
        .env("PATH", path)
        .stdin(Stdio::null());
    command
}

/// What the Python client saw of `qrng mcp` with these arguments.
fn python(clients: &Path, arguments: &[&std::ffi::OsStr]) -> Value {
    let output = Command::new(clients.join("python/bin/python"))
        .arg(Path::new(HERE).join("client.py"))
        .arg(program("qrng"))
        .arg("mcp")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check(seen: &Value) {
    assert_eq!(seen["server"]["serverInfo"]["name"], "qrng");
    assert_eq!(seen["tools"].as_array().unwrap().len(), 8);
    let results = seen["results"].as_array().unwrap();
    for result in &results[..8] {
        assert_eq!(result["error"], false, "{result}");
        let text: Value = serde_json::from_str(result["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structured"], "the text is the same document");
        let provenance = &text["provenance"];
        assert_eq!(provenance["state"], "serving");
        assert_eq!(provenance["kinds"], serde_json::json!(["simulator"]));
        assert_eq!(
            provenance["sources"][0]["kind"], "simulator",
            "{provenance}"
        );
    }
    let hex = results[1]["structured"]["bytes"].as_str().unwrap();
    assert!(hex.len() == 64 && hex != "0".repeat(64));
    let integers = results[3]["structured"]["integers"].as_array().unwrap();
    assert!(
        integers.len() == 20
            && integers
                .iter()
                .all(|n| (-5..=5).contains(&n.as_i64().unwrap()))
    );
    assert_eq!(
        results[6]["structured"]["items"].as_array().unwrap().len(),
        4
    );
    assert_eq!(results[8]["error"], true);
    assert!(
        results[8]["text"]
            .as_str()
            .unwrap()
            .contains("from 1 to 4096")
    );
    assert!(
        results[9]["error"] == true || results[9].get("protocol-error").is_some(),
        "{}",
        results[9]
    );
}

#[test]
fn the_python_client_gets_numbers_of_a_mount_and_of_a_stream_socket() {
    let clients = match clients() {
        Ok(clients) => clients,
        Err(why) => skip!("{why}"),
    };
    let mut chain = Chain::new();
    let tables = format!("[stream]\nlisten = {:?}", chain.path("s"));
    chain.start_gateway("accept-simulated = true", &tables);
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    chain.read_raw(32, PATIENCE);
    let served = chain.count("/bytes/served");
    check(&python(
        &clients,
        &["--mount".as_ref(), chain.path("mnt").as_os_str()],
    ));
    // 16 and 32 and 32 bytes, 20 integers, 2 UUIDs, 2 dice, 4 and 2 draws of items.
    let taken = 80 + 20 * 8 + 32 + 16 + 3 * 8 + 2 * 8;
    qrng_tests::chain::wait_until("all is counted", || {
        chain.count("/bytes/served") >= served + taken
    });
    check(&python(
        &clients,
        &["--stream".as_ref(), chain.path("s").as_os_str()],
    ));
    assert!(chain.count("/stream/served_bytes") >= taken);
    // More than was asked for only after a rejection, of less than one draw in 2^32.
    assert!(chain.count("/bytes/served") <= served + 2 * taken + 64);
    let dead = python(
        &clients,
        &["--stream".as_ref(), "/nonexistent.socket".as_ref()],
    );
    let words = dead["results"][0]["text"].as_str().unwrap();
    assert!(
        words.contains("no gateway listens at /nonexistent.socket"),
        "{words}"
    );
}

#[test]
fn the_inspector_calls_tools_over_http() {
    let clients = match clients() {
        Ok(clients) => clients,
        Err(why) => skip!("{why}"),
    };
    let http = Http::start();
    let served = http.chain.count("/bytes/served");
    let output = node(&clients, "mcp-inspector")
        .args([
            "--cli",
            &http.url,
            "--transport",
            "http",
            "--method",
            "tools/call",
        ])
        .args([
            "--tool-name",
            "get_random_integers",
            "--tool-arg",
            "count=3",
            "min=1",
            "max=6",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let integers = result["structuredContent"]["integers"].as_array().unwrap();
    assert_eq!(integers.len(), 3);
    assert!(
        integers
            .iter()
            .all(|n| (1..=6).contains(&n.as_i64().unwrap()))
    );
    let provenance = &result["structuredContent"]["provenance"];
    assert_eq!(provenance["state"], "serving", "{provenance}");
    assert_eq!(provenance["kinds"], serde_json::json!(["simulator"]));
    assert_eq!(provenance["sources"][0]["kind"], "simulator");
    assert!(
        http.chain.count("/bytes/served") >= served + 24,
        "they came out of the gateway"
    );
}

#[test]
fn the_conformance_suite_fails_only_where_it_is_expected() {
    let clients = match clients() {
        Ok(clients) => clients,
        Err(why) => skip!("{why}"),
    };
    let http = Http::start();
    let results = tempfile::tempdir().unwrap();
    let output = node(&clients, "conformance")
        .args(["server", "--url", &http.url, "--expected-failures"])
        .arg(Path::new(HERE).join("expected-failures.yaml"))
        .arg("--output-dir")
        .arg(results.path())
        .current_dir(results.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    for passed in [
        "server-initialize",
        "ping",
        "tools-list",
        "dns-rebinding-protection",
    ] {
        assert!(
            words.contains(&format!("✓ {passed}")),
            "{passed} did not pass:\n{words}"
        );
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[test]
fn other_hosts_other_sites_and_long_bodies_are_refused() {
    let http = Http::start();
    let is = |answer: &str, status: &str| {
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    };
    let plain = http.post("", PING);
    is(&plain, "200");
    assert!(plain.contains("application/json"), "{plain}");
    for named in [
        "Origin: http://localhost:3000\r\n",
        "Origin: https://app.example\r\n",
        "Host: gateway.example\r\n",
        "Host: gateway.example:8443\r\n",
    ] {
        is(&http.post(named, PING), "200");
    }
    for refused in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Host: evil.example\r\n",
    ] {
        is(&http.post(refused, PING), "403");
    }
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":"{}"}}"#,
        "x".repeat(64 * 1024)
    );
    is(&http.post("", &long), "413");
    is(&http.post("", "{"), "4");
    is(&http.post("", PING), "200");
    let wrong = http.shim.local.get("/mcp");
    assert_eq!((wrong.status, wrong.header("allow")), (405, "POST"));
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_random_hex","arguments":{"count":16}}}"#;

#[test]
fn over_tcp_the_tools_need_a_key_as_everything_else() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    let (path, keys) = write_keys(&chain, &["model"]);
    let shim = Shim::start(
        &chain,
        &format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}"),
        "",
    );
    shim.wait_for_bytes();
    let ask = |at: &At, key: &str| {
        let key = format!("Bearer {key}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if key != "Bearer " {
            headers.push(("authorization", &key));
        }
        at.ask("POST", "/mcp", &headers, CALL.as_bytes())
    };
    let remote = shim.remote();
    assert_eq!(ask(&remote, "").status, 401);
    assert_eq!(ask(&remote, "a-key-of-nobody").status, 401);
    for answer in [ask(&remote, &keys[0]), ask(&shim.local, "")] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let result = &answer.json()["result"];
        assert_eq!(result["isError"], false, "{result}");
        assert_eq!(
            result["structuredContent"]["provenance"]["state"],
            "serving"
        );
    }
    // Without a gateway the tool says so, and what to do.
    chain.stop_gateway();
    qrng_tests::chain::wait_until("the gateway is missed", || {
        let answer = ask(&shim.local, "");
        let result = &answer.json()["result"];
        answer.status == 200 && result["isError"] == true
    });
    assert!(!shim.log().contains(&keys[0]));
}

#[test]
fn a_client_that_hangs_up_ends_the_command() {
    let mut chain = Command::new(program("qrng"))
        .args(["mcp", "--mount", "/nonexistent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = chain.stdin.take().unwrap();
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    writeln!(input, "{hello}").unwrap();
    let mut answer = String::new();
    BufReader::new(chain.stdout.as_mut().unwrap())
        .read_line(&mut answer)
        .unwrap();
    assert!(answer.contains("\"serverInfo\""), "{answer}");
    writeln!(
        input,
        r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#
    )
    .unwrap();
    drop(input);
    qrng_tests::chain::wait_until("it ends", || chain.try_wait().unwrap().is_some());
    assert!(chain.wait().unwrap().success());
}

#[test]
fn a_remote_gateway_needs_a_key_and_encryption() {
    let words = |url: &str, key: &str| {
        let output = Command::new(program("qrng"))
            .arg("mcp")
            .env("QRNG_GATEWAY_URL", url)
            .env("QRNG_GATEWAY_API_KEY", key)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!words.contains("the-key"), "{words}");
        words
    };
    assert!(words("https://gateway.example", "").contains("there is no QRNG_GATEWAY_API_KEY"));
    assert!(words("http://gateway.example", "the-key").contains("in the clear"));
}
