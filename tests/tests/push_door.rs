//! `POST /push` as anybody sees it: who may, what is taken, and that the answer says nothing of what the gateway makes of it.

use std::collections::HashMap;

use qrng::push::{BODY_MAX, MEDIA_TYPE, put};
use qrng_tests::chain::{peer, wait_until};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::http::{Answer, At};
use qrng_tests::pushed::World;
use qrng_tests::rubbish::Rubbish;
use qrng_tests::shim::Shim;
use qrng_tests::skip;

/// A body of these packets.
fn body<P: AsRef<[u8]>>(packets: &[P]) -> Vec<u8> {
    let mut body = Vec::new();
    for packet in packets {
        assert!(put(&mut body, packet.as_ref()));
    }
    body
}

fn post(at: &At, key: &str, kind: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("content-type", kind)];
    if !key.is_empty() {
        headers.push(("authorization", &bearer));
    }
    at.ask("POST", "/push", &headers, body)
}

/// Sealed packets of a collector of this link, as they are on the wire: the first is an announcement.
fn packets(world: &mut World, count: usize) -> Vec<Vec<u8>> {
    let wire = peer();
    let port = wire.local_addr().unwrap().port();
    let source = format!(
        "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n[send]\nrate = \"1 MB/s\"\n",
        world.chain.path("numbers")
    );
    world.chain.start_collector(Some(port), &source);
    let mut room = [0; 2048];
    let packets = (0..count).map(|_| {
        let length = wire.recv(&mut room).unwrap();
        room[..length].to_vec()
    });
    let packets = packets.collect();
    world.chain.stop_collector();
    packets
}

fn rejected(world: &World, name: &str) -> u64 {
    world.chain.count(&format!("/rejected/{name}"))
}

/// What the answer says, without what numbers it and its time.
fn said(answer: &Answer) -> (u16, HashMap<String, String>, Vec<u8>) {
    let mut headers = answer.headers.clone();
    for own in ["x-request-id", "date", "ratelimit-remaining"] {
        headers.remove(own);
    }
    (answer.status, headers, answer.body.clone())
}

#[test]
fn the_answer_is_the_same_whatever_becomes_of_the_packets() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(4);
    world.start_shim("", "");
    let (at, key) = (world.at(), world.push_key.clone());
    let push = |packets: &[Vec<u8>]| {
        let answer = post(&at, &key, MEDIA_TYPE, &body(packets));
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
        said(&answer)
    };
    let good = packets(&mut world, 60);
    let first = push(&good);
    wait_until("admitted packets", || {
        world.chain.count("/packets/admitted") > 40
    });
    let admitted = world.chain.count("/packets/admitted");
    // Again: the gateway has seen them.
    let again = push(&good);
    wait_until("duplicate", || rejected(&world, "duplicate") >= admitted);
    assert_eq!(world.chain.count("/packets/admitted"), admitted);
    // Damaged in the data, and in what no line error explains; of no session; and nothing at all.
    let mut damaged = packets(&mut world, 8);
    push(&damaged[..1]);
    let mut forged = damaged.split_off(4);
    for packet in &mut damaged[1..] {
        packet[60] ^= 1;
    }
    for packet in &mut forged {
        let last = packet.len() - 1;
        packet[last] ^= 1;
    }
    let line = push(&damaged[1..]);
    wait_until("wrong-crc", || rejected(&world, "wrong-crc") > 0);
    let forgery = push(&forged);
    wait_until("wrong-hmac", || rejected(&world, "wrong-hmac") > 0);
    let all = |world: &World| -> u64 {
        let rejected = world.chain.status()["rejected"].clone();
        let reasons = rejected.as_object().unwrap().values();
        reasons.map(|count| count.as_u64().unwrap()).sum()
    };
    let before = all(&world);
    let rubbish = push(&[
        b"rubbish".to_vec(),
        vec![0; 1472],
        forged[0][..100].to_vec(),
    ]);
    wait_until("rubbish is refused", || all(&world) == before + 3);
    for other in [again, line, forgery, rubbish] {
        assert_eq!(other, first);
    }
    assert_eq!(world.chain.count("/packets/admitted"), admitted);
}

#[test]
fn only_a_collectors_key_pushes_and_it_does_nothing_else() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(1);
    world.start_shim("open-to = [\"127.0.0.0/8\"]", "");
    let (at, push_key, read_key) = (world.at(), world.push_key.clone(), world.read_key.clone());
    let local = world.shim.as_ref().unwrap().local.clone();
    let rubbish = body(&[b"rubbish"]);
    let mut datagrams = 0;
    for (at, key, status) in [
        // Not even where no key is needed to read.
        (&at, "", 401),
        (&at, "no-key-of-anybody", 401),
        (&at, read_key.as_str(), 403),
        (&at, push_key.as_str(), 204),
        (&local, "", 401),
        (&local, read_key.as_str(), 403),
        (&local, push_key.as_str(), 204),
    ] {
        let answer = post(at, key, MEDIA_TYPE, &rubbish);
        assert_eq!(answer.status, status, "{at:?} {answer:?}");
        datagrams += u64::from(status == 204);
        if status != 204 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    wait_until("the datagrams", || {
        world.chain.count("/packets/from_this_host") >= datagrams
    });
    assert_eq!(world.chain.count("/packets/datagrams"), datagrams);
    let bearer = format!("Bearer {push_key}");
    for path in ["/api/random", "/api/status", "/metrics", "/mcp", "/health"] {
        let answer = at.get_with(path, &[("authorization", &bearer)]);
        assert_eq!(answer.status, 403, "{path}");
    }
    let metrics = local.get("/metrics");
    let refused = |reason: &str| format!("qrng_http_refused_total{{reason=\"{reason}\"}} ");
    for (reason, count) in [("other-key", 7), ("wrong-key", 1), ("no-key", 2)] {
        let line = format!("{}{count}", refused(reason));
        assert!(
            metrics.text().contains(&line),
            "{line}:\n{}",
            metrics.text()
        );
    }
}

#[test]
fn what_is_no_body_of_packets_is_refused_before_anything_is_handed_over() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(1);
    world.start_shim("", "");
    // Without TLS, whose client would not read what a server says that closes early.
    let at = world.shim.as_ref().unwrap().local.clone();
    let key = world.push_key.clone();
    let good = body(&[b"rubbish"]);
    let cut = [&good[..], b"\x00\x09half"].concat();
    let zero = [&good[..], b"\x00\x00"].concat();
    for (kind, body, status, word) in [
        (MEDIA_TYPE, &b""[..], 400, "bad-request"),
        (MEDIA_TYPE, &cut, 400, "bad-request"),
        (MEDIA_TYPE, &zero, 400, "bad-request"),
        (MEDIA_TYPE, &vec![0; BODY_MAX + 1], 413, "too-large"),
        ("application/octet-stream", &good, 415, "wrong-type"),
        ("", &good, 415, "wrong-type"),
    ] {
        let answer = post(&at, &key, kind, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["type"], format!("urn:qrng:problem:{word}"));
    }
    // The same when the length is not said before.
    let bearer = format!("Bearer {key}");
    let chunk = format!("{:x}\r\n", BODY_MAX + 1).into_bytes();
    let chunked = [chunk, vec![7; BODY_MAX + 1], b"\r\n0\r\n\r\n".to_vec()].concat();
    let head = format!(
        "POST /push HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\ncontent-type: {MEDIA_TYPE}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let mut stream = std::io::BufReader::new(at.connect().unwrap());
    // It may be refused, and the connection closed, before all of it is written.
    let _ = std::io::Write::write_all(stream.get_mut(), &[head.as_bytes(), &chunked].concat());
    let answer = qrng_tests::http::read_answer(&mut stream, false).unwrap();
    assert_eq!(answer.status, 413);
    let answer = at.get_with("/push", &[("authorization", &bearer)]);
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(world.chain.count("/packets/datagrams"), 0);
    // A body of the greatest length is taken.
    let mut whole = Vec::new();
    while put(&mut whole, &[9; 1000]) {}
    assert_eq!(post(&at, &key, MEDIA_TYPE, &whole).status, 204);
    world.shim.as_mut().unwrap().assert_alive();
}

#[test]
fn rubbish_of_every_shape_is_taken_or_refused_and_does_no_harm() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(4);
    world.start_shim("", "[rate]\nper-second = 100000\nburst = 100000\n");
    let key = world.push_key.clone();
    let seed = body(&packets(&mut world, 5));
    let at = world.shim.as_ref().unwrap().local.clone();
    let before = world.chain.count("/packets/admitted");
    let mut rubbish = Rubbish::default();
    let mut random = || rubbish.number();
    let mut seen = HashMap::new();
    for _ in 0..1000 {
        let mut body = seed.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() as usize % body.len();
            match random() % 5 {
                0 => body[at] = random() as u8,
                1 => body.truncate(at + 1),
                2 => body.insert(at, random() as u8),
                // The first length.
                3 => body[at.min(1)] ^= 1 << (random() % 8),
                _ => {
                    body.remove(at);
                    body.push(random() as u8);
                }
            }
        }
        // In none of them is an announcement, without which nothing is admitted.
        if let Some(first) = body.get_mut(2) {
            *first = 0;
        }
        let answer = post(&at, &key, MEDIA_TYPE, &body);
        assert!(matches!(answer.status, 204 | 400), "{answer:?}");
        *seen.entry(answer.status).or_insert(0) += 1;
    }
    assert!(seen[&204] > 50 && seen[&400] > 50, "{seen:?}");
    let shim = world.shim.as_mut().unwrap();
    shim.assert_alive();
    assert!(!shim.log().contains("panicked"), "{}", shim.log());
    world.chain.assert_alive();
    assert_eq!(world.chain.count("/packets/admitted"), before);
}

#[test]
fn a_collector_has_its_rate_and_a_gateway_that_is_away_is_told() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(1);
    world.start_shim("", "[rate]\nper-second = 1\nburst = 3\n");
    let (at, key) = (world.at(), world.push_key.clone());
    let rubbish = body(&[b"rubbish"]);
    let mut answers = (0..50).map(|_| post(&at, &key, MEDIA_TYPE, &rubbish));
    let refused = answers.find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.header("retry-after"), "1");
    drop(answers);
    world.chain.kill_gateway();
    wait_until("an answer that it is away", || {
        let answer = post(&at, &key, MEDIA_TYPE, &rubbish);
        assert!(matches!(answer.status, 429 | 503), "{answer:?}");
        answer.status == 503 && answer.json()["type"] == "urn:qrng:problem:no-gateway"
    });
}

#[test]
fn without_the_section_there_is_no_such_path() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let world = World::new(1);
    let shim = Shim::start(&world.chain, "", "");
    let answer = post(
        &shim.local,
        &world.push_key,
        MEDIA_TYPE,
        &body(&[b"rubbish"]),
    );
    assert_eq!(answer.status, 404);
    assert!(!shim.local.get("/openapi.json").text().contains("/push"));
}
