//! The USB card Quantis USB-4M (docs/hardware.md section 4), through libusb, which needs no kernel driver.
//!
//! ```text
//!  find     sysfs: which cards are there; the one with the serial number that is wanted
//!  libusb   its node opened, wrapped by libusb; transfer: several bulk transfers in flight, in order
//!  card     status, then a batch of whole packets; reset; what it says of itself
//!  ahead    the thread that does all this, and the source
//! ```
//!
//! A card is known by its serial number: unplugged, it is waited for and found again wherever it is plugged in. Another card in
//! its place is not taken.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use qrng::report::Kind;

mod card;
mod device;
mod find;
mod libusb;
#[allow(unsafe_code)] // Neither a wrapped node nor several transfers in flight have a safe form.
mod transfer;

use super::ahead::{Ahead, Device, Stream};
use super::{Failure, Identity, SourceError};
use crate::sysfs::usb;
use card::{OpenCard, unplugged};
use device::UsbDevice;
use find::{Bus, choose};
use libusb::Host;

/// How long opening may take: requests of a second each at most, a wait for udev, and a reset.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a card that was plugged in again may be closed to this user: udev needs some time to open it.
const UDEV: Duration = Duration::from_secs(2);
/// How often it is tried in that time.
const UDEV_TRY: Duration = Duration::from_millis(100);

/// Opens the card with this serial number, or without one the only card there is, and starts to read it as a source of
/// this name.
///
/// # Errors
/// There is no such card, there are several to choose from, it belongs to somebody else, or it is not what it should be.
pub fn open(name: &str, serial: Option<&str>) -> Result<Ahead, SourceError> {
    start(name, serial, Host::default())
}

fn start(name: &str, serial: Option<&str>, bus: impl Bus) -> Result<Ahead, SourceError> {
    let identity = Identity {
        kind: Kind::Usb,
        name: name.to_owned(),
        serial: None,
    };
    let card = UsbCard {
        bus,
        wanted: serial.map(str::to_owned),
        found: OnceLock::new(),
    };
    Ahead::start(identity, card)
}

/// A card on a bus, there or not.
struct UsbCard<B> {
    bus: B,
    /// The serial number that the configuration names.
    wanted: Option<String>,
    /// The serial number of the card that was open before, if it tells one.
    found: OnceLock<Option<String>>,
}

impl<B: Bus> UsbCard<B> {
    /// Opens a card, with some patience if it was there before.
    fn open_in_time(&self, card: &usb::Device, again: bool) -> Result<Box<dyn UsbDevice>, Failure> {
        let start = Instant::now();
        loop {
            match self.bus.open(card) {
                Err(_) if again && start.elapsed() < UDEV => thread::sleep(UDEV_TRY),
                result => return result,
            }
        }
    }
}

impl<B: Bus> Device for UsbCard<B> {
    fn thread(&self) -> &'static str {
        "usb"
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn open(&self) -> Result<Box<dyn Stream>, SourceError> {
        let cards = self.bus.cards()?;
        let before = self.found.get();
        let wanted = before.unwrap_or(&self.wanted).as_deref();
        let card = match choose(&cards, wanted) {
            Ok(card) => card,
            // It was there. What else is there now is no news.
            Err(_) if before.is_some() => return Err(unplugged(wanted).into()),
            Err(failure) => return Err(failure.into()),
        };
        let again = before.is_some();
        let device = self.open_in_time(card, again)?;
        let open = OpenCard::start(device, card.serial.clone(), again)?;
        self.found.get_or_init(|| card.serial.clone());
        Ok(Box::new(open))
    }
}

#[cfg(test)]
mod tests;
