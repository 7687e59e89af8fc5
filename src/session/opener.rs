//! The gateway's end of a session.

use super::ratchet::{self, NoKeys, Ratchet, step_of};
use super::{END, ROW, SessionError, suite};
use crate::keys::{GatewayKey, KeyId};
use crate::mac::Mac;
use crate::packet::{Announcement, Data, Id};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Why a data packet could not be opened. Nothing has changed then, the packet's bytes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its step's keys were wiped.
    #[error("the keys of the packet's step are gone")]
    TooOld,
    /// Its step is farther ahead than keys are derived for a packet that nobody has verified.
    #[error("the packet is too many steps ahead")]
    TooFarAhead,
    /// Its HMAC is wrong.
    #[error("the packet is not authentic")]
    Forged,
    /// Its HMAC is right and its AEAD tag is wrong.
    #[error("the packet is authentic, and yet can't be decrypted")]
    Undecryptable,
}

/// The gateway's end of a session: opens data packets and moves the ratchet.
///
/// It keeps no replay window: the caller checks the window before [`Opener::open`], and calls [`Opener::commit`] after.
pub struct Opener {
    key_id: KeyId,
    epoch: u64,
    id: Id,
    ratchet: Ratchet,
}

impl Opener {
    /// Joins the session that `announcement` starts, at the sequence number that it names.
    ///
    /// The HMAC is verified first; then comes the decapsulation, about 0.6 ms, and the way to the announced step,
    /// about 1 us a step and at most a third of a second.
    ///
    /// # Errors
    /// [`SessionError::Forged`], [`SessionError::Kem`], or [`SessionError::Contradiction`].
    pub fn start(key: &GatewayKey, announcement: &Announcement<'_>) -> Result<Self, SessionError> {
        if !key.verifies(announcement) {
            return Err(SessionError::Forged);
        }
        let id = announcement.id();
        let s0 = suite::receive(key, announcement.epoch(), announcement.encapsulation())?;
        if ratchet::epoch_tag(&s0) != id.tag || id.sequence > END {
            return Err(SessionError::Contradiction);
        }
        let mut opener = Opener {
            key_id: key.key_id(),
            epoch: announcement.epoch(),
            id,
            ratchet: Ratchet::new(s0),
        };
        opener.advance(announcement);
        Ok(opener)
    }

    /// The pair of keys.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The session's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The slot that the collector gave this gateway.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.id.slot
    }

    /// The newest step that an authentic packet was in.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.ratchet.newest()
    }

    /// Tells whether a packet or an announcement with `id` claims to belong to this session.
    #[must_use]
    pub fn owns(&self, id: Id) -> bool {
        id.tag == self.id.tag && id.slot == self.id.slot
    }

    /// Moves to the step that a later announcement of this session names.
    ///
    /// The announcement must have been verified. One that names an earlier step, or that is not of this session,
    /// changes nothing.
    pub fn advance(&mut self, announcement: &Announcement<'_>) {
        let id = announcement.id();
        if self.owns(id) && announcement.epoch() == self.epoch && id.sequence <= END {
            // Packets of the step before may still be under way.
            let step = step_of(id.sequence);
            self.ratchet.advance(step, step.saturating_sub(1));
        }
    }

    /// Compares the HMACs of at most [`ROW`] packets side by side, in much less time than one after the other, for
    /// [`Opener::open`] to find. Changes nothing else; leaves out those that are not of this session, or that differ from
    /// the first one in length or step, and all if the keys of its step are not there yet.
    pub fn compare_row<'r, 'd: 'r>(&self, row: impl Iterator<Item = &'r mut Data<'d>>) {
        let mut row = row.peekable();
        let Some(first) = row.peek() else {
            return;
        };
        let (step, length) = (step_of(first.id().sequence), first.signed().0.len());
        let Some(keys) = self.ratchet.present(step) else {
            return;
        };
        let alike = |data: &Data<'_>| {
            let (id, signed) = (data.id(), data.signed().0);
            self.owns(id) && step_of(id.sequence) == step && signed.len() == length
        };
        let mut alike = row.filter(|data| alike(data));
        let mut same: [_; ROW] = std::array::from_fn(|_| alike.next());
        let (mut signed, mut count) = ([&[][..]; ROW], 0);
        for (signed, data) in signed.iter_mut().zip(same.iter().flatten()) {
            *signed = data.signed().0;
            count += 1;
        }
        let mut macs = [[0; Mac::LEN]; ROW];
        keys.mac.sign_row(&signed[..count], &mut macs);
        for (data, mac) in same.iter_mut().flatten().zip(macs) {
            data.set_authentic(mac.ct_eq(data.signed().1).into());
        }
    }

    /// Verifies a packet's HMAC in constant time, unless [`Opener::compare_row`] has, then decrypts it where it lies.
    ///
    /// # Errors
    /// [`Refusal`]; the bytes are untouched then, unless it is [`Refusal::Undecryptable`].
    pub fn open<'d>(&mut self, data: Data<'d>) -> Result<&'d mut [u8], Refusal> {
        let sequence = data.id().sequence;
        let keys = self.ratchet.keys(step_of(sequence));
        let keys = keys.map_err(|none| match none {
            NoKeys::Gone => Refusal::TooOld,
            NoKeys::TooFarAhead => Refusal::TooFarAhead,
        })?;
        let authentic = data.authentic().unwrap_or_else(|| {
            let (signed, mac) = data.signed();
            keys.mac.verify(signed, mac)
        });
        if !authentic {
            return Err(Refusal::Forged);
        }
        let (header, sealed) = data.into_sealed();
        let text = keys.decrypt(sequence, header, sealed);
        text.ok_or(Refusal::Undecryptable)
    }

    /// Moves the ratchet to a packet that [`Opener::open`] opened, and wipes the keys of the steps
    /// before that of `oldest`, the oldest number that the replay window reaches.
    pub fn commit(&mut self, sequence: u64, oldest: u64) {
        self.ratchet.advance(step_of(sequence), step_of(oldest));
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("key_id", &self.key_id)
            .field("epoch", &self.epoch)
            .field("slot", &self.id.slot)
            .field("step", &self.ratchet.newest())
            .finish_non_exhaustive()
    }
}
