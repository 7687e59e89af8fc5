//! The sessions that packets are taken from: two epochs a key.

use super::{MAX_AGE_US, MAX_AHEAD_US, Reject};
use qrng::keys::{GatewayKey, KeyId};
use qrng::packet::{Announcement, Id};
use qrng::replay::{WINDOW, Window};
use qrng::session::{Opener, SessionError};

/// What may be said about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The pair of keys.
    pub key_id: KeyId,
    /// The session's epoch.
    pub epoch: u64,
    /// The slot that the collector gave this gateway.
    pub slot: u16,
    /// The ratchet's step.
    pub step: u64,
    /// The newest sequence number seen + 1, or the announced one before the first packet.
    pub next_sequence: u64,
    /// When its first announcement was accepted, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// When its last data packet was committed.
    pub last_packet_us: Option<u64>,
}

/// A session and its window.
pub(super) struct Known {
    pub opener: Opener,
    pub window: Window,
    announced_us: u64,
    announced_sequence: u64,
    started_us: u64,
    last_packet_us: Option<u64>,
}

impl Known {
    pub fn start(
        key: &GatewayKey,
        announcement: &Announcement<'_>,
        now_us: u64,
    ) -> Result<Self, SessionError> {
        let sequence = announcement.id().sequence;
        Ok(Known {
            opener: Opener::start(key, announcement)?,
            window: Window::starting_at(sequence),
            announced_us: announcement.timestamp_us(),
            announced_sequence: sequence,
            started_us: now_us,
            last_packet_us: None,
        })
    }

    /// Marks a verified packet as seen; returns how many numbers turned out lost.
    pub fn commit(&mut self, sequence: u64, now_us: u64) -> u64 {
        let lost = self.window.commit(sequence);
        let oldest = self.window.next().saturating_sub(WINDOW);
        self.opener.commit(sequence, oldest);
        self.last_packet_us = Some(now_us);
        lost
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            key_id: self.opener.key_id(),
            epoch: self.opener.epoch(),
            slot: self.opener.slot(),
            step: self.opener.step(),
            next_sequence: self.window.next(),
            started_us: self.started_us,
            last_packet_us: self.last_packet_us,
        }
    }
}

/// A key and its sessions: the newest, and the one before for packets that overtook each other.
pub(super) struct Slot {
    pub key: GatewayKey,
    newest: Option<Known>,
    previous: Option<Known>,
}

impl Slot {
    /// Tells whether an announcement, not yet verified, repeats the newest session (true) or starts one (false).
    pub fn is_repeated(&self, announcement: &Announcement<'_>) -> Result<bool, Reject> {
        let Some(newest) = &self.newest else {
            return Ok(false);
        };
        if announcement.epoch() > newest.opener.epoch() {
            return Ok(false);
        }
        if announcement.epoch() < newest.opener.epoch() {
            return Err(Reject::OldEpoch);
        }
        if !newest.opener.owns(announcement.id()) {
            return Err(Reject::SessionRefused);
        }
        // Either will do: the sequence stands still while there are no bytes, the clock may have been set back.
        let newer = announcement.timestamp_us() > newest.announced_us
            || announcement.id().sequence > newest.announced_sequence;
        if newer {
            Ok(true)
        } else {
            Err(Reject::OldAnnouncement)
        }
    }

    /// Takes note of a verified announcement of the newest session. Once every packet of the session before has expired,
    /// its keys are wiped; returns how many numbers were lost in it.
    pub fn repeat(&mut self, announcement: &Announcement<'_>, now_us: u64) -> u64 {
        let Some(newest) = &mut self.newest else {
            return 0;
        };
        newest.announced_us = newest.announced_us.max(announcement.timestamp_us());
        newest.announced_sequence = newest.announced_sequence.max(announcement.id().sequence);
        newest.opener.advance(announcement);
        let lifetime = MAX_AGE_US + MAX_AHEAD_US;
        if now_us.saturating_sub(newest.started_us) <= lifetime {
            return 0;
        }
        lost_in(self.previous.take())
    }

    /// Starts a session; returns how many numbers were lost in the one that goes.
    pub fn replace(&mut self, known: Known) -> u64 {
        lost_in(std::mem::replace(
            &mut self.previous,
            self.newest.replace(known),
        ))
    }
}

/// Numbers that will never come, the session being over.
fn lost_in(gone: Option<Known>) -> u64 {
    gone.map_or(0, |gone| gone.window.outstanding())
}

/// The sessions of every key.
pub(super) struct Sessions(Vec<Slot>);

impl Sessions {
    pub fn new(keys: Vec<GatewayKey>) -> Self {
        let slot = |key| Slot {
            key,
            newest: None,
            previous: None,
        };
        Sessions(keys.into_iter().map(slot).collect())
    }

    pub fn of_key(&mut self, id: KeyId) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.key.key_id() == id)
    }

    /// The session that a data packet claims to belong to.
    pub fn of_packet(&mut self, id: Id) -> Option<&mut Known> {
        let known = self
            .0
            .iter_mut()
            .flat_map(|slot| [&mut slot.newest, &mut slot.previous]);
        known.flatten().find(|known| known.opener.owns(id))
    }

    pub fn infos(&self) -> impl Iterator<Item = SessionInfo> {
        let known = self
            .0
            .iter()
            .flat_map(|slot| [&slot.newest, &slot.previous]);
        known.flatten().map(Known::info)
    }
}
