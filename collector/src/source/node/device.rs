//! A character device or named pipe that is open. If it is a node of the vendor's kernel drivers, it is asked what it is, and
//! the traps of these drivers are seen to (docs/hardware.md section 2).

use std::io;
use std::time::Duration;

use nix::errno::Errno;

use super::ioctl::{Calls, Question, SERIAL_LENGTH};
use crate::source::ahead::Stream;
use crate::source::{Failure, Fault, Sensors, SourceError};

/// The longest read, in bytes: a longer one of the chip cards' driver spans several transfers, and leaves a stale tail.
pub(super) const LONGEST_READ: usize = 4096;
/// How long a read of the vendor's drivers may take. After a reset the slowest card in SAMPLE mode discards for 3.4 s and is
/// not ready for 1.5 s before.
const VENDOR_PATIENCE: Duration = Duration::from_secs(10);
/// How long a read of any other device may take. Slow sources of the kernel need some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Length of a card's serial number, in characters.
const SERIAL: usize = 11;
/// The chip cards' transfers are whole words, in bytes.
const WORD: usize = 4;
/// So many zeros at the end of a read were never written: random bytes end like this once in 2^128 times.
const STALE: usize = 16;

/// The vendor's drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// Of the cards with generator modules.
    Module,
    /// Of the cards with generator chips.
    Chip,
}

impl Driver {
    /// Which cards it is for.
    fn cards(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Chip => "chip",
        }
    }
}

/// An open character device or named pipe.
pub(super) struct OpenDevice {
    /// Its name in the log.
    name: String,
    calls: Box<dyn Calls>,
    driver: Option<Driver>,
    serial: Option<String>,
    /// Modules that are there and do not work, as told last.
    broken: u32,
}

impl OpenDevice {
    /// Finds out what was opened. A card that is opened `again` has failed before, and is reset.
    pub(super) fn new(name: String, calls: Box<dyn Calls>, again: bool) -> Self {
        let driver = driver(&*calls);
        if again
            && driver.is_some()
            && let Err(error) = calls.reset()
        {
            log::debug!("{name}: the card cannot be reset: {error}");
        }
        let serial = match driver {
            Some(Driver::Chip) => calls.serial().ok().as_ref().and_then(serial),
            _ => None,
        };
        if let Some(driver) = driver.filter(|_| !again) {
            let cards = driver.cards();
            let number = serial.as_deref().unwrap_or("none told");
            log::info!("{name}: a node of the driver of {cards} cards; serial number {number}");
        }
        Self {
            name,
            calls,
            driver,
            serial,
            broken: 0,
        }
    }

    /// What `error` of a read counts as.
    fn failure(&self, error: &io::Error) -> Failure {
        let (fault, remedy) = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODEV | Errno::ENXIO) => (Fault::Gone, "plug the device in"),
            Some(Errno::ETIMEDOUT) => (Fault::Silent, "reset the device"),
            Some(Errno::EIO) if self.nothing_works() => (
                Fault::Unhealthy,
                "none of the card's modules works: reset or replace it",
            ),
            _ => (Fault::Io, "look at the kernel's log"),
        };
        Failure::new(fault, format!("{error}; {remedy}"))
    }

    /// Whether the card says that it has modules, and that none works.
    fn nothing_works(&self) -> bool {
        let get = |question| self.calls.get(question).ok();
        self.driver.is_some()
            && get(Question::ModulesMask).is_some_and(|mask| mask != 0)
            && get(Question::ModulesStatus) == Some(0)
    }

    /// Judges a read of `count` bytes of `buffer`.
    fn judge(&self, buffer: &[u8], count: usize) -> Result<(), Failure> {
        if count == 0 {
            return Err(Failure::new(
                Fault::Io,
                "it gave an end of file, which a device has not",
            ));
        }
        if self.driver != Some(Driver::Chip) {
            return Ok(());
        }
        // The driver adds -EIO to the count of bytes that came before the error.
        if !count.is_multiple_of(WORD) {
            return Err(Failure::new(
                Fault::Io,
                format!(
                    "a read gave {count} bytes, no whole words: the driver hides an error in the count"
                ),
            ));
        }
        let tail = buffer.get(..count).and_then(|read| read.last_chunk());
        if tail == Some(&[0; STALE]) {
            return Err(Failure::new(
                Fault::Nonsense,
                format!("a read claims {count} bytes, of which the last were not written"),
            ));
        }
        Ok(())
    }

    /// Logs modules that have ceased to work, or work again.
    fn note_broken(&mut self, broken: u32) {
        let name = &self.name;
        if broken != self.broken && broken != 0 {
            log::warn!("{name}: the modules {broken:#b} do not work; the others serve");
        } else if broken != self.broken {
            log::info!("{name}: all modules work again");
        }
        self.broken = broken;
    }
}

impl Stream for OpenDevice {
    fn patience(&self) -> Duration {
        self.driver.map_or(PATIENCE, |_| VENDOR_PATIENCE)
    }

    fn longest_read(&self) -> usize {
        LONGEST_READ
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let count = loop {
            match self.calls.read(buffer) {
                Ok(count) => break count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failure(&e).into()),
            }
        };
        self.judge(buffer, count)?;
        Ok(count)
    }

    fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    fn ask(&mut self, sensors: &mut Sensors) -> Result<(), SourceError> {
        if self.driver.is_none() {
            return Ok(());
        }
        for (name, question) in [
            ("driver_version", Question::DriverVersion),
            ("board_version", Question::BoardVersion),
            ("modules_present", Question::ModulesMask),
            ("modules_healthy", Question::ModulesStatus),
            ("sample_mode", Question::CurrentMode),
        ] {
            if let Ok(value) = self.calls.get(question) {
                sensors.insert(name, value.into());
            }
        }
        let mask = sensors.get("modules_present").copied();
        let status = sensors.get("modules_healthy").copied();
        if let Some((mask, status)) = mask.zip(status) {
            if mask != 0 && status == 0 {
                return Err(Failure::new(
                    Fault::Unhealthy,
                    "the card says that none of its modules works; reset or replace it",
                )
                .into());
            }
            // They came from 32 bits.
            self.note_broken((mask & !status) as u32);
        }
        Ok(())
    }
}

/// Which of the vendor's drivers answers, if one does: others know none of its ioctls, and only that of the chip cards
/// has a mode.
fn driver(calls: &dyn Calls) -> Option<Driver> {
    calls.get(Question::DriverVersion).ok()?;
    calls.get(Question::ModulesMask).ok()?;
    Some(match calls.get(Question::CurrentMode) {
        Ok(_) => Driver::Chip,
        Err(_) => Driver::Module,
    })
}

/// The serial number in a driver's answer: up to the first NUL, behind which there is garbage. None if there is no such text.
fn serial(answer: &[u8; SERIAL_LENGTH]) -> Option<String> {
    let length = answer.iter().position(|byte| *byte == 0)?;
    let text = &answer[..length];
    let good = (1..=SERIAL).contains(&length) && text.iter().all(u8::is_ascii_graphic);
    good.then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;
