//! The frames of the gateway's stream socket: how a program asks for bytes where there is no mount.
//!
//! ```text
//! request                                    answer
//!  0   1  version, 1                          0   1  version, 1
//!  1   1  kind: 1 take, 2 status              1   1  code, see [`Code`]
//!  2   2  zero                                2   2  zero
//!  4   4  least: bytes that must be there     4   4  length of what follows, in bytes
//!  8   4  most: bytes that are wanted         8   .  the bytes, or the status document (JSON)
//! 12   4  wait, in milliseconds
//! ```
//!
//! Numbers are big endian. What is said here is judged by [`Request::new_checked`] and [`Answer::new_checked`] alone; what
//! programs may expect of the socket is in docs/stream.md.

use std::time::Duration;

use thiserror::Error;

/// The version of the frames.
pub const VERSION: u8 = 1;

/// Bytes of a request.
pub const REQUEST_LEN: usize = 16;

/// Bytes of an answer's head.
pub const ANSWER_LEN: usize = 8;

/// The most bytes that one request takes.
pub const MAX_TAKE: u32 = 64 * 1024;

/// The most bytes that a request may insist on while it waits: those behind it wait for them too.
pub const MAX_PATIENT_LEAST: u32 = 64;

/// A wait without limit, on the wire.
const FOR_EVER: u32 = u32::MAX;

/// Offsets and widths, each once.
mod field {
    use std::ops::Range;

    pub const VERSION: usize = 0;
    pub const KIND: usize = 1;
    pub const ZERO: Range<usize> = 2..4;
    pub const LEAST: Range<usize> = 4..8;
    pub const MOST: Range<usize> = 8..12;
    pub const WAIT: Range<usize> = 12..16;
    pub const CODE: usize = 1;
    pub const LENGTH: Range<usize> = 4..8;
}

/// How long a request waits where there are not enough bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So long at the most, in milliseconds; 0: not at all.
    UpTo(u32),
    /// Until there are enough.
    ForEver,
}

impl From<Option<Duration>> for Wait {
    /// `None` is without limit. A part of a millisecond counts as a whole one, so that only zero is no wait.
    fn from(wait: Option<Duration>) -> Self {
        let Some(wait) = wait else {
            return Self::ForEver;
        };
        let ms = wait.as_nanos().div_ceil(1_000_000);
        Self::UpTo(u32::try_from(ms).unwrap_or(FOR_EVER).min(FOR_EVER - 1))
    }
}

/// What a program asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Random bytes: `most` of them if there are so many, fewer if not, but not fewer than `least`.
    Take {
        /// 1 to `most`; for a request that waits no more than [`MAX_PATIENT_LEAST`].
        least: u32,
        /// Up to [`MAX_TAKE`].
        most: u32,
        /// How long it waits for `least` bytes.
        wait: Wait,
    },
    /// The status document.
    Status,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Another version.
    #[error("version {0} is not spoken here, only {VERSION}")]
    Version(u8),
    /// A kind or code that is not known.
    #[error("{0} is no kind of frame")]
    Kind(u8),
    /// What must be zero is not.
    #[error("what must be zero is not")]
    NotZero,
    /// Least, most and wait do not go together.
    #[error(
        "at least {least} and at most {most} bytes can't be asked for: 1 to {MAX_TAKE}, and no more than {MAX_PATIENT_LEAST} \
         at least by who waits"
    )]
    Amount {
        /// Bytes that must be there.
        least: u32,
        /// Bytes that are wanted.
        most: u32,
    },
    /// An answer is longer than any can be.
    #[error("an answer of {0} bytes is too long")]
    Length(u32),
}

impl Request {
    /// The one door for a request.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn new_checked(frame: &[u8; REQUEST_LEN]) -> Result<Self, Malformed> {
        check_head(frame)?;
        let [least, most, wait] =
            [field::LEAST, field::MOST, field::WAIT].map(|range| number(frame, range));
        match frame[field::KIND] {
            1 => {
                let wait = match wait {
                    FOR_EVER => Wait::ForEver,
                    ms => Wait::UpTo(ms),
                };
                let request = Self::Take { least, most, wait };
                let limit = if wait == Wait::UpTo(0) {
                    most
                } else {
                    most.min(MAX_PATIENT_LEAST)
                };
                if (1..=limit).contains(&least) && most <= MAX_TAKE {
                    Ok(request)
                } else {
                    Err(Malformed::Amount { least, most })
                }
            }
            2 if (least, most, wait) == (0, 0, 0) => Ok(Self::Status),
            2 => Err(Malformed::NotZero),
            kind => Err(Malformed::Kind(kind)),
        }
    }

    /// The request as a frame.
    #[must_use]
    pub fn frame(self) -> [u8; REQUEST_LEN] {
        let mut frame = [0; REQUEST_LEN];
        frame[field::VERSION] = VERSION;
        match self {
            Self::Take { least, most, wait } => {
                frame[field::KIND] = 1;
                frame[field::LEAST].copy_from_slice(&least.to_be_bytes());
                frame[field::MOST].copy_from_slice(&most.to_be_bytes());
                let wait = match wait {
                    Wait::UpTo(ms) => ms,
                    Wait::ForEver => FOR_EVER,
                };
                frame[field::WAIT].copy_from_slice(&wait.to_be_bytes());
            }
            Self::Status => frame[field::KIND] = 2,
        }
        frame
    }
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Random bytes follow.
    Bytes,
    /// The status document follows.
    Document,
    /// There were not enough bytes in the time that the request allowed.
    Empty,
    /// A health test has failed for good: there are no bytes until an operator clears the alarm.
    Latched,
    /// The supply has failed, and the buffer is empty: the sources are latched, or the link was silent for too long.
    Stalled,
    /// The request was malformed; the connection ends.
    Malformed,
    /// There are as many connections or waiting requests as there may be; the connection ends.
    Busy,
    /// This user may not ask; the connection ends.
    Forbidden,
    /// This user has had all bytes that it may have today (UTC).
    Quota,
}

/// Every code, in the order of their numbers.
const CODES: [Code; 9] = [
    Code::Bytes,
    Code::Document,
    Code::Empty,
    Code::Latched,
    Code::Stalled,
    Code::Malformed,
    Code::Busy,
    Code::Forbidden,
    Code::Quota,
];

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub code: Code,
    /// Bytes that follow.
    pub len: u32,
}

/// The longest status document, in bytes.
pub const MAX_DOCUMENT: u32 = 1 << 20;

impl Answer {
    /// The one door for an answer's head.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn new_checked(frame: &[u8; ANSWER_LEN]) -> Result<Self, Malformed> {
        check_head(frame)?;
        let number_of_code = frame[field::CODE];
        let code = CODES.get(usize::from(number_of_code)).copied();
        let code = code.ok_or(Malformed::Kind(number_of_code))?;
        let len = number(frame, field::LENGTH);
        let limit = match code {
            Code::Bytes => MAX_TAKE,
            Code::Document => MAX_DOCUMENT,
            _ => 0,
        };
        if len > limit {
            return Err(Malformed::Length(len));
        }
        Ok(Self { code, len })
    }

    /// The head as a frame.
    #[must_use]
    pub fn frame(self) -> [u8; ANSWER_LEN] {
        let mut frame = [0; ANSWER_LEN];
        frame[field::VERSION] = VERSION;
        // One of a few, so the number fits.
        frame[field::CODE] = CODES
            .iter()
            .position(|&code| code == self.code)
            .unwrap_or_default() as u8;
        frame[field::LENGTH].copy_from_slice(&self.len.to_be_bytes());
        frame
    }
}

/// What requests and answers have in common.
fn check_head(frame: &[u8]) -> Result<(), Malformed> {
    if frame[field::VERSION] != VERSION {
        return Err(Malformed::Version(frame[field::VERSION]));
    }
    if frame[field::ZERO] != [0, 0] {
        return Err(Malformed::NotZero);
    }
    Ok(())
}

fn number(frame: &[u8], range: std::ops::Range<usize>) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&frame[range]);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
