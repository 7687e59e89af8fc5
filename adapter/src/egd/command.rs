//! The bytes of the protocol.
//!
//! ```text
//! command                       what it asks for               answer
//! 0                             how much entropy there is      4 bytes: bits, big endian
//! 1  n                          up to n bytes, at once         m, then m bytes
//! 2  n                          n bytes                        n bytes, when there are so many
//! 3  b b  n  n bytes            to take these in: b bits       none
//! 4                             whose process answers          m, then m digits
//! ```
//!
//! Every field is one byte, but b, which is two, big endian. Nothing else is a command.

/// The longest command: the third with 255 bytes.
pub(super) const MAX_LEN: usize = 4 + 255;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// How many bits there are.
    Count,
    /// Up to so many bytes, at once.
    ReadNow(u8),
    /// So many bytes.
    Read(u8),
    /// To take in so many bytes, which follow in the command.
    Add(u8),
    /// The number of the process.
    Pid,
}

/// A byte that begins no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) u8);

impl Command {
    /// The command that `bytes` begin with, and its length; `None` if more must come.
    ///
    /// # Errors
    /// They begin none.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<(Self, usize)>, Unknown> {
        let found = match *bytes {
            [] | [1 | 2] => None,
            [0, ..] => Some((Self::Count, 1)),
            [1, n, ..] => Some((Self::ReadNow(n), 2)),
            [2, n, ..] => Some((Self::Read(n), 2)),
            [3, ref rest @ ..] => match *rest {
                [_, _, n, ref data @ ..] if data.len() >= usize::from(n) => {
                    Some((Self::Add(n), 4 + usize::from(n)))
                }
                _ => None,
            },
            [4, ..] => Some((Self::Pid, 1)),
            [other, ..] => return Err(Unknown(other)),
        };
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_command_has_its_length() {
        let of = |bytes: &[u8]| Command::of(bytes).unwrap();
        assert_eq!(of(&[0, 9]), Some((Command::Count, 1)));
        assert_eq!(of(&[1, 9]), Some((Command::ReadNow(9), 2)));
        assert_eq!(of(&[2, 0]), Some((Command::Read(0), 2)));
        assert_eq!(of(&[4]), Some((Command::Pid, 1)));
        assert_eq!(of(&[3, 0, 16, 2, 7, 8, 0]), Some((Command::Add(2), 6)));
        let mut longest = vec![0; MAX_LEN];
        longest[..4].copy_from_slice(&[3, 0, 0, 255]);
        assert_eq!(of(&longest), Some((Command::Add(255), MAX_LEN)));
        for part in [&[][..], &[1], &[2], &[3], &[3, 0, 0], &[3, 0, 0, 1]] {
            assert_eq!(of(part), None, "{part:?}");
        }
        assert_eq!(Command::of(b"GET /"), Err(Unknown(b'G')));
        assert_eq!(Command::of(&[5]), Err(Unknown(5)));
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_what_there_is_or_than_a_command(bytes: Vec<u8>) {
            match Command::of(&bytes) {
                Ok(Some((_, len))) => prop_assert!(len <= bytes.len() && len <= MAX_LEN),
                Ok(None) => prop_assert!(bytes.len() < MAX_LEN),
                Err(Unknown(first)) => prop_assert!(first > 4),
            }
        }
    }
}
