//! Admission: from a datagram to random bytes, or to the reason why not. Pure: bytes and time in, verdicts out.
//!
//! The checks run from cheap to dear, and nothing is trusted before it is verified:
//!
//! ```text
//!  data packet                                        announcement
//!  1 length, version, shape                           1 length, version, shape
//!  2 epoch tag: a session that is known?              2 key id: a key that is known, and not of the past?
//!  3 replay window: seen before, too old?             3 epoch: older than the newest session's?
//!  4 timestamp: between now - 300 s and now + 5 s,      same epoch: newer than the last announcement?
//!    beyond the restart bound?                        4 timestamp: between now - 300 s and now + 5 s?
//!  5 CRC32                                            5 CRC32
//!  6 step: keys there, not too far ahead? HMAC        6 HMAC under the pre-shared key
//!  7 AES-GCM opens                                    7 newer epoch: decapsulate; does the tag agree?
//!  8 restart bound moved on and written, if need be
//!  ─────────────── nothing has changed up to here ───────────────
//!  9 commit: window, ratchet, counts                  8 commit: session or ratchet, last announcement
//! 10 content known, report readable, source accepted?
//! ```
//!
//! A packet refused at step 10 is authentic, so its number is used up: it is not lost, and it can never be served
//! later, whatever the configuration says by then.
//!
//! **Restart.** What was accepted must not be accepted again by a gateway that has forgotten its windows. So before a
//! timestamp beyond the bound is accepted, the bound moves one second past it and is written; after a restart
//! only timestamps beyond the bound found on file are accepted. Announcements are exempt: they carry no random bytes, so
//! repeating one gives an attacker nothing, and the session is ready when the first packet beyond the bound comes.

use crate::admit::session::{Known, Sessions};
use qrng::keys::{GatewayKey, KeyId};
use qrng::packet::{Announcement, Content, Data, Datagram, Malformed};
use qrng::replay::Replay;
use qrng::report::{Kinds, Report};
use qrng::session::{ROW, Refusal, SessionError};
use std::collections::HashSet;
use std::io;
use std::time::Instant;

mod reject;
mod session;

pub use reject::Reject;
pub use session::{Destroyed, SessionInfo};

/// How far a timestamp may lie in the past, in microseconds.
pub const MAX_AGE_US: u64 = 300_000_000;
/// How far a timestamp may lie in the future, in microseconds.
pub const MAX_AHEAD_US: u64 = 5_000_000;
/// A clock difference worth an alarm, in microseconds.
pub const SKEW_ALARM_US: u64 = 30_000_000;
/// How far past a packet's timestamp the restart bound is moved, in microseconds.
pub const BOUND_AHEAD_US: u64 = 1_000_000;

/// The restart bound for a gateway that has none on file: whatever an earlier one accepted was at most
/// [`MAX_AHEAD_US`] ahead of the clock.
#[must_use]
pub fn first_bound(now_us: u64) -> u64 {
    now_us.saturating_add(MAX_AHEAD_US)
}

/// Where the restart bound is kept.
pub trait AdvanceBound {
    /// Writes the bound, so that a restart finds it.
    ///
    /// # Errors
    /// Any error; the packet that needed the bound is refused then.
    fn advance(&mut self, to_us: u64) -> io::Result<()>;
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub enum Admitted<'d> {
    /// Random bytes, decrypted in the receive buffer. Whoever takes them wipes them there.
    Bytes {
        /// The kinds of noise source that contributed.
        kinds: Kinds,
        /// The bytes.
        bytes: &'d mut [u8],
    },
    /// A collector's report.
    Report {
        /// The pair of keys, or what names all those of its calendar ([`GatewayKey::series`]): and so the collector.
        series: KeyId,
        /// The report.
        report: Report,
    },
    /// An announcement of a new session.
    SessionStarted {
        /// The pair of keys.
        key_id: KeyId,
        /// The session's epoch.
        epoch: u64,
        /// The slot that the collector gave this gateway.
        slot: u16,
    },
    /// An announcement of the session that is known already.
    Announced,
}

/// What was counted, besides the rejects, which the caller counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Data packets committed: random bytes, reports, and those refused for their content.
    pub committed: u64,
    /// Sequence numbers that left their window, or whose session ended, without having come.
    pub lost: u64,
    /// Announcements verified.
    pub announcements: u64,
    /// Sessions started.
    pub sessions: u64,
}

/// The gateway's verdict on datagrams.
pub struct Admit {
    sessions: Sessions,
    accept: Kinds,
    /// The bound on file at the start.
    floor_us: u64,
    /// The bound on file now.
    bound_us: u64,
    counts: Counts,
    verified: Option<Verified>,
}

/// A datagram that was looked at, and is still to be judged.
pub struct Looked<'d>(Result<Datagram<'d>, Malformed>);

/// When something was last verified.
#[derive(Clone, Copy)]
struct Verified {
    now_us: u64,
    timestamp_us: u64,
}

impl Admit {
    /// A gateway that has just started: `bound_us` is the restart bound on file, or [`first_bound`] if there is none.
    ///
    /// Random bytes are admitted if all the kinds of noise source that contributed are in `accept`.
    /// Of several keys with one key id the first counts.
    #[must_use]
    pub fn new(keys: Vec<GatewayKey>, bound_us: u64, accept: Kinds) -> Self {
        Admit {
            sessions: Sessions::new(keys),
            accept,
            floor_us: bound_us,
            bound_us,
            counts: Counts::default(),
            verified: None,
        }
    }

    /// Looks at datagrams that came together, at most [`ROW`] of them: parses them, and compares the HMACs of packets side
    /// by side if they fail no cheaper check (but for the CRC32, which protects against line errors only). Changes nothing,
    /// and no verdict rests on it: [`Admit::judge`] makes every check in its turn all the same. They come back in order.
    pub fn look_at<'d>(
        &mut self,
        datagrams: impl Iterator<Item = &'d mut [u8]>,
        now_us: u64,
    ) -> [Option<Looked<'d>>; ROW] {
        let mut datagrams = datagrams.map(|datagram| Looked(Datagram::new_checked(datagram)));
        let mut row: [Option<Looked<'d>>; ROW] = std::array::from_fn(|_| datagrams.next());
        let mut data = row.iter_mut().flatten().filter_map(|looked| match looked {
            Looked(Ok(Datagram::Data(data))) => Some(data),
            Looked(_) => None,
        });
        if let Some(first) = data.next()
            && let Some(known) = self.sessions.of_packet(first.id())
        {
            let floor_us = self.floor_us;
            let may_pass = std::iter::once(first).chain(data).filter(|data| {
                known.opener.owns(data.id())
                    && known.window.peek(data.id().sequence).is_ok()
                    && check_freshness(data.timestamp_us(), now_us).is_ok()
                    && data.timestamp_us() > floor_us
            });
            known.opener.compare_row(may_pass);
        }
        row
    }

    /// Judges one datagram. Total: any bytes give a verdict.
    ///
    /// # Errors
    /// [`Reject`] names the first check that failed. Nothing has changed then, unless [`Reject::commits`].
    pub fn judge<'d>(
        &mut self,
        looked: Looked<'d>,
        now_us: u64,
        bound: &mut dyn AdvanceBound,
    ) -> Result<Admitted<'d>, Reject> {
        match looked.0 {
            Ok(Datagram::Data(data)) => self.data(data, now_us, bound),
            Ok(Datagram::Announcement(announcement)) => self.announcement(&announcement, now_us),
            Err(Malformed::Length) => Err(Reject::Length),
            Err(Malformed::Version) => Err(Reject::Version),
            Err(Malformed::Shape) => Err(Reject::Shape),
            Err(Malformed::Id) => Err(Reject::Id),
        }
    }

    fn data<'d>(
        &mut self,
        data: Data<'d>,
        now_us: u64,
        bound: &mut dyn AdvanceBound,
    ) -> Result<Admitted<'d>, Reject> {
        let (id, timestamp_us) = (data.id(), data.timestamp_us());
        let known = self.sessions.of_packet(id).ok_or(Reject::UnknownSession)?;
        known
            .window
            .peek(id.sequence)
            .map_err(|replay| match replay {
                Replay::TooOld => Reject::TooOld,
                Replay::Duplicate => Reject::Duplicate,
            })?;
        check_freshness(timestamp_us, now_us)?;
        if timestamp_us <= self.floor_us {
            return Err(Reject::BeforeRestart);
        }
        if !data.crc_matches() {
            return Err(Reject::Crc);
        }
        let series = known.series;
        let plain = known.opener.open(data).map_err(|refusal| match refusal {
            Refusal::TooOld => Reject::TooOld,
            Refusal::TooFarAhead => Reject::TooFarAhead,
            Refusal::Forged => Reject::Forged,
            Refusal::Undecryptable => Reject::Undecryptable,
        })?;
        if timestamp_us > self.bound_us {
            let to_us = timestamp_us.saturating_add(BOUND_AHEAD_US);
            if bound.advance(to_us).is_err() {
                qrng::wipe(plain);
                return Err(Reject::BoundNotWritten);
            }
            self.bound_us = to_us;
        }
        self.counts.lost += known.commit(id.sequence, now_us);
        self.counts.committed += 1;
        self.verified = Some(Verified {
            now_us,
            timestamp_us,
        });
        content(plain, self.accept, series)
    }

    fn announcement<'d>(
        &mut self,
        announcement: &Announcement<'_>,
        now_us: u64,
    ) -> Result<Admitted<'d>, Reject> {
        let timestamp_us = announcement.timestamp_us();
        let slot = self.sessions.of_key(announcement.key_id())?;
        let repeated = slot.is_repeated(announcement)?;
        check_freshness(timestamp_us, now_us)?;
        if !announcement.crc_matches() {
            return Err(Reject::Crc);
        }
        let admitted = if repeated {
            if !slot.key.verifies(announcement) {
                return Err(Reject::Forged);
            }
            self.counts.lost += slot.repeat(announcement, now_us);
            Admitted::Announced
        } else {
            let known = Known::start(&slot.key, announcement, now_us).map_err(|e| match e {
                SessionError::Forged => Reject::Forged,
                _ => Reject::SessionRefused,
            })?;
            self.counts.lost += slot.replace(known);
            self.sessions.find_live();
            self.counts.sessions += 1;
            Admitted::SessionStarted {
                key_id: announcement.key_id(),
                epoch: announcement.epoch(),
                slot: announcement.id().slot,
            }
        };
        self.counts.announcements += 1;
        // One from before the restart may be a replay, so it proves nothing about the present.
        if timestamp_us > self.floor_us {
            self.verified = Some(Verified {
                now_us,
                timestamp_us,
            });
        }
        Ok(admitted)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Makes `keys` the only ones, and `past` those of days that are over. The sessions of keys that stay go on.
    pub fn install(&mut self, keys: Vec<GatewayKey>, past: HashSet<KeyId>) {
        self.counts.lost += self.sessions.install(keys, past);
    }

    /// Destroys the keys of calendars whose day is over, with all that was derived from them, and tells which: when
    /// [`MAX_AGE_US`] have passed since, and the collector's clock agrees or an hour has gone by on `now`.
    pub fn destroy_past(&mut self, now_us: u64, now: Instant) -> Vec<Destroyed> {
        let verified_us = self.verified.map(|v| v.timestamp_us);
        let (destroyed, lost) = self.sessions.destroy_past(now_us, now, verified_us);
        self.counts.lost += lost;
        destroyed
    }

    /// The session that was started last, but for one of a day that has not begun.
    #[must_use]
    pub fn session(&self) -> Option<SessionInfo> {
        let now_us = self.last_verified_us().unwrap_or(0);
        let begun = |info: &SessionInfo| info.day.is_none_or(|day| day.start_us() <= now_us);
        let infos = self.sessions.infos();
        infos.max_by_key(|info| (begun(info), info.started_us))
    }

    /// Every session that packets are taken from: at most two a key.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> {
        self.sessions.infos()
    }

    /// When something was last verified, in microseconds since the Unix epoch.
    #[must_use]
    pub fn last_verified_us(&self) -> Option<u64> {
        self.verified.map(|v| v.now_us)
    }

    /// This end's clock minus the collector's (way included) at the last verified datagram, in microseconds.
    #[must_use]
    pub fn skew_us(&self) -> Option<i64> {
        let difference = |v: Verified| i128::from(v.now_us) - i128::from(v.timestamp_us);
        self.verified
            .and_then(|v| i64::try_from(difference(v)).ok())
    }

    /// Tells whether the clocks differ by more than [`SKEW_ALARM_US`].
    #[must_use]
    pub fn skew_alarm(&self) -> bool {
        self.skew_us()
            .is_some_and(|skew| skew.unsigned_abs() > SKEW_ALARM_US)
    }

    /// The restart bound on file, in microseconds since the Unix epoch.
    #[must_use]
    pub fn bound_us(&self) -> u64 {
        self.bound_us
    }
}

impl std::fmt::Debug for Admit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admit")
            .field("accept", &self.accept)
            .field("bound_us", &self.bound_us)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn check_freshness(timestamp_us: u64, now_us: u64) -> Result<(), Reject> {
    if timestamp_us > now_us.saturating_add(MAX_AHEAD_US) {
        return Err(Reject::Future);
    }
    if timestamp_us < now_us.saturating_sub(MAX_AGE_US) {
        return Err(Reject::Expired);
    }
    Ok(())
}

/// Reads the plaintext of a packet that is committed; wipes what is refused.
fn content(plain: &mut [u8], accept: Kinds, series: KeyId) -> Result<Admitted<'_>, Reject> {
    let Some((&mut byte, bytes)) = plain.split_first_mut() else {
        return Err(Reject::UnknownContent);
    };
    let reject = match Content::from_byte(byte) {
        Some(Content::Bytes(kinds)) if kinds.is_within(accept) => {
            return Ok(Admitted::Bytes { kinds, bytes });
        }
        Some(Content::Bytes(_)) => Reject::SourceRefused,
        Some(Content::Report) => match Report::decode(bytes) {
            Ok(report) => return Ok(Admitted::Report { series, report }),
            Err(_) => Reject::UnreadableReport,
        },
        None => Reject::UnknownContent,
    };
    qrng::wipe(bytes);
    Err(reject)
}

#[cfg(test)]
mod tests;
