//! Quantis PCI and PCIe cards with generator modules (4M, 16M), driven from user space (docs/hardware.md section 1).
//!
//! ```text
//!  sysfs ── find.rs: which card, can it be used ── bar.rs: its registers, mapped ─┐
//!                                                                                 v
//!  NoiseSource::read <── Pcie: opens, waits, tells <── card.rs: what to do with registers.rs
//! ```
//!
//! No driver of the kernel takes part. A card that fails is given up, and the next read finds, maps and starts it anew: so a card
//! that was unplugged is found when it is back, also at another address if none was named.

use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use qrng::report::Kind;

#[allow(unsafe_code)] // Registers of a device are reached by volatile accesses to a map of them.
pub mod bar;
pub mod card;
pub mod find;
pub mod registers;
mod told;

use bar::Bar;
use card::{Card, Step};
use registers::{MODULES, Modules, Registers, WINDOW};
use told::{Change, Told};

use super::{Failure, Identity, NoiseSource, Sensors, SourceError};
use crate::sysfs;
use crate::sysfs::pci::Address;

/// Where a card's registers come from.
pub trait Slot: Send {
    /// The registers.
    type Registers: Registers;

    /// Finds the card and gives its registers, and a name for it in the log.
    ///
    /// # Errors
    /// There is no card that can be used.
    fn open(&mut self) -> Result<(Self::Registers, String), Failure>;
}

/// A slot of this machine's PCI bus.
pub struct PciSlot {
    sysfs: PathBuf,
    wanted: Option<Address>,
}

impl PciSlot {
    /// The slot of the card at `wanted`, or of the only card, in what sysfs, mounted at `sysfs`, shows.
    pub fn new(sysfs: impl Into<PathBuf>, wanted: Option<Address>) -> Self {
        Self {
            sysfs: sysfs.into(),
            wanted,
        }
    }
}

impl Slot for PciSlot {
    type Registers = Bar;

    fn open(&mut self) -> Result<(Bar, String), Failure> {
        let place = find::find(&self.sysfs, self.wanted)?;
        let file = File::options().read(true).write(true).open(&place.file);
        let bar = file.and_then(|file| Bar::map(&file, place.in_page, WINDOW));
        let bar = bar.map_err(|error| find::refused(&place.file, &error))?;
        Ok((bar, place.address.to_string()))
    }
}

/// A module card as a noise source.
pub struct Pcie<S: Slot> {
    identity: Identity,
    slot: S,
    /// Registers of a card that is not started yet, and the card's name.
    opened: Option<(S::Registers, String)>,
    card: Option<Card<S::Registers>>,
    /// What the next read is to tell.
    failed: Option<Failure>,
    /// What the card said last, and its version.
    seen: Option<(Modules, u32)>,
    /// FIFO errors of cards that were given up.
    overflows: u64,
    told: Told,
}

impl Pcie<PciSlot> {
    /// Finds the card at `device`, or else the only one, and calls it `name`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn open(name: &str, device: Option<Address>) -> Result<Self, Failure> {
        Self::new(name, PciSlot::new(sysfs::MOUNT, device))
    }
}

impl<S: Slot> Pcie<S> {
    /// The card in `slot`, called `name`.
    ///
    /// # Errors
    /// There is no card that can be used. One that is there and does not work is no error here: reads tell it, and try again.
    pub fn new(name: &str, mut slot: S) -> Result<Self, Failure> {
        Ok(Self {
            identity: Identity {
                kind: Kind::PcieModule,
                name: name.to_owned(),
                serial: None,
            },
            opened: Some(slot.open()?),
            slot,
            card: None,
            failed: None,
            seen: None,
            overflows: 0,
            told: Told::default(),
        })
    }

    /// The card, started at the time `now` unless it is already.
    fn card(&mut self, now: Instant) -> Result<&mut Card<S::Registers>, Failure> {
        let card = match self.card.take() {
            Some(card) => card,
            None => self.start(now)?,
        };
        Ok(self.card.insert(card))
    }

    fn start(&mut self, now: Instant) -> Result<Card<S::Registers>, Failure> {
        let opened = self.opened.take();
        let (registers, place) = opened.map_or_else(|| self.slot.open(), Ok)?;
        let card = Card::start(registers, now)?;
        let [year, month, day, release] = card.version().to_be_bytes();
        log::info!(
            "noise source {}: card {place} of version {year:02x}-{month:02x}-{day:02x}.{release:02x} with {}",
            self.identity.name,
            listed(card.modules().present()),
        );
        Ok(card)
    }

    /// Does `work` with the card at the time `now`. A card that fails is given up.
    fn with_card<T>(
        &mut self,
        now: Instant,
        work: impl FnOnce(&mut Card<S::Registers>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let done = self.card(now).and_then(work);
        if let Some(card) = &self.card {
            let modules = card.modules();
            self.seen = (!modules.is_gone()).then_some((modules, card.version()));
        }
        match &done {
            Ok(_) => self.tell(now),
            Err(_) => {
                self.overflows = self.all_overflows();
                self.card = None;
            }
        }
        done
    }

    fn all_overflows(&self) -> u64 {
        self.overflows + self.card.as_ref().map_or(0, Card::overflows)
    }

    /// Logs what has changed since it was last told.
    fn tell(&mut self, now: Instant) {
        let name = &self.identity.name;
        let overflows = self.all_overflows();
        if let Some(more) = self.told.overflows(now, overflows) {
            log::warn!(
                "noise source {name}: the card's FIFO overflowed ({more} times, {overflows} since the start): its bytes are not \
                 fetched as fast as it makes them; those that were in it are lost"
            );
        }
        let settled = self.card.as_ref().is_some_and(|card| card.is_settled(now));
        let Some((modules, _)) = self.seen.filter(|_| settled) else {
            return;
        };
        match self.told.modules(now, modules) {
            None => {}
            Some(Change::Degraded(failed)) => log::warn!(
                "noise source {name}: not healthy: {} of the card; the others go on",
                listed(failed)
            ),
            Some(Change::Mended) => {
                log::info!("noise source {name}: all modules of the card are healthy")
            }
            Some(Change::InTest) => log::warn!(
                "noise source {name}: a module of the card is in test mode, in which the card says nothing of its modules' health"
            ),
        }
    }
}

impl<S: Slot> NoiseSource for Pcie<S> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        let mut count = 0;
        while count < buffer.len() {
            let now = Instant::now();
            let rest = &mut buffer[count..];
            match self.with_card(now, |card| card.step(rest, now)) {
                Ok(Step::Bytes(more)) => count += more,
                Ok(Step::Wait(pause)) => sleep_until(deadline.min(now + pause)),
                Err(failure) if count == 0 => return Err(failure.into()),
                Err(failure) => {
                    self.failed = Some(failure);
                    break;
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(count)
    }

    fn wait(&mut self, deadline: Instant) {
        loop {
            let now = Instant::now();
            match self.with_card(now, |card| card.poll(now)) {
                Ok(Some(pause)) if now < deadline => sleep_until(deadline.min(now + pause)),
                Ok(_) => return,
                Err(failure) => {
                    self.failed = Some(failure);
                    return;
                }
            }
        }
    }

    fn sensors(&self) -> Sensors {
        let mut sensors = Sensors::from([("fifo_overflows", self.all_overflows())]);
        if let Some((modules, version)) = self.seen {
            sensors.insert("modules_present", modules.present().into());
            sensors.insert("modules_healthy", modules.healthy().into());
            sensors.insert("board_version", version.into());
        }
        sensors
    }

    fn forget(&mut self) {
        if let Some(card) = &mut self.card {
            card.forget();
        }
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// The modules of a mask, for people: `modules 0, 2`.
fn listed(mask: u8) -> String {
    let numbers = (0..MODULES).filter(|module| mask >> module & 1 != 0);
    let numbers: Vec<_> = numbers.map(|module| module.to_string()).collect();
    match numbers.len() {
        0 => "no module".to_owned(),
        1 => format!("module {}", numbers[0]),
        _ => format!("modules {}", numbers.join(", ")),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tree;
