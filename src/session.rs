//! Sessions: how packets are sealed and opened.
//!
//! ```text
//!  collector                                                     gateway
//!  HPKE encapsulation to the gateway's key, bound to PSK,
//!  key id and epoch ──── announcement, once a second ──────────> MAC under the PSK, then decapsulation
//!        │ export                                                      │ export
//!       S_0 ── ratchet ── step keys                                   S_0 ── ratchet ── step keys
//!                             │ seal                                                       │ open
//!  random bytes ──────────> data packets ──────────────────────> MAC, AEAD ──────────────> random bytes
//! ```
//!
//! HPKE is RFC 9180 in mode PSK, used for its exported secret alone (section 5.3). One session has one epoch, one
//! sequence that counts from 0, and ends after [`SESSION_STEPS`] steps of [`STEP_PACKETS`] packets.

use crate::keys::{CollectorKey, GatewayKey, KeyId, announcement_mac};
use crate::mac::Mac;
use crate::packet::{
    self, ANNOUNCEMENT_LEN, Announcement, Content, ENCAPSULATION_LEN, EpochTag, Id, MAX_DATA,
    MIN_DATA, OVERHEAD, SLOTS, field,
};
use crate::report::Kinds;
use rand_core::CryptoRng;
use ratchet::{Chain, StepKeys, step_of};
use thiserror::Error;

mod opener;
mod ratchet;
pub(crate) mod suite;

pub use opener::{Opener, Refusal};
/// Packets whose HMACs are best calculated side by side.
pub use qrng_simd::sha256::ROW;
pub use ratchet::{SESSION_STEPS, STEP_PACKETS, STEPS_AHEAD};

/// First sequence number with which a session counts as spent.
const SPENT_AT: u64 = SESSION_STEPS * STEP_PACKETS;
/// Sequence numbers of a session lie below this: one step more, so that a batch under way can end.
const END: u64 = SPENT_AT + STEP_PACKETS;

/// Why a session could not be started or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The gateway slot does not fit in the packet's id.
    #[error("gateway slot {0} is not below 4096")]
    Slot(u16),
    /// The KEM refused a key or an encapsulation.
    #[error("the session's key could not be agreed on; do both ends have the same pair of keys?")]
    Kem,
    /// Bytes of a length that no packet can have.
    #[error("a packet carries 17 to 1375 bytes, not {0}")]
    DataLength(usize),
    /// Bytes that come from no noise source.
    #[error("random bytes need at least one kind of noise source")]
    NoKinds,
    /// The output buffer is shorter than the datagram.
    #[error("the datagram has {needed} bytes, and there is room for {room}")]
    NoRoom {
        /// Length of the datagram.
        needed: usize,
        /// Length of the buffer.
        room: usize,
    },
    /// The session has sealed all the packets that it may.
    #[error("the session is spent; start one with a newer epoch")]
    Spent,
    /// The announcement's HMAC is wrong.
    #[error("the announcement is not authentic")]
    Forged,
    /// The announcement is authentic, and yet its id does not belong to the session's secret.
    #[error("the announcement contradicts the session's secret")]
    Contradiction,
}

/// The collector's end of a session with one gateway.
pub struct Sealer {
    key_id: KeyId,
    announcement_mac: Mac,
    encapsulation: Box<[u8; ENCAPSULATION_LEN]>,
    epoch: u64,
    tag: EpochTag,
    slot: u16,
    next: u64,
    chain: Chain,
    keys: Box<StepKeys>,
}

impl Sealer {
    /// Starts a session: one encapsulation, about 0.3 ms.
    ///
    /// `epoch` must be greater than that of every session before with this key, also across restarts: the gateway
    /// takes nothing else for new. `slot` tells this collector's gateways apart.
    ///
    /// # Errors
    /// [`SessionError::Slot`] or [`SessionError::Kem`].
    pub fn start(
        key: &CollectorKey,
        slot: u16,
        epoch: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SessionError> {
        if slot >= SLOTS {
            return Err(SessionError::Slot(slot));
        }
        let (encapsulation, s0) = suite::send(key, epoch, rng)?;
        let tag = ratchet::epoch_tag(&s0);
        let mut chain = Chain::new(s0);
        Ok(Sealer {
            key_id: key.key_id(),
            announcement_mac: announcement_mac(&key.psk),
            encapsulation: Box::new(encapsulation),
            epoch,
            tag,
            slot,
            next: 0,
            keys: chain.next(),
            chain,
        })
    }

    /// The session's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The pair of keys it was started with.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The gateway's slot.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// The sequence number of the next data packet.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Tells whether it is time to start a session with a newer epoch: after 2^34 packets.
    /// Another 65536 packets can be sealed from then on.
    #[must_use]
    pub fn spent(&self) -> bool {
        self.next >= SPENT_AT
    }

    /// Writes the announcement, due at the start and once a second.
    pub fn announce(&self, now_us: u64, out: &mut [u8; ANNOUNCEMENT_LEN]) {
        let (id, epoch) = (self.id(self.next), self.epoch);
        packet::write_announcement(out, id, now_us, self.key_id, epoch, &self.encapsulation);
        let (signed, mac) = out.split_at_mut(ANNOUNCEMENT_LEN - field::MAC_LEN);
        mac.copy_from_slice(&self.announcement_mac.sign(signed));
    }

    /// Seals `bytes` into a datagram at the start of `out`, and returns its length: `bytes.len() + 1 + OVERHEAD`.
    ///
    /// # Errors
    /// [`SessionError`] if the length or the kinds can't travel, `out` is too short, or the session is spent.
    /// No sequence number is used up then.
    pub fn seal(
        &mut self,
        now_us: u64,
        content: Content,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SessionError> {
        let needed = self.encrypt(self.next, now_us, content, bytes, out)?;
        let (signed, mac) = out[..needed].split_at_mut(needed - field::MAC_LEN);
        mac.copy_from_slice(&self.keys.mac.sign(signed));
        self.next += 1;
        Ok(needed)
    }

    /// Seals `bytes` in pieces of `piece` bytes into datagrams one behind the other at the start of `out`, and returns
    /// the length of all; the last piece may be shorter. The same datagrams as [`Sealer::seal`] makes, for less time.
    ///
    /// # Errors
    /// As [`Sealer::seal`]. The sequence numbers of the datagrams sealed before are used up then.
    pub fn seal_train(
        &mut self,
        now_us: u64,
        content: Content,
        bytes: &[u8],
        piece: usize,
        out: &mut [u8],
    ) -> Result<usize, SessionError> {
        if piece == 0 {
            return Err(SessionError::DataLength(0));
        }
        let mut sealed = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let out = &mut out[sealed..];
            let room = out.len() / piece.saturating_add(1 + OVERHEAD);
            let count = self.row_next(room.min(rest.len() / piece));
            let taken = if count > 1 {
                sealed += self.seal_row(now_us, content, &rest[..count * piece], piece, out)?;
                count * piece
            } else {
                let taken = piece.min(rest.len());
                sealed += self.seal(now_us, content, &rest[..taken], out)?;
                taken
            };
            rest = &rest[taken..];
        }
        Ok(sealed)
    }

    /// How many of the next packets, at most `wanted`, make a row: they have the same keys.
    fn row_next(&self, wanted: usize) -> usize {
        let same_keys = STEP_PACKETS - self.next % STEP_PACKETS;
        let same_keys = usize::try_from(same_keys).unwrap_or(usize::MAX);
        wanted.min(ROW).min(same_keys)
    }

    /// Seals at most [`ROW`] pieces of `piece` bytes, for which there is room, and whose packets have the same keys.
    fn seal_row(
        &mut self,
        now_us: u64,
        content: Content,
        bytes: &[u8],
        piece: usize,
        out: &mut [u8],
    ) -> Result<usize, SessionError> {
        let length = piece + 1 + OVERHEAD;
        let mut count = 0;
        for (sequence, bytes) in (self.next..).zip(bytes.chunks(piece)) {
            let room = &mut out[count * length..];
            self.encrypt(sequence, now_us, content, bytes, room)?;
            count += 1;
        }
        let mut signed = [&[][..]; ROW];
        for (signed, datagram) in signed.iter_mut().zip(out.chunks(length)).take(count) {
            *signed = &datagram[..length - field::MAC_LEN];
        }
        let mut macs = [[0; Mac::LEN]; ROW];
        self.keys.mac.sign_row(&signed[..count], &mut macs);
        for (datagram, mac) in out.chunks_mut(length).zip(macs).take(count) {
            datagram[length - field::MAC_LEN..length].copy_from_slice(&mac);
        }
        self.next += count as u64;
        Ok(count * length)
    }

    /// Writes a datagram but for its HMAC at the start of `out`, and returns the length of all of it.
    fn encrypt(
        &mut self,
        sequence: u64,
        now_us: u64,
        content: Content,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SessionError> {
        let plain_len = bytes.len().saturating_add(1);
        if !(MIN_DATA..=MAX_DATA).contains(&plain_len) {
            return Err(SessionError::DataLength(bytes.len()));
        }
        if content == Content::Bytes(Kinds::NONE) {
            return Err(SessionError::NoKinds);
        }
        let (needed, room) = (plain_len + OVERHEAD, out.len());
        let out = out.get_mut(..needed);
        let out = out.ok_or(SessionError::NoRoom { needed, room })?;
        if sequence >= END {
            return Err(SessionError::Spent);
        }
        while self.chain.step() <= step_of(sequence) {
            self.keys = self.chain.next();
        }
        packet::write_data_head(out, self.id(sequence), now_us);
        let (header, rest) = out.split_at_mut(field::DATA);
        let (text, rest) = rest.split_at_mut(plain_len);
        text[0] = content.to_byte();
        text[1..].copy_from_slice(bytes);
        let tag = self.keys.encrypt(sequence, header, text);
        let tag = tag.ok_or(SessionError::DataLength(bytes.len()))?;
        rest[..field::TAG_LEN].copy_from_slice(&tag);
        packet::write_data_tail(out);
        Ok(needed)
    }

    fn id(&self, sequence: u64) -> Id {
        Id {
            tag: self.tag,
            slot: self.slot,
            sequence,
        }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("key_id", &self.key_id)
            .field("epoch", &self.epoch)
            .field("slot", &self.slot)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl GatewayKey {
    /// Tells, in constant time, whether the announcement was made by somebody who has this PSK.
    #[must_use]
    pub fn verifies(&self, announcement: &Announcement<'_>) -> bool {
        let (signed, mac) = announcement.signed();
        self.announcement_mac.verify(signed, mac)
    }
}

#[cfg(test)]
mod tests;
