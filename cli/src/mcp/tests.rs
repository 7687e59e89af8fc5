//! What is asked of where, and a remote gateway played by the test.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use qrng_mcp::Supply;

use super::remote::Remote;
use super::*;

fn arguments() -> Arguments {
    Arguments {
        mount: None,
        stream: None,
        ca_file: "/nonexistent.pem".into(),
    }
}

/// Answers each request with one of `answers`, and gives the requests' heads.
fn played(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let answered = answers.into_iter().map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        });
        answered.collect()
    });
    (url, thread)
}

fn json(status: &str, body: &str) -> &'static str {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}").leak()
}

#[test]
fn a_remote_gateway_is_asked_with_the_key() {
    let (url, thread) = played(vec![
        json(
            "200 OK",
            r#"{"success":true,"data":{"format":"hex","bytes":"00fF10"}}"#,
        ),
        json("200 OK", r#"{"state":"serving","kinds":["usb"]}"#),
    ]);
    let remote = Remote::new(&url, "secret-key", Path::new("/nonexistent")).unwrap();
    let mut out = [1; 3];
    remote.fill(&mut out).unwrap();
    assert_eq!(out, [0, 255, 16]);
    assert_eq!(remote.provenance().kinds, ["usb"]);
    let heads = thread.join().unwrap();
    assert!(
        heads[0].starts_with("GET /api/v1/random/bytes?count=3&format=hex&wait=10000 HTTP/1.1\r\n")
    );
    assert!(heads[1].starts_with("GET /api/status HTTP/1.1\r\n"));
    assert!(
        heads
            .iter()
            .all(|head| head.contains("authorization: Bearer secret-key\r\n"))
    );
}

#[test]
fn what_is_not_the_bytes_that_were_asked_for_is_refused() {
    let answers = [
        (
            json("200 OK", r#"{"success":true,"data":{"bytes":"00ff"}}"#),
            "is no gateway",
        ),
        (
            json("200 OK", r#"{"success":true,"data":{"bytes":"00ffzz"}}"#),
            "is no gateway",
        ),
        (json("200 OK", "<html>"), "is no gateway"),
        (
            json(
                "503 Service Unavailable",
                r#"{"title":"Empty","detail":"the buffer is empty"}"#,
            ),
            "refuses (503): the buffer is empty",
        ),
        (json("401 Unauthorized", ""), "not one of its keys"),
        (json("302 Found", ""), "refuses (302)"),
    ];
    let (url, thread) = played(answers.iter().map(|(answer, _)| *answer).collect());
    let remote = Remote::new(&url, "key", Path::new("/nonexistent")).unwrap();
    for (_, words) in answers {
        let mut out = [1; 3];
        let error = remote.fill(&mut out).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    thread.join().unwrap();
    assert!(
        remote
            .fill(&mut [0])
            .unwrap_err()
            .to_string()
            .contains("cannot be asked")
    );
    assert_eq!(remote.provenance().state, "unknown");
}

#[test]
fn keys_are_sent_in_the_clear_to_this_host_alone() {
    let words = |url: &str, key: &str| {
        Remote::new(url, key, Path::new("/nonexistent"))
            .err()
            .unwrap()
            .to_string()
    };
    assert!(words("http://gateway.example", "k").contains("in the clear"));
    assert!(words("gateway.example:80", "k").contains("https://"));
    assert!(words("ftp://gateway.example", "k").contains("https://"));
    assert!(words("https://gateway.example", "k").contains("--ca-file"));
    assert!(words("http://localhost:1", "two words").contains("copied whole"));
    assert!(Remote::new("http://[::1]:8080", "k", Path::new("/nonexistent")).is_ok());
}

#[test]
fn what_the_command_line_names_comes_first() {
    let url = || Some("https://gateway.example".to_owned());
    let words = supply(&arguments(), url(), None).err().unwrap().to_string();
    assert!(words.contains(KEY), "{words}");
    let mut named = arguments();
    named.mount = Some("/nonexistent".into());
    let words = supply(&named, url(), None)
        .unwrap()
        .fill(&mut [0])
        .unwrap_err()
        .to_string();
    assert!(words.contains("no gateway serves /nonexistent"), "{words}");
    named.mount = None;
    named.stream = Some("/nonexistent.socket".into());
    let socket = supply(&named, url(), None).unwrap();
    let words = socket.fill(&mut [0]).unwrap_err().to_string();
    assert!(
        words.contains("no gateway listens at /nonexistent.socket"),
        "{words}"
    );
    assert_eq!(socket.provenance().state, "unknown");
}
