//! Bytes of the protocol.

use super::BUS_ID;
use crate::usb::{PRODUCT, Setup, Speed, VENDOR};

/// Size of a device's description in bytes.
pub(super) const DEVICE: usize = 312;
/// Offsets in it.
pub(super) const BUS_NUMBER: usize = 288;
pub(super) const DEVICE_NUMBER: usize = 292;
pub(super) const SPEED: usize = 296;

/// Version 1.1.1, and the codes of requests and replies.
pub(super) const LIST_REQUEST: [u8; 4] = [0x01, 0x11, 0x80, 0x05];
pub(super) const LIST_REPLY: [u8; 4] = [0x01, 0x11, 0x00, 0x05];
pub(super) const IMPORT_REQUEST: [u8; 4] = [0x01, 0x11, 0x80, 0x03];
pub(super) const IMPORT_REPLY: [u8; 4] = [0x01, 0x11, 0x00, 0x03];

/// Size of the header of commands and their answers in bytes.
pub(super) const HEADER: usize = 48;
/// The largest transfer that is accepted, in bytes.
const LARGEST: u32 = 1 << 20;

/// The big-endian number at a place.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk().copied();
    u32::from_be_bytes(word.unwrap_or_default())
}

pub(super) fn bus_id() -> [u8; 32] {
    let mut id = [0; 32];
    id[..BUS_ID.len()].copy_from_slice(BUS_ID.as_bytes());
    id
}

pub(super) fn import_request() -> Vec<u8> {
    [&IMPORT_REQUEST[..], &[0; 4], &bus_id()].concat()
}

/// The device's description.
pub(super) fn device(speed: Speed) -> Vec<u8> {
    let path = "/sys/devices/software-card/usb1/1-1";
    let mut bytes = path.as_bytes().to_vec();
    bytes.resize(256, 0);
    bytes.extend(bus_id());
    let speed = match speed {
        Speed::Full => 2_u32,
        Speed::High => 3,
    };
    for number in [1, 1, speed] {
        bytes.extend(number.to_be_bytes());
    }
    for number in [VENDOR, PRODUCT, crate::usb::RELEASE] {
        bytes.extend(number.to_be_bytes());
    }
    // class, subclass, protocol; configuration 1 of 1, with 1 interface
    bytes.extend([crate::usb::CLASS, 0, 0, 1, 1, 1]);
    bytes
}

/// Its interfaces, which follow the description in a list of devices: class, subclass, protocol, padding.
pub(super) const INTERFACES: [u8; 4] = [crate::usb::CLASS, 0, 0, 0];

/// A command of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Do a transfer; for one OUT, `length` bytes follow.
    Submit {
        number: u32,
        into_host: bool,
        endpoint: u8,
        length: usize,
        setup: Setup,
    },
    /// Take a transfer back.
    Unlink { number: u32, transfer: u32 },
}

impl Command {
    /// Reads a header; none if it is not one that may come.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = word(bytes, 4);
        let (direction, endpoint, length) = (word(bytes, 12), word(bytes, 16), word(bytes, 24));
        match word(bytes, 0) {
            1 if direction <= 1 && endpoint <= 15 && length <= LARGEST => Some(Self::Submit {
                number,
                into_host: direction == 1,
                endpoint: endpoint as u8,
                length: length as usize,
                setup: Setup::parse(bytes[40..].first_chunk().copied()?),
            }),
            2 => Some(Self::Unlink {
                number,
                transfer: word(bytes, 20),
            }),
            _ => None,
        }
    }
}

/// Status numbers of Linux, as answers carry them.
pub(super) mod status {
    pub(crate) const DONE: i32 = 0;
    /// EPIPE: the device refused.
    pub(crate) const STALL: i32 = -32;
    /// ECONNRESET: the transfer was taken back.
    pub(crate) const UNLINKED: i32 = -104;
}

/// The answer to a transfer: `length` bytes were moved, of which those into the host are `data`.
pub(super) fn submitted(number: u32, status: i32, length: usize, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let words = [
        (0, 3),
        (4, number),
        (20, status as u32),
        (24, length as u32),
    ];
    for (at, word) in words {
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    // No isochronous packets.
    bytes[32..36].fill(0xFF);
    bytes.extend(data);
    bytes
}

/// The answer to taking one back.
pub(super) fn unlinked(number: u32, status: i32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for (at, word) in [(0, 4), (4, number), (20, status as u32)] {
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
