//! The buffer: verified bytes wait here, and each is handed out once.
//!
//! ```text
//! push ──> [ filled slabs, oldest first ] ──claim──> a reader's claim ──> served or destroyed
//!              ^ the newest is being filled                │
//!          [ free slabs, wiped ] <─────────────────────────┘ wiped
//! ```
//!
//! There is a fixed number of slabs, and a claim owns the slabs it took, so memory is bounded whatever readers do. Only
//! [`Buffer::resize`] changes that number. At every moment, with all counts taken under the one lock:
//!
//! ```text
//! admitted = served + seeding + destroyed + overflow_discarded + overflow_replaced + released + fill + in_flight
//! ```
//!
//! A latched buffer is empty, stays so, and gives nothing: see [`Buffer::latch`].

mod bell;
mod claim;
mod queue;
mod resize;
mod slab;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::EventFd;

use crate::shares::{Supply, Users};

use self::bell::Bell;
pub use self::bell::Rings;
use self::claim::Fate;
pub use self::claim::{Claim, MAX_CLAIM, MAX_PIECES, Space, Taken};
pub use self::queue::{Lane, Queue, Ticket, Turn};
use self::slab::Slab;
pub use self::slab::{Memory, SLAB};

/// What happens to bytes that find the buffer full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The new bytes are dropped.
    #[default]
    Discard,
    /// The oldest bytes are destroyed to make room.
    Replace,
}

/// Where every byte went, in bytes, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Offered by [`Buffer::push`].
    pub admitted: u64,
    /// Delivered to a reader.
    pub served: u64,
    /// Used up as seeds of the generators.
    pub seeding: u64,
    /// Claimed for a reader who was gone when the reply came, or in a buffer that was latched.
    pub destroyed: u64,
    /// Dropped on arrival because the buffer was full (policy `discard`, or no slab was free).
    pub overflow_discarded: u64,
    /// Destroyed to make room for newer bytes (policy `replace`).
    pub overflow_replaced: u64,
    /// Destroyed because the buffer was made smaller: memory was short.
    pub released: u64,
    /// Waiting for a reader.
    pub fill: u64,
    /// Claimed, the reply not yet settled.
    pub in_flight: u64,
}

/// What the lock guards. `Debug` shows lengths only.
pub(crate) struct State {
    filled: VecDeque<Slab>,
    free: Vec<Slab>,
    counts: Counts,
    /// The most bytes that wait, now.
    capacity: usize,
    /// Slabs that there are: filled, free, and in claims.
    slabs: usize,
    /// Nothing goes in or out.
    latched: bool,
}

impl State {
    fn fill(&self) -> usize {
        self.counts.fill as usize
    }
}

/// Verified bytes, each handed out once.
pub struct Buffer {
    state: Mutex<State>,
    bell: Bell,
    queue: Arc<Queue>,
    latches: AtomicU64,
    generated: AtomicU64,
    /// As it was made: [`Buffer::resize`] goes no further.
    set: usize,
    overflow: Overflow,
    /// Bytes of all slabs that are locked.
    locked: AtomicUsize,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("set", &self.set)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Buffer {
    /// Maps and locks the memory for `capacity` bytes (at least 1).
    ///
    /// If the limit on locked memory is too low the buffer works without the lock; a warning says how to raise it.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(capacity: usize, overflow: Overflow) -> io::Result<Self> {
        Self::shared(capacity, overflow, Arc::default())
    }

    /// The same, with `users` among whom it is shared.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub fn shared(capacity: usize, overflow: Overflow, users: Arc<Users>) -> io::Result<Self> {
        let capacity = capacity.max(1);
        let count = resize::slabs_for(capacity);
        let free = (0..count)
            .map(|_| Slab::new())
            .collect::<io::Result<Vec<_>>>()?;
        let locked = free.iter().filter(|slab| slab.locked()).count() * SLAB;
        if locked < count * SLAB {
            log::warn!(
                "only {locked} of {} bytes of buffer memory are locked, the rest could be written to swap: raise the limit \
                 (LimitMEMLOCK= in the unit, or `ulimit -l`)",
                count * SLAB
            );
        }
        let state = State {
            filled: VecDeque::with_capacity(count),
            free,
            counts: Counts::default(),
            capacity,
            slabs: count,
            latched: false,
        };
        Ok(Self {
            state: Mutex::new(state),
            bell: Bell::default(),
            queue: Arc::new(Queue::new(users)),
            latches: AtomicU64::new(0),
            generated: AtomicU64::new(0),
            set: capacity,
            overflow,
            locked: AtomicUsize::new(locked),
        })
    }

    /// The most bytes that wait here now, in bytes.
    pub fn capacity(&self) -> usize {
        self.lock().capacity
    }

    /// The capacity that it was made with, in bytes.
    pub fn set_capacity(&self) -> usize {
        self.set
    }

    /// The policy for bytes that find the buffer full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Bytes of buffer memory that are locked against swapping.
    pub fn locked_bytes(&self) -> usize {
        self.locked.load(Ordering::Relaxed)
    }

    /// All counts at one moment.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Bytes that readers got of generators seeded from here. They are no part of [`Counts`].
    pub fn generated(&self) -> u64 {
        self.generated.load(Ordering::Relaxed)
    }

    /// Counts bytes that a reader got of such a generator.
    pub fn add_generated(&self, len: u64) {
        self.generated.fetch_add(len, Ordering::Relaxed);
    }

    /// Bytes that wait for a reader.
    pub fn fill(&self) -> usize {
        self.lock().fill()
    }

    /// Readers that wait for bytes now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The order behind [`Buffer::waiting`], for those who keep a list of waiting readers.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// What there is to deal out. Of that up to a quarter of the capacity is kept for users who are away for a moment, unless
    /// the supply is `failing`.
    pub(crate) fn supply(&self, failing: bool) -> Supply {
        let state = self.lock();
        Supply {
            fill: state.fill(),
            keep: if failing { 0 } else { state.capacity / 4 },
        }
    }

    /// Copies `bytes` in. What doesn't fit falls to the overflow policy. The caller wipes its own copy, and calls
    /// [`Buffer::notify`] once after a batch.
    pub fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.counts.admitted += bytes.len() as u64;
        if state.latched {
            state.counts.destroyed += bytes.len() as u64;
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.append(&mut state, rest);
            rest = &rest[taken..];
            if taken == 0 && !(self.overflow == Overflow::Replace && state.replace(rest.len())) {
                state.counts.overflow_discarded += rest.len() as u64;
                break;
            }
        }
    }

    /// Appends to the newest slab what fits there and into the capacity; 0 means that the buffer is full.
    fn append(&self, state: &mut State, bytes: &[u8]) -> usize {
        let room = state.capacity - state.fill();
        if room == 0 {
            return 0;
        }
        if state.filled.back().is_none_or(|slab| slab.room() == 0) {
            let Some(slab) = state.free.pop() else {
                return 0;
            };
            state.filled.push_back(slab);
        }
        let Some(tail) = state.filled.back_mut() else {
            return 0;
        };
        let taken = tail.append(&bytes[..bytes.len().min(room)]);
        state.counts.fill += taken as u64;
        taken
    }

    /// Takes up to `want` bytes (no more than [`MAX_CLAIM`]), or nothing if there are none.
    pub fn claim<'a>(&'a self, want: usize, space: &'a mut Space) -> Option<Claim<'a>> {
        self.claim_between(1, want, space)
    }

    /// Takes up to as many bytes as `out` has room for (no more than [`MAX_CLAIM`]) to its front, or nothing if there are fewer
    /// than `least`. The buffer has its memory back at once, so the reader may be slow.
    pub fn take_out<'a>(
        &'a self,
        least: usize,
        out: &mut [u8],
        space: &mut Space,
    ) -> Option<Taken<'a>> {
        let claim = self.claim_between(least, out.len(), space)?;
        let len = claim.len();
        claim.move_to(out);
        Some(Taken::new(self, len))
    }

    /// Takes exactly `want` bytes (no more than [`MAX_CLAIM`]), or nothing if there are fewer.
    pub fn claim_exact<'a>(&'a self, want: usize, space: &'a mut Space) -> Option<Claim<'a>> {
        self.claim_between(want, want, space)
    }

    /// Takes as many whole units of `unit` bytes as there are, but no more than `count`, or nothing.
    pub fn claim_units<'a>(
        &'a self,
        unit: usize,
        count: usize,
        space: &'a mut Space,
    ) -> Option<Claim<'a>> {
        let mut state = self.lock();
        let units = count.min(state.fill() / unit).min(MAX_CLAIM / unit);
        self.claim_locked(&mut state, unit, units * unit, space)
    }

    fn claim_between<'a>(
        &'a self,
        least: usize,
        want: usize,
        space: &'a mut Space,
    ) -> Option<Claim<'a>> {
        self.claim_locked(&mut self.lock(), least, want, space)
    }

    fn claim_locked<'a>(
        &'a self,
        state: &mut State,
        least: usize,
        want: usize,
        space: &'a mut Space,
    ) -> Option<Claim<'a>> {
        if want == 0 || want.min(MAX_CLAIM) < least || state.fill() < least.max(1) {
            return None;
        }
        let len = space.fill(state, want);
        state.counts.fill -= len as u64;
        state.counts.in_flight += len as u64;
        Some(Claim::new(self, space, len))
    }

    /// Ends a claim: takes the wiped slabs back and counts the bytes.
    fn settle(&self, slabs: &mut Vec<Slab>, len: usize, fate: Fate) {
        let mut state = self.lock();
        state.free.append(slabs);
        let surplus = state.surplus();
        let counts = &mut state.counts;
        let count = match fate {
            Fate::InFlight => None,
            Fate::Served => Some(&mut counts.served),
            Fate::Seeding => Some(&mut counts.seeding),
            Fate::Destroyed => Some(&mut counts.destroyed),
        };
        if let Some(count) = count {
            *count += len as u64;
            counts.in_flight -= len as u64;
        }
        drop(state);
        self.let_go(surplus);
    }

    /// A health test has failed for good: destroys what waits, and gives and takes nothing until [`Buffer::unlatch`].
    /// Those who wait are woken, to learn of it.
    pub fn latch(&self) {
        let mut state = self.lock();
        state.latched = true;
        let filled = std::mem::take(&mut state.filled);
        for mut slab in filled {
            slab.reset();
            state.free.push(slab);
        }
        state.counts.destroyed += std::mem::take(&mut state.counts.fill);
        // Odd while it is latched.
        self.latches.store(self.latches() | 1, Ordering::SeqCst);
        drop(state);
        self.alert();
    }

    /// An operator has dealt with it: bytes go in and out again.
    pub fn unlatch(&self) {
        let mut state = self.lock();
        state.latched = false;
        self.latches
            .store((self.latches() | 1) + 1, Ordering::SeqCst);
        drop(state);
        self.alert();
    }

    /// Whether it is latched.
    pub fn latched(&self) -> bool {
        self.latches() & 1 == 1
    }

    /// A number that changes whenever the buffer is latched or unlatched, odd while it is latched.
    pub fn latches(&self) -> u64 {
        self.latches.load(Ordering::SeqCst)
    }

    /// Wakes those who wait for bytes; costs one load if nobody does.
    pub fn notify(&self) {
        self.bell.ring();
    }

    /// Wakes every listener whether it asked or not: something other than bytes has changed.
    pub fn alert(&self) {
        self.bell.ring_always();
    }

    /// A descriptor that becomes readable whenever the bell rings, for a thread that waits for others as well. It is
    /// made once, and the one who has it reads it empty before looking for bytes.
    ///
    /// # Errors
    /// The kernel gives none.
    pub fn chime(&self) -> io::Result<Arc<EventFd>> {
        self.bell.chime()
    }

    /// Asks to be woken by the next [`Buffer::notify`]; look for bytes after this and before [`Buffer::wait`].
    pub fn arm(&self) -> Rings {
        self.bell.arm()
    }

    /// The bell's count without asking for [`Buffer::notify`]: only [`Buffer::alert`] or another's arming ends a wait.
    pub fn rings(&self) -> Rings {
        self.bell.rings()
    }

    /// Waits until the bell has rung since `seen`, or until `limit` has passed.
    pub fn wait(&self, seen: Rings, limit: Option<Duration>) {
        self.bell.wait(seen, limit);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between two changes of the state can panic, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes room: destroys up to `want` of the oldest bytes, at least one; false if there are none.
    fn replace(&mut self, want: usize) -> bool {
        let n = self.destroy_oldest(want);
        self.counts.overflow_replaced += n as u64;
        n > 0
    }

    /// Destroys up to `want` of the oldest bytes; how many, none only if there are none.
    fn destroy_oldest(&mut self, want: usize) -> usize {
        let Some(front) = self.filled.front_mut() else {
            return 0;
        };
        let n = want.min(front.len());
        front.destroy(n);
        self.counts.fill -= n as u64;
        if front.len() == 0
            && let Some(mut slab) = self.filled.pop_front()
        {
            slab.reset();
            self.free.push(slab);
        }
        n
    }
}

#[cfg(test)]
mod tests;
