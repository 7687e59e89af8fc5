//! The tools over HTTP for tests: at `/mcp` of a loopback port, which it prints. The bytes are the kernel's, and labelled so.

use std::sync::Arc;

use qrng_mcp::{Allowed, NoBytes, Provenance, Supply};

struct Kernel;

impl Supply for Kernel {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        getrandom::fill(out).map_err(|e| NoBytes(e.to_string()))
    }

    fn provenance(&self) -> Provenance {
        Provenance::of_status(br#"{"state":"serving","kinds":["simulator"]}"#)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let service = qrng_mcp::http(Arc::new(Kernel), &Allowed::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let app = axum::Router::new().nest_service("/mcp", service);
    axum::serve(listener, app).await?;
    Ok(())
}
