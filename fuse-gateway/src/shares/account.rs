//! One user's account: weight, quota, and what it has had.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{NamedUser, UNMAPPED};

/// The number of the account that all users without one of their own share: no user id is as large.
const OTHERS: u64 = 1 << 32;

/// What of a quota was used on one day.
#[derive(Debug, Default, Clone, Copy)]
struct Used {
    day: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Quota {
    /// Bytes a day.
    limit: u64,
    used: Mutex<Used>,
    /// The day on which all of it was used, and one; 0 for never.
    spent: AtomicU64,
}

impl Quota {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Mutex::default(),
            spent: AtomicU64::new(0),
        }
    }

    /// What was used on the day `today`, alone.
    fn lock(&self, today: u64) -> MutexGuard<'_, Used> {
        // Both numbers are set at once or not at all.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.day < today {
            *used = Used {
                day: today,
                bytes: 0,
            };
        } else if used.day > today {
            // A clock that is set back does not renew a quota; the next midnight by it does.
            used.day = today;
            if used.bytes >= self.limit {
                self.spent.store(today + 1, Ordering::SeqCst);
            }
        }
        used
    }
}

/// One user's account.
#[derive(Debug)]
pub struct Account {
    id: u64,
    name: Option<String>,
    weight: u32,
    quota: Option<Quota>,
    bytes: AtomicU64,
    waits: AtomicU64,
}

impl Account {
    /// The account of `uid`, with `quota` bytes a day if there is a limit.
    pub(super) fn new(uid: u32, quota: Option<u64>) -> Self {
        let name = (uid == UNMAPPED).then(|| "unmapped".to_owned());
        Self::with(uid.into(), name, 1, quota)
    }

    pub(super) fn named(user: &NamedUser) -> Self {
        let name = Some(user.name.clone());
        Self::with(user.uid.into(), name, user.weight.max(1), user.quota)
    }

    pub(super) fn of_others(quota: Option<u64>) -> Self {
        Self::with(OTHERS, Some("others".to_owned()), 1, quota)
    }

    fn with(id: u64, name: Option<String>, weight: u32, quota: Option<u64>) -> Self {
        Self {
            id,
            name,
            weight,
            quota: quota.map(Quota::new),
            bytes: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// A number that no other account has.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The user; none if it is that of all others.
    pub fn uid(&self) -> Option<u32> {
        u32::try_from(self.id).ok()
    }

    /// Its part beside others.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Bytes that left the buffer for this user.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How often it had to wait.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Counts a wait.
    pub(super) fn add_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// What it may take on the day that `today` tells, which is asked for only if there is a quota. While that is so no other
    /// thread gives bytes to the user.
    pub fn allow(&self, today: impl FnOnce() -> u64) -> Allowance<'_> {
        let limited = self.quota.as_ref().map(|quota| {
            let used = quota.lock(today());
            (quota, used)
        });
        Allowance {
            account: self,
            limited,
        }
    }

    /// Whether fewer than `need` bytes are left of its quota.
    pub fn lacks(&self, need: usize, today: impl FnOnce() -> u64) -> bool {
        self.quota.is_some() && self.allow(today).left() < need
    }

    /// Whether nothing is left of its quota on the day `today`.
    pub(super) fn is_spent(&self, today: u64) -> bool {
        let spent = |quota: &Quota| quota.spent.load(Ordering::SeqCst) == today + 1;
        self.quota.as_ref().is_some_and(spent)
    }

    /// Bytes of its quota that were used on the day `today`.
    pub(super) fn used(&self, today: u64) -> u64 {
        let used = |quota: &Quota| quota.lock(today).bytes;
        self.quota.as_ref().map_or(0, used)
    }

    /// Notes what an earlier run has used.
    pub(super) fn add_used(&self, day: u64, bytes: u64) {
        if let Some(quota) = &self.quota {
            let mut used = quota.lock(day);
            used.bytes = used.bytes.saturating_add(bytes);
            if used.bytes >= quota.limit {
                quota.spent.store(used.day + 1, Ordering::SeqCst);
            }
        }
    }

    /// Takes over what another account has counted, which is given up.
    pub(super) fn add_books_of(&self, other: &Self) {
        self.bytes.fetch_add(other.bytes(), Ordering::Relaxed);
        self.waits.fetch_add(other.waits(), Ordering::Relaxed);
    }

    /// Whether it has settings, or has counted anything.
    pub(super) fn is_worth_telling(&self) -> bool {
        self.bytes() > 0 || self.waits() > 0 || (self.name.is_some() && self.id != OTHERS)
    }

    /// For the status document; `sum` are the bytes of all users.
    pub(super) fn value(&self, sum: u64, today: u64) -> Value {
        let percent = self.bytes() as f64 / sum.max(1) as f64 * 100.0;
        let left = self.quota.as_ref().map(|quota| {
            let used = quota.lock(today).bytes;
            quota.limit.saturating_sub(used)
        });
        json!({
            "uid": self.uid(),
            "name": self.name,
            "bytes": self.bytes(),
            "percent": (percent * 10.0).round() / 10.0,
            "waits": self.waits(),
            "weight": self.weight,
            "quota_bytes": self.quota.as_ref().map(|quota| quota.limit),
            "quota_left_bytes": left,
        })
    }
}

/// What a user may take now.
#[derive(Debug)]
pub struct Allowance<'a> {
    account: &'a Account,
    limited: Option<(&'a Quota, MutexGuard<'a, Used>)>,
}

impl Allowance<'_> {
    /// Bytes that are left of the quota; without one, more than any read takes.
    pub fn left(&self) -> usize {
        let Some((quota, used)) = &self.limited else {
            return usize::MAX;
        };
        usize::try_from(quota.limit.saturating_sub(used.bytes)).unwrap_or(usize::MAX)
    }

    /// Whether there is a quota.
    pub fn is_limited(&self) -> bool {
        self.limited.is_some()
    }

    /// Counts `bytes` that left the buffer for the user, delivered or not.
    pub fn took(self, bytes: usize) {
        self.account
            .bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some((quota, mut used)) = self.limited {
            used.bytes = used.bytes.saturating_add(bytes as u64);
            if used.bytes >= quota.limit {
                quota.spent.store(used.day + 1, Ordering::SeqCst);
            }
        }
    }
}
