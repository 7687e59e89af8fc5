//! Refine: raw bytes of one noise source -> tested, conditioned bytes. Pure: bytes and time are given.
//!
//! ```text
//!  raw bytes -> held until a block is whole -> health tests ─┬─ pass ──> conditioning -> sink
//!                                                            └─ fail ──> wiped, alarm
//! ```
//!
//! The tests see the samples as the source gives them, before anything else happens to them. No
//! byte reaches the sink before its block is judged.

use qrng::condition::Conditioner;
use qrng::health::{Alarm, BLOCK, Monitor, Settings, SettingsError, State, Summary, Verdict};
use zeroize::Zeroizing;

use crate::config::Conditioning;

/// Bytes that a conditioner needs beside its output.
const WORKING_ROOM: usize = 8;

/// The tests and the conditioning of one source.
pub struct Refine {
    /// None if the source is not tested.
    monitor: Option<Monitor>,
    /// None if the samples go on as they are.
    conditioner: Option<Box<dyn Conditioner>>,
    held: Zeroizing<Vec<u8>>,
    filled: usize,
    conditioned: Zeroizing<Vec<u8>>,
}

impl Refine {
    /// Tests by `settings`, if there are any, and then conditions.
    ///
    /// # Errors
    /// A setting is outside its range.
    pub fn new(
        settings: Option<Settings>,
        conditioning: Conditioning,
    ) -> Result<Self, SettingsError> {
        let block = settings.as_ref().map_or(BLOCK, |s| s.block_bytes);
        let conditioner = conditioning.into_conditioner();
        // Never grows, so that no copy stays behind in freed memory: at most one input block is
        // held back beside what comes in.
        let most = conditioner.as_ref().map_or(0, |c| c.max_output(2 * block));
        Ok(Self {
            monitor: settings.map(Monitor::new).transpose()?,
            conditioner,
            held: Zeroizing::new(vec![0; block]),
            filled: 0,
            conditioned: Zeroizing::new(Vec::with_capacity(most + WORKING_ROOM)),
        })
    }

    /// Where the next raw bytes go; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.held[self.filled..]
    }

    /// Whether raw bytes wait for a block to be whole; without tests nothing waits.
    pub fn tested(&self) -> bool {
        self.monitor.is_some()
    }

    /// Takes `count` bytes that were written to the front of the room at `now_us`. Gives to `sink`
    /// what passed and is conditioned. Says which alarm was raised; nothing came out then.
    ///
    /// # Errors
    /// That of the sink.
    pub fn advance<E>(
        &mut self,
        count: usize,
        now_us: u64,
        sink: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<Option<Alarm>, E> {
        self.filled = self.held.len().min(self.filled + count);
        if self.filled == 0 || (self.monitor.is_some() && self.filled < self.held.len()) {
            return Ok(None);
        }
        let verdict = match &mut self.monitor {
            Some(monitor) => monitor.examine(&self.held, now_us),
            None => Verdict::Serve,
        };
        let done = match verdict {
            Verdict::Serve => self.serve(sink).map(|()| None),
            Verdict::Discard(alarm) | Verdict::Latch(alarm) => {
                self.forget_conditioning();
                Ok(Some(alarm))
            }
            Verdict::StartUp | Verdict::Latched | Verdict::WrongLength => Ok(None),
        };
        self.wipe();
        done
    }

    fn serve<E>(&mut self, sink: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let raw = &self.held[..self.filled];
        let Some(conditioner) = &mut self.conditioner else {
            return sink(raw);
        };
        conditioner.condition(raw, &mut self.conditioned);
        let done = sink(&self.conditioned);
        qrng::wipe(&mut self.conditioned);
        self.conditioned.clear();
        done
    }

    /// To be called about once a second: notices silence. What is held is wiped at an alarm.
    pub fn tick(&mut self, now_us: u64) -> Option<Alarm> {
        let alarm = self.monitor.as_mut()?.tick(now_us)?;
        self.forget();
        Some(alarm)
    }

    /// Latches the source by an alarm of an earlier run; nothing happens if it is not tested.
    pub fn latch(&mut self, alarm: Alarm) {
        if let Some(monitor) = &mut self.monitor {
            monitor.latch(alarm);
        }
    }

    /// An operator has dealt with the source: start-up tests run. What is held is wiped.
    pub fn clear(&mut self) {
        self.forget();
        if let Some(monitor) = &mut self.monitor {
            monitor.clear();
        }
    }

    /// The device will be opened again: start-up tests run then, and what is held is wiped.
    pub fn restart(&mut self) {
        self.forget();
        if let Some(monitor) = &mut self.monitor {
            monitor.restart();
        }
    }

    /// Wipes what is held.
    pub fn forget(&mut self) {
        self.wipe();
        self.forget_conditioning();
    }

    fn forget_conditioning(&mut self) {
        if let Some(conditioner) = &mut self.conditioner {
            conditioner.reset();
        }
    }

    fn wipe(&mut self) {
        qrng::wipe(&mut self.held[..self.filled]);
        self.filled = 0;
    }

    /// Where the source stands with its tests; none if it is not tested.
    pub fn state(&self) -> Option<State> {
        self.monitor.as_ref().map(Monitor::state)
    }

    /// Its health in numbers; none if it is not tested.
    pub fn summary(&self) -> Option<Summary> {
        self.monitor.as_ref().map(Monitor::summary)
    }
}

#[cfg(test)]
mod tests;
