//! A small HTTP/1.1 client of the tests' own: it shows exactly what came, and can misbehave.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chain::PATIENCE;

/// Where a server is.
#[derive(Debug, Clone)]
pub enum At {
    /// A Unix socket.
    Path(PathBuf),
    /// An address.
    Address(SocketAddr),
}

/// A stream of either kind.
pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// What came.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, their names in small letters.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl At {
    /// A server at a path.
    pub fn path(path: &Path) -> Self {
        Self::Path(path.to_path_buf())
    }

    /// A connection, whose reads and writes fail after [`PATIENCE`].
    ///
    /// # Errors
    /// There is none.
    pub fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Path(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Address(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    /// A GET.
    ///
    /// # Panics
    /// No answer comes.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// A GET with header fields.
    ///
    /// # Panics
    /// No answer comes.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, b"")
    }

    /// Any request, on a connection of its own.
    ///
    /// # Panics
    /// No answer comes.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let stream = self.connect().unwrap_or_else(|e| panic!("{self:?}: {e}"));
        let mut stream = BufReader::new(stream);
        let head = head(method, path, headers, body.len());
        let sent = stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat());
        // A server that refuses early may have closed; what it said counts.
        let _ = sent;
        read_answer(&mut stream, method == "HEAD")
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if length > 0 {
        let _ = write!(head, "content-length: {length}\r\n");
    }
    head + "\r\n"
}

/// Reads one answer.
///
/// # Errors
/// The connection's, or what comes is no whole answer.
pub fn read_answer(stream: &mut impl BufRead, without_body: bool) -> io::Result<Answer> {
    let mut line = String::new();
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad(&format!("no status line: {line:?}")))?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if without_body {
    } else if headers
        .get("transfer-encoding")
        .is_some_and(|e| e == "chunked")
    {
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let len = u64::from_str_radix(line.trim_end(), 16).map_err(|e| bad(&e.to_string()))?;
            let begun = body.len() as u64;
            stream.by_ref().take(len).read_to_end(&mut body)?;
            if body.len() as u64 - begun < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            line.clear();
            stream.read_line(&mut line)?;
            if len == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        let len: u64 = length.parse().map_err(|_| bad("content-length"))?;
        stream.by_ref().take(len).read_to_end(&mut body)?;
        if (body.len() as u64) < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else {
        stream.read_to_end(&mut body)?;
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}
