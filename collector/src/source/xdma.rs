//! Quantis QRNG PCIe 40M and 240M by DMA, without a kernel module of the vendor's (Quantis hardware, docs/hardware.md section 3).
//!
//! ```text
//!  Slot ── opens ──> Function: registers of two BARs, memory that the card writes to          [function]
//!  (vfio)               │
//!                       ├─ Startup, Status, About: the generator                              [chip]
//!                       ├─ Channel: the DMA engine's registers                                [channel]
//!                       └─ Ring: 256 buffers in memory ── Stream ── Card ── Xdma: NoiseSource [ring, stream, card]
//! ```
//!
//! Below `vfio` nothing here knows where the registers and the memory are; tests use those of a software card. Only `vfio`
//! holds `unsafe`.
//!
//! Nothing sleeps but [`Xdma`], and that by a [`Clock`]: all else is told the time. What a failure leads to:
//!
//! | Seen | Failure |
//! |---|---|
//! | a register reads as all ones: the card is gone, or the kernel has taken it back | gone |
//! | no chip works, the generator is not ready within 1 s or does not take its mode | unhealthy |
//! | no buffer is filled for 1 s | silent |
//! | the engine's status has an error | io |
//! | the engine tells of what can't be | nonsense |
//!
//! After each the card is closed. The next read opens it anew, wherever it then is, and initialises it; bytes that were read
//! before are handed out, what was in the ring is wiped. Bytes themselves are not judged here: that is the health tests'.

use std::thread;
use std::time::{Duration, Instant};

use qrng::report::Kind;

pub mod card;
pub mod channel;
pub mod chip;
pub mod function;
pub mod pace;
pub mod ring;
pub mod stream;
pub mod vfio;

use card::Card;
use chip::Mode;
use function::Slot;

use super::{Failure, Fault, Identity, NoiseSource, Sensors, SourceError};

/// How long the card may take to be opened at the start, with the reset that the kernel does.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The time, and a way to wait for it.
pub trait Clock: Send {
    /// The time now.
    fn now(&self) -> Instant;

    /// Returns at `time`, or a little later.
    fn sleep_until(&self, time: Instant);
}

/// The clock of this machine.
#[derive(Debug)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, time: Instant) {
        thread::sleep(time.saturating_duration_since(Instant::now()));
    }
}

/// A card as a noise source.
pub struct Xdma {
    identity: Identity,
    mode: Mode,
    slot: Box<dyn Slot>,
    clock: Box<dyn Clock>,
    card: Option<Card>,
    /// What the next read tells.
    failure: Option<Failure>,
    sensors: Sensors,
    told: Told,
}

/// What the log was told last.
#[derive(Default)]
struct Told {
    /// What the card is.
    card: String,
    /// The chips with packet errors.
    failing: u16,
}

impl Xdma {
    /// Opens the card in `slot` and initialises it. A card that can be opened and then does not work is no error: the first
    /// read tells it, and the next ones try again.
    ///
    /// # Errors
    /// There is no card, or it can't be used.
    pub fn open(
        name: &str,
        mode: Mode,
        slot: Box<dyn Slot>,
        clock: Box<dyn Clock>,
    ) -> Result<Self, Failure> {
        let mut xdma = Self {
            identity: Identity {
                kind: Kind::PcieChip,
                name: name.to_owned(),
                serial: None,
            },
            mode,
            slot,
            clock,
            card: None,
            failure: None,
            sensors: Sensors::new(),
            told: Told::default(),
        };
        let limit = xdma.clock.now() + OPEN_LIMIT;
        if !xdma.reopen(limit)? {
            return Err(Failure::new(
                Fault::Silent,
                format!(
                    "the kernel has not opened the card within {} s; `dmesg` may say why",
                    OPEN_LIMIT.as_secs()
                ),
            ));
        }
        xdma.bring_up(limit);
        Ok(xdma)
    }

    /// Initialises the card until it gives bytes, fails, or the time `limit`.
    fn bring_up(&mut self, limit: Instant) {
        while let Some(card) = &mut self.card {
            let next = match card.advance(0, self.clock.now()) {
                Ok(_) if card.is_up() => break,
                Ok(next) => next,
                Err(failure) => return self.fail(failure),
            };
            let Some(next) = next.filter(|_| self.clock.now() < limit) else {
                break;
            };
            self.clock.sleep_until(next.min(limit));
        }
        self.observe();
        // A card that tells its number only now.
        if let (None, Some(card)) = (&self.identity.serial, &self.card) {
            self.identity.serial.clone_from(&card.about().serial);
        }
    }

    /// Opens the card if it is closed. False: it is not yet open at `deadline`.
    fn reopen(&mut self, deadline: Instant) -> Result<bool, Failure> {
        if self.card.is_some() {
            return Ok(true);
        }
        let Some(function) = self.slot.open(deadline)? else {
            return Ok(false);
        };
        let card = Card::new(function, self.mode, self.clock.now());
        if let Err(failure) = self.know(&card) {
            self.slot.close(card.stop());
            return Err(failure);
        }
        self.card = Some(card);
        Ok(true)
    }

    /// Tells the log which card it is; refuses another one than before.
    fn know(&mut self, card: &Card) -> Result<(), Failure> {
        let about = card.about();
        let serial = about.serial.as_deref();
        match (self.identity.serial.as_deref(), serial) {
            // Who relies on which card this is must not be told less than the truth.
            (Some(known), Some(other)) if known != other => {
                return Err(Failure::new(
                    Fault::Unavailable,
                    format!(
                        "the card at {} has the serial number {other}, and the one before had {known}; \
                         put that back, or restart the collector to use this one",
                        card.place()
                    ),
                ));
            }
            (None, _) => self.identity.serial = serial.map(str::to_owned),
            _ => {}
        }
        let text = format!(
            "{} at {}, serial number {}, firmware {}, board revision {}, mode {}",
            card.model().name(),
            card.place(),
            serial.unwrap_or("unknown"),
            dotted(about.firmware),
            about.pcb_revision,
            self.mode.name(),
        );
        // Not at every try with a card that fails.
        if text != self.told.card {
            log::info!("noise source {}: {text}", self.identity.name);
            self.told.card = text;
        }
        Ok(())
    }

    /// Reads until the buffer is full or `deadline`; counts in `count`.
    fn fill(
        &mut self,
        buffer: &mut [u8],
        deadline: Instant,
        count: &mut usize,
    ) -> Result<(), Failure> {
        while self.advance(buffer.len() - *count, deadline)? {
            if let Some(card) = &mut self.card {
                *count += card.take(&mut buffer[*count..]);
            }
            if *count == buffer.len() {
                break;
            }
        }
        // The time is over: what came until now.
        if let Some(card) = &mut self.card {
            *count += card.take(&mut buffer[*count..]);
        }
        Ok(())
    }

    /// Waits until `wanted` bytes can be taken (true), or `deadline`.
    fn advance(&mut self, wanted: usize, deadline: Instant) -> Result<bool, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if !self.reopen(deadline)? {
            return Ok(false);
        }
        loop {
            let Some(card) = &mut self.card else {
                return Ok(false);
            };
            let now = self.clock.now();
            let next = card.advance(wanted, now);
            self.observe();
            match next? {
                None => return Ok(true),
                Some(_) if now >= deadline => return Ok(false),
                Some(next) => self.clock.sleep_until(next.min(deadline)),
            }
        }
    }

    /// Notes what the card says of itself, and tells the log of changes.
    fn observe(&mut self) {
        let Some(card) = &self.card else { return };
        let about = card.about();
        let known = [
            ("firmware", about.firmware.into()),
            ("pcb_revision", about.pcb_revision.into()),
        ];
        self.sensors.extend(known);
        let Some(status) = card.status() else { return };
        let masks = [
            ("chips_present", status.present.into()),
            ("chip_packet_errors", status.errors.into()),
        ];
        self.sensors.extend(masks);
        let (failing, name) = (status.failing(), &self.identity.name);
        if failing == self.told.failing {
            return;
        }
        self.told.failing = failing;
        if failing == 0 {
            log::info!("noise source {name}: all chips work again");
        } else if status.working() != 0 {
            log::warn!(
                "noise source {name}: chips {failing:#05x} of {:#05x} have packet errors; the others are served",
                status.present,
            );
        }
    }

    /// Closes the card because of `failure`, which the next read tells.
    fn fail(&mut self, failure: Failure) {
        self.close();
        self.failure = Some(failure);
    }

    fn close(&mut self) {
        self.observe();
        if let Some(card) = self.card.take() {
            self.slot.close(card.stop());
        }
    }
}

impl Drop for Xdma {
    fn drop(&mut self) {
        self.close();
    }
}

impl NoiseSource for Xdma {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        let mut count = 0;
        let Err(failure) = self.fill(buffer, deadline, &mut count) else {
            return Ok(count);
        };
        self.close();
        if count == 0 {
            return Err(failure.into());
        }
        self.failure = Some(failure);
        Ok(count)
    }

    fn wait(&mut self, deadline: Instant) {
        if let Err(failure) = self.advance(1, deadline) {
            self.fail(failure);
        }
    }

    fn sensors(&self) -> Sensors {
        self.sensors.clone()
    }

    fn forget(&mut self) {
        if let Some(card) = &mut self.card {
            card.forget();
        }
    }
}

/// A version of three bytes as people write it.
fn dotted(version: u32) -> String {
    let [_, major, minor, patch] = version.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}
