//! Listens, and keeps connections within their limits.
//!
//! ```text
//!  Unix socket, TCP ──accept──> place (at most `connections`) ──> HTTP ──> front ──> routes
//!                               idlest leaves when full            head: time and size; stalled writes are cut
//! ```

mod connections;
mod listen;
mod stall;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

pub use connections::{Busy, Connections, Slot};
pub use listen::{Accepted, Listener, Peer};

use crate::body::STEP;
use crate::front::Front;
use crate::tls;
use stall::Stall;

/// How long answers that were begun may take when the service ends.
pub const GRACE: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Most requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;

/// Pause after an accept that failed: there are no descriptors left, or no memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything that a connection needs.
pub struct Server {
    /// Answers requests.
    pub front: Arc<Front>,
    /// The connections.
    pub connections: Arc<Connections>,
    /// Takes TLS connections, if TCP has TLS.
    pub tls: Option<TlsAcceptor>,
    /// Becomes true when the service ends.
    pub ending: watch::Receiver<bool>,
}

impl Server {
    /// Serves until the end is asked for, and then lets what was begun be finished, for at most [`GRACE`].
    pub async fn run(self: Arc<Self>, listeners: Vec<Listener>) {
        // Whoever still works holds a sender.
        let (working, mut all_done) = mpsc::channel::<()>(1);
        for listener in listeners {
            let server = Arc::clone(&self);
            let working = working.clone();
            tokio::spawn(async move { server.listen(listener, working).await });
        }
        drop(working);
        end(&mut self.ending.clone()).await;
        if tokio::time::timeout(GRACE, all_done.recv()).await.is_err() {
            log::warn!(
                "{} connections are cut: they have not ended in {GRACE:?}",
                self.connections.count()
            );
        }
    }

    async fn listen(self: &Arc<Self>, listener: Listener, working: mpsc::Sender<()>) {
        let mut ending = self.ending.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = end(&mut ending) => return,
            };
            match accepted {
                Ok(accepted) => {
                    let server = Arc::clone(self);
                    let working = working.clone();
                    tokio::spawn(async move {
                        server.welcome(accepted).await;
                        drop(working);
                    });
                }
                Err(e) => {
                    log::warn!("{listener}: a connection was not accepted: {e}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn welcome(self: &Arc<Self>, accepted: Accepted) {
        let Some(place) = self.connections.enter() else {
            return;
        };
        let slot = Arc::clone(place.slot());
        match accepted {
            Accepted::Unix(stream, peer) => self.converse(stream, peer, slot, false).await,
            Accepted::Tcp(stream, address) => match &self.tls {
                Some(tls) => self.converse_secretly(tls, stream, address, slot).await,
                None => {
                    let peer = Peer::Remote {
                        address,
                        certificate: None,
                    };
                    self.converse(stream, peer, slot, false).await;
                }
            },
        }
    }

    /// The same inside TLS, whose greeting has the time of a request's head.
    async fn converse_secretly(
        self: &Arc<Self>,
        tls: &TlsAcceptor,
        stream: TcpStream,
        address: SocketAddr,
        slot: Arc<Slot>,
    ) {
        let limit = self.front.app.limits.header_time;
        let mut ending = self.ending.clone();
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(limit, tls.accept(stream)) => greeted,
            () = slot.leave() => return,
            () = end(&mut ending) => return,
        };
        let stream = match greeted {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return log::debug!("{address}: {e}"),
            Err(_) => return log::debug!("{address}: the greeting took too long"),
        };
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(tls::name);
        let second = session.alpn_protocol() == Some(b"h2");
        let peer = Peer::Remote {
            address,
            certificate,
        };
        self.converse(stream, peer, slot, second).await;
    }

    /// HTTP over `stream`, version 2 if `second`, until either side has had enough.
    async fn converse<S>(self: &Arc<Self>, stream: S, peer: Peer, slot: Arc<Slot>, second: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.front.app.limits;
        let stream = TokioIo::new(Stall::new(stream, limits.stall_time, Arc::clone(&slot)));
        let peer = Arc::new(peer);
        let (front, of_requests) = (
            Arc::clone(&self.front),
            (Arc::clone(&peer), Arc::clone(&slot)),
        );
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let front = Arc::clone(&front);
            let (peer, slot) = of_requests.clone();
            async move {
                let _busy = slot.busy();
                Ok::<_, Infallible>(front.answer(request.map(Body::new), &peer).await)
            }
        });
        let ending = self.ending.clone();
        let result = if second {
            let connection = second_version(limits.header_time).serve_connection(stream, service);
            drive(connection, &slot, ending, |c| c.graceful_shutdown()).await
        } else {
            let connection = first_version(limits.header_time).serve_connection(stream, service);
            drive(connection, &slot, ending, |c| c.graceful_shutdown()).await
        };
        if let Err(e) = result {
            log::debug!("{peer}: {e}");
        }
    }
}

/// HTTP/1.1 with its limits.
fn first_version(header_time: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX);
    builder
}

/// HTTP/2 with its limits. A client that does not answer to pings is gone.
fn second_version(header_time: Duration) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(header_time)
        .keep_alive_timeout(header_time)
        .max_header_list_size(HEAD_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(STEP);
    builder
}

/// Serves until the connection ends, has to make room, or the service ends.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    slot: &Slot,
    mut ending: watch::Receiver<bool>,
    end_soon: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => result,
        () = slot.leave() => Ok(()),
        () = end(&mut ending) => {
            end_soon(connection.as_mut());
            connection.await
        }
    }
}

/// Returns when the service ends.
async fn end(ending: &mut watch::Receiver<bool>) {
    // An error means that whoever could ask for the end is gone, which is the end.
    let _ = ending.wait_for(|end| *end).await;
}
