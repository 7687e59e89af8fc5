//! `/mcp`: the tools for language models (docs/mcp.md). Who may ask is checked in front of it, as for every path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use qrng_mcp::{Http, NoBytes, Provenance, Supply};
use tokio::runtime::Handle;

use crate::app::App;
use crate::problem::Problem;
use crate::supply::BLOCK;

/// How long a tool waits for bytes, unless the limit is less.
const WAIT: Duration = Duration::from_secs(10);

/// The service of the protocol.
pub(super) fn service(app: &Arc<App>) -> Http {
    let allowed = &app.models;
    qrng_mcp::http(Arc::new(Tools(Arc::clone(app))), allowed)
}

/// The pool as a supply of tools.
struct Tools(Arc<App>);

impl Supply for Tools {
    /// Blocks a thread that the runtime has for it.
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        let deadline = Instant::now() + WAIT.min(self.0.limits.wait);
        let filled = Handle::try_current()
            .map_err(|e| NoBytes(e.to_string()))
            .and_then(|runtime| {
                let filling = fill(&self.0, out, deadline);
                runtime
                    .block_on(filling)
                    .map_err(|problem| NoBytes(problem.detail().to_owned()))
            });
        if filled.is_err() {
            qrng::wipe(out);
        }
        filled
    }

    fn provenance(&self) -> Provenance {
        let look = self.0.document.last();
        match look.as_ref().map(|look| look.fresh()) {
            Some(Ok(seen)) => Provenance::of_value(&seen.raw),
            Some(Err(why)) => Provenance::unknown(why.to_owned()),
            None => Provenance::unknown("the gateway has not been asked yet".into()),
        }
    }
}

async fn fill(app: &App, out: &mut [u8], deadline: Instant) -> Result<(), Problem> {
    for part in out.chunks_mut(BLOCK) {
        let (bytes, owed) = app.take(part.len(), deadline).await?.into_parts();
        part.copy_from_slice(&bytes);
        owed.served();
    }
    Ok(())
}
