//! Sessions with a gateway that the test plays.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use proptest::prelude::*;
use qrng::stream::{Answer, Code, REQUEST_LEN, Request, Wait};

use super::session::Ended;
use super::*;

/// Answers every take with as many sevens as are wanted, up to `portion`, and the status with a fill of 3 bytes.
fn play(mut stream: UnixStream, portion: u32) {
    let mut frame = [0; REQUEST_LEN];
    while stream.read_exact(&mut frame).is_ok() {
        let (code, body) = match Request::new_checked(&frame).unwrap() {
            Request::Status => (
                Code::Document,
                br#"{"state":"serving","buffer":{"fill_bytes":3}}"#.to_vec(),
            ),
            Request::Take { most, .. } => (Code::Bytes, vec![7; most.min(portion) as usize]),
        };
        let len = body.len() as u32;
        let head = Answer { code, len }.frame();
        if stream.write_all(&[&head, &body[..]].concat()).is_err() {
            return;
        }
    }
}

/// A session, its client's end, and its books.
struct Talk {
    client: UnixStream,
    session: JoinHandle<Ended>,
    books: Arc<Books>,
    _directory: tempfile::TempDir,
}

fn talk(gateway: impl Fn(UnixStream) + Send + 'static) -> Talk {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        listener
            .incoming()
            .for_each(|stream| gateway(stream.unwrap()))
    });
    let (end, client) = UnixStream::pair().unwrap();
    let end = Arc::new(Client::new(end.into(), false));
    let seats = Arc::new(Seats::new(4));
    let seat = Seats::take(&seats, &end).unwrap();
    let books = Arc::new(Books::default());
    let mut session = Session::new(end, seat, Gateway::new(&path), Arc::clone(&books));
    Talk {
        client,
        session: thread::spawn(move || session.run()),
        books,
        _directory: directory,
    }
}

fn ask(client: &mut UnixStream, command: &[u8], answer: usize) -> Vec<u8> {
    client.write_all(command).unwrap();
    let mut room = vec![0; answer];
    client.read_exact(&mut room).unwrap();
    room
}

#[test]
fn every_command_is_answered_in_order() {
    let mut talk = talk(|stream| play(stream, 100));
    let client = &mut talk.client;
    assert_eq!(ask(client, &[0], 4), [0, 0, 0, 24]);
    assert_eq!(ask(client, &[1, 5], 6), [5, 7, 7, 7, 7, 7]);
    // As many as there are.
    assert_eq!(ask(client, &[1, 200], 101)[0], 100);
    assert_eq!(ask(client, &[1, 0], 1), [0]);
    // All, in parts.
    assert_eq!(ask(client, &[2, 255], 255), [7; 255]);
    let pid = std::process::id().to_string();
    let digits = ask(client, &[4], 1 + pid.len());
    assert_eq!(
        (usize::from(digits[0]), &digits[1..]),
        (pid.len(), pid.as_bytes())
    );
    // What is to be taken in is not answered and goes nowhere; several commands at once, and one in parts.
    let mut answer = ask(client, &[3, 0, 8, 2, 1, 1, 2, 0, 1, 1], 2);
    assert_eq!(answer, [1, 7]);
    client.write_all(&[3, 0]).unwrap();
    client.write_all(&[8, 1]).unwrap();
    answer = ask(client, &[99, 2, 3], 3);
    assert_eq!(answer, [7, 7, 7]);
    // It has said all it had to say, and is answered.
    talk.client.write_all(&[2, 2]).unwrap();
    talk.client.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    talk.client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [7, 7]);
    assert!(matches!(talk.session.join().unwrap(), Ended::Left));
    // They are booked after the client has them.
    let books = "366 bytes taken, 366 handed on, 0 destroyed";
    assert_eq!(talk.books.to_string(), books);
}

#[test]
fn a_read_that_waits_ends_with_its_client_and_what_it_had_is_destroyed() {
    let (tell, told) = std::sync::mpsc::channel();
    let mut talk = talk(move |mut stream| {
        let mut frame = [0; REQUEST_LEN];
        stream.read_exact(&mut frame).unwrap();
        let head = Answer {
            code: Code::Bytes,
            len: 10,
        };
        stream
            .write_all(&[&head.frame()[..], &[7; 10]].concat())
            .unwrap();
        stream.read_exact(&mut frame).unwrap();
        let Request::Take { most, wait, .. } = Request::new_checked(&frame).unwrap() else {
            panic!("it asks for bytes");
        };
        assert_eq!((most, wait), (10, Wait::ForEver));
        tell.send(()).unwrap();
        // It gives up its place.
        assert_eq!(stream.read(&mut frame).unwrap(), 0);
        tell.send(()).unwrap();
    });
    talk.client.write_all(&[2, 20]).unwrap();
    told.recv().unwrap();
    drop(talk.client);
    assert!(matches!(talk.session.join().unwrap(), Ended::Left));
    told.recv().unwrap();
    let books = "10 bytes taken, 0 handed on, 10 destroyed";
    assert_eq!(talk.books.to_string(), books);
}

#[test]
fn where_there_will_be_no_bytes_the_connection_ends() {
    for code in [Code::Latched, Code::Stalled] {
        let mut talk = talk(move |mut stream| {
            let mut frame = [0; REQUEST_LEN];
            while stream.read_exact(&mut frame).is_ok() {
                stream.write_all(&Answer { code, len: 0 }.frame()).unwrap();
            }
        });
        assert_eq!(ask(&mut talk.client, &[0], 4), [0; 4]);
        assert_eq!(ask(&mut talk.client, &[1, 9], 1), [0]);
        talk.client.write_all(&[2, 9]).unwrap();
        assert_eq!(talk.client.read(&mut [0]).unwrap(), 0);
        assert!(matches!(talk.session.join().unwrap(), Ended::NoBytes(_)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_words_of_a_client_make_it_panic_or_lose_count(words in proptest::collection::vec(0_u8..7, 0..400)) {
        let mut talk = talk(|stream| play(stream, 9));
        // It may be cut in the middle.
        let _ = talk.client.write_all(&words);
        let _ = talk.client.shutdown(Shutdown::Write);
        let mut answers = Vec::new();
        let _ = talk.client.read_to_end(&mut answers);
        let ended = talk.session.join().unwrap();
        prop_assert!(matches!(ended, Ended::Left | Ended::Unknown(_)), "{ended}");
        let books = talk.books.to_string();
        prop_assert!(books.contains(" 0 destroyed"), "{books}");
    }
}
