//! Keys and key files.
//!
//! A pair of files joins one collector to one gateway. Both hold the same pre-shared key (PSK); the gateway's holds the
//! X-Wing private key besides, the collector's the public key. The key id names the pair: it is computed from both keys
//! of it, so two files of one id belong together.
//!
//! ```text
//! # Comments and empty lines are passed over.
//! format qrng-key-1
//! role gateway
//! key-id 1f2e3d4c
//! private-key 64 hex digits        (role collector: public-key 2432 hex digits)
//! psk 64 hex digits
//! ```
//!
//! Or of many pairs, one a day: [`CalendarDay`] and `src/keys/calendar.rs`.
//!
//! | Derived | How |
//! |---|---|
//! | key id | first 4 bytes of HMAC-SHA256(PSK, `qrng key id` and the public key) |
//! | key of announcements | HMAC-SHA256(PSK, `qrng announcement`) |

use crate::mac::Mac;
use crate::session::suite;
use rand_core::CryptoRng;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

mod calendar;
mod day;
mod file;

pub use calendar::{
    CalendarDay, CalendarFiles, CollectorKeys, ERASED, GatewayKeys, MOST_DAYS, ends_soon,
    generate_calendar,
};
pub use day::{Day, NoDay};

const PSK_LEN: usize = 32;
const PRIVATE_LEN: usize = 32;
const PUBLIC_LEN: usize = 1216;

/// The name of a pair of keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 4]);

impl KeyId {
    fn derive(psk: &[u8; PSK_LEN], public: &[u8]) -> Self {
        let message = [b"qrng key id", public].concat();
        let [a, b, c, d, ..] = Mac::new(psk).sign(&message);
        KeyId([a, b, c, d])
    }
}

impl KeyId {
    /// The id as a number, whose eight hexadecimal digits are its text.
    #[must_use]
    pub fn to_number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// The id from its number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        KeyId(number.to_be_bytes())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Which end of the diode a key file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends; has the public key.
    Collector,
    /// Receives; has the private key.
    Gateway,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Role::Collector => "collector",
            Role::Gateway => "gateway",
        }
    }

    const fn key_name(self) -> &'static str {
        match self {
            Role::Collector => "public-key",
            Role::Gateway => "private-key",
        }
    }

    const fn key_len(self) -> usize {
        match self {
            Role::Collector => PUBLIC_LEN,
            Role::Gateway => PRIVATE_LEN,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key file can't be used. Never holds any part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The first entry is not the format's.
    #[error(
        "line {line}: this is no key file: it must begin with `format qrng-key-1`, or a calendar's with \
         `format qrng-calendar-1`; make one with `qrng keygen`"
    )]
    Format {
        /// Line number, from 1.
        line: usize,
    },
    /// A line is not `name value`.
    #[error("line {line}: expected a name and a value separated by a space")]
    Line {
        /// Line number, from 1.
        line: usize,
    },
    /// The name is unknown.
    #[error(
        "line {line}: `{name}` is not an entry of a {role}'s key file; remove the line, or make a new pair with `qrng keygen`"
    )]
    UnknownName {
        /// Line number, from 1.
        line: usize,
        /// The name found.
        name: String,
        /// The file's role.
        role: Role,
    },
    /// An entry is there twice.
    #[error("line {line}: `{name}` appears a second time; remove one of the two")]
    Twice {
        /// Line number, from 1.
        line: usize,
        /// The entry's name.
        name: &'static str,
    },
    /// An entry is missing.
    #[error("`{name}` is missing; make a new pair with `qrng keygen`")]
    Missing {
        /// The entry's name.
        name: &'static str,
    },
    /// The role is neither of the two.
    #[error("line {line}: the role must be `gateway` or `collector`")]
    Role {
        /// Line number, from 1.
        line: usize,
    },
    /// The file of the other end.
    #[error(
        "this is the {found}'s key file, and the {wanted}'s is needed: `qrng keygen` writes both; were they swapped?"
    )]
    Swapped {
        /// The role needed here.
        wanted: Role,
        /// The role that the file is for.
        found: Role,
    },
    /// A value is not hexadecimal, or has the wrong length.
    #[error(
        "line {line}: `{name}` must be {digits} hexadecimal digits; copy the file again, or make a new pair with `qrng keygen`"
    )]
    Hex {
        /// Line number, from 1.
        line: usize,
        /// The entry's name.
        name: &'static str,
        /// Digits that it must have.
        digits: usize,
    },
    /// A line of a calendar is not a day's.
    #[error(
        "line {line}: expected `day`, a date, a key id, a key and a pre-shared key, separated by one space each; \
         copy the file again, or make a new calendar with `qrng keygen --days N`"
    )]
    Day {
        /// Line number, from 1.
        line: usize,
    },
    /// A line of a calendar does not follow the one before.
    #[error(
        "line {line}: the days of a calendar follow one another without a gap, and are {MOST_DAYS} at most; \
         copy the file again, or make a new calendar with `qrng keygen --days N`"
    )]
    Days {
        /// Line number, from 1.
        line: usize,
    },
    /// A pre-shared key given by itself is not hexadecimal, or has the wrong length.
    #[error("a pre-shared key must be 64 hexadecimal digits")]
    Psk,
    /// A key that can't be one: all its bytes are equal, or the KEM refuses it.
    #[error("`{name}` is no usable key; make a new pair with `qrng keygen`")]
    Unusable {
        /// The entry's name.
        name: &'static str,
    },
    /// The keys are not those that the id was computed from.
    #[error(
        "the keys belong to key id {computed}, but the file says {stated}: it was damaged or edited; copy it again, or make a new pair with `qrng keygen`"
    )]
    Id {
        /// What the file says.
        stated: KeyId,
        /// What its keys give.
        computed: KeyId,
    },
}

/// The collector's half of a pair: seals for one gateway.
pub struct CollectorKey {
    pub(crate) public: suite::PublicKey,
    pub(crate) psk: Zeroizing<[u8; PSK_LEN]>,
    id: KeyId,
    day: Option<Day>,
}

/// The gateway's half of a pair: opens what its collector seals. The secrets are boxed, so that moving it leaves no copy behind.
pub struct GatewayKey {
    private: Box<Zeroizing<[u8; PRIVATE_LEN]>>,
    pub(crate) psk: Box<Zeroizing<[u8; PSK_LEN]>>,
    pub(crate) announcement_mac: Mac,
    id: KeyId,
    day: Option<Day>,
    series: KeyId,
}

impl CollectorKey {
    /// Reads the text of a collector's key file.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong in which line, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let file = file::parse(text, Role::Collector)?;
        let key = CollectorKey::new(&file.key, file.psk, None)?;
        check_id(file.id, key.id)?;
        Ok(key)
    }

    fn new(
        public: &[u8],
        psk: Zeroizing<[u8; PSK_LEN]>,
        day: Option<Day>,
    ) -> Result<Self, KeyError> {
        let name = "public-key";
        Ok(CollectorKey {
            id: KeyId::derive(&psk, public),
            public: suite::public_from_bytes(public).ok_or(KeyError::Unusable { name })?,
            psk,
            day,
        })
    }

    /// Replaces the pre-shared key. The key id changes with it.
    #[must_use]
    pub fn with_psk(self, psk: Zeroizing<[u8; PSK_LEN]>) -> Self {
        let id = KeyId::derive(&psk, &suite::public_to_bytes(&self.public));
        CollectorKey { psk, id, ..self }
    }

    /// The pair's name.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The day that it is for; none if it is for every day.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        self.day
    }
}

impl GatewayKey {
    /// Reads the text of a gateway's key file.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong in which line, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let file = file::parse(text, Role::Gateway)?;
        let unusable = KeyError::Unusable {
            name: "private-key",
        };
        let mut private = Box::new(Zeroizing::new([0; PRIVATE_LEN]));
        if file.key.len() != private.len() {
            return Err(unusable);
        }
        private.copy_from_slice(&file.key);
        let key = GatewayKey::new(private, file.psk).ok_or(unusable)?;
        check_id(file.id, key.id)?;
        Ok(key)
    }

    fn new(
        private: Box<Zeroizing<[u8; PRIVATE_LEN]>>,
        psk: Zeroizing<[u8; PSK_LEN]>,
    ) -> Option<Self> {
        let public = suite::public_of(&suite::private_from_bytes(&private)?);
        let id = KeyId::derive(&psk, &suite::public_to_bytes(&public));
        Some(GatewayKey {
            id,
            day: None,
            series: id,
            announcement_mac: announcement_mac(&psk),
            private,
            psk: Box::new(psk),
        })
    }

    /// Replaces the pre-shared key. The key id changes with it.
    #[must_use]
    pub fn with_psk(self, psk: Zeroizing<[u8; PSK_LEN]>) -> Self {
        match GatewayKey::new(self.private.clone(), psk) {
            Some(key) if self.day.is_none() => key,
            Some(key) => GatewayKey {
                day: self.day,
                series: self.series,
                ..key
            },
            // The private key was read once already, so it is readable.
            None => self,
        }
    }

    /// The pair's name.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The day that it is for; none if it is for every day.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        self.day
    }

    /// What names all keys of one calendar: the id of its first day, as the file has it. Of a key for every day its own id.
    #[must_use]
    pub fn series(&self) -> KeyId {
        self.series
    }

    /// The private key in the KEM's form; it wipes itself on drop.
    pub(crate) fn private(&self) -> Option<suite::PrivateKey> {
        suite::private_from_bytes(&self.private)
    }
}

impl fmt::Debug for CollectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectorKey({})", self.id)
    }
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayKey({})", self.id)
    }
}

/// The MAC of announcements: its key is one step away from the PSK, which HPKE uses too.
pub(crate) fn announcement_mac(psk: &[u8; PSK_LEN]) -> Mac {
    let key = Zeroizing::new(Mac::new(psk).sign(b"qrng announcement"));
    Mac::new(&key)
}

fn check_id(stated: KeyId, computed: KeyId) -> Result<(), KeyError> {
    if stated == computed {
        Ok(())
    } else {
        Err(KeyError::Id { stated, computed })
    }
}

/// Makes a new pair: the text of the gateway's file, the text of the collector's, and their key id.
pub fn generate(rng: &mut impl CryptoRng) -> (Zeroizing<String>, Zeroizing<String>, KeyId) {
    let mut psk = Zeroizing::new([0; PSK_LEN]);
    rng.fill_bytes(&mut *psk);
    let (private, public) = suite::key_pair(rng);
    let private = suite::private_to_bytes(&private);
    let public = suite::public_to_bytes(&public);
    let id = KeyId::derive(&psk, &public);
    let gateway = file::write(Role::Gateway, id, &*private, &psk);
    let collector = file::write(Role::Collector, id, &public, &psk);
    (gateway, collector, id)
}

/// Reads a pre-shared key of 64 hexadecimal digits, as the environment gives it.
///
/// # Errors
/// [`KeyError::Psk`] for anything else, [`KeyError::Unusable`] if all its bytes are equal.
pub fn parse_psk_hex(text: &str) -> Result<Zeroizing<[u8; PSK_LEN]>, KeyError> {
    let mut psk = Zeroizing::new([0; PSK_LEN]);
    file::read_hex(text.trim(), &mut *psk).ok_or(KeyError::Psk)?;
    if file::is_constant(&*psk) {
        return Err(KeyError::Unusable { name: "psk" });
    }
    Ok(psk)
}

#[cfg(test)]
mod tests;
