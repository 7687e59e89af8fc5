//! What the routes work with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Access, Limits, Log};
use crate::document::Document;
use crate::metrics::Metrics;
use crate::pool::{Pool, Taken};
use crate::problem::Problem;
use crate::push::Push;
use crate::rate::Buckets;
use crate::server::Connections;
use crate::specimen::Specimen;

/// The state of the service.
pub struct App {
    /// Random bytes.
    pub pool: Pool,
    /// What the gateway says of itself.
    pub document: Document,
    /// Bytes that a test has used up.
    pub specimen: Specimen,
    /// Who may come over TCP.
    pub access: Access,
    /// Buckets of those who come without a key.
    pub addresses: Buckets,
    /// What collectors push, if they may.
    pub push: Option<Push>,
    /// Which names and sites may be in the requests of language models.
    pub models: qrng_mcp::Allowed,
    /// What nobody may exceed.
    pub limits: Limits,
    /// How the log looks.
    pub log: Log,
    /// The connections.
    pub connections: Arc<Connections>,
    /// Counters of requests.
    pub metrics: Metrics,
    /// When the service started.
    pub started: Instant,
}

impl App {
    /// Takes `len` bytes, at most a [block](crate::supply::BLOCK), waiting until `deadline`.
    ///
    /// # Errors
    /// Why there are none, as the client is told.
    pub async fn take(&self, len: usize, deadline: Instant) -> Result<Taken, Problem> {
        let wait = deadline.saturating_duration_since(Instant::now());
        self.pool
            .take(len, wait)
            .await
            .map_err(|why| Problem::no_bytes(&why, &self.gateway_state()))
    }

    /// Until when a request with `wait=` so many milliseconds waits.
    ///
    /// # Errors
    /// It is longer than the limit.
    pub fn deadline(&self, wait_ms: Option<u64>) -> Result<Instant, Problem> {
        let wait = Duration::from_millis(wait_ms.unwrap_or(0));
        let limit = self.limits.wait;
        if wait > limit {
            return Err(Problem::bad_request(format!(
                "wait: at most {} milliseconds",
                limit.as_millis()
            )));
        }
        Ok(Instant::now() + wait)
    }

    /// What the gateway last said it does; empty if it said nothing.
    pub fn gateway_state(&self) -> String {
        let look = self.document.last();
        let seen = look.as_ref().and_then(|look| look.fresh().ok());
        seen.map(|seen| seen.gateway.state.clone())
            .unwrap_or_default()
    }
}
