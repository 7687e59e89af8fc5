//! The USB device in a port of this machine's own kernel: `vhci_hcd`, the virtual host controller.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use qrng_card::Shared;
use qrng_card::usb::UsbCard;
use qrng_card::usbip;

/// How often it looks whether the device is gone or back.
const LOOK: Duration = Duration::from_millis(20);
/// How long the kernel may take to free a port.
const PATIENCE: Duration = Duration::from_secs(30);

/// One port of the controller.
pub(super) struct Port {
    number: u32,
    attach: PathBuf,
}

/// A device in its port.
pub(super) struct Plugged {
    /// Ends when it is out again.
    serving: JoinHandle<()>,
    /// How often it had been unplugged before.
    unplugs: u64,
}

impl Port {
    pub(super) fn new(number: u32, vhci: &Path) -> Self {
        let attach = vhci.join("attach");
        Self { number, attach }
    }

    /// Plugs the device in.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub(super) fn plug(&self, card: &Shared<UsbCard>) -> Result<Plugged> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let unplugs = card.lock().unplugs();
        let card = card.clone();
        let serving = thread::spawn(move || {
            if let Err(error) = usbip::serve(&card, theirs) {
                eprintln!("qrng-card: usbip: {error}");
            }
        });
        let imported = usbip::import(&mut ours)?;
        let (device, speed) = (imported.device, imported.speed);
        let line = format!("{} {} {device} {speed}", self.number, ours.as_raw_fd());
        // From then on the kernel has a handle of its own.
        fs::write(&self.attach, line).with_context(|| {
            let file = self.attach.display();
            format!("{file} takes no device: is the module vhci_hcd loaded, and the port free?")
        })?;
        Ok(Plugged { serving, unplugs })
    }

    /// Plugs the device in again whenever it was gone and is back.
    pub(super) fn keep(&self, card: &Shared<UsbCard>, mut plugged: Plugged) -> Result<()> {
        loop {
            let before = plugged.unplugs;
            // A panic of the model is told by the next lock.
            let _ = plugged.serving.join();
            let back = || {
                let card = card.lock();
                card.unplugs() > before && !card.gone()
            };
            while !back() {
                thread::sleep(LOOK);
            }
            plugged = self.plug_again(card)?;
        }
    }

    /// The kernel frees the port only some time after the device is gone.
    fn plug_again(&self, card: &Shared<UsbCard>) -> Result<Plugged> {
        let start = Instant::now();
        loop {
            match self.plug(card) {
                Err(_) if start.elapsed() < PATIENCE => thread::sleep(LOOK),
                other => return other,
            }
        }
    }
}
