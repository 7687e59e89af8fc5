//! The calls that a device node answers: reads, and the ioctls of the vendor's kernel drivers (docs/hardware.md section 2).
//!
//! This file alone holds `unsafe`: ioctls have no safe form.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::c_int;

/// The letter of the vendor's ioctls.
const MAGIC: u8 = b'q';
/// Length of the text that `GET_SERIAL` writes, in bytes.
pub(super) const SERIAL_LENGTH: usize = 256;

/// Their numbers.
mod number {
    pub(super) const DRIVER_VERSION: u8 = 0;
    pub(super) const MODULES_MASK: u8 = 2;
    pub(super) const BOARD_VERSION: u8 = 3;
    pub(super) const RESET_BOARD: u8 = 4;
    pub(super) const MODULES_STATUS: u8 = 8;
    pub(super) const SERIAL: u8 = 12;
    pub(super) const CURRENT_MODE: u8 = 15;
}

/// Unsafe ioctls of nix, each of which writes a value of the given type through its pointer.
mod raw {
    use super::{MAGIC, SERIAL_LENGTH, number};

    nix::ioctl_read!(driver_version, MAGIC, number::DRIVER_VERSION, u32);
    nix::ioctl_read!(modules_mask, MAGIC, number::MODULES_MASK, u32);
    nix::ioctl_read!(board_version, MAGIC, number::BOARD_VERSION, u32);
    nix::ioctl_none!(reset_board, MAGIC, number::RESET_BOARD);
    nix::ioctl_read!(modules_status, MAGIC, number::MODULES_STATUS, u32);
    nix::ioctl_read!(serial, MAGIC, number::SERIAL, [u8; SERIAL_LENGTH]);
    nix::ioctl_read!(current_mode, MAGIC, number::CURRENT_MODE, u32);
}

/// What the vendor's drivers can be asked, each answered by a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// Version of the driver, times ten.
    DriverVersion,
    /// Which modules or chips are there, a bit for each.
    ModulesMask,
    /// Version of the board.
    BoardVersion,
    /// Which modules or chips work, a bit for each.
    ModulesStatus,
    /// Chip cards only: 0 for RNG, 1 for SAMPLE.
    CurrentMode,
}

/// The calls of an open device node. All of them may block.
pub(super) trait Calls {
    /// `read(2)`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// One of the ioctls that give a number.
    fn get(&self, question: Question) -> Result<u32, Errno>;

    /// `GET_SERIAL`: a text that ends with a NUL; what is behind it is garbage.
    fn serial(&self) -> Result<[u8; SERIAL_LENGTH], Errno>;

    /// `RESET_BOARD`. The chip cards' driver returns 1 where others return 0; both are success.
    fn reset(&self) -> Result<(), Errno>;
}

impl Calls for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn get(&self, question: Question) -> Result<u32, Errno> {
        let ask = match question {
            Question::DriverVersion => raw::driver_version,
            Question::ModulesMask => raw::modules_mask,
            Question::BoardVersion => raw::board_version,
            Question::ModulesStatus => raw::modules_status,
            Question::CurrentMode => raw::current_mode,
        };
        let mut value = 0;
        write_through(self, ask, &mut value)?;
        Ok(value)
    }

    fn serial(&self) -> Result<[u8; SERIAL_LENGTH], Errno> {
        let mut text = [0; SERIAL_LENGTH];
        write_through(self, raw::serial, &mut text)?;
        Ok(text)
    }

    fn reset(&self) -> Result<(), Errno> {
        // SAFETY: the descriptor is open as long as `self` is borrowed, and this ioctl has no argument.
        unsafe { raw::reset_board(self.as_raw_fd()) }.map(drop)
    }
}

/// Calls an ioctl of [`raw`] that writes a `T`. Its request code carries the size of a `T`; every bit pattern is a valid one,
/// because there are none but integers and arrays of bytes here.
fn write_through<T>(
    file: &File,
    ioctl: unsafe fn(c_int, *mut T) -> nix::Result<c_int>,
    value: &mut T,
) -> Result<(), Errno> {
    // SAFETY: the descriptor is open as long as `file` is borrowed; the pointer comes from a unique reference, valid for writes
    // of a `T` during the call, and a driver that knows the request writes no more than that.
    unsafe { ioctl(file.as_raw_fd(), value) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_codes_are_those_of_the_drivers() {
        use number::*;
        let get = |number: u8| nix::request_code_read!(MAGIC, number, size_of::<u32>());
        assert_eq!(get(DRIVER_VERSION), 0x8004_7100);
        assert_eq!(get(MODULES_MASK), 0x8004_7102);
        assert_eq!(get(BOARD_VERSION), 0x8004_7103);
        assert_eq!(nix::request_code_none!(MAGIC, RESET_BOARD), 0x7104);
        assert_eq!(get(MODULES_STATUS), 0x8004_7108);
        let serial = nix::request_code_read!(MAGIC, SERIAL, SERIAL_LENGTH);
        assert_eq!(serial, 0x8100_710C);
        assert_eq!(get(CURRENT_MODE), 0x8004_710F);
    }

    #[test]
    fn an_ordinary_device_knows_none_of_them() {
        let device = File::open("/dev/zero").unwrap();
        for question in [
            Question::DriverVersion,
            Question::ModulesMask,
            Question::BoardVersion,
            Question::ModulesStatus,
            Question::CurrentMode,
        ] {
            let error = device.get(question).unwrap_err();
            assert!(matches!(error, Errno::ENOTTY | Errno::EINVAL), "{error}");
        }
        assert!(device.serial().is_err());
        assert!(device.reset().is_err());
    }
}
