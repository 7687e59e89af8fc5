//! A model with a clock, for several threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Device;

/// Where a model's time comes from.
#[derive(Debug)]
enum Clock {
    Real(Instant),
    /// Nanoseconds.
    Stepped(AtomicU64),
}

/// A model behind a lock. Whoever looks at it first lets its time pass.
#[derive(Debug)]
pub struct Shared<M: ?Sized> {
    clock: Arc<Clock>,
    model: Arc<Mutex<M>>,
}

impl<M: ?Sized> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            model: self.model.clone(),
        }
    }
}

impl<M: Device> Shared<M> {
    /// A model in real time, which starts now.
    pub fn real_time(model: M) -> Self {
        Self::new(model, Clock::Real(Instant::now()))
    }

    /// A model whose time passes only by [`Shared::step`].
    pub fn stepped(model: M) -> Self {
        Self::new(model, Clock::Stepped(AtomicU64::new(0)))
    }

    fn new(model: M, clock: Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            model: Arc::new(Mutex::new(model)),
        }
    }

    /// Takes the model, after time has passed for it.
    pub fn lock(&self) -> MutexGuard<'_, M> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.advance(match &*self.clock {
            Clock::Real(start) => start.elapsed(),
            Clock::Stepped(nanos) => Duration::from_nanos(nanos.load(Ordering::SeqCst)),
        });
        model
    }

    /// Lets `time` pass for a stepped model.
    ///
    /// # Panics
    /// The model runs in real time.
    pub fn step(&self, time: Duration) {
        let Clock::Stepped(nanos) = &*self.clock else {
            panic!("a model in real time can't be stepped");
        };
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        nanos.fetch_add(time, Ordering::SeqCst);
        drop(self.lock());
    }
}
