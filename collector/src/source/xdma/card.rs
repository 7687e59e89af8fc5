//! An open card from its initialisation to its bytes.
//!
//! ```text
//!  Startup: the generator, step by step ── Stream: discard the first bytes ── bytes, and the status now and then
//! ```

use std::time::{Duration, Instant};

use super::chip::{About, Mode, Startup, Status};
use super::function::Function;
use super::pace::Pace;
use super::stream::{Means, Stream};
use crate::source::{Failure, Fault};

/// How often the generator's status is looked at, and whether the kernel wants the card back.
const CHECK: Duration = Duration::from_millis(250);

/// A card being driven.
pub struct Card {
    function: Function,
    phase: Phase,
    mode: Mode,
    about: About,
    status: Option<Status>,
    pace: Pace,
    next_check: Instant,
}

enum Phase {
    Starting(Startup),
    Streaming {
        stream: Stream,
        /// Bytes yet to throw away.
        discard: u64,
    },
}

impl Card {
    /// Begins to drive an open card.
    pub fn new(mut function: Function, mode: Mode, now: Instant) -> Self {
        Self {
            about: About::read(&mut *function.user),
            phase: Phase::Starting(Startup::new(mode)),
            mode,
            status: None,
            pace: Pace::new(function.model.rate(), now),
            next_check: now,
            function,
        }
    }

    /// What the card is, as read when it was opened, and again when its generator was up.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What the generator said of itself when it was last asked.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether the generator is up.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Streaming { .. })
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        &self.function.place
    }

    /// Goes on as far as can be at the time `now`: initialises, looks for bytes and for failures. `None`: `wanted` bytes can
    /// be taken, or as many as the ring should hold. Otherwise call again at the time given.
    ///
    /// # Errors
    /// The card is gone, wanted back, unhealthy or silent, or its engine has failed.
    pub fn advance(&mut self, wanted: usize, now: Instant) -> Result<Option<Instant>, Failure> {
        if now >= self.next_check {
            self.next_check = now + CHECK;
            self.check()?;
        }
        let means = &mut Means {
            config: &mut *self.function.config,
            memory: &*self.function.memory,
        };
        let (stream, discard) = match &mut self.phase {
            Phase::Starting(startup) => {
                if let Some(until) = startup.advance(&mut *self.function.user, now)? {
                    return Ok(Some(until));
                }
                let stream = Stream::start(means, now)?;
                self.pace = Pace::new(self.function.model.rate(), now);
                self.phase = Phase::Streaming {
                    stream,
                    discard: self.mode.discard(),
                };
                self.about = About::read(&mut *self.function.user);
                self.check()?;
                return Ok(Some(now));
            }
            Phase::Streaming { stream, discard } => (stream, discard),
        };
        let before = stream.available();
        stream.poll(means, now)?;
        self.pace.came(stream.available() - before, now);
        if *discard > 0 {
            *discard -= stream.discard(means.memory, *discard) as u64;
        }
        if *discard > 0 {
            let missing = usize::try_from(*discard).unwrap_or(usize::MAX);
            return Ok(Some(self.pace.due(missing, now)));
        }
        if stream.holds(wanted) {
            return Ok(None);
        }
        let missing = wanted - stream.available();
        Ok(Some(self.pace.due(missing, now)))
    }

    /// Moves bytes out in order; gives how many.
    pub fn take(&mut self, out: &mut [u8]) -> usize {
        match &mut self.phase {
            Phase::Streaming { stream, discard: 0 } => stream.take(&*self.function.memory, out),
            _ => 0,
        }
    }

    /// Wipes what has come and was not taken.
    pub fn forget(&mut self) {
        if let Phase::Streaming { stream, .. } = &mut self.phase {
            stream.discard(&*self.function.memory, u64::MAX);
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.function.control.wanted_back() {
            return Err(Failure::new(
                Fault::Gone,
                "the kernel wants the card back: it was unplugged or is to get another driver",
            ));
        }
        if self.is_up() {
            let status = Status::read(&mut *self.function.user)?;
            self.status = Some(status);
            status.check()?;
        }
        Ok(())
    }

    /// Stops the card, so that it no longer writes to memory, and wipes that.
    pub fn stop(mut self) -> Function {
        if let Phase::Streaming { stream, .. } = &mut self.phase {
            let means = &mut Means {
                config: &mut *self.function.config,
                memory: &*self.function.memory,
            };
            if !stream.stop(means) {
                self.function.control.cut_off();
            }
        }
        super::ring::wipe_all(&*self.function.memory);
        self.function
    }
}
