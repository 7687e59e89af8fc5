//! The sessions that packets are taken from: two epochs a key.

use super::{MAX_AGE_US, MAX_AHEAD_US, Reject};
use qrng::keys::{Day, GatewayKey, KeyId};
use qrng::packet::{Announcement, Id};
use qrng::replay::{WINDOW, Window};
use qrng::session::{Opener, SessionError};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long a key is kept whose day is over by this end's clock alone.
const DOUBT: Duration = Duration::from_secs(3600);

/// What may be said about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The pair of keys.
    pub key_id: KeyId,
    /// The day that they are for, if they are of a calendar.
    pub day: Option<Day>,
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
    pub series: KeyId,
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
            series: key.series(),
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

    fn info(&self, key: &GatewayKey) -> SessionInfo {
        SessionInfo {
            day: key.day(),
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
    /// Since when the key is one of the past.
    past_since: Option<Instant>,
}

impl Slot {
    fn new(key: GatewayKey) -> Self {
        Slot {
            key,
            newest: None,
            previous: None,
            past_since: None,
        }
    }

    /// Whether nobody needs the key any more: its day is over, every packet of it has expired, and either the collector's clock
    /// says so, too (`verified_us` is its last authentic timestamp), or it has been so for [`DOUBT`]. A clock that is
    /// wrong by a day must not cost a key at once.
    fn is_over(&mut self, now_us: u64, now: Instant, verified_us: Option<u64>) -> bool {
        let end_us = self.key.day().map(Day::end_us);
        let Some(end_us) = end_us.filter(|end_us| now_us > end_us.saturating_add(MAX_AGE_US))
        else {
            self.past_since = None;
            return false;
        };
        let since = *self.past_since.get_or_insert(now);
        verified_us.is_some_and(|at| at >= end_us) || now.saturating_duration_since(since) >= DOUBT
    }

    /// Numbers that will never come, both sessions being over.
    fn lost(&mut self) -> u64 {
        lost_in(self.newest.take()) + lost_in(self.previous.take())
    }

    /// The session that a packet claims to belong to.
    fn owner(&mut self, id: Id) -> Option<&mut Known> {
        let known = [&mut self.newest, &mut self.previous].into_iter().flatten();
        { known }.find(|known| known.opener.owns(id))
    }

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
pub(super) struct Sessions {
    slots: Vec<Slot>,
    /// Keys of days that are over and destroyed.
    past: HashSet<KeyId>,
    /// The slots that have a session: a packet is looked for in these alone, of which there are few.
    live: Vec<usize>,
}

impl Sessions {
    pub fn new(keys: Vec<GatewayKey>) -> Self {
        Sessions {
            slots: keys.into_iter().map(Slot::new).collect(),
            past: HashSet::new(),
            live: Vec::new(),
        }
    }

    /// Makes `keys` the only ones, and `past` those that were destroyed. The sessions of keys that stay go on; returns how
    /// many numbers were lost in the others.
    pub fn install(&mut self, keys: Vec<GatewayKey>, past: HashSet<KeyId>) -> u64 {
        let mut before = std::mem::replace(self, Sessions::new(keys));
        self.past = past;
        for slot in &mut self.slots {
            let id = slot.key.key_id();
            if let Some(old) = before.slots.iter_mut().find(|old| old.key.key_id() == id) {
                (slot.newest, slot.previous) = (old.newest.take(), old.previous.take());
                slot.past_since = old.past_since;
            }
        }
        self.find_live();
        before.slots.iter_mut().map(Slot::lost).sum()
    }

    /// Forgets the keys that are over, with their sessions; returns which, and how many numbers were lost in these.
    pub fn destroy_past(
        &mut self,
        now_us: u64,
        now: Instant,
        verified_us: Option<u64>,
    ) -> (Vec<Destroyed>, u64) {
        let over = |slot: &mut Slot| slot.is_over(now_us, now, verified_us);
        let mut gone: Vec<Slot> = self.slots.extract_if(.., over).collect();
        if gone.is_empty() {
            return (Vec::new(), 0);
        }
        self.find_live();
        let lost = gone.iter_mut().map(Slot::lost).sum();
        let destroyed = gone.iter().filter_map(|slot| {
            Some(Destroyed {
                key_id: slot.key.key_id(),
                series: slot.key.series(),
                day: slot.key.day()?,
            })
        });
        let destroyed: Vec<_> = destroyed.collect();
        self.past.extend(destroyed.iter().map(|gone| gone.key_id));
        (destroyed, lost)
    }

    /// The slot of a key, to be [`Sessions::find_live`] after it got its first session.
    pub fn of_key(&mut self, id: KeyId) -> Result<&mut Slot, Reject> {
        let slot = self.slots.iter_mut().find(|slot| slot.key.key_id() == id);
        slot.ok_or(if self.past.contains(&id) {
            Reject::PastKey
        } else {
            Reject::UnknownKey
        })
    }

    /// Finds out which slots have a session.
    pub fn find_live(&mut self) {
        let slots = self.slots.iter().enumerate();
        self.live = slots
            .filter(|(_, slot)| slot.newest.is_some())
            .map(|(index, _)| index)
            .collect();
    }

    /// The session that a data packet claims to belong to.
    pub fn of_packet(&mut self, id: Id) -> Option<&mut Known> {
        // The newest day's keys come last, and most packets are theirs.
        let index = self.live.iter().rev().copied();
        let index = { index }.find(|&index| self.slots[index].owner(id).is_some())?;
        self.slots[index].owner(id)
    }

    pub fn infos(&self) -> impl Iterator<Item = SessionInfo> {
        let slots = self.live.iter().map(|&index| &self.slots[index]);
        let known = slots.flat_map(|slot| {
            let both = [&slot.newest, &slot.previous];
            both.map(|known| known.as_ref().map(|known| known.info(&slot.key)))
        });
        known.flatten()
    }
}

/// A key whose day is over, which is no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// The key.
    pub key_id: KeyId,
    /// What names all keys of its calendar.
    pub series: KeyId,
    /// Its day.
    pub day: Day,
}
