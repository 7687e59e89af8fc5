//! From the sender to the pusher: sealed packets through a pipe, one way.
//!
//! ```text
//! ┌────────────────────┬────────────────────┬────────┐
//! │ which of those     │ length, u16,       │ packet │
//! │ pushed to, u16, BE │ big-endian         │        │
//! └────────────────────┴────────────────────┴────────┘
//! ```
//!
//! The sender never waits for the pipe: a packet that finds no room is lost, as a datagram would be. So a pusher that does not read, for
//! whatever reason, delays nobody. A frame is written whole or not at all, because it is shorter than what pipe(7) writes atomically.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use qrng::packet::MAX_DATAGRAM;
use qrng_daemon::descriptors::inherited;
use thiserror::Error;

const HEADER: usize = 4;

/// What came through the pipe is no frame.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// The kernel's error.
    #[error("reading the pipe: {0}")]
    Io(#[from] io::Error),
    /// The sender has ended.
    #[error("the sender has ended")]
    Ended,
    /// A length that no packet has.
    #[error("a packet of {0} bytes cannot be")]
    Length(usize),
}

/// The sender's end.
#[derive(Debug)]
pub struct Handoff(File);

impl Handoff {
    /// The pipe's end that this process was started with, by its number.
    ///
    /// # Errors
    /// There is none.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        Self::of(inherited(number)?.into())
    }

    /// The pipe's end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(pipe: File) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self(pipe))
    }

    /// Hands over a packet for the gateway of this number among those that are pushed to.
    ///
    /// # Errors
    /// There is no room (EAGAIN), or nobody to read (EPIPE).
    pub fn send(&mut self, gateway: u16, packet: &[u8]) -> Result<(), Errno> {
        let length = u16::try_from(packet.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&gateway.to_be_bytes());
        header[2..].copy_from_slice(&length.to_be_bytes());
        let frame = [IoSlice::new(&header), IoSlice::new(packet)];
        loop {
            match self.0.write_vectored(&frame) {
                Ok(count) if count == HEADER + packet.len() => return Ok(()),
                Ok(_) => return Err(Errno::EIO),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            }
        }
    }
}

impl AsRawFd for Handoff {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Reads the next packet into `room`; gives the gateway's number and the packet.
///
/// # Errors
/// The sender has ended, or what it wrote is no frame.
pub fn next<'r>(
    input: &mut impl Read,
    room: &'r mut [u8; MAX_DATAGRAM],
) -> Result<(u16, &'r [u8]), HandoffError> {
    let mut header = [0; HEADER];
    read(input, &mut header)?;
    let [a, b, c, d] = header;
    let (gateway, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let length = usize::from(length);
    let packet = room.get_mut(..length).filter(|packet| !packet.is_empty());
    let packet = packet.ok_or(HandoffError::Length(length))?;
    read(input, packet)?;
    Ok((gateway, packet))
}

fn read(input: &mut impl Read, room: &mut [u8]) -> Result<(), HandoffError> {
    input.read_exact(room).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => HandoffError::Ended,
        _ => e.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_through_whole_and_a_full_pipe_takes_none() {
        let (output, input) = nix::unistd::pipe()
            .map(|(r, w)| (File::from(w), File::from(r)))
            .unwrap();
        let mut handoff = Handoff::of(output).unwrap();
        let packet = [7; MAX_DATAGRAM];
        let mut sent = 0_usize;
        let refused = loop {
            match handoff.send(3, &packet) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, Errno::EAGAIN);
        assert!(sent > 10, "{sent}");
        let (mut room, mut input) = ([0; MAX_DATAGRAM], input);
        for _ in 0..sent {
            assert_eq!(next(&mut input, &mut room).unwrap(), (3, &packet[..]));
        }
        // There is room again, and nothing of what was refused.
        handoff.send(0, b"later").unwrap();
        assert_eq!(next(&mut input, &mut room).unwrap(), (0, &b"later"[..]));
        drop(handoff);
        let ended = next(&mut input, &mut room);
        assert!(matches!(ended, Err(HandoffError::Ended)));
    }

    #[test]
    fn nobody_to_read_is_an_error_and_no_signal() {
        let (input, output) = nix::unistd::pipe().unwrap();
        drop(input);
        let mut handoff = Handoff::of(output.into()).unwrap();
        assert_eq!(handoff.send(0, b"x"), Err(Errno::EPIPE));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut room = [0; MAX_DATAGRAM];
        for (bytes, length) in [(b"\x00\x00\x00\x00", 0), (b"\x00\x00\x05\xc1", 1473)] {
            let read = next(&mut &bytes[..], &mut room);
            assert!(matches!(read, Err(HandoffError::Length(l)) if l == length));
        }
        assert!(matches!(
            next(&mut &b"\x00\x00\x00\x05abc"[..], &mut room),
            Err(HandoffError::Ended)
        ));
    }
}
