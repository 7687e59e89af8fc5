//! The HTTP service with a real gateway and a real collector: what each path answers, each byte once, and what happens when
//! there are none.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use qrng_tests::chain::{Chain, spawn, wait_until};
use qrng_tests::http::{head, read_answer};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::shim::Shim;
use serde_json::Value;

const SIMULATOR: &str = "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n";

fn chain() -> (Chain, Shim) {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, SIMULATOR);
    let shim = Shim::start(&chain, "", "");
    shim.wait_for_bytes();
    (chain, shim)
}

#[test]
fn every_path_answers_in_its_shapes() {
    let (_chain, mut shim) = chain();
    let at = &shim.local;
    let answer = at.get("/api/random");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.text().trim_end().len(), 64);
    assert!(
        answer
            .text()
            .trim_end()
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
    );
    assert_ne!(answer.body, at.get("/api/random").body);
    assert_eq!(
        at.get("/api/random?bytes=5&encoding=base64")
            .text()
            .trim_end()
            .len(),
        8
    );
    let binary = at.get("/api/random?bytes=77&encoding=binary");
    assert_eq!(binary.body.len(), 77);
    assert_eq!(binary.header("content-type"), "application/octet-stream");
    let json = at.get_with(
        "/api/random?bytes=4",
        &[("accept", "text/html, application/json;q=0.9")],
    );
    assert_eq!(json.json()["encoding"], "hex");
    assert_eq!(json.json()["data"].as_str().unwrap().len(), 8);

    let envelope = at.get("/api/v1/random/bytes?count=3&format=base64").json();
    assert_eq!(envelope["success"], true);
    assert_eq!(envelope["data"]["bytes"].as_str().unwrap().len(), 4);
    let dice = at
        .get("/api/v1/random/integers?count=500&min=1&max=6")
        .json();
    let dice: Vec<_> = dice["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect();
    assert_eq!(dice.len(), 500);
    // Each face is missing with a probability of 6 * (5/6)^500, about 2^-129.
    assert_eq!(dice.iter().collect::<HashSet<_>>().len(), 6);
    assert!(dice.iter().all(|face| (1..=6).contains(face)));

    let all = "/api/integers?count=3&min=-9223372036854775808&max=9223372036854775807";
    assert_eq!(at.get(all).json()["integers"].as_array().unwrap().len(), 3);
    let same = at.get("/api/integers?count=3&min=7&max=7").json();
    assert_eq!(same["integers"], serde_json::json!([7, 7, 7]));
    let lines = at.get_with("/api/integers?count=4", &[("accept", "text/plain")]);
    assert_eq!(lines.text().lines().count(), 4);
    let floats = at.get("/api/floats?count=10000").json();
    let floats = floats["floats"].as_array().unwrap();
    assert_eq!(floats.len(), 10_000);
    assert!(
        floats
            .iter()
            .all(|f| (0.0..1.0).contains(&f.as_f64().unwrap()))
    );
    let uuids = at.get("/api/uuid?count=2").json();
    let uuid = uuids["uuids"][0].as_str().unwrap();
    assert!(uuid.len() == 36 && &uuid[14..15] == "4" && uuids["uuids"][1] != uuid);

    let health = at.get("/health").json();
    assert!(health["entropy_rate_mbps"].is_f64() && health["device_temperature_celsius"].is_null());
    let status = at.get("/api/status").json();
    assert_eq!(status["gateway"]["kinds"], serde_json::json!(["simulator"]));
    shim.assert_alive();
}

#[test]
fn what_cannot_be_answered_is_a_problem_that_says_what_to_do() {
    let (_chain, mut shim) = chain();
    let at = &shim.local;
    for (path, status, kind, word) in [
        ("/api/random?bytes=0", 400, "bad-request", "1 to 16777216"),
        (
            "/api/random?bytes=16777217",
            400,
            "bad-request",
            "1 to 16777216",
        ),
        ("/api/random?bytes=-1", 400, "bad-request", "bytes"),
        ("/api/random?bytes=%00", 400, "bad-request", "bytes"),
        ("/api/random?bytes=1&bytes=2", 400, "bad-request", "bytes"),
        ("/api/random?encoding=rot13", 400, "bad-request", "rot13"),
        (
            "/api/random?wait=60001",
            400,
            "bad-request",
            "60000 milliseconds",
        ),
        ("/api/integers?min=2&max=1", 400, "bad-request", "empty"),
        (
            "/api/integers?count=10001",
            400,
            "bad-request",
            "1 to 10000",
        ),
        ("/nothing", 404, "not-found", "openapi.json"),
    ] {
        let answer = at.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("urn:qrng:problem:{kind}"),
            "{path}"
        );
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"].as_str().unwrap().contains(word),
            "{problem}"
        );
    }
    let answer = at.ask("POST", "/api/random", &[], b"x");
    assert_eq!((answer.status, answer.header("allow")), (405, "GET"));
    let before = at.get("/api/status").json()["http"]["bytes"]["fetched"].clone();
    let answer = at.ask("HEAD", "/api/random", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, "GET"));
    assert_eq!(
        at.get("/api/status").json()["http"]["bytes"]["fetched"],
        before
    );
    let answer = at.ask("POST", "/api/random", &[], &vec![b'x'; 200_000]);
    assert_eq!(answer.status, 413);
    let long = "x".repeat(60_000);
    assert_eq!(at.get_with("/health", &[("x-long", &long)]).status, 431);
    shim.assert_alive();
}

#[test]
fn no_byte_is_served_twice_by_files_and_http_together() {
    let mut chain = Chain::new();
    let numbering = Numbering::default();
    fs::write(
        chain.path("numbers"),
        numbering.bytes((48 << 20) / BLOCK as u64),
    )
    .unwrap();
    chain.start_gateway("", "[health]\nenabled = false");
    let shim = Shim::start(&chain, "", "");
    chain.start_collector(
        None,
        &format!(
            "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n\n[send]\ndata-size = 1345\nrate = \"8 MB/s\"\n",
            chain.path("numbers")
        ),
    );
    shim.wait_for_bytes();
    let (files_done, files_read) = (AtomicBool::new(false), AtomicU64::new(0));
    let got: Vec<Vec<u8>> = thread::scope(|scope| {
        let mut readers = Vec::new();
        for reader in 0..2 {
            let (chain, files_done, files_read) = (&chain, &files_done, &files_read);
            readers.push(scope.spawn(move || {
                let mut file = File::open(chain.file("raw")).unwrap();
                let mut all = Vec::new();
                let mut room = vec![0; BLOCK * (7 + 500 * reader)];
                while !files_done.load(Ordering::SeqCst) {
                    let len = file.read(&mut room).unwrap();
                    files_read.fetch_add(len as u64, Ordering::SeqCst);
                    all.extend_from_slice(&room[..len]);
                }
                all
            }));
        }
        let mut clients = Vec::new();
        for client in 0..4_usize {
            let at = shim.local.clone();
            clients.push(scope.spawn(move || {
                let mut all = Vec::new();
                for round in 0..60 {
                    let blocks = [1, 2, 100, 5000, 20_000][(client + round) % 5];
                    let path = format!(
                        "/api/random?encoding=binary&wait=60000&bytes={}",
                        blocks * BLOCK
                    );
                    let answer = at.get(&path);
                    assert_eq!(
                        answer.status,
                        200,
                        "{}",
                        String::from_utf8_lossy(&answer.body)
                    );
                    assert_eq!(answer.body.len(), blocks * BLOCK);
                    all.extend_from_slice(&answer.body);
                }
                all
            }));
        }
        let mut got: Vec<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        // One that goes away in the middle: its bytes are nobody's any more.
        let mut stream = shim.local.connect().unwrap();
        stream
            .write_all(
                head(
                    "GET",
                    "/api/random?encoding=binary&bytes=1600000&wait=60000",
                    &[],
                    0,
                )
                .as_bytes(),
            )
            .unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        drop(stream);
        files_done.store(true, Ordering::SeqCst);
        got.extend(readers.into_iter().map(|r| r.join().unwrap()));
        got
    });
    assert!(files_read.load(Ordering::SeqCst) > 0);
    let mut seen = HashSet::new();
    for block in got.iter().flat_map(|all| all.chunks_exact(BLOCK)) {
        let number = numbering
            .number(block.try_into().unwrap())
            .expect("a block of the source");
        assert!(seen.insert(number), "block {number} was served twice");
    }
    let in_files = files_read.load(Ordering::SeqCst);
    wait_until("the books balance", || {
        let status = shim.local.get("/api/status").json();
        let bytes = &status["http"]["bytes"];
        let n = |name: &str| bytes[name].as_u64().unwrap();
        n("fetched") == n("served") + n("wiped") + n("held")
            && chain.count("/bytes/served") == in_files + n("fetched")
    });
}

#[test]
fn an_empty_buffer_is_told_or_waited_for() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    let shim = Shim::start(&chain, "", "");
    wait_until("the state", || shim.local.get("/api/status").status == 200);
    let answer = shim.local.get("/api/random");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["type"], "urn:qrng:problem:empty");
    assert_eq!(shim.local.get("/api/integers?wait=20").status, 503);
    let health = shim.local.get("/health");
    assert_eq!(
        (health.status, &health.json()["status"]),
        (503, &Value::from("unhealthy"))
    );
    let at = shim.local.clone();
    let waiting =
        thread::spawn(move || at.get("/api/random?wait=60000&bytes=100000&encoding=binary"));
    wait_until("a request that waits", || {
        shim.local.get("/api/status").json()["http"]["requests_waiting"] == 1
    });
    // A request that does not want to wait is not held up by one that does.
    assert_eq!(shim.local.get("/api/random").status, 503);
    chain.start_collector(None, SIMULATOR);
    let answer = waiting.join().unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
}

#[test]
fn a_gateway_that_goes_and_comes_back_needs_no_restart() {
    let (mut chain, mut shim) = chain();
    assert!(chain.stop_gateway().unwrap().success());
    wait_until("that there is no gateway", || {
        let answer = shim.local.get("/api/random?bytes=65536");
        answer.status == 503 && answer.json()["type"] == "urn:qrng:problem:no-gateway"
    });
    wait_until("that its state is not known", || {
        shim.local.get("/health").status == 503 && shim.local.get("/api/status").status == 503
    });
    chain.start_gateway("accept-simulated = true", "");
    wait_until("bytes", || shim.local.get("/api/random").status == 200);
    shim.assert_alive();
}

#[test]
fn a_latched_gateway_has_a_problem_of_its_own() {
    let (mut chain, shim) = chain();
    assert_eq!(shim.local.get("/api/random").status, 200);
    chain.stop_collector();
    chain.stop_gateway();
    fs::write(
        chain.path("gateway/latched"),
        "permanent alarm of the chi-square test\n",
    )
    .unwrap();
    chain.start_gateway("accept-simulated = true", "");
    wait_until("that it is known", || {
        let answer = shim.local.get("/api/random?wait=1000");
        answer.status == 503 && answer.json()["type"] == "urn:qrng:problem:latched"
    });
    wait_until("that it is told", || {
        let health = shim.local.get("/health");
        health.status == 503 && health.text().contains("chi-square")
    });
    assert_eq!(
        shim.local.get("/api/status").json()["http"]["bytes"]["held"],
        0
    );
}

#[test]
fn slow_and_silent_clients_are_cut_and_drive_out_each_other() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, SIMULATOR);
    let limits = "[limits]\nconnections = 20\nheader-time = \"1 s\"\nstall-time = \"1 s\"\n";
    let mut shim = Shim::start(&chain, "", limits);
    shim.wait_for_bytes();
    // Half a head, and nothing more.
    let mut slow = shim.local.connect().unwrap();
    slow.write_all(b"GET /api/ran").unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    // One that asks for much and takes nothing.
    let fetched = || {
        shim.local.get("/api/status").json()["http"]["bytes"]["fetched"]
            .as_u64()
            .unwrap()
    };
    let before = fetched();
    let mut deaf = shim.local.connect().unwrap();
    deaf.write_all(head("GET", "/api/random?bytes=16777216&encoding=binary", &[], 0).as_bytes())
        .unwrap();
    wait_until("its first bytes", || fetched() > before);
    thread::sleep(Duration::from_secs(3));
    let mut got = Vec::new();
    let _ = deaf.read_to_end(&mut got);
    assert!(got.len() < 16_777_216, "{} bytes came", got.len());
    // More silent ones than there are places: who asks is served all the same.
    let mut silent: Vec<_> = (0..60).map(|_| shim.local.connect().unwrap()).collect();
    assert_eq!(shim.local.get("/api/random").status, 200);
    let mut gone = 0;
    for stream in &mut silent {
        gone += usize::from(stream.read(&mut [0; 1]).is_ok_and(|len| len == 0));
    }
    assert_eq!(gone, 60);
    shim.assert_alive();
}

#[test]
fn the_end_waits_for_answers_that_were_begun_and_for_no_idle_connection() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    let mut shim = Shim::start(&chain, "", "");
    let mut idle = BufReader::new(shim.local.connect().unwrap());
    idle.get_mut()
        .write_all(head("GET", "/health", &[], 0).as_bytes())
        .unwrap();
    assert_eq!(read_answer(&mut idle, false).unwrap().status, 503);
    let at = shim.local.clone();
    let waiting = thread::spawn(move || at.get("/api/random?wait=60000"));
    wait_until("a request that waits", || {
        shim.local
            .get("/api/status")
            .text()
            .contains("\"requests_waiting\":1")
    });
    shim.terminate();
    chain.start_collector(None, SIMULATOR);
    assert_eq!(waiting.join().unwrap().status, 200);
    assert!(shim.wait().success());
    assert!(!chain.path("http.socket").exists());
}

#[test]
fn the_socket_has_its_mode_and_is_not_taken_from_another() {
    let chain = Chain::new();
    let mut shim = Shim::start(&chain, "", "");
    let mode = fs::metadata(chain.path("http.socket"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let second = Shim::command(&chain, "", "").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("somebody listens there already"));
    shim.child.kill().unwrap();
    shim.child.wait().unwrap();
    // What a killed one left is replaced.
    let mut third = Shim::start(&chain, "", "");
    assert!(third.stop().success());
}

#[test]
fn a_gateway_without_a_mount_is_asked_over_its_socket() {
    let mut chain = Chain::new();
    let stream = chain.path("stream.socket");
    let more = format!("gateway-socket = {stream:?}");
    let mut shim = Shim::start(&chain, &more, "");
    wait_until("that there is no gateway", || {
        let answer = shim.local.get("/api/random");
        answer.json()["type"] == "urn:qrng:problem:no-gateway"
    });
    let mut command = chain.gateway_command(
        "accept-simulated = true",
        &format!("[stream]\nlisten = {stream:?}"),
    );
    let config = chain.path("gateway.toml");
    let text = fs::read_to_string(&config).unwrap();
    let mount = format!("mount = {:?}", chain.path("mnt"));
    fs::write(&config, text.replace(&mount, "mount = \"none\"")).unwrap();
    chain.gateway = Some(spawn(&mut command, &chain.path("gateway.log")));
    wait_until("an empty gateway", || {
        chain.assert_alive();
        shim.local.get("/api/random").json()["type"] == "urn:qrng:problem:empty"
    });
    chain.start_collector(None, SIMULATOR);
    let answer = shim
        .local
        .get("/api/random?bytes=300000&encoding=binary&wait=60000");
    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    wait_until("the books balance", || {
        let status = shim.local.get("/api/status").json();
        status["http"]["bytes"]["fetched"] == status["gateway"]["bytes"]["served"]
    });
    shim.assert_alive();
}
