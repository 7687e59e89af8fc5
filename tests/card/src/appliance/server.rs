//! An appliance on a loopback address.
//!
//! ```text
//! listener thread ── connection threads: TLS, one request after the other ── the model, behind a lock
//! ```
//!
//! Faults of the answer are the model's; those of the line are done here: `gone` closes everything, `hang` never answers, `drip`
//! answers a byte at a time, `cut` ends the connection in the middle.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::pki::Issued;
use super::{Appliance, Reply};
use crate::fault::Fault;

/// How often threads look whether something has changed.
const TICK: Duration = Duration::from_millis(5);
/// From one byte to the next when dripping.
const DRIP: Duration = Duration::from_millis(100);
/// The longest request.
const LONGEST_REQUEST: usize = 8192;

/// How a server speaks.
#[derive(Clone)]
pub enum Tls {
    /// TLS 1.3 with this certificate.
    New(Issued),
    /// TLS 1.2 only.
    Old(Issued),
    /// TLS 1.3, for clients with a certificate of the authority whose certificate is the second.
    Mutual(Issued, String),
    /// None: HTTP.
    None,
}

/// A server, which ends when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    model: Mutex<Appliance>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    ended: AtomicBool,
    connections: AtomicU64,
    /// Details of the last TLS connection.
    session: Mutex<String>,
}

impl Shared {
    fn model(&self) -> MutexGuard<'_, Appliance> {
        lock(&self.model)
    }

    /// Whether connections are to end.
    fn is_over(&self) -> bool {
        self.ended.load(SeqCst) || self.has(Fault::Gone)
    }

    fn has(&self, fault: Fault) -> bool {
        self.model().faults().has(fault)
    }
}

impl Server {
    /// Serves `model` at a free port of 127.0.0.`host`.
    ///
    /// # Panics
    /// There is no port, or the certificate is none.
    pub fn start(host: u8, tls: &Tls, model: Appliance) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            model: Mutex::new(model),
            tls: Mutex::new(config(tls)),
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            session: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        Self {
            shared,
            address,
            listener: Some(thread::spawn(move || listen(&own, address, listener))),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The model, to look at or to be made to fail.
    pub fn model(&self) -> MutexGuard<'_, Appliance> {
        self.shared.model()
    }

    /// How later connections speak.
    pub fn speak(&self, tls: &Tls) {
        *lock(&self.shared.tls) = config(tls);
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// What the last TLS connection agreed on: version and key exchange.
    pub fn session(&self) -> String {
        lock(&self.shared.session).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(tls: &Tls) -> Option<Arc<ServerConfig>> {
    let (issued, versions, clients) = match tls {
        Tls::New(issued) => (issued, [&TLS13], None),
        Tls::Old(issued) => (issued, [&TLS12], None),
        Tls::Mutual(issued, authority) => (issued, [&TLS13], Some(authority)),
        Tls::None => return None,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let der = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
            roots.add(der).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    Some(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// Takes connections until the end; while the appliance is gone, there is no listener.
fn listen(shared: &Arc<Shared>, address: SocketAddr, listener: TcpListener) {
    let mut listener = Some(listener);
    let mut connections = Vec::new();
    while !shared.ended.load(SeqCst) {
        if shared.has(Fault::Gone) {
            listener = None;
        } else if listener.is_none() {
            // Nobody else gets the port of an address that only these tests use.
            listener = TcpListener::bind(address).ok();
        }
        if let Some(listener) = &listener {
            listener.set_nonblocking(true).unwrap();
            while let Ok((stream, _)) = listener.accept() {
                shared.connections.fetch_add(1, SeqCst);
                let own = Arc::clone(shared);
                connections.push(thread::spawn(move || serve(&own, stream)));
            }
        }
        thread::sleep(TICK);
    }
    for connection in connections {
        let _ = connection.join();
    }
}

/// A stream whose reads end when the server does.
struct Socket<'s>(TcpStream, &'s Shared);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.1.is_over() {
                        return Ok(0);
                    }
                }
                read => return read,
            }
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Serves one connection. What goes wrong with it is the client's to tell.
fn serve(shared: &Shared, stream: TcpStream) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| stream.set_read_timeout(Some(TICK)));
    if ready.is_err() {
        return;
    }
    let mut socket = Socket(stream, shared);
    let tls = lock(&shared.tls).clone();
    let Some(config) = tls else {
        let _ = talk(shared, &mut socket);
        return;
    };
    let Ok(mut connection) = ServerConnection::new(config) else {
        return;
    };
    // What is said about a failure goes out before the error comes back.
    if connection.complete_io(&mut socket).is_err() {
        return;
    }
    *lock(&shared.session) = format!(
        "{:?} {:?}",
        connection.protocol_version(),
        connection.negotiated_key_exchange_group().map(|g| g.name())
    );
    let mut stream = StreamOwned::new(connection, socket);
    if talk(shared, &mut stream).is_ok() {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

/// Answers requests until there is none.
fn talk(shared: &Shared, stream: &mut (impl Read + Write)) -> io::Result<()> {
    while let Some(request) = read_request(stream)? {
        while shared.has(Fault::Hang) {
            if shared.is_over() {
                return Ok(());
            }
            thread::sleep(TICK);
        }
        let (reply, drips, cuts) = {
            let mut model = shared.model();
            let reply = model.answer(&request);
            let has = |fault| model.faults().has(fault);
            (reply, has(Fault::Drip), has(Fault::Cut))
        };
        let bytes = written(&reply);
        if cuts {
            stream.write_all(&bytes[..bytes.len() / 2])?;
            return stream.flush();
        }
        if !drips {
            stream.write_all(&bytes)?;
            stream.flush()?;
            continue;
        }
        for byte in bytes {
            stream.write_all(&[byte])?;
            stream.flush()?;
            if shared.is_over() || !shared.has(Fault::Drip) {
                return Ok(());
            }
            thread::sleep(DRIP);
        }
    }
    Ok(())
}

/// A request's first line and header lines; none at the end of the connection.
fn read_request(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() == LONGEST_REQUEST || stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        request.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&request).into_owned()))
}

fn written(reply: &Reply) -> Vec<u8> {
    let location = reply.location.map_or(String::new(), |location| {
        format!("Location: {location}\r\n")
    });
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\n{location}\r\n",
        reply.status,
        reply.kind,
        reply.body.len()
    );
    [head.as_bytes(), &reply.body].concat()
}
