//! An open card from its initialisation to its bytes.
//!
//! ```text
//!  Startup: the generator, step by step ── Stream: discard the first bytes ── bytes, and the status now and then
//! ```

use std::time::{Duration, Instant};

use super::channel::Channel;
use super::chip::{About, Mode, Startup, Status};
use super::function::{Function, Model};
use super::pace::Pace;
use super::ring;
use super::stream::{Means, Stream};
use crate::source::{Failure, Fault};

/// How often the generator's status is looked at.
const CHECK: Duration = Duration::from_millis(250);
/// How long an engine may take to end a buffer that it was filling when the card was opened: many times what that takes.
const IDLE_LIMIT: Duration = Duration::from_millis(100);
/// How often it is looked at.
const IDLE_POLL: Duration = Duration::from_millis(1);

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
    Starting {
        startup: Startup,
        /// Until when the engine must be idle, once the generator is up.
        limit: Option<Instant>,
    },
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
            phase: Phase::Starting {
                startup: Startup::new(mode),
                limit: None,
            },
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

    /// Which card it is.
    pub fn model(&self) -> Model {
        self.function.model
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        &self.function.place
    }

    /// Goes on as far as can be at the time `now`: initialises, looks for bytes and for failures. `None`: `wanted` bytes can
    /// be taken, or as many as the ring should hold. Otherwise call again at the time given.
    ///
    /// # Errors
    /// The card is gone, unhealthy or silent, or its engine has failed.
    pub fn advance(&mut self, wanted: usize, now: Instant) -> Result<Option<Instant>, Failure> {
        let next = self.go_on(wanted, now);
        next.map_err(|failure| match failure.fault {
            Fault::Gone if self.function.control.is_taken_back() => Failure::new(
                Fault::Gone,
                "the kernel has taken the card back: it was unplugged or is to get another driver",
            ),
            _ => failure,
        })
    }

    fn go_on(&mut self, wanted: usize, now: Instant) -> Result<Option<Instant>, Failure> {
        if now >= self.next_check {
            self.next_check = now + CHECK;
            self.check()?;
        }
        let means = &mut Means {
            config: &mut *self.function.config,
            memory: &*self.function.memory,
        };
        let (stream, discard) = match &mut self.phase {
            Phase::Starting { startup, limit } => {
                if let Some(until) = startup.advance(&mut *self.function.user, now)? {
                    return Ok(Some(until));
                }
                let limit = *limit.get_or_insert(now + IDLE_LIMIT);
                let Some(stream) = Stream::start(means, now)? else {
                    return if now < limit {
                        Ok(Some(limit.min(now + IDLE_POLL)))
                    } else {
                        Err(never_idle())
                    };
                };
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
        if self.is_up() {
            let status = Status::read(&mut *self.function.user)?;
            self.status = Some(status);
            status.check()?;
        }
        Ok(())
    }

    /// Stops the card, keeps it from memory, and wipes that.
    pub fn stop(mut self) -> Function {
        // It ends the buffer under way first, and without data never; so it is not waited for, but cut off.
        Channel(&mut *self.function.config).stop();
        self.function.control.cut_off();
        ring::wipe_all(&*self.function.memory);
        self.function
    }
}

fn never_idle() -> Failure {
    Failure::new(
        Fault::Io,
        format!(
            "the DMA engine does not end what was begun before within {} ms, and the card can't be reset: \
             if that stays, power the host off and on",
            IDLE_LIMIT.as_millis()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicU64;

    use super::super::channel;
    use super::super::chip::{MARGIN, register as chip};
    use super::super::function::{Control, DmaMemory, Registers};
    use super::*;

    /// Registers that hold what was written; the status is what it is.
    struct Held {
        values: BTreeMap<u32, u32>,
        status: u32,
    }

    impl Held {
        fn new(status: u32, values: &[(u32, u32)]) -> Box<Self> {
            let values = values.iter().copied().collect();
            Box::new(Self { values, status })
        }
    }

    impl Registers for Held {
        fn read(&mut self, offset: u32) -> u32 {
            self.values.get(&offset).copied().unwrap_or(0)
        }
        fn write(&mut self, offset: u32, value: u32) {
            if offset != self.status {
                self.values.insert(offset, value);
            }
        }
    }

    struct Plain(Vec<AtomicU64>);

    impl DmaMemory for Plain {
        fn address(&self) -> u64 {
            0
        }
        fn words(&self) -> &[AtomicU64] {
            &self.0
        }
    }

    impl Control for () {
        fn is_taken_back(&mut self) -> bool {
            false
        }
        fn cut_off(&mut self) {}
    }

    #[test]
    fn an_engine_that_never_becomes_idle_is_told_after_its_limit() {
        let ready = 1 << 12 | 1;
        let busy = 1;
        let function = Function {
            user: Held::new(chip::STATUS, &[(chip::STATUS, ready)]),
            config: Held::new(
                channel::register::STATUS,
                &[
                    (channel::register::IDENTIFIER, 0x1FC1_8000),
                    (channel::register::STATUS, busy),
                ],
            ),
            control: Box::new(()),
            memory: Box::new(Plain(
                (0..ring::MEMORY / 8).map(|_| AtomicU64::new(0)).collect(),
            )),
            model: Model::Q40M,
            place: String::new(),
        };
        let start = Instant::now();
        let mut card = Card::new(function, Mode::Rng, start);
        let mut now = start;
        let failure = loop {
            match card.advance(1, now) {
                Ok(Some(next)) => now = next,
                Ok(None) => panic!("there are no bytes"),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.fault, Fault::Io);
        assert!(failure.text.contains("begun before"), "{failure}");
        // The three pauses of the initialisation, and then the limit.
        let pauses = Duration::from_millis(500) + 3 * MARGIN;
        assert_eq!(now - start, pauses + IDLE_LIMIT);
    }
}
