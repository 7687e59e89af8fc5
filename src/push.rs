//! Packets as the body of an HTTP request: the other way to a gateway, where no datagram gets through (docs/protocol.md).
//!
//! ```text
//! ┌─────────────────┬────────┬─────────────────┬────────┬──
//! │ length, u16,    │ packet │ length, u16,    │ packet │ ...
//! │ big-endian      │        │ big-endian      │        │
//! └─────────────────┴────────┴─────────────────┴────────┴──
//! ```
//!
//! Whoever takes a body looks at its frames alone. What a packet is worth only the gateway can tell, and it tells nobody.

use thiserror::Error;

use crate::packet::MAX_DATAGRAM;

/// Where bodies are posted to.
pub const PATH: &str = "/push";

/// The type of a body.
pub const MEDIA_TYPE: &str = "application/vnd.qrng.packets";

/// The longest body, in bytes: 180 full packets.
pub const BODY_MAX: usize = 256 * 1024;

/// Bytes of a packet's length.
pub const HEADER: usize = 2;

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Nothing in it.
    #[error("there is no packet in the body")]
    Empty,
    /// More than [`BODY_MAX`].
    #[error("the body has more than {BODY_MAX} bytes")]
    TooLong,
    /// A length that no packet has.
    #[error("at byte {at}: a packet has 1 to {MAX_DATAGRAM} bytes, and not {length}")]
    Length {
        /// Where in the body.
        at: usize,
        /// The length.
        length: usize,
    },
    /// The body ends within a length or a packet.
    #[error("at byte {at}: the body ends within a packet")]
    Cut {
        /// Where the packet begins.
        at: usize,
    },
}

/// Puts a packet behind those in `body`; false, and nothing is changed, if it does not fit or is no packet.
pub fn put(body: &mut Vec<u8>, packet: &[u8]) -> bool {
    let length = u16::try_from(packet.len()).unwrap_or(0);
    let fits = body.len() + HEADER + packet.len() <= BODY_MAX;
    if !fits || !(1..=MAX_DATAGRAM).contains(&usize::from(length)) {
        return false;
    }
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(packet);
    true
}

/// The packets in `body`, which is looked at whole before the first is given.
///
/// # Errors
/// It is no such body.
pub fn packets(body: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Malformed> {
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    if body.len() > BODY_MAX {
        return Err(Malformed::TooLong);
    }
    let mut rest = body;
    while !rest.is_empty() {
        let at = body.len() - rest.len();
        let (length, behind) = split(rest).ok_or(Malformed::Cut { at })?;
        if !(1..=MAX_DATAGRAM).contains(&length) {
            return Err(Malformed::Length { at, length });
        }
        rest = behind.get(length..).ok_or(Malformed::Cut { at })?;
    }
    let mut rest = body;
    Ok(std::iter::from_fn(move || {
        let (length, behind) = split(rest)?;
        let (packet, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(packet)
    }))
}

/// The first length, and what is behind it.
fn split(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, behind) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*length)), behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        Ok(packets(body)?.map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn a_body_is_its_packets_with_their_lengths() {
        let mut body = Vec::new();
        assert!(put(&mut body, b"one") && put(&mut body, b"the second"));
        assert_eq!(body, b"\x00\x03one\x00\x0athe second");
        assert_eq!(
            all(&body).unwrap(),
            [b"one".to_vec(), b"the second".to_vec()]
        );
    }

    #[test]
    fn what_is_no_body_is_refused_whole() {
        assert_eq!(all(b""), Err(Malformed::Empty));
        assert_eq!(all(&[0; BODY_MAX + 1]), Err(Malformed::TooLong));
        let (at, length) = (5, 0);
        assert_eq!(
            all(b"\x00\x03one\x00\x00"),
            Err(Malformed::Length { at, length })
        );
        let (at, length) = (0, 1473);
        let long = [&b"\x05\xc1"[..], &[7; 1473]].concat();
        assert_eq!(all(&long), Err(Malformed::Length { at, length }));
        assert_eq!(all(b"\x00\x03one\x00"), Err(Malformed::Cut { at: 5 }));
        assert_eq!(
            all(b"\x00\x03one\x00\x04two"),
            Err(Malformed::Cut { at: 5 })
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut body = Vec::new();
        assert!(!put(&mut body, b"") && !put(&mut body, &[0; MAX_DATAGRAM + 1]));
        assert!(!put(&mut body, &[0; 65_537]));
        let full = [1; MAX_DATAGRAM];
        let fitting = std::iter::repeat_with(|| put(&mut body, &full));
        let count = fitting.take_while(|fits| *fits).count();
        assert_eq!(count, BODY_MAX / (MAX_DATAGRAM + HEADER));
        assert_eq!(all(&body).unwrap().len(), count);
    }

    proptest! {
        #[test]
        fn any_bytes_are_packets_again_or_refused(body in proptest::collection::vec(any::<u8>(), 0..4096)) {
            if let Ok(packets) = all(&body) {
                let mut again = Vec::new();
                for packet in &packets {
                    prop_assert!(put(&mut again, packet));
                }
                prop_assert_eq!(again, body);
            }
        }

        #[test]
        fn packets_come_back(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..20)
        ) {
            let mut body = Vec::new();
            for packet in &packets {
                prop_assert!(put(&mut body, packet));
            }
            prop_assert_eq!(all(&body).unwrap(), packets);
        }
    }
}
