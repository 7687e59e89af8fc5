//! The pipes between the reader and the sender: frames, one behind the other.
//!
//! ```text
//! 0        1                5               5+length
//! ┌────────┬────────────────┬───────────────┐
//! │ kind   │ length, u32,   │ body          │
//! │        │ big-endian     │               │
//! └────────┴────────────────┴───────────────┘
//! ```
//!
//! On the way to the sender the kind is the content byte of the packets that the body becomes
//! ([`qrng::packet::Content`]), or [`MESSAGE`]; on the way back it is always [`MESSAGE`], and the body is
//! JSON ([`crate::messages`]). Every length is checked against what its receiver has room for before a
//! byte of the body is read, and whatever is not a frame ends the process that reads it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use thiserror::Error;

/// The kind of a frame whose body is JSON. No content byte is zero.
pub const MESSAGE: u8 = 0;

/// The longest message, in bytes: room for the counters of as many gateways as there can be.
const LONGEST_MESSAGE: usize = 4 << 20;

const HEADER: usize = 5;

/// What is wrong with a pipe, or with what came through it.
#[derive(Debug, Error)]
pub enum PipeError {
    /// The kernel's error.
    #[error("reading the pipe: {0}")]
    Io(#[from] io::Error),
    /// The other process ended in the middle of a frame.
    #[error("the pipe ends within a frame")]
    Cut,
    /// A frame of a kind that does not belong here.
    #[error("a frame of kind {0:#04x} does not belong here")]
    Kind(u8),
    /// A frame of a length that its kind cannot have.
    #[error("a frame of kind {kind:#04x} has {length} bytes, which it cannot have")]
    Length {
        /// The kind.
        kind: u8,
        /// The length.
        length: usize,
    },
    /// A message that says nothing that is known.
    #[error("a message cannot be understood: {0}")]
    Message(#[from] serde_json::Error),
}

/// The beginning of a frame. Its body must be read before the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: u8,
    /// Bytes of the body.
    pub length: usize,
}

impl Header {
    /// That this frame cannot be, because of its length.
    pub fn wrong_length(self) -> PipeError {
        PipeError::Length {
            kind: self.kind,
            length: self.length,
        }
    }
}

/// The next frame's beginning; none if the pipe ends before it.
///
/// # Errors
/// [`PipeError::Io`] or [`PipeError::Cut`].
pub fn next(input: &mut impl Read) -> Result<Option<Header>, PipeError> {
    let mut bytes = [0; HEADER];
    let mut got = 0;
    while got < HEADER {
        match input.read(&mut bytes[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(PipeError::Cut),
            Ok(count) => got += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let [kind, length @ ..] = bytes;
    Ok(Some(Header {
        kind,
        // No target has less than 32 bits.
        length: u32::from_be_bytes(length) as usize,
    }))
}

/// Reads a body of as many bytes as `room` has.
///
/// # Errors
/// [`PipeError::Io`] or [`PipeError::Cut`].
pub fn body(input: &mut impl Read, room: &mut [u8]) -> Result<(), PipeError> {
    input.read_exact(room).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => PipeError::Cut,
        _ => PipeError::Io(e),
    })
}

/// The next message; none if the pipe ends before it.
///
/// # Errors
/// The next frame is something else.
pub fn message<T: serde::de::DeserializeOwned>(
    input: &mut impl Read,
) -> Result<Option<T>, PipeError> {
    let Some(header) = next(input)? else {
        return Ok(None);
    };
    if header.kind != MESSAGE {
        return Err(PipeError::Kind(header.kind));
    }
    if header.length > LONGEST_MESSAGE {
        return Err(header.wrong_length());
    }
    let mut bytes = vec![0; header.length];
    body(input, &mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Writes a frame, in one system call if the pipe has room for it.
///
/// # Errors
/// The kernel's; [`ErrorKind::BrokenPipe`] if the other process has ended.
pub fn send(output: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len())
        .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a frame of more than 4 GiB"))?;
    let mut header = [kind, 0, 0, 0, 0];
    header[1..].copy_from_slice(&length.to_be_bytes());
    let mut parts = [IoSlice::new(&header), IoSlice::new(body)];
    let mut parts = &mut parts[..];
    while !parts.is_empty() {
        match output.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes a message.
///
/// # Errors
/// As [`send`].
pub fn send_message(output: &mut impl Write, message: &impl serde::Serialize) -> io::Result<()> {
    send(output, MESSAGE, &serde_json::to_vec(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes and gives a few bytes at a time.
    struct Slow<T>(T);

    impl Read for Slow<&[u8]> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let few = room.len().min(3);
            self.0.read(&mut room[..few])
        }
    }

    impl Write for Slow<Vec<u8>> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(3)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_go_through_whole_whatever_the_pipe_takes_at_once() {
        let mut pipe = Slow(Vec::new());
        send(&mut pipe, 0x21, b"some bytes").unwrap();
        send(&mut pipe, 0x80, b"").unwrap();
        send_message(&mut pipe, &["word"]).unwrap();
        assert_eq!(pipe.0[..8], *b"\x21\x00\x00\x00\x0asom");
        let mut input = Slow(&pipe.0[..]);
        let header = next(&mut input).unwrap().unwrap();
        assert_eq!((header.kind, header.length), (0x21, 10));
        let mut room = [0; 10];
        body(&mut input, &mut room).unwrap();
        assert_eq!(&room, b"some bytes");
        let header = next(&mut input).unwrap().unwrap();
        assert_eq!((header.kind, header.length), (0x80, 0));
        assert_eq!(
            message::<Vec<String>>(&mut input).unwrap().unwrap(),
            ["word"]
        );
        assert!(next(&mut input).unwrap().is_none());
        assert!(message::<Vec<String>>(&mut input).unwrap().is_none());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let read = |bytes: &[u8]| message::<Vec<String>>(&mut &bytes[..]).unwrap_err();
        assert!(matches!(read(b"\x00\x00\x00\x00"), PipeError::Cut));
        assert!(matches!(read(b"\x00\x00\x00\x00\x09[]"), PipeError::Cut));
        assert!(matches!(
            read(b"\x21\x00\x00\x00\x02[]"),
            PipeError::Kind(0x21)
        ));
        assert!(matches!(
            read(b"\x00\x00\x00\x00\x02{}"),
            PipeError::Message(_)
        ));
        // Refused before there is room for it.
        assert!(matches!(
            read(b"\x00\xff\xff\xff\xff"),
            PipeError::Length { length, .. } if length == u32::MAX as usize
        ));
    }
}
