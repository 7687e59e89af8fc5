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
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

pub use connections::{Busy, Connections, Slot};
pub use listen::{Accepted, Listener, Peer};

use crate::front::Front;
use stall::Stall;

/// How long answers that were begun may take when the service ends.
pub const GRACE: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Pause after an accept that failed: there are no descriptors left, or no memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything that a connection needs.
pub struct Server {
    /// Answers requests.
    pub front: Arc<Front>,
    /// The connections.
    pub connections: Arc<Connections>,
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
            Accepted::Unix(stream, peer) => self.converse(stream, peer, slot).await,
            Accepted::Tcp(stream, peer) => self.converse(stream, peer, slot).await,
        }
    }

    /// HTTP/1.1 over `stream`, until either side has had enough.
    async fn converse<S>(self: &Arc<Self>, stream: S, peer: Peer, slot: Arc<Slot>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.front.app.limits;
        let stream = TokioIo::new(Stall::new(stream, limits.stall_time, Arc::clone(&slot)));
        let peer = Arc::new(peer);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let front = Arc::clone(&self.front);
            let (peer, slot) = (Arc::clone(&peer), Arc::clone(&slot));
            async move {
                let _busy = slot.busy();
                Ok::<_, Infallible>(front.answer(request.map(Body::new), &peer).await)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_buf_size(HEAD_MAX)
            .max_headers(FIELDS_MAX)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        let mut ending = self.ending.clone();
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = slot.leave() => return,
            () = end(&mut ending) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = result {
            log::debug!("{peer}: {e}");
        }
    }
}

/// Returns when the service ends.
async fn end(ending: &mut watch::Receiver<bool>) {
    // An error means that whoever could ask for the end is gone, which is the end.
    let _ = ending.wait_for(|end| *end).await;
}
