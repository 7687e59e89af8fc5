//! The form `fifo`: bytes in a named pipe, for programs that read a few of them very often.
//!
//! ```text
//! gateway ── take ──> feeder ── when the pipe is empty ──> pipe (one page of the kernel's) ──> whoever reads
//!                       └── latched, or the end ──> what lies in the pipe is got back and destroyed
//! ```
//!
//! A pipe of one page takes nothing new before it is drained (pipe(7), F_SETPIPE_SZ), so no more than one portion is ever in
//! flight, and poll(2) tells when it is gone. The adapter itself holds the pipe open in both directions: so readers come
//! and go without an error or an end of file, and what they have left can be got back.
//!
//! `pipe` makes the file; this file moves bytes.

mod pipe;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use qrng_consumer::ConsumerError;
use qrng_daemon::{Manager, Supervisor};

use self::pipe::Pipe;
use crate::books::Books;
use crate::config::FifoConfig;
use crate::gateway::Gateway;

pub use self::pipe::MOST;

/// How often the gateway is asked whether it is latched while nobody reads, and for how long a read there waits.
const LOOK: Duration = Duration::from_secs(1);

/// The pipe, while it is there. Dropping it gets back what lies in it, and removes it.
pub struct Fifo {
    pipe: Arc<Pipe>,
    books: Arc<Books>,
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.books.got_back(self.pipe.close());
    }
}

/// Moves bytes from the gateway into the pipe.
struct Feeder {
    gateway: Gateway,
    pipe: Arc<Pipe>,
    books: Arc<Books>,
    /// One portion.
    room: Vec<u8>,
    /// The last trouble that was told.
    told: String,
}

/// Makes the pipe and begins to feed it.
///
/// # Errors
/// It can't be made: the text says what and how to mend it.
pub fn start(
    gateway: Gateway,
    config: &FifoConfig,
    books: &Arc<Books>,
    supervisor: &Supervisor,
    manager: &Manager,
) -> anyhow::Result<Fifo> {
    let pipe = Arc::new(Pipe::make(config)?);
    let fifo = Fifo {
        pipe: Arc::clone(&pipe),
        books: Arc::clone(books),
    };
    crate::keep(0)?;
    let feeder = Feeder {
        gateway,
        pipe,
        books: Arc::clone(books),
        room: vec![0; config.in_flight],
        told: String::new(),
    };
    supervisor.spawn("fifo", move || feeder.run())?;
    log::info!("bytes lie ready in {}", config.path.display());
    manager.ready(&format!("feeding {}", config.path.display()));
    Ok(fifo)
}

impl Feeder {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            let fed = if self.pipe.is_drained(LOOK)? {
                if !self.pipe.begin() {
                    // The process ends.
                    thread::sleep(LOOK);
                    continue;
                }
                let fed = self.feed();
                self.pipe.done();
                fed?
            } else {
                self.look()
            };
            match fed {
                Ok(()) => self.told.clear(),
                Err(e) => self.bear(&e),
            }
        }
    }

    /// A portion, for a pipe that is drained. The outer error is the pipe's.
    fn feed(&mut self) -> io::Result<Result<(), ConsumerError>> {
        let len = match self.gateway.take_some(&mut self.room, LOOK) {
            Ok(len) => len,
            // There will be some.
            Err(ConsumerError::Empty { .. }) => return Ok(Ok(())),
            Err(e) => return Ok(Err(e)),
        };
        self.books.taken(len);
        // First, because what has been put in may be got back at once.
        self.books.handed_on(len);
        let put = self.pipe.put(&self.room[..len]);
        qrng::wipe(&mut self.room[..len]);
        if !matches!(put, Ok(true)) {
            self.books.got_back(len);
        }
        put.map(|_| Ok(()))
    }

    /// Whether the gateway still stands by the bytes that nobody has read yet.
    fn look(&mut self) -> Result<(), ConsumerError> {
        if self.gateway.told()?.is_latched() {
            self.get_back();
        }
        Ok(())
    }

    fn bear(&mut self, error: &ConsumerError) {
        if matches!(error, ConsumerError::Latched { .. }) {
            self.get_back();
        }
        let words = error.to_string();
        // The same again is no news.
        if words != self.told {
            log::warn!("readers of the pipe have to wait: {words}");
        }
        self.told = words;
        thread::sleep(LOOK);
    }

    fn get_back(&self) {
        let bytes = self.pipe.drain();
        self.books.got_back(bytes);
        if bytes > 0 {
            log::warn!("the gateway is latched: {bytes} bytes in the pipe were destroyed");
        }
    }
}
