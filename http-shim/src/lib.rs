//! The gateway's bytes over HTTP. A process of its own and an ordinary consumer: it reads the gateway's files, and never sees a
//! key of the link.
//!
//! ```text
//!  thread `supply`                                    threads `http-*`
//!  gateway ──blocks──> pool (each byte once) ──> routes ──> body ──> front ──> server ──> clients
//!  thread `status`                               │                   keys,     limits,
//!  gateway ──once a second──> document ──────────┘                   rates     sockets
//! ```
//!
//! `unsafe` appears nowhere in this crate.
#![forbid(unsafe_code)]

pub mod app;
pub mod args;
pub mod body;
pub mod config;
pub mod document;
pub mod draw;
pub mod front;
pub mod hosts;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod network;
pub mod openapi;
pub mod pool;
pub mod problem;
pub mod push;
pub mod rate;
pub mod routes;
pub mod server;
pub mod specimen;
pub mod supply;
pub mod tls;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ::log::{error, info};
use anyhow::Context;
use qrng_daemon::{Ending, Manager, Supervisor};
use tokio::sync::watch;

use crate::app::App;
use crate::config::Config;
use crate::document::{Document, INTERVAL};
use crate::front::Front;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::rate::Buckets;
use crate::server::{Connections, Listener, Server};
use crate::specimen::Specimen;
use crate::supply::Report;
use crate::tls::Certificate;

/// The most threads that answer requests.
const MOST_WORKERS: usize = 4;

/// Threads that answer requests: no more than half the processors, so that a reader of files finds one however many requests
/// there are. On two processors a second thread answers no more requests, but takes turns with the first, and whoever reads
/// files waits for both.
fn workers() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, MOST_WORKERS)
}

/// Serves until a signal asks for the end, or a part of it fails.
///
/// # Errors
/// Something that cannot be set up: the text says what and how to mend it.
pub fn run(config: Config, supervisor: &Supervisor) -> anyhow::Result<ExitCode> {
    let manager = Manager::from_environment().context("NOTIFY_SOCKET cannot be used")?;
    let (supply, report) = (config.gateway.supply(), config.gateway.report());
    let pool = Pool::new(Arc::default());
    let app = Arc::new(App {
        pool: pool.clone(),
        document: Document::default(),
        specimen: Specimen::default(),
        push: config.push,
        connections: Connections::new(config.limits.connections),
        addresses: Buckets::new(config.access.rate),
        access: config.access,
        models: config.models,
        limits: config.limits,
        log: config.log,
        metrics: Metrics::new().context("the counters cannot be set up")?,
        started: Instant::now(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .thread_name("http")
        .enable_all()
        .build()
        .context("the threads that answer requests cannot be started")?;
    let (end, ending) = watch::channel(false);
    let server = Arc::new(Server {
        connections: Arc::clone(&app.connections),
        front: Arc::new(Front::new(Arc::clone(&app))),
        tls: config.tls.as_ref().map(|tls| tls.acceptor.clone()),
        ending,
    });
    let listeners = {
        let _inside = runtime.enter();
        let local = config.socket.iter().map(Listener::unix);
        let remote = config.listen.iter().map(|address| Listener::tcp(*address));
        local.chain(remote).collect::<anyhow::Result<Vec<_>>>()?
    };
    let places: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    let (looking, certificate) = (Arc::clone(&app), config.tls.map(|tls| tls.certificate));
    supervisor.spawn("supply", move || {
        pool.run(supply);
        Ok(())
    })?;
    supervisor.spawn("status", move || watch(&looking, report, certificate))?;
    let serving = runtime.spawn(Arc::clone(&server).run(listeners));
    info!("serving {} at {}", config.gateway, places.join(", "));
    manager.ready(&format!("serving at {}", places.join(", ")));

    let reason = supervisor.wait();
    manager.stopping();
    let code = match &reason {
        Ending::Signal(signal) => {
            info!("{signal}: ending");
            ExitCode::SUCCESS
        }
        Ending::Thread { .. } => {
            error!("{reason}; ending");
            ExitCode::FAILURE
        }
    };
    end.send_replace(true);
    let served = runtime.block_on(serving);
    app.pool.end();
    runtime.shutdown_timeout(server::GRACE);
    served.context("the thread that serves failed")?;
    Ok(code)
}

/// Looks at the gateway again and again, and at the certificate. When the gateway's health tests have latched, what is held of
/// its bytes is wiped.
fn watch(
    app: &App,
    mut report: Box<dyn Report>,
    certificate: Option<Arc<Certificate>>,
) -> anyhow::Result<()> {
    let (mut told, mut told_of_certificate) = (None, None);
    loop {
        let look = app.document.look(&mut *report);
        let trouble = match &look.document {
            Ok(seen) if seen.gateway.is_latched() => {
                app.pool.forget();
                let reasons = seen.gateway.reasons.join("; ");
                Some(format!("the gateway has latched: {reasons}"))
            }
            Ok(_) => None,
            Err(why) => Some(why.clone()),
        };
        tell(&mut told, trouble, "the gateway answers");
        if let Some(certificate) = &certificate {
            let refreshed = certificate.refresh();
            if matches!(refreshed, Ok(true)) {
                info!("new connections get a new certificate");
            }
            let trouble = refreshed
                .err()
                .map(|e| format!("the certificate is not renewed: {e}"));
            tell(
                &mut told_of_certificate,
                trouble,
                "the certificate can be read",
            );
        }
        thread::sleep(INTERVAL);
    }
}

/// Says once what is wrong, and once that it is mended.
fn tell(told: &mut Option<String>, trouble: Option<String>, mended: &str) {
    if *told == trouble {
        return;
    }
    match &trouble {
        Some(trouble) => ::log::warn!("{trouble}"),
        None => info!("{mended}"),
    }
    *told = trouble;
}
