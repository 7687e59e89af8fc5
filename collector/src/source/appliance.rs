//! Quantis appliances: generators that are asked over HTTPS.
//!
//! ```text
//!  fetcher thread: GET .../streambytes?size=N ── answer ──┐ one waits
//!  fetcher thread: GET .../streambytes?size=N ── answer ──┼───> Merge: read ahead ──> NoiseSource::read
//!  fetcher thread: GET .../streambytes?size=N ── failure ─┘     (ahead.rs)
//! ```
//!
//! Each appliance has a thread of its own. It asks, judges the answer and waits until it is taken before it asks again, so
//! nothing is asked for that has no room. Answers are taken as they come, each once. An appliance that fails is left alone for a
//! while and does not stop the others; the source has failed when all of them fail.
//!
//! What is asked and what is refused: Quantis hardware, docs/hardware.md section 5. The bytes also pass through memory of the
//! HTTP and TLS libraries, which do not wipe it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use qrng::report::Kind;
use zeroize::Zeroizing;

pub mod address;
pub mod answer;
mod fetch;
mod parts;
pub(crate) mod pause;
pub(crate) mod trouble;
pub mod trust;

pub use address::Address;
pub use trust::Trust;

use super::ahead::{Ahead, Device, Stream};
use super::{Failure, Identity, NoiseSource, Part, Sensors, SourceError};
use fetch::Fetch;
use parts::Parts;
use pause::Pauses;
use trust::Verification;

/// Where an appliance gives random bytes.
pub const PATH: &str = "/api/2.0/streambytes";

/// How much longer than it should a thread may take before it counts as hanging.
const GRACE: Duration = Duration::from_secs(30);

/// How appliances are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where they are; at least one.
    pub addresses: Vec<Address>,
    /// What connections to them are like.
    pub trust: Trust,
    /// Bytes asked for at a time.
    pub size: usize,
    /// From one question to the next, at least.
    pub interval: Duration,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a question may take altogether.
    pub timeout: Duration,
}

impl Settings {
    /// What is insecure about them, in words.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let encrypted = self.addresses.iter().any(Address::is_encrypted);
        if encrypted && self.trust.verification == Verification::Skipped {
            warnings.push(
                "APPLIANCES ARE NOT VERIFIED: whoever is in between can give his bytes for theirs \
                 (insecure-skip-verification)"
                    .into(),
            );
        }
        for address in &self.addresses {
            if !address.is_encrypted() {
                warnings.push(format!(
                    "{address} IS ASKED WITHOUT ENCRYPTION: whoever listens gets the same bytes (insecure-http)"
                ));
            }
        }
        warnings
    }
}

/// Appliances as one noise source.
pub struct Appliances {
    ahead: Ahead,
    parts: Arc<Parts>,
}

impl Appliances {
    /// Starts to ask, as a source called `name`. Whether anybody answers, reading will tell.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(name: &str, settings: &Settings) -> Result<Self, SourceError> {
        let parts = Arc::new(Parts::new(name, &settings.addresses));
        // Without room: whoever tells waits until it is heard.
        let (tell, told) = bounded(0);
        for (index, address) in settings.addresses.iter().enumerate() {
            let fetcher = Fetcher {
                index,
                fetch: Fetch::new(address, settings),
                interval: settings.interval,
                tell: tell.clone(),
            };
            thread::Builder::new()
                .name(format!("appliance-{}", index + 1))
                .spawn(move || fetcher.run())
                .map_err(|e| SourceError::Broken(format!("no thread can ask {address}: {e}")))?;
        }
        let identity = Identity {
            kind: Kind::Appliance,
            name: name.to_owned(),
            serial: None,
        };
        let merge = Merge {
            told,
            parts: Arc::clone(&parts),
            patience: settings.interval.max(pause::LONGEST) + settings.timeout + GRACE,
            size: settings.size,
        };
        let ahead = Ahead::start(identity, merge)?;
        Ok(Self { ahead, parts })
    }
}

impl NoiseSource for Appliances {
    fn identity(&self) -> &Identity {
        self.ahead.identity()
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        self.ahead.read(buffer, deadline)
    }

    fn wait(&mut self, deadline: Instant) {
        self.ahead.wait(deadline);
    }

    fn sensors(&self) -> Sensors {
        self.ahead.sensors()
    }

    fn parts(&self) -> Vec<Part> {
        self.parts.list()
    }

    fn forget(&mut self) {
        self.ahead.forget();
    }
}

/// What a fetcher tells, with its number.
enum Told {
    /// Random bytes.
    Answer(usize, Zeroizing<Vec<u8>>),
    /// There are none.
    Failure(usize, Failure),
    /// It tells no more.
    Death,
}

/// The thread that asks one appliance.
struct Fetcher {
    index: usize,
    fetch: Fetch,
    interval: Duration,
    tell: Sender<Told>,
}

impl Fetcher {
    /// Asks again and again, until nobody listens any more.
    fn run(mut self) {
        let mut pauses = Pauses::default();
        loop {
            let start = Instant::now();
            let answer = self.fetch.ask();
            let (told, pause) = match answer {
                Ok(bytes) => {
                    pauses.end();
                    (Told::Answer(self.index, bytes), None)
                }
                Err(failure) => (Told::Failure(self.index, failure), Some(pauses.next())),
            };
            if self.tell.send(told).is_err() {
                return;
            }
            thread::sleep(pause.unwrap_or_else(|| self.interval.saturating_sub(start.elapsed())));
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.tell.send(Told::Death);
        }
    }
}

/// All appliances as one device. There is nothing to open: what the fetchers tell is heard on.
#[derive(Clone)]
struct Merge {
    told: Receiver<Told>,
    parts: Arc<Parts>,
    patience: Duration,
    size: usize,
}

impl Device for Merge {
    fn thread(&self) -> &'static str {
        "appliances"
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn open(&self) -> Result<Box<dyn Stream>, SourceError> {
        Ok(Box::new(self.clone()))
    }
}

impl Stream for Merge {
    fn patience(&self) -> Duration {
        self.patience
    }

    fn longest_read(&self) -> usize {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        match self.told.recv() {
            Ok(Told::Answer(index, bytes)) => {
                self.parts.answered(index, bytes.len());
                buffer.copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Ok(Told::Failure(index, failure)) => match self.parts.failed(index, failure) {
                Some(of_all) => Err(of_all.into()),
                None => Ok(0),
            },
            Ok(Told::Death) | Err(_) => Err(SourceError::Broken(
                "a thread that asks an appliance has died".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
