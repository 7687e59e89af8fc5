//! The bytes between the gateway and the requests, each given once.
//!
//! ```text
//!  gateway ──take, at most 64 KiB──> held ──cut──> Taken ──> body ──> connection
//!            thread `supply`          │             │ dropped undelivered: wiped and counted
//!            as much as is wanted     └ wiped when the gateway refuses, is gone, or this process ends
//! ```
//!
//! A request that finds enough bytes held cuts its own off and never leaves its thread. Others queue, first come first served,
//! and the thread `supply` asks the gateway for what they want; more only while requests come one upon the other, so that a
//! rare request takes no more from the readers of files than it is given.

mod books;
mod held;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use books::{Books, Owed, Taken};

use crate::supply::{BLOCK, NoBytes, Supply};
use held::Held;

/// Most requests that wait for bytes at a time.
const WAITING_MAX: usize = 4096;

/// The gateway is asked anew after this time, so that who comes meanwhile is heard.
const SLICE: Duration = Duration::from_millis(20);

/// A gateway that takes longer to say yes or no hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A block that was used up sooner than this is followed by a larger one.
const SOON: Duration = Duration::from_millis(10);

/// Bytes for requests.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    books: Arc<Books>,
}

#[derive(Default)]
struct State {
    held: Held,
    waiting: VecDeque<Waiting>,
    /// The gateway had no bytes when it was last asked, and those who wait came before.
    dry: bool,
    ending: bool,
}

struct Waiting {
    len: usize,
    patient: bool,
    answer: oneshot::Sender<Result<Taken, NoBytes>>,
}

impl Pool {
    /// A pool without bytes; [`Pool::run`] gets them.
    pub fn new(books: Arc<Books>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            books,
        }))
    }

    /// What became of the bytes.
    pub fn books(&self) -> &Arc<Books> {
        &self.0.books
    }

    /// Bytes that are held for the next requests.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Requests that wait for bytes.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Takes `len` bytes, at most [`BLOCK`]; waits for them, at most `wait`.
    ///
    /// # Errors
    /// There are not that many. None is lost by that: those that there are go to others.
    pub async fn take(&self, len: usize, wait: Duration) -> Result<Taken, NoBytes> {
        let len = len.min(BLOCK);
        let told = {
            let mut state = self.state();
            if state.waiting.is_empty()
                && let Some(bytes) = state.held.cut(len)
            {
                return Ok(Taken::new(bytes, &self.0.books));
            }
            if state.waiting.len() >= WAITING_MAX {
                return Err(NoBytes::Crowded);
            }
            if wait.is_zero() && state.dry {
                return Err(NoBytes::Empty);
            }
            let (answer, told) = oneshot::channel();
            state.waiting.push_back(Waiting {
                len,
                patient: !wait.is_zero(),
                answer,
            });
            told
        };
        self.0.wake.notify_one();
        let limit = if wait.is_zero() { ANSWER_LIMIT } else { wait };
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NoBytes::Gone("this service is ending".into())),
            Err(_) if wait.is_zero() => Err(NoBytes::Gone("the gateway does not answer".into())),
            Err(_) => Err(NoBytes::Empty),
        }
    }

    /// Wipes what is held: the gateway has latched.
    pub fn forget(&self) {
        let wiped = self.state().held.wipe();
        self.0.books.wiped.add(wiped);
    }

    /// Ends [`Pool::run`], and wipes what is held.
    pub fn end(&self) {
        self.state().ending = true;
        self.0.wake.notify_one();
    }

    /// Gets bytes from `supply` for those who wait, until [`Pool::end`].
    pub fn run(&self, mut supply: Box<dyn Supply>) {
        let mut block = zeroize::Zeroizing::new(vec![0; BLOCK]);
        let mut size = Size::default();
        while let Some((wanted, patient)) = self.wait_for_want() {
            let room = size.next(wanted, Instant::now());
            let wait = if patient { SLICE } else { Duration::ZERO };
            let result = supply.take(&mut block[..room], wait);
            let mut state = self.state();
            match result {
                Ok(len) => {
                    let len = len.min(room);
                    self.0.books.fetched.add(len);
                    state.held.add(&block[..len]);
                    qrng::wipe(&mut block[..len]);
                    state.dry = false;
                    self.serve(&mut state);
                }
                Err(NoBytes::Empty) => {
                    refuse(&mut state, &NoBytes::Empty, |waiting| !waiting.patient);
                    state.dry = !state.waiting.is_empty();
                }
                Err(why) => {
                    self.0.books.wiped.add(state.held.wipe());
                    refuse(&mut state, &why, |_| true);
                    state.dry = false;
                }
            }
        }
        let mut state = self.state();
        self.0.books.wiped.add(state.held.wipe());
        state.waiting.clear();
    }

    /// Blocks until somebody wants bytes that are not held: how many all together, and whether all can wait. `None`: the end.
    fn wait_for_want(&self) -> Option<(usize, bool)> {
        let mut state = self.state();
        loop {
            if state.ending {
                return None;
            }
            state.waiting.retain(|waiting| !waiting.answer.is_closed());
            self.serve(&mut state);
            if !state.waiting.is_empty() {
                let all: usize = state.waiting.iter().map(|waiting| waiting.len).sum();
                let patient = state.waiting.iter().all(|waiting| waiting.patient);
                return Some((all.saturating_sub(state.held.len()).max(1), patient));
            }
            state.dry = false;
            state = self
                .0
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives those who wait what is held, in the order in which they came.
    fn serve(&self, state: &mut State) {
        while let Some(first) = state.waiting.front() {
            if first.answer.is_closed() {
                state.waiting.pop_front();
                continue;
            }
            let Some(bytes) = state.held.cut(first.len) else {
                return;
            };
            if let Some(first) = state.waiting.pop_front() {
                // Whoever went away in this moment leaves its bytes to be wiped and counted by the drop.
                let _ = first.answer.send(Ok(Taken::new(bytes, &self.0.books)));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(state: &mut State, why: &NoBytes, whom: impl Fn(&Waiting) -> bool) {
    for waiting in std::mem::take(&mut state.waiting) {
        if whom(&waiting) {
            let _ = waiting.answer.send(Err(why.clone()));
        } else {
            state.waiting.push_back(waiting);
        }
    }
}

/// How much is asked for at once: what is wanted, and while blocks are used up soon after each other up to [`BLOCK`].
#[derive(Default)]
struct Size {
    ahead: usize,
    last: Option<Instant>,
}

impl Size {
    fn next(&mut self, wanted: usize, now: Instant) -> usize {
        let soon = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SOON);
        self.last = Some(now);
        self.ahead = if soon {
            (self.ahead.max(wanted) * 2).min(BLOCK)
        } else {
            0
        };
        wanted.max(self.ahead).min(BLOCK)
    }
}

#[cfg(test)]
mod tests;
