//! The layout of the two datagrams, and the one checked door for untrusted bytes.
//!
//! Both are valid MessagePack, yet every offset is fixed: nothing is parsed before it is authenticated.
//! Integers are big-endian and use their full-width forms, so all packets of a run have one size.
//!
//! A data packet carries `n` bytes of plaintext, 18 to 1376, in `n + 96` bytes:
//!
//! ```text
//!   0        1        2                20              29               38        41        57+n      62+n      96+n
//!  ┌────────┬────────┬────────────────┬───────────────┬────────────────┬─────────┬─────────┬─────────┬─────────┐
//!  │ 97     │ 02     │ c4 10          │ cf            │ cf             │ c5      │ cipher- │ ce      │ c4 20   │
//!  │ array 7│ version│ id, UUIDv8     │ sequence      │ timestamp, us  │ n+16    │ text+tag│ CRC32   │ HMAC    │
//!  └────────┴────────┴────────────────┴───────────────┴────────────────┴─────────┴─────────┴─────────┴─────────┘
//!  └────────────────────── additional data of the AEAD ────────────────────────┘└── CRC ──┘
//!  └───────────────────────────── HMAC-SHA256 covers all before its own 32 bytes ───────────────────────┘
//! ```
//!
//! An announcement has 1214 bytes:
//!
//! ```text
//!   0        1        2           20          29          38        43        52        55              1175    1180   1214
//!  ┌────────┬────────┬───────────┬───────────┬───────────┬─────────┬─────────┬─────────┬───────────────┬───────┬───────┐
//!  │ 99     │ 02     │ c4 10     │ cf        │ cf        │ ce      │ cf      │ c5 0460 │ 1120 bytes    │ ce    │ c4 20 │
//!  │ array 9│ version│ id        │ next seq. │ timestamp │ key id  │ epoch   │         │ encapsulation │ CRC32 │ HMAC  │
//!  └────────┴────────┴───────────┴───────────┴───────────┴─────────┴─────────┴─────────┴───────────────┴───────┴───────┘
//! ```
//!
//! The id is a UUID version 8 (RFC 9562 section 5.8): 48 bits epoch tag, 4 bits version, 12 bits gateway slot,
//! 2 bits variant, 62 bits sequence. The CRC32 covers the data field's bytes (ciphertext and tag, or the
//! encapsulation): it tells a line error from an attack.

use crate::keys::KeyId;
use crate::report::Kinds;
use thiserror::Error;

mod write;

pub(crate) use write::{write_announcement, write_data_head, write_data_tail};

/// The protocol's version.
pub const VERSION: u8 = 2;
/// Bytes of a data packet besides its plaintext.
pub const OVERHEAD: usize = 96;
/// Length of an announcement.
pub const ANNOUNCEMENT_LEN: usize = 1214;
/// Smallest plaintext of a data packet, its content byte included.
pub const MIN_DATA: usize = 18;
/// Largest plaintext of a data packet, its content byte included: fills IPv4 over Ethernet.
pub const MAX_DATA: usize = 1376;
/// Plaintext of a data packet unless configured: fills IPv6 over Ethernet.
pub const DEFAULT_DATA: usize = 1356;
/// Length of the longest datagram.
pub const MAX_DATAGRAM: usize = MAX_DATA + OVERHEAD;
/// Length of the encapsulation in an announcement: X-Wing's.
pub const ENCAPSULATION_LEN: usize = 1120;
/// Gateway slots lie below this: the id has 12 bits for them.
pub const SLOTS: u16 = 1 << 12;
/// Sequence numbers lie below this: the id has 62 bits for them.
pub const SEQUENCES: u64 = 1 << 62;

/// Every offset and marker, named once.
pub(crate) mod field {
    use super::{ANNOUNCEMENT_LEN, ENCAPSULATION_LEN};

    pub const VERSION: usize = 1;
    pub const ID: usize = 4;
    pub const SEQUENCE: usize = 21;
    pub const TIMESTAMP: usize = 30;
    // A data packet goes on with:
    pub const DATA_LEN: usize = 39;
    pub const DATA: usize = 41;
    // An announcement goes on with:
    pub const KEY_ID: usize = 39;
    pub const EPOCH: usize = 44;
    pub const ENCAPSULATION: usize = 55;

    /// The AEAD's tag, at the end of the data field.
    pub const TAG_LEN: usize = 16;
    pub const MAC_LEN: usize = 32;
    /// From the end of the data field to the CRC32 itself, and to the HMAC's marker.
    pub const CRC_GAP: usize = 1;
    pub const MAC_GAP: usize = 5;

    /// What a MessagePack decoder needs between the fields: offset, bytes.
    pub const DATA_MARKERS: [(usize, &[u8]); 5] = [
        (0, &[0x97]),
        (2, &[0xc4, 16]),
        (20, &[0xcf]),
        (29, &[0xcf]),
        (38, &[0xc5]),
    ];
    pub const ANNOUNCEMENT_MARKERS: [(usize, &[u8]); 8] = [
        (0, &[0x99]),
        (2, &[0xc4, 16]),
        (20, &[0xcf]),
        (29, &[0xcf]),
        (38, &[0xce]),
        (43, &[0xcf]),
        (52, &[0xc5, 0x04, 0x60]),
        (ENCAPSULATION + ENCAPSULATION_LEN, &[0xce]),
    ];
    pub const CRC_MARKER: u8 = 0xce;
    pub const MAC_MARKER: [u8; 2] = [0xc4, 32];

    const _: () = assert!(
        ENCAPSULATION + ENCAPSULATION_LEN + MAC_GAP + MAC_MARKER.len() + MAC_LEN
            == ANNOUNCEMENT_LEN
    );
}

/// Why bytes are no datagram of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Too short, too long, or not the length that the packet itself states.
    #[error("wrong length")]
    Length,
    /// Another version of the protocol.
    #[error("unknown protocol version")]
    Version,
    /// A marker byte is not the one that belongs there.
    #[error("not the packet's shape")]
    Shape,
    /// The id is no UUIDv8, or contradicts the sequence number.
    #[error("the id contradicts the packet")]
    Id,
}

/// The session's name in every packet: 48 bits that only the two ends can compute beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochTag(pub(crate) [u8; 6]);

/// What a UUIDv8 of this protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The session.
    pub tag: EpochTag,
    /// Which of the collector's gateways this is for, below [`SLOTS`].
    pub slot: u16,
    /// The sequence number, below [`SEQUENCES`].
    pub sequence: u64,
}

impl Id {
    /// The 16 bytes of the UUID.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let [t0, t1, t2, t3, t4, t5] = self.tag.0;
        let [s0, s1] = (0x8000 | self.slot & (SLOTS - 1)).to_be_bytes();
        let [n0, n1, n2, n3, n4, n5, n6, n7] =
            (SEQUENCES << 1 | self.sequence & (SEQUENCES - 1)).to_be_bytes();
        [
            t0, t1, t2, t3, t4, t5, s0, s1, n0, n1, n2, n3, n4, n5, n6, n7,
        ]
    }

    /// Reads the UUID, if it is a version 8 one of the RFC 9562 variant.
    fn from_bytes(uuid: [u8; 16]) -> Option<Self> {
        let [t0, t1, t2, t3, t4, t5, s0, s1, n @ ..] = uuid;
        let slot = u16::from_be_bytes([s0, s1]);
        let sequence = u64::from_be_bytes(n);
        (slot >> 12 == 8 && sequence >> 62 == 2).then_some(Id {
            tag: EpochTag([t0, t1, t2, t3, t4, t5]),
            slot: slot & (SLOTS - 1),
            sequence: sequence & (SEQUENCES - 1),
        })
    }
}

/// What the plaintext of a data packet holds: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Random bytes, and the kinds of noise source that they come from.
    Bytes(Kinds),
    /// A [`crate::report::Report`].
    Report,
}

impl Content {
    const REPORT: u8 = 0x80;

    /// The content byte.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Content::Bytes(kinds) => kinds.bits(),
            Content::Report => Self::REPORT,
        }
    }

    /// Reads a content byte; [`None`] if this version does not know it.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        if byte == Self::REPORT {
            return Some(Content::Report);
        }
        Kinds::from_bits(byte).map(Content::Bytes)
    }
}

/// A datagram whose length and shape are right. Nothing of it is authentic yet.
#[derive(Debug)]
pub enum Datagram<'d> {
    /// Random bytes or a report.
    Data(Data<'d>),
    /// A session's start, repeated.
    Announcement(Announcement<'d>),
}

/// A data packet of the right length and shape.
pub struct Data<'d> {
    bytes: &'d mut [u8],
    id: Id,
    timestamp_us: u64,
    /// What came of comparing the HMAC, if that was done already.
    authentic: Option<bool>,
}

/// An announcement of the right length and shape.
pub struct Announcement<'d> {
    bytes: &'d [u8; ANNOUNCEMENT_LEN],
    id: Id,
    timestamp_us: u64,
    key_id: KeyId,
    epoch: u64,
}

impl<'d> Datagram<'d> {
    /// The one door for bytes from the network: checks length, version, every marker, and that the id agrees
    /// with the sequence number.
    ///
    /// # Errors
    /// [`Malformed`] names the first check that failed.
    pub fn new_checked(bytes: &'d mut [u8]) -> Result<Self, Malformed> {
        match (bytes.first(), bytes.get(field::VERSION)) {
            (None, _) | (_, None) => Err(Malformed::Length),
            (Some(0x97 | 0x99), Some(&version)) if version != VERSION => Err(Malformed::Version),
            (Some(0x97), _) => Data::new_checked(bytes).map(Datagram::Data),
            (Some(0x99), _) => Announcement::new_checked(bytes).map(Datagram::Announcement),
            _ => Err(Malformed::Shape),
        }
    }
}

impl<'d> Data<'d> {
    fn new_checked(bytes: &'d mut [u8]) -> Result<Self, Malformed> {
        let plain_len = bytes.len().checked_sub(OVERHEAD);
        let plain_len = plain_len.filter(|n| (MIN_DATA..=MAX_DATA).contains(n));
        let plain_len = plain_len.ok_or(Malformed::Length)?;
        check_markers(bytes, &field::DATA_MARKERS)?;
        let stated: [u8; 2] = array_at(bytes, field::DATA_LEN)?;
        if usize::from(u16::from_be_bytes(stated)) != plain_len + field::TAG_LEN {
            return Err(Malformed::Length);
        }
        let end = field::DATA + plain_len + field::TAG_LEN;
        let tail = bytes.get(end..).ok_or(Malformed::Length)?;
        if tail.first() != Some(&field::CRC_MARKER)
            || array_at(tail, field::MAC_GAP)? != field::MAC_MARKER
        {
            return Err(Malformed::Shape);
        }
        let (id, timestamp_us) = id_and_timestamp(bytes)?;
        Ok(Data {
            bytes,
            id,
            timestamp_us,
            authentic: None,
        })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// When it was sealed, in microseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_us(&self) -> u64 {
        self.timestamp_us
    }

    /// Tells whether the CRC32 is right. It protects against line errors only.
    #[must_use]
    pub fn crc_matches(&self) -> bool {
        let end = self.bytes.len() - (OVERHEAD - field::DATA - field::TAG_LEN);
        crc_matches(self.bytes, field::DATA..end)
    }

    /// What [`Data::set_authentic`] was told. Nobody has changed the bytes since: they are borrowed.
    pub(crate) fn authentic(&self) -> Option<bool> {
        self.authentic
    }

    /// Keeps what came of comparing the HMAC with that of the session which the id names.
    pub(crate) fn set_authentic(&mut self, authentic: bool) {
        self.authentic = Some(authentic);
    }

    /// The bytes that the HMAC covers, and the HMAC.
    pub(crate) fn signed(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.bytes.len() - field::MAC_LEN)
    }

    /// The additional data, and the ciphertext with its tag.
    pub(crate) fn into_sealed(self) -> (&'d [u8], &'d mut [u8]) {
        let sealed_len = self.bytes.len() - OVERHEAD + field::TAG_LEN;
        let (header, rest) = self.bytes.split_at_mut(field::DATA);
        (header, &mut rest[..sealed_len])
    }
}

impl<'d> Announcement<'d> {
    fn new_checked(bytes: &'d [u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; ANNOUNCEMENT_LEN] = bytes.try_into().map_err(|_| Malformed::Length)?;
        check_markers(bytes, &field::ANNOUNCEMENT_MARKERS)?;
        let mac = field::ENCAPSULATION + ENCAPSULATION_LEN + field::MAC_GAP;
        if array_at(bytes, mac)? != field::MAC_MARKER {
            return Err(Malformed::Shape);
        }
        let (id, timestamp_us) = id_and_timestamp(bytes)?;
        Ok(Announcement {
            bytes,
            id,
            timestamp_us,
            key_id: KeyId(array_at(bytes, field::KEY_ID)?),
            epoch: u64::from_be_bytes(array_at(bytes, field::EPOCH)?),
        })
    }

    /// The id; its sequence is the next one that the collector will use.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// When it was made, in microseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_us(&self) -> u64 {
        self.timestamp_us
    }

    /// Which pair of keys it is for.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The session's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells whether the CRC32 is right. It protects against line errors only.
    #[must_use]
    pub fn crc_matches(&self) -> bool {
        let end = field::ENCAPSULATION + ENCAPSULATION_LEN;
        crc_matches(self.bytes, field::ENCAPSULATION..end)
    }

    /// The KEM's ciphertext.
    pub(crate) fn encapsulation(&self) -> &'d [u8] {
        &self.bytes[field::ENCAPSULATION..field::ENCAPSULATION + ENCAPSULATION_LEN]
    }

    /// The bytes that the HMAC covers, and the HMAC.
    pub(crate) fn signed(&self) -> (&'d [u8], &'d [u8]) {
        self.bytes.split_at(ANNOUNCEMENT_LEN - field::MAC_LEN)
    }
}

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data")
            .field("id", &self.id)
            .field("timestamp_us", &self.timestamp_us)
            .field("len", &self.bytes.len())
            .finish()
    }
}

impl std::fmt::Debug for Announcement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcement")
            .field("id", &self.id)
            .field("timestamp_us", &self.timestamp_us)
            .field("key_id", &self.key_id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    let rest = bytes.get(at..).ok_or(Malformed::Length)?;
    rest.first_chunk().copied().ok_or(Malformed::Length)
}

fn check_markers(bytes: &[u8], markers: &[(usize, &[u8])]) -> Result<(), Malformed> {
    let matches = |(at, marker): &(usize, &[u8])| {
        bytes
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(marker))
    };
    if markers.iter().all(matches) {
        Ok(())
    } else {
        Err(Malformed::Shape)
    }
}

fn id_and_timestamp(bytes: &[u8]) -> Result<(Id, u64), Malformed> {
    let id = Id::from_bytes(array_at(bytes, field::ID)?).ok_or(Malformed::Id)?;
    if id.sequence != u64::from_be_bytes(array_at(bytes, field::SEQUENCE)?) {
        return Err(Malformed::Id);
    }
    let timestamp_us = u64::from_be_bytes(array_at(bytes, field::TIMESTAMP)?);
    Ok((id, timestamp_us))
}

/// Compares the CRC32 of `range` with the one that follows it.
fn crc_matches(bytes: &[u8], range: std::ops::Range<usize>) -> bool {
    let stated = array_at(bytes, range.end + field::CRC_GAP).map(u32::from_be_bytes);
    let covered = bytes.get(range).map(crc32fast::hash);
    covered.is_some() && covered == stated.ok()
}
