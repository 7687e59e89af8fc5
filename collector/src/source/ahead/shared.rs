//! What the reading thread and the source tell each other.
//!
//! Threads are numbered. Only the latest is heard; those before it were left behind in calls that hang.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::{Failure, Fault, LONGEST_READ, Sensors, SourceError};

/// Bytes read ahead at most.
const BACKLOG: usize = 4 * LONGEST_READ;

/// How far the reading thread is.
#[derive(Debug)]
enum Phase {
    /// Opening, at first or anew.
    Opening,
    /// Reading.
    Reading,
    /// Failed; the next read of the source tells it.
    Failed(Failure),
    /// Failed and told: waits to be asked again.
    Paused,
    /// There is no more, for ever.
    Over(SourceError),
}

impl Phase {
    /// Whether more bytes may come by themselves.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Opening | Self::Reading)
    }
}

struct State {
    backlog: Backlog,
    phase: Phase,
    /// The number of the thread that is heard.
    generation: u64,
    /// How many threads before it still hang.
    left_behind: usize,
    /// Since when the thread is in a call of the device; none while it waits for the source.
    calling_since: Option<Instant>,
    /// How long that call may take.
    patience: Duration,
    /// Whether the source was told that the call hangs.
    hang_told: bool,
    /// How many bytes the source waits for; more than can be if it does not wait.
    wanted: usize,
    /// Whether the device was ever open.
    opened: bool,
    /// The serial number that the device told first.
    serial: Option<String>,
    sensors: Sensors,
    /// The source is gone.
    closed: bool,
}

impl State {
    /// Whether the thread of this number is still wanted.
    fn hears(&self, generation: u64) -> bool {
        !self.closed && self.generation == generation
    }

    /// The thread calls the device, which may take this long.
    fn calls(&mut self, patience: Duration) {
        self.returned();
        self.calling_since = Some(Instant::now());
        self.patience = patience;
    }

    /// The thread has returned from the device.
    fn returned(&mut self) {
        self.calling_since = None;
        self.hang_told = false;
    }

    /// A hang that was not told yet; told with this call.
    fn new_hang(&mut self) -> Option<Failure> {
        let hangs = self.calling_since?.elapsed() >= self.patience;
        if !hangs || mem::replace(&mut self.hang_told, true) {
            return None;
        }
        let what = match self.phase {
            Phase::Opening => "opening it",
            _ => "reading it",
        };
        Some(Failure::new(
            Fault::Silent,
            format!("{what} has not come to an end for {:?}", self.patience),
        ))
    }
}

/// What the reading threads and the source share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// How long opening may take.
    opening: Duration,
    /// To the source: the bytes that it wants are there, or the phase has changed.
    arrived: Condvar,
    /// To the thread: there is room, the source wants it to try again, or nobody wants it any more.
    room: Condvar,
}

impl Shared {
    /// For a thread number 0, about to open the device, which may take as long as `opening`.
    pub(super) fn new(opening: Duration) -> Self {
        let state = State {
            backlog: Backlog::new(BACKLOG),
            phase: Phase::Opening,
            generation: 0,
            left_behind: 0,
            calling_since: Some(Instant::now()),
            patience: opening,
            hang_told: false,
            wanted: usize::MAX,
            opened: false,
            serial: None,
            sensors: Sensors::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            opening,
            arrived: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// The state; a panic elsewhere cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source's side.
impl Shared {
    /// Waits until the device is open, has failed to open, or `time` is over. Gives its serial number.
    pub(super) fn wait_for_open(&self, time: Duration) -> Result<Option<String>, SourceError> {
        let (state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), time, |s| matches!(s.phase, Phase::Opening))
            .unwrap_or_else(PoisonError::into_inner);
        match &state.phase {
            Phase::Failed(failure) if !state.opened => Err(failure.clone().into()),
            Phase::Over(error) if !state.opened => Err(error.clone()),
            _ => Ok(state.serial.clone()),
        }
    }

    /// Takes bytes into the front of `buffer`: a full one, or what came before `deadline`. Tells failures.
    pub(super) fn take(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, SourceError> {
        let mut state = self.wait_for(buffer.len(), deadline);
        let count = state.backlog.take(buffer);
        if count > 0 {
            self.room.notify_all();
            return Ok(count);
        }
        match &state.phase {
            Phase::Over(error) => Err(error.clone()),
            Phase::Failed(failure) => {
                let error = failure.clone().into();
                state.phase = Phase::Paused;
                Err(error)
            }
            _ => state.new_hang().map_or(Ok(0), |hang| Err(hang.into())),
        }
    }

    /// Waits until there is something to take, or `deadline`.
    pub(super) fn wait(&self, deadline: Instant) {
        drop(self.wait_for(1, deadline));
    }

    /// Waits until `count` bytes are there (or half of what can be), no more come by themselves, or `deadline`. Lets the
    /// thread try again after a failure that was told.
    fn wait_for(&self, count: usize, deadline: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Paused) {
            state.phase = Phase::Opening;
            self.room.notify_all();
        }
        let wanted = count.min(BACKLOG / 2);
        while state.backlog.len() < wanted && state.phase.goes_on() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wanted = wanted;
            state = self
                .arrived
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.wanted = usize::MAX;
        state
    }

    /// Leaves the thread behind if it hangs, this was told, and fewer than `spares` were left already. Gives the number of
    /// the thread to start in its place.
    pub(super) fn leave_behind(&self, spares: usize) -> Option<u64> {
        let mut state = self.lock();
        if !state.hang_told || state.left_behind >= spares {
            return None;
        }
        state.left_behind += 1;
        state.generation += 1;
        state.phase = Phase::Opening;
        state.calls(self.opening);
        Some(state.generation)
    }

    /// What the device said of itself when it was last asked.
    pub(super) fn sensors(&self) -> Sensors {
        self.lock().sensors.clone()
    }

    /// Wipes what nobody has taken.
    pub(super) fn forget(&self) {
        self.lock().backlog.clear();
        self.room.notify_all();
    }

    /// The source is gone.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }
}

/// The thread's side. The answer false means that nobody wants this thread any more.
impl Shared {
    /// The device is open; its calls have this patience from now on.
    pub(super) fn open(
        &self,
        generation: u64,
        serial: Option<&str>,
        patience: Duration,
    ) -> Result<bool, SourceError> {
        let mut state = self.lock();
        if !state.hears(generation) {
            return Ok(false);
        }
        if state.serial.is_some() && state.serial.as_deref() != serial {
            return Err(another(state.serial.as_deref(), serial).into());
        }
        state.serial = serial.map(str::to_owned);
        state.opened = true;
        state.phase = Phase::Reading;
        state.calls(patience);
        drop(state);
        self.arrived.notify_all();
        Ok(true)
    }

    /// What the device says of itself.
    pub(super) fn tell(&self, generation: u64, sensors: Sensors) {
        let mut state = self.lock();
        if state.hears(generation) {
            state.sensors = sensors;
            let patience = state.patience;
            state.calls(patience);
        }
    }

    /// Hands over bytes, waiting for room. The thread then calls the device again.
    pub(super) fn put(&self, generation: u64, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.hears(generation) {
            return false;
        }
        state.returned();
        state = self
            .room
            .wait_while(state, |s| {
                s.backlog.room() < bytes.len() && s.hears(generation)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if !state.hears(generation) {
            return false;
        }
        state.backlog.put(bytes);
        let patience = state.patience;
        state.calls(patience);
        if state.backlog.len() >= state.wanted {
            self.arrived.notify_all();
        }
        true
    }

    /// The device has failed. Waits until the source asks for another try, which begins with opening; does not wait if
    /// there is none.
    pub(super) fn stop(&self, generation: u64, error: SourceError) -> bool {
        let mut state = self.lock();
        if !state.hears(generation) {
            return false;
        }
        state.returned();
        state.phase = match error {
            SourceError::Retry(failure) => Phase::Failed(failure),
            over => Phase::Over(over),
        };
        self.arrived.notify_all();
        if matches!(state.phase, Phase::Over(_)) {
            return false;
        }
        state = self
            .room
            .wait_while(state, |s| !s.phase.goes_on() && s.hears(generation))
            .unwrap_or_else(PoisonError::into_inner);
        state.calls(self.opening);
        state.hears(generation)
    }

    /// The thread has ended, perhaps by a panic.
    pub(super) fn ended(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation != generation {
            state.left_behind -= 1;
        } else if !state.closed && !matches!(state.phase, Phase::Over(_)) {
            state.phase = Phase::Over(SourceError::Broken("its reading thread has died".into()));
            self.arrived.notify_all();
        }
    }
}

/// A device with another serial number is where the first was, so what is told of the source is no longer true.
fn another(first: Option<&str>, now: Option<&str>) -> Failure {
    let first = first.unwrap_or_default();
    let now = now.map_or("tells none".into(), |now| format!("tells {now}"));
    Failure::new(
        Fault::Unavailable,
        format!(
            "it had the serial number {first} and now {now}: plug the first one in, or restart the collector"
        ),
    )
}
