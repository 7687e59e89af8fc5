//! One connection: requests one after the other, each answered in full before the next.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use super::{LOOK, Serving};
use crate::appliance::{Answer, Delivery};

/// The longest head of a request, in bytes.
const HEAD: usize = 8192;
/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(100);

type Stream = StreamOwned<ServerConnection, TcpStream>;

pub(super) fn serve(serving: &Serving, stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    let tls = ServerConnection::new(serving.tls()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, stream);
    while let Some(head) = read_head(serving, &mut stream)? {
        serving.note(&stream.conn);
        let answer = match target(&head) {
            Ok(target) => match answer(serving, &mut stream, target)? {
                Some(answer) => answer,
                None => return Ok(()),
            },
            Err(text) => {
                serving.card.lock().violate(text);
                bad_request()
            }
        };
        if !send(serving, &mut stream, &answer)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads up to the empty line that ends a head; none if the client is done, or all is over.
fn read_head(serving: &Serving, stream: &mut Stream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => head.push(byte[0]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if serving.over() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
        if head.len() > HEAD {
            return Err(io::Error::other("the head of the request is too long"));
        }
    }
    String::from_utf8(head).map(Some).map_err(io::Error::other)
}

/// What a head asks for, or the violation.
fn target(head: &str) -> Result<&str, String> {
    let line = head.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let mut names = head.lines().skip(1).filter_map(|l| l.split_once(':'));
    match words[..] {
        ["GET", target, "HTTP/1.1"] if names.any(|(n, _)| n.eq_ignore_ascii_case("host")) => {
            Ok(target)
        }
        ["GET", _, "HTTP/1.1"] => Err(format!("{line}: no host is named")),
        _ => Err(format!("{line}: only GET by HTTP/1.1 is known")),
    }
}

fn bad_request() -> Answer {
    Answer {
        status: 405,
        kind: "text/plain",
        location: None,
        body: b"only GET\n".to_vec(),
        delivery: Delivery::Whole,
    }
}

/// Waits for the answer; none if the client has lost patience, or all is over.
fn answer(serving: &Serving, stream: &mut Stream, target: &str) -> io::Result<Option<Answer>> {
    loop {
        if let Some(answer) = serving.card.lock().answer(target) {
            return Ok(Some(answer));
        }
        if serving.over() {
            return Ok(None);
        }
        // A client that waits sends nothing; whatever can be read here is its farewell.
        match stream.sock.peek(&mut [0]) {
            Ok(_) => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends an answer; says whether the connection goes on.
fn send(serving: &Serving, stream: &mut Stream, answer: &Answer) -> io::Result<bool> {
    let reason = match answer.status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "As Told",
    };
    let location = answer.location.map_or(String::new(), |location| {
        format!("Location: {location}\r\n")
    });
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{location}\r\n",
        answer.status,
        answer.kind,
        answer.body.len()
    );
    stream.write_all(head.as_bytes())?;
    match answer.delivery {
        Delivery::Whole => stream.write_all(&answer.body)?,
        Delivery::Broken => {
            stream.write_all(&answer.body[..answer.body.len() / 2])?;
            stream.flush()?;
            return Ok(false);
        }
        Delivery::Drip => {
            for byte in &answer.body {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(DRIP);
                if serving.over() {
                    return Ok(false);
                }
            }
        }
    }
    stream.flush()?;
    Ok(true)
}
