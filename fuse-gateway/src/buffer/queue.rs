//! Who waits for bytes, whether they read files or devices, or ask at the stream socket, and whose turn it is.
//!
//! As long as nobody waits, or did a moment ago, that is one flag to look at: [`Queue::is_free`]. What is decided when bytes are
//! scarce is in [`shares`](crate::shares).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shares::{Account, Dealing, Supply, Users};
pub use crate::shares::{Lane, Ticket, Turn};

/// All who wait.
#[derive(Debug)]
pub struct Queue {
    dealing: Mutex<Dealing>,
    len: AtomicUsize,
    busy: AtomicBool,
    users: Arc<Users>,
    born: Instant,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Queue {
    /// Nobody waits. `users` are all who may.
    pub fn new(users: Arc<Users>) -> Self {
        Self {
            dealing: Mutex::default(),
            len: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            users,
            born: Instant::now(),
        }
    }

    /// Who may wait.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nobody competes: who comes may take what there is, without asking [`Queue::pass`].
    pub fn is_free(&self) -> bool {
        !self.busy.load(Ordering::SeqCst)
    }

    /// The last place of `user`.
    pub fn join(&self, user: &Arc<Account>, lane: Lane) -> Ticket {
        let now = self.now();
        self.with(|dealing| dealing.join(user, lane, now))
    }

    /// Whose turn it is.
    pub fn turn(&self, supply: Supply) -> Option<Turn> {
        let (now, today) = (self.now(), self.today());
        self.with(|dealing| dealing.turn(supply, today, now))
    }

    /// Gives a place up, after having taken `bytes`. True if that makes somebody of another lane the first, who must be told.
    #[must_use]
    pub fn leave(&self, ticket: Ticket, bytes: usize) -> bool {
        let (now, today) = (self.now(), self.today());
        self.with(|dealing| {
            let before = dealing.lane(today);
            dealing.leave(ticket, bytes, now);
            let first = dealing.lane(today);
            first.is_some() && first != before
        })
    }

    /// How much `user` may take now, if not less than `need`, without waiting; otherwise 0. Who is `impatient` will not wait,
    /// and need not stand behind its own reads that do.
    pub fn pass(&self, user: &Arc<Account>, need: usize, impatient: bool, supply: Supply) -> usize {
        let now = self.now();
        self.with(|dealing| dealing.pass(user, (need, impatient), supply, now))
    }

    /// `user` has taken `bytes` after [`Queue::pass`]. True if others wait, who must be told.
    #[must_use]
    pub fn took(&self, user: &Account, bytes: usize) -> bool {
        self.with(|dealing| {
            dealing.took(user, bytes);
            dealing.waiting() > 0
        })
    }

    /// `user` polls for bytes.
    pub fn wants(&self, user: &Arc<Account>) {
        let now = self.now();
        self.with(|dealing| dealing.wants(user, now));
    }

    /// After which time bytes that are kept for somebody become free for those who wait.
    pub fn lapse(&self) -> Option<Duration> {
        if self.is_free() {
            return None;
        }
        let now = self.now();
        self.with(|dealing| dealing.lapse(now))
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// The day, if anybody has a quota.
    fn today(&self) -> Option<u64> {
        self.users.has_quotas().then(|| self.users.today())
    }

    fn with<R>(&self, with: impl FnOnce(&mut Dealing) -> R) -> R {
        let mut dealing = self.lock();
        let result = with(&mut dealing);
        self.len.store(dealing.waiting(), Ordering::SeqCst);
        self.busy.store(!dealing.is_free(), Ordering::SeqCst);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Dealing> {
        // No change of the places can stop half-way.
        self.dealing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Supply = Supply {
        fill: 1 << 20,
        keep: 0,
    };

    #[test]
    fn of_one_user_the_first_is_who_came_first_in_whatever_lane() {
        let queue = Queue::default();
        let user = queue.users().account(7);
        let [a, b, c, d] = [Lane::Files, Lane::Files, Lane::Stream, Lane::Files]
            .map(|lane| queue.join(&user, lane));
        let first = || queue.turn(PLENTY).unwrap().ticket;
        assert_eq!(first(), a);
        assert!(!queue.leave(a, 1), "the next is of the same lane");
        assert_eq!(first(), b);
        assert!(!queue.leave(d, 1), "it was not the first");
        assert!(queue.leave(b, 1), "the next is of the other lane");
        assert_eq!((first(), queue.len()), (c, 1));
        assert!(!queue.leave(c, 1), "nobody is left to be told");
        assert!(!queue.leave(c, 1), "it has left already");
        assert!(queue.is_empty() && queue.is_free());
    }

    #[test]
    fn it_is_free_until_somebody_waits_and_again_when_one_user_is_left() {
        let queue = Queue::default();
        let [one, other] = [1, 2].map(|uid| queue.users().account(uid));
        assert!(queue.is_free() && queue.lapse().is_none());
        let ticket = queue.join(&one, Lane::Files);
        assert!(!queue.is_free());
        assert!(!queue.leave(ticket, 5));
        assert!(queue.is_free(), "one user alone competes with nobody");
        let ticket = queue.join(&other, Lane::Files);
        assert!(!queue.leave(ticket, 5));
        assert!(!queue.is_free(), "two were here a moment ago");
        assert!(queue.lapse().is_some());
    }
}
