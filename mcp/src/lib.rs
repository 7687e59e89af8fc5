//! Random bytes and numbers as tools of the Model Context Protocol (MCP), by the protocol's own Rust SDK.
//!
//! ```text
//! model ── tools/call ──> transport: stdio, or HTTP inside a server of somebody else's
//!                              └──> Tools: limits ──> draw (qrng::draw) ──> Supply: a gateway's bytes, each once
//!       <── numbers and where they come from ──┘
//! ```
//!
//! [`stdio`] serves one client over standard input and output; [`http`] is a service that an HTTP server nests, say at
//! `/mcp`. What must be true of a [`Supply`] stands there. A tool's answer tells its provenance: the kind of source, its
//! serial number, the session and the state, as the gateway's status has them.
#![forbid(unsafe_code)]

mod arguments;
mod provenance;
mod supply;
mod tools;

use std::io;
use std::sync::Arc;

use rmcp::ServiceExt;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

pub use provenance::Provenance;
pub use supply::{NoBytes, Supply};
pub use tools::Tools;

/// The most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;

/// Serves one client over standard input and output until it hangs up.
///
/// # Errors
/// The client does not speak the protocol, or the streams fail.
pub fn stdio(supply: Arc<dyn Supply>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let serving = Tools::new(supply).serve(rmcp::transport::stdio()).await;
        let serving = serving.map_err(io::Error::other)?;
        serving.waiting().await.map_err(io::Error::other)?;
        Ok(())
    })
}

/// Which requests an HTTP server answers, by what a browser could be made to send.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// Values of `Host`: names or `name:port`.
    pub hosts: Vec<String>,
    /// Values of `Origin`, such as `https://app.example.com:443`; `:*` is any port. A request without `Origin` is not from a
    /// page of another site, and passes.
    pub origins: Vec<String>,
}

impl Default for Allowed {
    /// This host by its names.
    fn default() -> Self {
        Self {
            hosts: ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
            origins: ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]
                .map(String::from)
                .to_vec(),
        }
    }
}

/// The protocol over HTTP: a service for a server to nest.
pub type Http = StreamableHttpService<Tools, NeverSessionManager>;

/// The tools over Streamable HTTP: without sessions, answers as JSON, bodies of at most 64 KiB. Who may ask is checked before
/// it: this looks at `Host` and `Origin` alone.
pub fn http(supply: Arc<dyn Supply>, allowed: &Allowed) -> Http {
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(allowed.hosts.clone())
        .with_allowed_origins(allowed.origins.clone())
        .with_json_response(true)
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(MAX_BODY);
    if allowed.origins.is_empty() {
        config = config.enforce_origin_validation();
    }
    let tools = Tools::new(supply);
    StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    )
}
