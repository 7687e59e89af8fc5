//! The text forms: how many bytes a record takes and how long its line is.

use qrng::record;

/// A text form of random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 256 bits in hexadecimal.
    Hex,
    /// 256 bits in base64.
    Base64,
    /// A version 4 UUID.
    Uuid,
}

impl Format {
    /// The longest line, in bytes with its newline.
    pub const MAX_LINE: usize = 65;

    /// Random bytes that one record takes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Hex | Self::Base64 => 32,
            Self::Uuid => 16,
        }
    }

    /// Bytes of one record's line with its newline.
    pub fn line(self) -> usize {
        match self {
            Self::Hex => 65,
            Self::Base64 => 45,
            Self::Uuid => 37,
        }
    }

    /// Writes the records of `claim` as lines to the front of `text` and returns their length in bytes.
    pub(super) fn write(self, claim: &crate::buffer::Claim<'_>, text: &mut [u8]) -> usize {
        let mut at = 0;
        let mut line = |line: &[u8]| {
            text[at..at + line.len()].copy_from_slice(line);
            at += line.len();
        };
        match self {
            Self::Hex => claim.for_each_unit(|bytes| line(&record::hex(bytes))),
            Self::Base64 => claim.for_each_unit(|bytes| line(&record::base64(bytes))),
            Self::Uuid => claim.for_each_unit(|bytes| line(&record::uuid(bytes))),
        }
        at
    }
}
