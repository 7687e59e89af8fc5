//! Who may ask the HTTP service over TCP, how often, and that nothing secret is in its log.

use std::io::{Read, Write};
use std::net::TcpStream;

use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::http::At;
use qrng_tests::rubbish::Rubbish;
use qrng_tests::shim::{Shim, write_keys};

const SIMULATOR: &str = "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n";

fn chain() -> Chain {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, SIMULATOR);
    chain
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[test]
fn tcp_needs_a_key_in_a_header_and_no_key_is_ever_logged() {
    let chain = chain();
    let (path, keys) = write_keys(&chain, &["one", "two"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}\nlog-requests = \"all\"");
    let mut command = Shim::command(&chain, &more, "");
    let third = "a-key-of-the-environment";
    command.env("QRNG_API_KEYS", third).env("QRNG_LOG", "debug");
    let mut shim = Shim::start_by(&chain, command);
    shim.wait_for_bytes();
    let at = shim.remote();
    for key in [keys[0].as_str(), &keys[1], third] {
        let answer = at.get_with("/api/random", &[("authorization", &bearer(key))]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-limit"), "200");
        assert_eq!(
            at.get_with("/api/random", &[("x-api-key", key)]).status,
            200
        );
    }
    for (path, headers) in [
        ("/api/random".to_owned(), vec![]),
        ("/api/status".into(), vec![]),
        ("/nothing".into(), vec![]),
        (
            "/api/random".into(),
            vec![("authorization", bearer("wrong-key-wrong-key"))],
        ),
        ("/api/random".into(), vec![("authorization", bearer(""))]),
        (
            "/api/random".into(),
            vec![("authorization", format!("Basic {}", keys[0]))],
        ),
        (
            "/api/random".into(),
            vec![("authorization", "Bearer".into())],
        ),
        // A key in the query ends up in logs of others: it must not work by default.
        (format!("/api/random?api_key={}", keys[0]), vec![]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = at.get_with(&path, &headers);
        assert_eq!(answer.status, 401, "{path} {headers:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.json()["type"], "urn:qrng:problem:no-key");
    }
    // 503 while the buffer fills, but never for want of a key.
    assert!(matches!(at.get("/health").status, 200 | 503));
    let answer = at.get_with("/health", &[("x-request-id", "abc-1.2_3")]);
    assert_eq!(answer.header("x-request-id"), "abc-1.2_3");
    let forged = at.get_with("/health", &[("x-request-id", "a b\u{7f}")]);
    assert!(!forged.header("x-request-id").contains(' '));
    assert!(shim.stop().success());
    let log = shim.log();
    assert!(
        log.contains("key one")
            && !log.contains("user 0 user 0")
            && log.contains("key environment-1")
            && log.contains("abc-1.2_3")
    );
    for secret in keys
        .iter()
        .map(String::as_str)
        .chain([third, "wrong-key-wrong-key", "api_key"])
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    let digests = std::fs::read_to_string(path).unwrap();
    for line in digests.lines() {
        assert!(!log.contains(line.split(' ').nth(1).unwrap()));
    }
}

#[test]
fn a_key_has_its_rate_and_leaves_that_of_others_alone() {
    let chain = chain();
    let (path, keys) = write_keys(&chain, &["one", "two"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}\nquery-key = true");
    let shim = Shim::start(&chain, &more, "[rate]\nper-second = 1\nburst = 3");
    shim.wait_for_bytes();
    let at = shim.remote();
    let ask = |key: &str| at.get(&format!("/api/uuid?count=1&api_key={key}"));
    for remaining in ["2", "1", "0"] {
        let answer = ask(&keys[0]);
        assert_eq!(
            (answer.status, answer.header("ratelimit-remaining")),
            (200, remaining)
        );
    }
    // A permit comes back each second, and a slow machine may take longer than that for three requests.
    let refused = (0..50)
        .map(|_| ask(&keys[0]))
        .find(|answer| answer.status == 429);
    let refused = refused.expect("50 requests at once are more than 3 and 1 a second");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["type"], "urn:qrng:problem:too-many-requests");
    assert_eq!(ask(&keys[1]).status, 200);
    // Local users have no limit.
    for _ in 0..50 {
        assert_eq!(shim.local.get("/api/uuid").status, 200);
    }
}

#[test]
fn networks_may_be_let_in_without_a_key() {
    let chain = chain();
    let more = "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.1\"]\njson-log = true\nlog-requests = \"all\"";
    let shim = Shim::start(&chain, more, "[rate]\nper-second = 1\nburst = 30");
    shim.wait_for_bytes();
    let at = shim.remote();
    assert_eq!(at.get("/api/random").status, 200);
    // A key that is shown must be right even here.
    assert_eq!(
        at.get_with("/api/random", &[("authorization", "Bearer no-such-key")])
            .status,
        401
    );
    assert!((0..200).any(|_| at.get("/api/random").status == 429));
    assert_eq!(
        at.get_with("/health", &[("x-request-id", "traced")])
            .header("x-request-id"),
        "traced"
    );
    let log = shim.log();
    for line in log.lines().skip_while(|line| !line.starts_with('{')) {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(
            line["time"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let traced = log
        .lines()
        .find(|line| line.contains("\"traced\""))
        .expect("the request by its id");
    let traced: serde_json::Value = serde_json::from_str(traced).unwrap();
    assert_eq!(
        (&traced["path"], &traced["method"]),
        (&"/health".into(), &"GET".into())
    );
}

#[test]
fn a_page_of_another_site_cannot_be_rebound() {
    let chain = chain();
    let (path, keys) = write_keys(&chain, &["one"]);
    let more = format!(
        "listen = [\"127.0.0.1:0\"]\nkeys = {path:?}\nopen-to = [\"127.0.0.1\"]\nhosts = [\"gateway.example\"]"
    );
    let shim = Shim::start(&chain, &more, "");
    shim.wait_for_bytes();
    let ask = |at: &At, path: &str, host: &str, more: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}connection: close\r\n\r\n");
        let mut stream = std::io::BufReader::new(at.connect().unwrap());
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        qrng_tests::http::read_answer(&mut stream, false).unwrap()
    };
    let at = shim.remote();
    for host in [
        "127.0.0.1",
        "[::1]:80",
        "localhost:1",
        "gateway.example:8443",
    ] {
        assert_eq!(ask(&at, "/api/random", host, "").status, 200, "{host}");
    }
    for path in ["/api/random", "/api/status", "/health", "/"] {
        let answer = ask(&at, path, "evil.example", "");
        assert_eq!(answer.status, 421, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["type"], "urn:qrng:problem:wrong-host");
    }
    // A page cannot show a key, and cannot reach a Unix socket.
    let bearer = format!("authorization: Bearer {}\r\n", keys[0]);
    assert_eq!(ask(&at, "/api/random", "evil.example", &bearer).status, 200);
    assert_eq!(
        ask(&shim.local, "/api/random", "evil.example", "").status,
        200
    );
    let counted = "qrng_http_refused_total{reason=\"host\"} 4";
    assert!(shim.local.get("/metrics").text().contains(counted));
}

#[test]
fn what_is_no_http_does_no_harm() {
    let chain = chain();
    let more = "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.0/8\"]";
    let mut shim = Shim::start(
        &chain,
        more,
        "[rate]\nper-second = 100000\nburst = 100000\n[limits]\nheader-time = \"1 s\"",
    );
    shim.wait_for_bytes();
    let At::Address(address) = shim.remote() else {
        panic!("an address");
    };
    let raw = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // A server that resets a connection which speaks no HTTP is right.
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let mut rubbish = Rubbish::default();
    let mut random = || rubbish.number();
    let seed = b"GET /api/integers?count=10&min=-5&max=9&wait=1 HTTP/1.1\r\nhost: x\r\naccept: text/plain\r\nauthorization: Bearer x\r\ncontent-length: 3\r\n\r\nabc";
    for _ in 0..1500 {
        let mut request = seed.to_vec();
        for _ in 0..1 + random() % 6 {
            let at = random() as usize % request.len();
            match random() % 4 {
                0 => request[at] = random() as u8,
                1 => request.truncate(at + 1),
                2 => request.insert(at, random() as u8),
                _ => {
                    request.remove(at);
                    request.push(b'%');
                }
            }
        }
        raw(&request);
    }
    for odd in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /api/random HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        raw(odd);
    }
    shim.assert_alive();
    wait_until("an answer", || shim.local.get("/api/random").status == 200);
    assert!(!shim.log().contains("panicked"), "{}", shim.log());
}
