//! Who gets how much: users, their weights, their quotas, and what they have had.
//!
//! ```text
//!  a read, a request ── user id ──> Users ──> Account: weight, quota, bytes, waits
//!                                                │
//!  not enough for all who wait ──────────> Dealing: whose turn it is, and how much
//! ```
//!
//! A user is a number as the kernel tells it: that of the process for a read of a file (its file system user id), that of who
//! connected for the stream socket. Numbers that the kernel cannot tell arrive as one, [`UNMAPPED`]. As long as there are
//! enough bytes an account only counts; [`Dealing`] has the rest. docs/shares.md says what users may expect.

mod account;
mod dealing;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use self::account::{Account, Allowance};
pub use self::dealing::{Dealing, Lane, QUANTUM, Supply, Ticket, Turn};
pub use self::store::QuotaFile;

/// The most users that have an account of their own; all further ones share one.
pub const MAX_USERS: usize = 1024;

/// The kernel's number for a user that it cannot tell here (overflow of a user namespace, or a mount with mapped ids).
pub const UNMAPPED: u32 = u32::MAX;

/// The most users that the status document lists, those with most bytes.
const MAX_LISTED: usize = 256;

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;

/// The section `[shares]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharesConfig {
    /// Bytes a day for each user who isn't named, if there is a limit.
    pub quota: Option<u64>,
    /// Those with a weight or a quota of their own.
    pub users: Vec<NamedUser>,
}

/// A user with settings of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUser {
    /// Its number.
    pub uid: u32,
    /// As the configuration calls it.
    pub name: String,
    /// Its part beside others, at least 1.
    pub weight: u32,
    /// Bytes a day, if there is a limit.
    pub quota: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    /// Named in the configuration: never given up.
    named: bool,
    /// When it was last looked up, as a count of look-ups.
    sought: u64,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u32, Entry>,
    look_ups: u64,
    merged: u64,
}

/// The accounts of all users: at most [`MAX_USERS`], and one for all others.
#[derive(Debug)]
pub struct Users {
    table: Mutex<Table>,
    others: Arc<Account>,
    quota: Option<u64>,
    has_quotas: bool,
    /// Microseconds since the Unix epoch.
    clock: fn() -> u64,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(&SharesConfig::default(), crate::receive::now_us)
    }
}

impl Users {
    /// Accounts for those whom `config` names, and for others as they come. `clock` tells microseconds since the Unix epoch.
    pub fn new(config: &SharesConfig, clock: fn() -> u64) -> Self {
        let named = config.users.iter().take(MAX_USERS);
        let entries = named.map(|user| {
            let entry = Entry {
                account: Arc::new(Account::named(user)),
                named: true,
                sought: 0,
            };
            (user.uid, entry)
        });
        let limited = config.users.iter().any(|user| user.quota.is_some());
        Self {
            table: Mutex::new(Table {
                entries: entries.collect(),
                ..Table::default()
            }),
            others: Arc::new(Account::of_others(config.quota)),
            quota: config.quota,
            has_quotas: config.quota.is_some() || limited,
            clock,
        }
    }

    /// The account of the user `uid`. A new one takes the place of that which was sought longest ago, is in nobody's hands
    /// and has used no quota today; where there is none such, the user is one of the others.
    pub fn account(&self, uid: u32) -> Arc<Account> {
        let mut table = self.lock();
        table.look_ups += 1;
        let now = table.look_ups;
        if let Some(entry) = table.entries.get_mut(&uid) {
            entry.sought = now;
            return Arc::clone(&entry.account);
        }
        if table.entries.len() >= MAX_USERS && !self.make_room(&mut table) {
            return Arc::clone(&self.others);
        }
        let account = Arc::new(Account::new(uid, self.quota));
        let entry = Entry {
            account: Arc::clone(&account),
            named: false,
            sought: now,
        };
        table.entries.insert(uid, entry);
        account
    }

    fn make_room(&self, table: &mut Table) -> bool {
        let today = self.today();
        let idle = table.entries.iter().filter(|(_, entry)| {
            // Nobody else can get hold of it while the table is locked.
            !entry.named && Arc::strong_count(&entry.account) == 1 && entry.account.used(today) == 0
        });
        let Some((&uid, _)) = idle.min_by_key(|(_, entry)| entry.sought) else {
            return false;
        };
        if let Some(entry) = table.entries.remove(&uid) {
            self.others.add_books_of(&entry.account);
            table.merged += 1;
        }
        true
    }

    /// The day, in days since the Unix epoch (UTC); quotas are for one.
    pub fn today(&self) -> u64 {
        (self.clock)() / DAY_US
    }

    /// Whether anybody has a quota.
    pub fn has_quotas(&self) -> bool {
        self.has_quotas
    }

    /// The account with the number `id`, as [`Users::used_today`] has it.
    fn by_id(&self, id: u64) -> Arc<Account> {
        match u32::try_from(id) {
            Ok(uid) => self.account(uid),
            Err(_) => Arc::clone(&self.others),
        }
    }

    /// What of quotas was used on the day `today`, by account, for [`QuotaFile`].
    fn used_today(&self, today: u64) -> Vec<(u64, u64)> {
        let table = self.lock();
        let all = table.entries.values().map(|entry| &entry.account);
        let used = all
            .chain([&self.others])
            .map(|account| (account.id(), account.used(today)));
        let mut used: Vec<_> = used.filter(|(_, bytes)| *bytes > 0).collect();
        used.sort_unstable();
        used
    }

    /// For the status document.
    pub fn value(&self) -> Value {
        let today = self.today();
        let table = self.lock();
        let mut all: Vec<_> = table.entries.values().map(|e| &e.account).collect();
        let (tracked, merged) = (all.len(), table.merged);
        all.push(&self.others);
        let sum: u64 = all.iter().map(|account| account.bytes()).sum();
        all.retain(|account| account.is_worth_telling());
        all.sort_by_key(|account| std::cmp::Reverse(account.bytes()));
        let listed = all.iter().take(MAX_LISTED);
        let listed: Vec<_> = listed.map(|account| account.value(sum, today)).collect();
        let next_us = (today + 1) * DAY_US;
        json!({
            "tracked": tracked,
            "merged": merged,
            "quotas_renewed_in_seconds":
                self.has_quotas.then(|| next_us.saturating_sub((self.clock)()) / 1_000_000),
            "list": listed,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No change of the table can stop half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accounts that a thread has met last, found without a lock.
#[derive(Debug, Default)]
pub struct Known {
    seen: [Option<(u32, Arc<Account>)>; 8],
}

impl Known {
    /// The account of `uid` in `users`, which must always be the same.
    pub fn account(&mut self, users: &Users, uid: u32) -> Arc<Account> {
        let place = &mut self.seen[uid as usize % 8];
        if let Some((known, account)) = place
            && *known == uid
        {
            return Arc::clone(account);
        }
        let account = users.account(uid);
        // The account of the others is no user's for good.
        if account.uid() == Some(uid) {
            *place = Some((uid, Arc::clone(&account)));
        }
        account
    }
}

#[cfg(test)]
mod tests;
