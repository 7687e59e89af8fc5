//! Software cards for guests: the model is in the test's process, so a test can look at its books and break it.

use std::net::TcpListener;
use std::ops::Range;
use std::thread;

use qrng_card::ledger::Worth;
use qrng_card::usb::UsbCard;
use qrng_card::{Device, PciCard, Shared, usbip, vfio};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::guest::{Guest, PATIENCE};
use super::plan::HOST;
use crate::chain::Chain;
use crate::runs::runs;

/// A PCI card at a socket of its own.
pub struct PciSocket<C> {
    /// The model, in real time.
    pub model: Shared<C>,
    directory: TempDir,
}

impl<C: PciCard + 'static> PciSocket<C> {
    /// Serves a card, to one guest after the other; a guest that ends resets it.
    ///
    /// # Panics
    /// There can be no socket.
    pub fn new(card: C) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let model = Shared::real_time(card);
        let listener = vfio::listen(&model, &directory.path().join("card")).expect("a socket");
        // It waits for further guests until the test's process ends.
        thread::spawn(move || listener.run());
        Self { model, directory }
    }

    /// The card as a device for [`super::Plan::device`] or [`Guest::plug`].
    ///
    /// QEMU waits until a write has arrived: the model holds a host to the pauses between accesses, and on a busy machine a
    /// write that nobody waits for comes milliseconds late, which on a bus it does not.
    pub fn device(&self) -> Value {
        let path = self.directory.path().join("card");
        json!({
            "driver": "vfio-user-pci",
            "socket": { "path": path, "type": "unix" },
            "x-no-posted-writes": true,
            "x-msg-timeout": PATIENCE.as_millis() as u64,
        })
    }
}

/// A USB card behind a USB/IP server on loopback.
pub struct UsbSocket {
    /// The model, in real time.
    pub model: Shared<UsbCard>,
    port: u16,
}

impl UsbSocket {
    /// Serves a card.
    ///
    /// # Panics
    /// There can be no socket.
    pub fn new(card: UsbCard) -> Self {
        let model = Shared::real_time(card);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let served = model.clone();
        thread::spawn(move || usbip::listen(&served, &listener));
        Self { model, port }
    }

    /// Plugs it into the guest, whose plan said [`super::Plan::usb`]. A card that is made to be gone is unplugged by that, and
    /// has to be plugged in anew when it is back.
    ///
    /// # Panics
    /// The guest does not take it.
    pub fn plug(&self, guest: &mut Guest) {
        guest.succeed(&format!(
            "busybox nc {HOST} {} -e /usbip-attach.sh",
            self.port
        ));
    }
}

/// What readers got of one card's bytes.
#[derive(Default)]
pub struct Served {
    bytes: Vec<u8>,
}

impl Served {
    /// Reads from the chain until there are bytes that the card makes from now on; checks all that was read so far, as
    /// [`check_served`] does, and gives its runs.
    ///
    /// # Panics
    /// No such bytes come, or any that should not.
    pub fn read_on<C: Device>(&mut self, chain: &Chain, card: &Shared<C>) -> Vec<Range<u64>> {
        let now = card.lock().ledger().produced();
        loop {
            self.bytes.extend(chain.read_raw(16 << 10, PATIENCE));
            let runs = check_served(&*card.lock(), &self.bytes);
            if runs.last().is_some_and(|run| run.end > now) {
                return runs;
            }
        }
    }
}

/// Checks that `served`, bytes as readers got them, are bytes that `card` handed out to be passed on, in the order in which it
/// did, none twice. Gives them as runs of the card's stream: between two of them bytes are missing.
///
/// # Panics
/// They are not.
pub fn check_served(card: &impl Device, served: &[u8]) -> Vec<Range<u64>> {
    let runs =
        runs(card.stream(), served).unwrap_or_else(|e| panic!("of {} served: {e}", served.len()));
    for pair in runs.windows(2) {
        assert!(pair[0].end < pair[1].start, "out of order: {runs:?}");
    }
    let pieces = card.ledger().pieces();
    let is_good = |run: &Range<u64>| {
        let mut good = pieces.iter().filter(|p| p.worth == Worth::Good);
        good.any(|p| p.range.start <= run.start && run.end <= p.range.end)
    };
    assert!(runs.iter().all(is_good), "served {runs:?} of {pieces:?}");
    runs
}

/// Checks that the host did nothing to the card that the hardware reference forbids.
///
/// # Panics
/// It did.
pub fn check_manners(card: &impl Device) {
    let violations = card.violations().texts();
    assert!(
        violations.is_empty(),
        "the host's violations: {violations:#?}"
    );
}
