//! USB/IP 1.1.1: the USB device for a kernel's `vhci_hcd`, over any stream socket.
//!
//! ```text
//! client                                     server
//! OP_REQ_IMPORT  0x0111 0x8003 0 busid[32] ─> OP_REP_IMPORT 0x0111 0x0003 status device[312]
//! then, many under way at once, 48 bytes of header each, all numbers big-endian:
//! CMD_SUBMIT 1 ─────────────────────────────> RET_SUBMIT 3 [data]     a bulk transfer waits for its data
//! CMD_UNLINK 2 ─────────────────────────────> RET_UNLINK 4            takes a waiting one back
//! ```
//!
//! Facts from the Linux kernel's documentation of the protocol. A device that is gone closes the connection, which the kernel
//! takes for unplugging, and refuses imports until it is back.

mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::io::{self, Read, Write};

pub use server::{Connection, listen, serve};

/// The bus id that the device is imported by.
pub const BUS_ID: &str = "1-1";

/// What a client needs to give an imported device to its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The number that `vhci_hcd`'s file `attach` wants as its third.
    pub device: u32,
    /// The kernel's number for the speed: 2 full, 3 high.
    pub speed: u32,
}

/// Imports the device, as a client. The stream is then for the kernel: write `PORT FD DEVICE SPEED` to `attach`.
///
/// # Errors
/// The connection failed, the server refused, or it is no USB/IP server.
pub fn import(stream: &mut (impl Read + Write)) -> io::Result<Imported> {
    stream.write_all(&wire::import_request())?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    if head[..4] != wire::IMPORT_REPLY {
        return Err(io::Error::other("no answer to an import"));
    }
    if head[4..] != [0; 4] {
        return Err(io::Error::other(
            "the import was refused: the device is not there",
        ));
    }
    let mut device = [0; wire::DEVICE];
    stream.read_exact(&mut device)?;
    let word = |at| wire::word(&device, at);
    Ok(Imported {
        device: word(wire::BUS_NUMBER) << 16 | word(wire::DEVICE_NUMBER),
        speed: word(wire::SPEED),
    })
}
