//! Against a gateway played by the test, which answers as it likes.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;
use qrng::stream::REQUEST_LEN;

use super::*;

/// What the played gateway does with one connection.
type Connection = Box<dyn FnOnce(UnixStream) + Send>;

/// Listens in a directory of its own and plays one connection after the other.
struct Played {
    directory: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Played {
    fn new(connections: Vec<Connection>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let thread = thread::spawn(move || {
            for connection in connections {
                connection(listener.accept().unwrap().0);
            }
        });
        Self {
            directory,
            thread: Some(thread),
        }
    }

    fn consumer(&self) -> Consumer {
        Consumer::connect(self.directory.path().join("s")).unwrap()
    }

    fn ended(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

fn request(stream: &mut UnixStream) -> Option<Request> {
    let mut frame = [0; REQUEST_LEN];
    stream.read_exact(&mut frame).ok()?;
    Some(Request::new_checked(&frame).unwrap())
}

fn answer(stream: &mut UnixStream, code: Code, body: &[u8]) {
    let len = body.len() as u32;
    let head = Answer { code, len }.frame();
    stream.write_all(&[&head, body].concat()).unwrap();
}

/// A gateway that has the bytes 0, 1, 2 ... and gives `part` of them at a time.
fn counting(part: usize) -> Connection {
    Box::new(move |mut stream| {
        let mut next = 0_usize;
        while let Some(request) = request(&mut stream) {
            let Request::Take { least, most, .. } = request else {
                panic!("{request:?}");
            };
            let len = part.min(most as usize);
            if len < least as usize {
                answer(&mut stream, Code::Empty, &[]);
                continue;
            }
            let body: Vec<u8> = (next..next + len).map(|n| n as u8).collect();
            next += len;
            answer(&mut stream, Code::Bytes, &body);
        }
    })
}

#[test]
fn a_take_is_whole_whatever_the_parts() {
    for part in [64, 1000, MAX_ANSWER] {
        let played = Played::new(vec![counting(part)]);
        let mut consumer = played.consumer();
        let mut out = vec![0; MAX_ANSWER + 3000];
        consumer.take(&mut out, None).unwrap();
        assert!(out.iter().enumerate().all(|(n, &byte)| byte == n as u8));
        assert_eq!(consumer.take_some(&mut [], None).unwrap(), 0);
        assert_eq!(
            consumer.take_some(&mut out, None).unwrap(),
            part.min(MAX_ANSWER)
        );
        drop(consumer);
        played.ended();
    }
}

#[test]
fn what_had_come_of_a_failed_take_is_destroyed() {
    let played = Played::new(vec![Box::new(|mut stream| {
        request(&mut stream);
        answer(&mut stream, Code::Empty, &[]);
        request(&mut stream);
        answer(&mut stream, Code::Bytes, &[7; 64]);
        for _ in 0..2 {
            request(&mut stream);
            answer(&mut stream, Code::Empty, &[]);
        }
    })]);
    let mut consumer = played.consumer();
    let mut out = [1; 100];
    let error = consumer
        .take(&mut out, Some(Duration::from_secs(60)))
        .unwrap_err();
    assert!(matches!(error, ConsumerError::Empty { had: 64, .. }));
    assert!(error.to_string().contains("64 had come"), "{error}");
    assert_eq!(out, [0; 100]);
    played.ended();
}

#[test]
fn a_connection_that_has_ended_is_made_anew_once() {
    let hang_up: fn() -> Connection = || {
        Box::new(|mut stream: UnixStream| {
            request(&mut stream);
            answer(&mut stream, Code::Bytes, &[5]);
        })
    };
    let drop_at_once: Connection = Box::new(drop);
    let played = Played::new(vec![hang_up(), hang_up(), drop_at_once]);
    let mut consumer = played.consumer();
    for _ in 0..2 {
        assert_eq!(consumer.take_some(&mut [0], None).unwrap(), 1);
    }
    let error = consumer.take_some(&mut [0], None).unwrap_err();
    assert!(matches!(error, ConsumerError::Ended { .. }), "{error}");
    played.ended();
}

#[test]
fn every_refusal_has_its_words() {
    for (code, words) in [
        (Code::Empty, "too few bytes now; wait longer"),
        (Code::Latched, "qrng clear --gateway"),
        (Code::Stalled, "gets no bytes"),
        (Code::Quota, "until midnight (UTC)"),
        (Code::Busy, "as many connections"),
        (Code::Forbidden, "add it to the socket's group"),
        (Code::Malformed, "programs of one version"),
        (Code::Document, "no answer to what was asked"),
    ] {
        let played = Played::new(vec![Box::new(move |mut stream| {
            request(&mut stream);
            answer(&mut stream, code, &[]);
        })]);
        let mut consumer = played.consumer();
        let error = consumer.take_some(&mut [0], None).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
        played.ended();
    }
}

#[test]
fn whoever_is_not_there_or_no_gateway_is_named() {
    let error = Consumer::connect("/nonexistent/s").unwrap_err().to_string();
    assert!(
        error.contains("/nonexistent/s") && error.contains("[stream] listen"),
        "{error}"
    );
    let played = Played::new(vec![Box::new(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request").unwrap();
    })]);
    let error = played.consumer().status().unwrap_err();
    assert!(matches!(error, ConsumerError::Foreign { .. }), "{error}");
    played.ended();
    // More than was asked for is not taken either.
    let played = Played::new(vec![Box::new(|mut stream| {
        request(&mut stream);
        answer(&mut stream, Code::Bytes, &[1; 5]);
    })]);
    let mut out = [0; 4];
    let error = played.consumer().take_some(&mut out, None).unwrap_err();
    assert!(matches!(error, ConsumerError::Broken { .. }), "{error}");
    assert_eq!(out, [0; 4]);
    played.ended();
}

#[test]
fn a_wait_for_somebody_ends_when_that_one_has_gone() {
    let given_up: fn() -> Connection = || {
        Box::new(|mut stream: UnixStream| {
            request(&mut stream);
            // No answer: the connection ends.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        })
    };
    let answered: Connection = Box::new(|mut stream| {
        request(&mut stream);
        answer(&mut stream, Code::Bytes, &[5]);
    });
    let played = Played::new(vec![given_up(), given_up(), answered]);
    let mut consumer = played.consumer();
    let mut take = |end: &UnixStream, gone_when_silent| {
        let client = Client {
            fd: end.as_fd(),
            gone_when_silent,
        };
        consumer.take_some_for(client, &mut [0], None)
    };
    let (end, other) = UnixStream::pair().unwrap();
    let leaves = thread::spawn(move || drop(other));
    let error = take(&end, false).unwrap_err();
    assert!(matches!(error, ConsumerError::Unwanted { .. }), "{error}");
    leaves.join().unwrap();
    // One that has only said all it had to say waits on, or not, as the caller wants it.
    let (end, other) = UnixStream::pair().unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    let error = take(&end, true).unwrap_err();
    assert!(matches!(error, ConsumerError::Unwanted { .. }), "{error}");
    assert_eq!(take(&end, false).unwrap(), 1);
    played.ended();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_answer_makes_it_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), version: bool) {
        let played = Played::new(vec![Box::new(move |mut stream: UnixStream| {
            request(&mut stream);
            let mut noise = noise;
            if let (true, Some(first)) = (version, noise.first_mut()) {
                *first = 1;
            }
            let _ = stream.write_all(&noise);
        })]);
        let mut consumer = played.consumer();
        let mut out = [0; 50];
        if let Ok(len) = consumer.take_some(&mut out, None) {
            prop_assert!((1..=50).contains(&len));
        }
        drop(consumer);
        played.ended();
    }
}
