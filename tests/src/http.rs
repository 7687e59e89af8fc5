//! A small HTTP/1.1 client of the tests' own: it shows exactly what came, and can misbehave.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::chain::PATIENCE;

/// Where a server is.
#[derive(Clone)]
pub enum At {
    /// A Unix socket.
    Path(PathBuf),
    /// An address.
    Address(SocketAddr),
    /// An address with TLS, as `localhost`.
    Secret(SocketAddr, Arc<ClientConfig>),
}

/// TLS for a client that trusts `authority`, and has `identity`: a chain of certificates and a key. All are PEM.
///
/// # Panics
/// They are no PEM.
pub fn client_config(authority: &str, identity: Option<(&str, &str)>) -> Arc<ClientConfig> {
    let certificates = |pem: &str| -> Vec<_> {
        let all = CertificateDer::pem_slice_iter(pem.as_bytes());
        all.map(|one| one.expect("a certificate")).collect()
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority) {
        roots.add(certificate).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions of TLS")
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            builder
                .with_client_auth_cert(certificates(chain), key)
                .expect("a certificate and its key")
        }
    })
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

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Address(address) | Self::Secret(address, _) => address.fmt(f),
        }
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
            Self::Secret(address, config) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = ClientConnection::new(Arc::clone(config), name);
                Box::new(StreamOwned::new(session.map_err(io::Error::other)?, stream))
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
        self.try_ask(method, path, headers, body)
            .unwrap_or_else(|e| panic!("{self:?}: {method} {path}: {e}"))
    }

    /// The same, if an answer comes.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = BufReader::new(self.connect()?);
        let head = head(method, path, headers, body.len());
        let sent = stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat());
        // A server that refuses early may have closed; what it said counts.
        let _ = sent;
        read_answer(&mut stream, method == "HEAD")
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
    // RFC 9110 section 15.3.5: it has none, and says no length.
    if without_body || status == 204 {
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
