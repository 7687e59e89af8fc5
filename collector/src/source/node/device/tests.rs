use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::*;

/// Stands in for a node: answers its ioctls and reads as told.
#[derive(Default)]
struct Fake {
    numbers: BTreeMap<Question, u32>,
    serial: Option<&'static [u8]>,
    resets: Rc<Cell<usize>>,
    reads: VecDeque<io::Result<Answer>>,
}

/// What a read writes, and the count that it returns.
struct Answer {
    written: Vec<u8>,
    count: usize,
}

impl Calls for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(buffer.len() <= 4096, "a read of {} bytes", buffer.len());
        let answer = self.reads.pop_front().expect("a read that was expected")?;
        buffer[..answer.written.len()].copy_from_slice(&answer.written);
        Ok(answer.count)
    }

    fn get(&self, question: Question) -> Result<u32, Errno> {
        self.numbers.get(&question).copied().ok_or(Errno::ENOTTY)
    }

    fn serial(&self) -> Result<[u8; SERIAL_LENGTH], Errno> {
        let text = self.serial.ok_or(Errno::ENOTTY)?;
        // The driver fills a part of its stack.
        let mut answer = [b'x'; SERIAL_LENGTH];
        answer[..text.len()].copy_from_slice(text);
        Ok(answer)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.resets.set(self.resets.get() + 1);
        Ok(())
    }
}

impl Fake {
    fn module(mask: u32, status: u32) -> Self {
        Self {
            numbers: BTreeMap::from([
                (Question::DriverVersion, 24),
                (Question::BoardVersion, 0x0705_0401),
                (Question::ModulesMask, mask),
                (Question::ModulesStatus, status),
            ]),
            ..Self::default()
        }
    }

    fn chip() -> Self {
        Self {
            numbers: BTreeMap::from([
                (Question::DriverVersion, 202),
                (Question::BoardVersion, 0x0101_0203),
                (Question::ModulesMask, 0xFFF),
                (Question::ModulesStatus, 0xFFF),
                (Question::CurrentMode, 0),
            ]),
            serial: Some(b"2101A010203\0"),
            ..Self::default()
        }
    }

    fn gives(mut self, written: &[u8], count: usize) -> Self {
        let written = written.to_vec();
        self.reads.push_back(Ok(Answer { written, count }));
        self
    }

    fn fails(mut self, errno: Errno) -> Self {
        self.reads.push_back(Err(errno.into()));
        self
    }

    fn open(self) -> OpenDevice {
        OpenDevice::new("node".into(), Box::new(self), false)
    }
}

fn read(device: &mut OpenDevice) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; device.longest_read()];
    match device.read(&mut buffer) {
        Ok(count) => Ok(buffer[..count].to_vec()),
        Err(SourceError::Retry(failure)) => Err(failure),
        Err(error) => panic!("{error:?}"),
    }
}

fn fault(device: &mut OpenDevice) -> Fault {
    read(device).unwrap_err().fault
}

/// What could be random bytes.
fn bytes(count: usize) -> Vec<u8> {
    (1..=255).cycle().take(count).collect()
}

#[test]
fn the_drivers_are_told_apart() {
    let drivers = [
        (Fake::default(), None),
        (Fake::module(0xF, 0xF), Some(Driver::Module)),
        (Fake::chip(), Some(Driver::Chip)),
    ];
    for (fake, driver) in drivers {
        let device = fake.open();
        assert_eq!(device.driver, driver);
        // Others may be slow by nature.
        let seconds = if driver.is_some() { 10 } else { 60 };
        assert_eq!(device.patience(), Duration::from_secs(seconds));
    }
    // Something else that happens to know one of the numbers.
    let mut other = Fake::default();
    other.numbers.insert(Question::DriverVersion, 1);
    assert_eq!(other.open().driver, None);
}

#[test]
fn a_serial_number_ends_at_the_first_nul() {
    let serial = |text: &'static [u8]| {
        let mut chip = Fake::chip();
        chip.serial = Some(text);
        chip.open().serial().map(str::to_owned)
    };
    assert_eq!(serial(b"2101A010203\0").as_deref(), Some("2101A010203"));
    assert_eq!(serial(b"21\0garbage").as_deref(), Some("21"));
    assert_eq!(serial(b"\0garbage"), None);
    assert_eq!(serial(b"2101A0102034\0"), None);
    assert_eq!(serial(b"2101\x07010203\0"), None);
    assert_eq!(serial(b""), None);
    assert_eq!(Fake::module(1, 1).open().serial(), None);
}

#[test]
fn sensors_are_what_the_driver_answers() {
    let asked = |fake: Fake| {
        let mut sensors = Sensors::new();
        fake.open().ask(&mut sensors).unwrap();
        sensors
    };
    assert_eq!(asked(Fake::default()), Sensors::new());
    let module = Sensors::from([
        ("driver_version", 24),
        ("board_version", 0x0705_0401),
        ("modules_present", 0xF),
        ("modules_healthy", 0b1011),
    ]);
    assert_eq!(asked(Fake::module(0xF, 0b1011)), module);
    let chip = asked(Fake::chip());
    assert_eq!(chip["sample_mode"], 0);
    assert_eq!(chip["modules_present"], 0xFFF);
}

#[test]
fn a_card_without_a_working_module_is_unhealthy() {
    let mut sensors = Sensors::new();
    let error = Fake::module(0b11, 0).open().ask(&mut sensors).unwrap_err();
    assert!(matches!(error, SourceError::Retry(f) if f.fault == Fault::Unhealthy));
    assert_eq!(sensors["modules_healthy"], 0);

    assert_eq!(
        fault(&mut Fake::module(0b11, 0).fails(Errno::EIO).open()),
        Fault::Unhealthy
    );
    // The other meaning of this error: the driver has waited too long.
    assert_eq!(
        fault(&mut Fake::module(0b11, 1).fails(Errno::EIO).open()),
        Fault::Io
    );
}

#[test]
fn errors_of_reading_are_told_apart() {
    let mut device = Fake::default()
        .fails(Errno::EINTR)
        .gives(b"abc", 3)
        .fails(Errno::ENODEV)
        .fails(Errno::ENXIO)
        .fails(Errno::ETIMEDOUT)
        .fails(Errno::EIO)
        .gives(b"", 0)
        .open();
    assert_eq!(read(&mut device).unwrap(), b"abc");
    for expected in [
        Fault::Gone,
        Fault::Gone,
        Fault::Silent,
        Fault::Io,
        Fault::Io,
    ] {
        assert_eq!(fault(&mut device), expected);
    }
}

#[test]
fn an_error_hidden_in_the_count_of_a_chip_card_is_found() {
    let whole = bytes(4096);
    let mut device = Fake::chip()
        .gives(&whole, 4096)
        .gives(&whole[..512], 512)
        .gives(&whole, 4096 - 5)
        .gives(&whole, 2 * (4096 - 5))
        .open();
    assert_eq!(read(&mut device).unwrap(), whole);
    // The end of a transfer makes a short read, which is none of its hidden errors.
    assert_eq!(read(&mut device).unwrap(), whole[..512]);
    assert_eq!(fault(&mut device), Fault::Io);
    assert_eq!(fault(&mut device), Fault::Io);
    // Other devices may give what they like.
    let mut device = Fake::default().gives(&whole, 4091).open();
    assert_eq!(read(&mut device).unwrap(), whole[..4091]);
}

#[test]
fn a_tail_that_was_not_written_is_found() {
    let whole = bytes(4096);
    let mut device = Fake::chip()
        .gives(&whole[..4080], 4096)
        .gives(&whole[..4081], 4096)
        .gives(&[], 4096)
        .open();
    assert_eq!(fault(&mut device), Fault::Nonsense);
    assert_eq!(read(&mut device).unwrap()[..4081], whole[..4081]);
    assert_eq!(fault(&mut device), Fault::Nonsense);
}

#[test]
fn a_card_is_reset_when_it_has_failed() {
    for (fake, again, resets) in [
        (Fake::chip(), false, 0),
        (Fake::chip(), true, 1),
        (Fake::module(1, 1), true, 1),
        // An unknown device is left alone.
        (Fake::default(), true, 0),
    ] {
        let count = Rc::clone(&fake.resets);
        OpenDevice::new("node".into(), Box::new(fake), again);
        assert_eq!(count.get(), resets);
    }
}
