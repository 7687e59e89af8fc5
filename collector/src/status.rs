//! Status: what the collector does, as the file `status.json` in the runtime directory, each second.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qrng::keys::Day;
use qrng_daemon::write_atomically;
use serde::Serialize;

use crate::config::Config;
use crate::latch::ClearLatch;
use crate::pipeline::now_us;
use crate::stats::Stats;

mod document;
mod keys;
mod send_errors;
mod summary;

use document::Document;
use send_errors::SendErrors;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);

/// Writes the status file.
pub struct StatusFile {
    path: PathBuf,
    latch: ClearLatch,
    document: Document,
    send_errors: SendErrors,
    failing: bool,
    /// Whether the process ends, and the file is gone for good.
    closed: Arc<Mutex<bool>>,
}

/// Removes the status file at the end of the process.
pub struct Remover {
    path: PathBuf,
    closed: Arc<Mutex<bool>>,
}

impl Remover {
    /// Removes the file, so that nobody takes an old one for news. It is not written again.
    pub fn remove(self) {
        // Held while the file is written, too: none is written half now and appears later.
        let mut closed = lock(&self.closed);
        *closed = true;
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} cannot be removed: {e}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Which processes are confined.
#[derive(Serialize, Debug, Clone, Copy)]
pub struct Confined {
    /// `enforced` or `off-insecure`.
    pub sender: &'static str,
    /// `enforced` or `off-insecure`.
    pub reader: &'static str,
    /// `enforced` or `off-insecure`; none if there is no pusher.
    pub pusher: Option<&'static str>,
    /// The version of Landlock, if any is.
    #[serde(rename = "landlock_version")]
    pub landlock: Option<u32>,
}

impl StatusFile {
    /// A status file for a collector with this configuration, confined so.
    pub fn new(config: &Config, confinement: Confined) -> Self {
        Self {
            path: config.runtime_directory.join("status.json"),
            latch: ClearLatch::new(&config.runtime_directory),
            document: Document::new(config, confinement, Instant::now()),
            send_errors: SendErrors::default(),
            failing: false,
            closed: Arc::default(),
        }
    }

    /// What removes the file in the end.
    pub fn remover(&self) -> Remover {
        Remover {
            path: self.path.clone(),
            closed: Arc::clone(&self.closed),
        }
    }

    /// Each second, for ever, writes the file and looks for the operator's word. A failure is logged when it begins; the
    /// collector goes on without the file.
    ///
    /// # Errors
    /// None.
    pub fn run(mut self, stats: &Stats) -> anyhow::Result<()> {
        loop {
            self.latch.look(stats);
            let now = Instant::now();
            self.send_errors.log(now, &stats.sent().errors);
            let document = self.document.at(stats, now, Day::of_us(now_us()));
            match self.write(&document) {
                Ok(()) => self.failing = false,
                Err(e) if !self.failing => {
                    self.failing = true;
                    let path = self.path.display();
                    log::warn!(
                        "{path} cannot be written: {e}; \
                         make its directory writable, or name another runtime-directory"
                    );
                }
                Err(_) => {}
            }
            thread::sleep(EVERY);
        }
    }

    fn write(&self, document: &str) -> io::Result<()> {
        let closed = lock(&self.closed);
        if *closed {
            return Ok(());
        }
        write_atomically(&self.path, document.as_bytes(), 0o644, false)
    }
}

/// Makes the runtime directory if there is none; a collector goes on without it.
pub fn make_directory(directory: &Path) {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory);
    if let Err(e) = made {
        log::warn!("runtime directory {}: {e}", directory.display());
    }
}

fn lock(closed: &Mutex<bool>) -> MutexGuard<'_, bool> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}
