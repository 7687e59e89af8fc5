//! How a Quantis USB-4M is used (docs/hardware.md section 4): over any [`UsbDevice`].

use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::device::{Endpoint, UsbDevice, UsbError};
use crate::source::ahead::Stream;
use crate::source::{Failure, Fault, Sensors, SourceError};

/// The only configuration.
const CONFIGURATION: u8 = 1;
/// The endpoint that gives random bytes: number 6, bulk, to the host.
const ENDPOINT: u8 = 0x86;
/// The largest packets that it may have, in bytes: at high speed, and at full speed.
const PACKETS: [usize; 2] = [512, 64];
/// Bytes read after one look at the status: 33 ms of the card's rate.
const BATCH: usize = 16 * 1024;
/// How long the card takes to come up after a reset.
const RESET_PAUSE: Duration = Duration::from_secs(1);
/// Bytes not used after a reset.
const DISCARD: usize = 4096;
/// A device that is being unplugged fails in many ways before it is gone.
const UNPLUG_PAUSE: Duration = Duration::from_millis(500);
/// How long a call may take: one in which each packet just comes in time ends before.
const PATIENCE: Duration = Duration::from_secs(20);

/// Codes of the vendor requests.
pub(super) mod request {
    pub(crate) const BOARD_VERSION: u8 = 0x10;
    pub(crate) const DISABLE: u8 = 0x11;
    pub(crate) const ENABLE: u8 = 0x12;
    pub(crate) const STATUS: u8 = 0x13;
    pub(crate) const POWER: u8 = 0x14;
    pub(crate) const MODULES_MASK: u8 = 0x15;
    pub(crate) const RATE: u8 = 0x16;
    pub(crate) const AIS31_STARTUP: u8 = 0x17;
}

/// Something that the card can be asked.
struct Question {
    name: &'static str,
    request: u8,
    /// Length of the answer, in bytes.
    length: usize,
    /// Whether the answer may change. Otherwise it is asked once, which spares the bus.
    changes: bool,
}

/// All that it can be asked.
fn questions() -> Vec<Question> {
    use request::*;
    let question = |name, request, length, changes| Question {
        name,
        request,
        length,
        changes,
    };
    vec![
        question("board_version", BOARD_VERSION, 4, false),
        question("modules_present", MODULES_MASK, 1, false),
        question("rate_kbit", RATE, 4, false),
        question("module_status", STATUS, 1, true),
        question("power", POWER, 1, true),
        question("ais31_startup", AIS31_STARTUP, 1, true),
    ]
}

/// An open card.
pub(super) struct OpenCard {
    device: Box<dyn UsbDevice>,
    endpoint: Endpoint,
    serial: Option<String>,
    /// What it is still asked: not what it has refused, nor what will not change.
    questions: Vec<Question>,
    answers: Sensors,
    /// Whether what it holds may be of before a reset.
    stale: bool,
}

impl OpenCard {
    /// Makes a device ready to be read, if it is such a card. One that is opened `again` has failed before, and is reset.
    pub(super) fn start(
        mut device: Box<dyn UsbDevice>,
        serial: Option<String>,
        again: bool,
    ) -> Result<Self, Failure> {
        let (endpoint, serial) = match prepare(&mut *device) {
            Ok(endpoint) => (endpoint?, serial),
            Err(error) => return Err(failure(&error, serial.as_deref())),
        };
        let mut card = Self {
            device,
            endpoint,
            serial,
            questions: questions(),
            answers: Sensors::new(),
            stale: again,
        };
        if again {
            card.reset().map_err(|e| card.failed(&e))?;
        }
        Ok(card)
    }

    /// Resets the card, which may then still hold bytes of before.
    fn reset(&mut self) -> Result<(), UsbError> {
        self.device.control_out(request::DISABLE)?;
        self.device.control_out(request::ENABLE)?;
        thread::sleep(RESET_PAUSE);
        Ok(())
    }

    /// Looks at the status, and fills `buffer`.
    fn batch(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        match self.works() {
            Ok(true) => {}
            Ok(false) => return Err(unhealthy()),
            Err(error) => return Err(self.failed(&error)),
        }
        let bytes = self.device.bulk_in(self.endpoint, buffer);
        bytes.map_err(|error| self.failed(&error))
    }

    /// Whether the card says that its module works.
    fn works(&mut self) -> Result<bool, UsbError> {
        let mut status = [0];
        match self.device.control_in(request::STATUS, &mut status)? {
            1 => Ok(status != [0]),
            got => Err(UsbError::Short { got, wanted: 1 }),
        }
    }

    /// What an error counts as. The status says more than the error where a module has failed within a batch, or the card is being
    /// unplugged.
    fn failed(&mut self, error: &UsbError) -> Failure {
        if matches!(error, UsbError::Other(_)) {
            thread::sleep(UNPLUG_PAUSE);
        }
        match self.works() {
            Ok(false) => unhealthy(),
            Err(UsbError::Gone) => unplugged(self.serial.as_deref()),
            _ => failure(error, self.serial.as_deref()),
        }
    }
}

impl Stream for OpenCard {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn longest_read(&self) -> usize {
        BATCH
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if self.stale {
            self.batch(&mut Zeroizing::new([0; DISCARD])[..])?;
            self.stale = false;
        }
        self.batch(buffer)?;
        Ok(buffer.len())
    }

    fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    fn ask(&mut self, sensors: &mut Sensors) -> Result<(), SourceError> {
        let (device, answers) = (&mut self.device, &mut self.answers);
        self.questions.retain(|question| {
            let mut answer = [0; 4];
            let got = device.control_in(question.request, &mut answer[..question.length]);
            let answered = got == Ok(question.length);
            if answered {
                // Little-endian, and zeros behind a short one.
                answers.insert(question.name, u32::from_le_bytes(answer).into());
            } else {
                answers.remove(question.name);
            }
            answered && question.changes
        });
        sensors.clone_from(answers);
        Ok(())
    }
}

/// Makes the device ready: its configuration, the endpoint that the card is read by, and the interface. The inner error: it
/// is no such card.
fn prepare(device: &mut dyn UsbDevice) -> Result<Result<Endpoint, Failure>, UsbError> {
    // Not if it is the active one already, because that would reset the card.
    if device.configuration()? != CONFIGURATION {
        device.configure(CONFIGURATION)?;
    }
    let endpoints = device.endpoints()?;
    let fits = |e: &&Endpoint| e.address == ENDPOINT && e.bulk && PACKETS.contains(&e.packet);
    let Some(endpoint) = endpoints.iter().find(fits) else {
        return Ok(Err(Failure::new(
            Fault::Nonsense,
            format!(
                "it has no endpoint {ENDPOINT:#x} for bulk transfers of {PACKETS:?} bytes, but {endpoints:?}: \
                 it is no Quantis USB-4M that this version knows"
            ),
        )));
    };
    device.claim()?;
    Ok(Ok(*endpoint))
}

/// An error as a failure of the card with this serial number.
fn failure(error: &UsbError, serial: Option<&str>) -> Failure {
    let (fault, remedy) = match error {
        UsbError::Gone => return unplugged(serial),
        UsbError::Timeout => (Fault::Silent, "the card is reset"),
        UsbError::Short { .. } => (Fault::Short, "the card is reset"),
        UsbError::Busy(text) => return Failure::new(Fault::Unavailable, text.as_str()),
        UsbError::Stall | UsbError::Other(_) => (Fault::Io, "the card is reset"),
    };
    Failure::new(fault, format!("{error}; {remedy}"))
}

/// The card says that it does not work.
fn unhealthy() -> Failure {
    Failure::new(
        Fault::Unhealthy,
        "the card says that its module does not work (status 0); it is reset; replace it if that does not help",
    )
}

/// The card was there and is not any more.
pub(super) fn unplugged(serial: Option<&str>) -> Failure {
    let serial = serial.unwrap_or("without serial number");
    Failure::new(
        Fault::Gone,
        format!("the card {serial} is unplugged; plug it in again, wherever you like"),
    )
}
