//! The generator's registers, in the user BAR (Quantis hardware, docs/hardware.md section 3).
//!
//! Bringing the generator up is a list of [`Step`]s that [`Startup`] walks through, as far as the time allows at each call:
//! nothing here sleeps.

use std::time::{Duration, Instant};

use super::function::{NOBODY, Registers};
use crate::source::{Failure, Fault};

/// Offsets of the registers, each 32 bits, little-endian.
pub mod register {
    /// Software reset.
    pub const RESET: u32 = 0x000;
    /// Enable of the whole generator.
    pub const ENABLE: u32 = 0x004;
    /// Control of the chips' serial interface.
    pub const SPI: u32 = 0x008;
    /// Which test of the data refuses it; set by mode.
    pub const REJECT: u32 = 0x014;
    /// How many chips are used.
    pub const CHIPS: u32 = 0x030;
    /// Chips present, ready, packet errors.
    pub const STATUS: u32 = 0x084;
    /// The three words of the serial number: batch, increment, model.
    pub const SERIAL: [u32; 3] = [0x0C4, 0x0C8, 0x0CC];
    /// Revision of the board and version of the firmware.
    pub const VERSION: u32 = 0x100;
    /// RNG or SAMPLE.
    pub const MODE: u32 = 0x5A8;
}

/// [`register::RESET`]: released.
const RELEASED: u32 = 0x10;
/// [`register::RESET`]: in reset.
const IN_RESET: u32 = 0x00;
/// [`register::ENABLE`]: on.
const ON: u32 = 0x11;
/// [`register::SPI`]: resets the chips' status.
const SPI_STATUS_RESET: u32 = 1 << 6;
/// [`register::SPI`]: chips generate, and their data is taken.
const SPI_GENERATE: u32 = 1 << 7 | 1;
/// [`register::CHIPS`]: as many as there are.
const CHIPS_AUTO: u32 = 0;
/// [`register::STATUS`]: ready.
const READY: u32 = 1 << 12;

/// How much longer than the card wants is waited: its clock is not this host's, and a guest's is not even steady.
pub const MARGIN: Duration = Duration::from_millis(5);
/// How long the generator may take to become ready.
pub const READY_LIMIT: Duration = Duration::from_secs(1);
/// How often it is asked.
const READY_POLL: Duration = Duration::from_millis(1);

/// What the chips give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Post-processed on the chip.
    Rng,
    /// The raw samples.
    Sample,
}

impl Mode {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rng => "rng",
            Self::Sample => "sample",
        }
    }

    /// Bytes to throw away after initialisation: they are from before it.
    pub const fn discard(self) -> u64 {
        match self {
            Self::Rng => 65_536,
            Self::Sample => 16_809_984,
        }
    }

    const fn reject(self) -> u32 {
        match self {
            Self::Rng => 0x0A,
            Self::Sample => 0x0C,
        }
    }

    const fn word(self) -> u32 {
        match self {
            Self::Rng => 0xA_0000,
            Self::Sample => 0xA_0001,
        }
    }
}

/// One step of bringing the generator up.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(u32, u32),
    Wait(Duration),
    /// The register must read as what was written.
    Confirm(u32, u32),
    /// Until the generator says that it is ready.
    Ready,
}

/// The whole sequence. The order, the values and the waits are the card's.
const fn steps(mode: Mode) -> [Step; 14] {
    use register::{CHIPS, ENABLE, MODE, REJECT, RESET, SPI};
    [
        Step::Write(RESET, RELEASED),
        Step::Write(RESET, IN_RESET),
        Step::Write(RESET, RELEASED),
        Step::Wait(Duration::from_millis(100)),
        Step::Write(SPI, 0),
        Step::Write(CHIPS, CHIPS_AUTO),
        Step::Write(REJECT, mode.reject()),
        Step::Write(MODE, mode.word()),
        Step::Wait(Duration::from_millis(100)),
        Step::Confirm(MODE, mode.word()),
        Step::Write(SPI, SPI_STATUS_RESET),
        Step::Wait(Duration::from_millis(300)),
        Step::Write(ENABLE, ON),
        Step::Write(SPI, SPI_GENERATE),
    ]
}

/// The generator on its way up.
#[derive(Debug)]
pub struct Startup {
    mode: Mode,
    next: usize,
    /// When the step under way ends: a wait, or the limit of becoming ready.
    until: Option<Instant>,
}

impl Startup {
    /// At its beginning, which resets the generator.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            next: 0,
            until: None,
        }
    }

    /// Goes on as far as can be at the time `now`. `None`: the generator is ready. Otherwise call again at the time given.
    ///
    /// # Errors
    /// The card is gone, does not take its mode, or does not become ready within [`READY_LIMIT`].
    pub fn advance(
        &mut self,
        registers: &mut dyn Registers,
        now: Instant,
    ) -> Result<Option<Instant>, Failure> {
        let steps = steps(self.mode);
        let mut written = false;
        loop {
            let step = steps.get(self.next).copied().unwrap_or(Step::Ready);
            match step {
                Step::Write(offset, value) => {
                    registers.write(offset, value);
                    written = true;
                }
                Step::Confirm(offset, value) => confirm(registers, offset, value)?,
                // A wait begins after the write before it, which may have taken its time: at the next call.
                Step::Wait(_) if written => return Ok(Some(now)),
                Step::Wait(time) => {
                    let until = *self.until.get_or_insert(now + time + MARGIN);
                    if now < until {
                        return Ok(Some(until));
                    }
                    self.until = None;
                }
                Step::Ready => {
                    let limit = *self.until.get_or_insert(now + READY_LIMIT);
                    let status = Status::read(registers)?;
                    if status.ready {
                        return Ok(None);
                    }
                    if now >= limit {
                        return Err(status.not_ready());
                    }
                    return Ok(Some(limit.min(now + READY_POLL)));
                }
            }
            self.next += 1;
        }
    }
}

fn confirm(registers: &mut dyn Registers, offset: u32, value: u32) -> Result<(), Failure> {
    match registers.read(offset) {
        found if found == value => Ok(()),
        NOBODY => Err(gone()),
        found => Err(Failure::new(
            Fault::Unhealthy,
            format!(
                "the card does not take its mode: register {offset:#05x} was set to {value:#x} and reads {found:#x}; \
                 if that stays, power the host off and on"
            ),
        )),
    }
}

/// The failure of a card that is not there any more.
pub fn gone() -> Failure {
    Failure::new(
        Fault::Gone,
        "the card is gone: its registers read as all ones; look whether it is seated and has power",
    )
}

/// What the generator says of itself. Masks have one bit for each of up to 12 chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Chips that are there.
    pub present: u16,
    /// Chips whose packets had errors.
    pub errors: u16,
    /// Whether it generates.
    pub ready: bool,
}

impl Status {
    /// Reads it.
    ///
    /// # Errors
    /// The card is gone.
    pub fn read(registers: &mut dyn Registers) -> Result<Self, Failure> {
        let word = registers.read(register::STATUS);
        // Bits 13 to 19 are reserved, so a card that is there does not read as all ones.
        if word == NOBODY {
            return Err(gone());
        }
        Ok(Self {
            present: (word & 0xfff) as u16,
            errors: (word >> 20) as u16,
            ready: word & READY != 0,
        })
    }

    /// The chips that work: present, without errors.
    pub const fn working(self) -> u16 {
        self.present & !self.errors
    }

    /// The chips that are there and do not work.
    pub const fn failing(self) -> u16 {
        self.present & self.errors
    }

    /// Refuses a card of which no chip works.
    ///
    /// # Errors
    /// That is so.
    pub fn check(self) -> Result<(), Failure> {
        if self.working() != 0 {
            return Ok(());
        }
        Err(Failure::new(
            Fault::Unhealthy,
            format!(
                "no chip works: present {:#05x}, with packet errors {:#05x}; \
                 if that stays after a power cycle, the card is broken",
                self.present, self.errors
            ),
        ))
    }

    fn not_ready(self) -> Failure {
        Failure::new(
            Fault::Unhealthy,
            format!(
                "the generator is not ready {} ms after it was switched on (chips present {:#05x}, with packet errors {:#05x}); \
                 if that stays after a power cycle, the card is broken",
                READY_LIMIT.as_millis(),
                self.present,
                self.errors
            ),
        )
    }
}

/// What the card is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its serial number, if it tells one.
    pub serial: Option<String>,
    /// The revision of its board.
    pub pcb_revision: u8,
    /// The version of its firmware: three bytes, the major number in the highest.
    pub firmware: u32,
}

impl About {
    /// Reads it.
    pub fn read(registers: &mut dyn Registers) -> Self {
        let words = register::SERIAL.map(|offset| registers.read(offset));
        let version = registers.read(register::VERSION);
        Self {
            serial: serial(words),
            pcb_revision: (version >> 24) as u8,
            firmware: version & 0x00ff_ffff,
        }
    }
}

/// The serial number in the words batch, increment, model: 4 + 3 + 4 characters, the low byte first. None if they are not
/// printable: a card that tells no number has none.
fn serial(words: [u32; 3]) -> Option<String> {
    let [batch, increment, model] = words.map(u32::to_le_bytes);
    let characters: Vec<u8> = [&batch[..], &increment[..3], &model[..]].concat();
    let printable = characters.iter().all(|c| c.is_ascii_graphic());
    printable.then(|| characters.iter().map(|&c| char::from(c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_eleven_characters_low_byte_first() {
        let words = [0x3433_3231, 0xff37_3635, 0x3131_3938];
        assert_eq!(serial(words).as_deref(), Some("12345678911"));
        // What is not printable is no number.
        assert_eq!(serial([0x0033_3231, 0x0037_3635, 0x3131_3938]), None);
        assert_eq!(serial([NOBODY; 3]), None);
        assert_eq!(serial([0; 3]), None);
    }

    struct Fixed(u32);
    impl Registers for Fixed {
        fn read(&mut self, _: u32) -> u32 {
            self.0
        }
        fn write(&mut self, _: u32, _: u32) {}
    }

    #[test]
    fn status_bits_are_where_the_sheet_says() {
        let status = Status::read(&mut Fixed(0x0020_1003)).unwrap();
        assert_eq!(
            status,
            Status {
                present: 0b11,
                errors: 0b10,
                ready: true
            }
        );
        assert_eq!(status.working(), 0b01);
        assert_eq!(status.failing(), 0b10);
        assert!(status.check().is_ok());
        // An error of a chip that is not there says nothing of those that are.
        let status = Status::read(&mut Fixed(0x0040_0003)).unwrap();
        assert_eq!((status.failing(), status.ready), (0, false));
        let status = Status::read(&mut Fixed(0x0030_1003)).unwrap();
        assert_eq!(status.check().unwrap_err().fault, Fault::Unhealthy);
        assert_eq!(
            Status::read(&mut Fixed(NOBODY)).unwrap_err().fault,
            Fault::Gone
        );
    }
}
