//! How scarce bytes are dealt out: whose turn it is, and how much.
//!
//! Start-time fair queueing. Each user has a virtual time, which goes on by `bytes / weight` when it is served; of those who
//! wait, who is behind is served first, and among the reads of one user that which came first. Who comes new, or
//! again after a while, starts at the time of who was served last: having been away earns nothing.
//!
//! A reader that asks again and again is away for a moment after each answer. If others took all that there is in such
//! moments, a user with one reader and small reads would never get its part. So a user that was here
//! within [`MEMORY`] keeps its time, and what it is behind is *kept for it*, up to [`CREDIT`]: others are not served from the last
//! bytes in the buffer. That costs no flow, as the kept bytes stay the same few.
//!
//! It knows no lock and no clock: times are given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Account;
use crate::buffer::MAX_CLAIM;

/// The most bytes of one answer while users compete for few, and so the most by which one is ahead of its part.
pub const QUANTUM: usize = 16 * 1024;

/// The most bytes that are kept for a user who is away for a moment.
const CREDIT: u64 = 128 * 1024;

/// How long a user who is away is remembered.
const MEMORY: Duration = Duration::from_secs(2);

/// Virtual time of a byte at weight 1, so much that dividing it by a weight loses nothing that matters.
const BYTE: u128 = 1 << 20;

/// Where one waits. Each lane keeps what it needs to serve those who wait there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Reads of the mount's files.
    #[default]
    Files,
    /// Reads of the character device that is this inode.
    Device(u64),
    /// Requests at the stream socket.
    Stream,
}

/// A place among all who wait, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    number: u64,
    user: u64,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Its place.
    pub ticket: Ticket,
    /// Where it waits.
    pub lane: Lane,
    /// The most bytes that it may take; 0 while all that there is is kept for others.
    pub most: usize,
}

/// What there is to deal out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Bytes in the buffer.
    pub fill: usize,
    /// The most of them that may be kept for users who are away.
    pub keep: usize,
}

#[derive(Debug)]
struct Flow {
    user: Arc<Account>,
    /// Its virtual time.
    time: u128,
    waiting: BTreeMap<u64, Lane>,
    /// When it last waited, or was served beside others who waited.
    seen: Duration,
}

impl Flow {
    fn is_away(&self) -> bool {
        self.waiting.is_empty()
    }

    fn span(&self, bytes: u64) -> u128 {
        u128::from(bytes) * BYTE / u128::from(self.user.weight())
    }

    /// By how many bytes it is behind `time`, up to what is kept for it.
    fn behind(&self, time: u128) -> u64 {
        let span = time.saturating_sub(self.time);
        let bytes = span * u128::from(self.user.weight()) / BYTE;
        u64::try_from(bytes).unwrap_or(CREDIT).min(CREDIT)
    }
}

/// All who wait, or did a moment ago.
#[derive(Debug, Default)]
pub struct Dealing {
    flows: BTreeMap<u64, Flow>,
    last: u64,
    waiting: usize,
    /// The virtual time of who was served last.
    time: u128,
}

impl Dealing {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits and at most one user is remembered: whoever comes may take what there is.
    pub fn is_free(&self) -> bool {
        self.waiting == 0 && self.flows.len() < 2
    }

    /// The last place of `user`.
    pub fn join(&mut self, user: &Arc<Account>, lane: Lane, now: Duration) -> Ticket {
        user.add_wait();
        self.last += 1;
        let number = self.last;
        let flow = self.flow(user);
        flow.seen = now;
        flow.waiting.insert(number, lane);
        self.waiting += 1;
        Ticket {
            number,
            user: user.id(),
        }
    }

    /// Gives a place up, after having taken `bytes`.
    pub fn leave(&mut self, ticket: Ticket, bytes: usize, now: Duration) {
        let Some(flow) = self.flows.get_mut(&ticket.user) else {
            return;
        };
        if flow.waiting.remove(&ticket.number).is_some() {
            self.waiting -= 1;
            flow.seen = now;
        }
        self.charge(ticket.user, bytes);
    }

    /// `user` has taken `bytes` without having waited.
    pub fn took(&mut self, user: &Account, bytes: usize) {
        self.charge(user.id(), bytes);
    }

    fn charge(&mut self, user: u64, bytes: usize) {
        if bytes > 0
            && let Some(flow) = self.flows.get_mut(&user)
        {
            self.time = self.time.max(flow.time);
            flow.time = flow.time.saturating_add(flow.span(bytes as u64));
        }
    }

    /// The first of those who wait. Users whose quota is spent on the day `today` come before all others: they are to be told.
    fn head(&self, today: Option<u64>) -> Option<(&Flow, Ticket, Lane)> {
        let firsts = self.flows.iter().filter_map(|(&user, flow)| {
            let (&number, &lane) = flow.waiting.first_key_value()?;
            Some((flow, Ticket { number, user }, lane))
        });
        firsts.min_by_key(|(flow, ticket, _)| {
            let spent = today.is_some_and(|today| flow.user.is_spent(today));
            (!spent, flow.time, ticket.number)
        })
    }

    /// In which lane the first of those who wait is.
    pub fn lane(&self, today: Option<u64>) -> Option<Lane> {
        self.head(today).map(|(_, _, lane)| lane)
    }

    /// Whose turn it is.
    pub fn turn(&mut self, supply: Supply, today: Option<u64>, now: Duration) -> Option<Turn> {
        self.forget(now);
        let (flow, ticket, lane) = self.head(today)?;
        Some(Turn {
            ticket,
            lane,
            most: self.part(flow.time, ticket.user, supply),
        })
    }

    /// How much `user` may take at once, without waiting; nothing if others come first, or if that is less than the `need`
    /// of its read. `impatient`: it will not wait, so it need not stand behind its own reads that do.
    pub fn pass(
        &mut self,
        user: &Arc<Account>,
        (need, impatient): (usize, bool),
        supply: Supply,
        now: Duration,
    ) -> usize {
        self.forget(now);
        let id = user.id();
        let alone = self.flows.keys().all(|other| *other == id);
        if alone && (self.waiting == 0 || impatient) {
            return MAX_CLAIM;
        }
        let contested = self.waiting > 0;
        let flow = self.flow(user);
        let time = flow.time;
        let stands_behind_its_own = !impatient && !flow.is_away();
        let comes_first =
            |(other, flow): (&u64, &Flow)| *other != id && !flow.is_away() && flow.time <= time;
        let most = if stands_behind_its_own || self.flows.iter().any(comes_first) {
            0
        } else {
            self.part(time, id, supply)
        };
        if contested || most < need {
            self.flow(user).seen = now;
        }
        if most < need { 0 } else { most }
    }

    /// `user` would take bytes if there were some for it.
    pub fn wants(&mut self, user: &Arc<Account>, now: Duration) {
        self.flow(user).seen = now;
    }

    /// The part of the supply for the user `id`, whose time is `time`: what is kept for those who are away and behind it is
    /// not for it, and beside others it gets no more than a quarter of the rest, or a quantum.
    fn part(&self, time: u128, id: u64, supply: Supply) -> usize {
        let others = self.flows.iter().filter(|(other, _)| **other != id);
        let mut alone = true;
        let mut kept = 0;
        for (_, other) in others {
            alone = false;
            if other.is_away() {
                kept += other.behind(time);
            }
        }
        if alone {
            return MAX_CLAIM;
        }
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        let rest = supply.fill.saturating_sub(kept.min(supply.keep));
        rest.min(QUANTUM.max(rest / 4)).min(MAX_CLAIM)
    }

    /// When the next user who is away is forgotten, and what was kept for it is for others.
    pub fn lapse(&self, now: Duration) -> Option<Duration> {
        let away = self.flows.values().filter(|flow| flow.is_away());
        let next = away.map(|flow| flow.seen + MEMORY).min()?;
        // Beyond it, not at it, as `forget` has it.
        Some(next.saturating_sub(now) + Duration::from_millis(1))
    }

    fn forget(&mut self, now: Duration) {
        self.flows
            .retain(|_, flow| !flow.is_away() || flow.seen + MEMORY >= now);
    }

    /// The user's flow, at the time of the others if it is new, and at most [`CREDIT`] behind them.
    fn flow(&mut self, user: &Arc<Account>) -> &mut Flow {
        let time = self.time;
        let flow = self.flows.entry(user.id()).or_insert_with(|| Flow {
            user: Arc::clone(user),
            time,
            waiting: BTreeMap::new(),
            seen: Duration::ZERO,
        });
        if flow.is_away() {
            flow.time = flow.time.max(time.saturating_sub(flow.span(CREDIT)));
        }
        flow
    }
}
