//! The appliance over HTTPS: HTTP/1.1 in TLS 1.3 (or 1.2, as what is too old), on loopback.
//!
//! One thread accepts, and one serves each connection, at most [`CONNECTIONS`] of them. An appliance that is gone refuses
//! connections, because the listener is closed, and ends those there are.

mod connection;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::appliance::Appliance;
use crate::certificates::Identity;
use crate::shared::Shared;

/// Connections at once; further ones are closed at once.
pub const CONNECTIONS: usize = 64;
/// How often waiting threads look around.
const LOOK: Duration = Duration::from_millis(5);

/// Who the server is, and whom it serves.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate and key.
    pub server: Identity,
    /// If clients have to show a certificate: the authority that has signed it.
    pub client_authority: Option<String>,
}

impl Tls {
    fn config(&self, version: &'static SupportedProtocolVersion) -> io::Result<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(certificate(authority)?)
                    .map_err(io::Error::other)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let chain = vec![certificate(&self.server.certificate)?];
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes());
        let key = key.map_err(io::Error::other)?;
        builder
            .with_single_cert(chain, key)
            .map_err(io::Error::other)
    }
}

fn certificate(pem: &str) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)
}

/// A running server; it ends when dropped.
pub struct HttpsServer {
    address: SocketAddr,
    serving: Serving,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl HttpsServer {
    /// Serves the appliance at an address, whose port may be 0 for any that is free.
    ///
    /// # Errors
    /// The address can't be had, or what `tls` holds is no certificate or key.
    pub fn start(card: &Shared<Appliance>, address: SocketAddr, tls: &Tls) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let serving = Serving {
            card: card.clone(),
            tls: Arc::new(Mutex::new(Arc::new(tls.config(&TLS13)?))),
            stop: Arc::default(),
            connections: Arc::default(),
            accepted: Arc::default(),
            session: Arc::default(),
        };
        let thread = thread::Builder::new().name("https".into());
        let own = serving.clone();
        let thread = Some(thread.spawn(move || own.run(listener, address))?);
        Ok(Self {
            address,
            serving,
            thread,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The appliance.
    pub fn card(&self) -> MutexGuard<'_, Appliance> {
        self.serving.card.lock()
    }

    /// How later connections are to be.
    ///
    /// # Errors
    /// What `tls` holds is no certificate or key.
    pub fn speak(&self, tls: &Tls) -> io::Result<()> {
        *lock(&self.serving.tls) = Arc::new(tls.config(&TLS13)?);
        Ok(())
    }

    /// The same, but with TLS 1.2 only.
    ///
    /// # Errors
    /// As of [`HttpsServer::speak`].
    pub fn speak_old(&self, tls: &Tls) -> io::Result<()> {
        *lock(&self.serving.tls) = Arc::new(tls.config(&TLS12)?);
        Ok(())
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.serving.accepted.load(Ordering::SeqCst)
    }

    /// What the connection of the last request agreed on: protocol version and key exchange.
    pub fn session(&self) -> String {
        lock(&self.serving.session).clone()
    }

    /// Waits until it fails.
    ///
    /// # Errors
    /// Why it failed.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other("the server panicked")),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.serving.stop.store(true, Ordering::SeqCst);
        // It was told to end; how it ended matters to nobody.
        let _ = self.join();
    }
}

/// What the threads share.
#[derive(Clone)]
struct Serving {
    card: Shared<Appliance>,
    tls: Arc<Mutex<Arc<ServerConfig>>>,
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    session: Arc<Mutex<String>>,
}

/// A lock whose holders cannot leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Serving {
    /// Whether connections have to end.
    fn over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.card.lock().gone()
    }

    fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.tls))
    }

    /// Keeps what a connection agreed on.
    fn note(&self, connection: &ServerConnection) {
        let exchange = connection.negotiated_key_exchange_group();
        *lock(&self.session) = format!(
            "{:?} {:?}",
            connection.protocol_version(),
            exchange.map(|group| group.name())
        );
    }

    fn run(&self, listener: TcpListener, address: SocketAddr) -> io::Result<()> {
        let mut listener = Some(listener);
        while !self.stop.load(Ordering::SeqCst) {
            match (self.card.lock().gone(), &listener) {
                (true, _) => listener = None,
                // Somebody else may have the port for a while.
                (false, None) => listener = TcpListener::bind(address).ok(),
                (false, Some(listener)) => {
                    self.accept(listener)?;
                    continue;
                }
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Accepts one connection, if one comes soon.
    fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(LOOK);
                return Ok(());
            }
            // One that was broken off before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            self.connections.fetch_sub(1, Ordering::SeqCst);
            return Ok(());
        }
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let serving = self.clone();
        thread::Builder::new()
            .name("https connection".into())
            .spawn(move || {
                // A client that breaks off, or does not trust the server, is its own affair.
                let _ = serving.serve(stream);
                serving.connections.fetch_sub(1, Ordering::SeqCst);
            })?;
        Ok(())
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        connection::serve(self, stream)
    }
}
