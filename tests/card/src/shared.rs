//! A model with a clock, for several threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
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

/// A thread that lets time pass for a model, until dropped: for cards whose host watches its own memory only.
#[derive(Debug)]
pub struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Device + 'static> Shared<M> {
    /// Lets time pass at least every `period`.
    pub fn tick(&self, period: Duration) -> Ticker {
        let (stop, stopped) = mpsc::channel();
        let card = self.clone();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                drop(card.lock());
            }
        });
        Ticker {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the model is seen by whoever locks it next.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{ModuleCard, ModuleConfig};
    use crate::pci::PciCard;

    fn enabled() -> ModuleCard {
        let mut card = ModuleCard::new(ModuleConfig::default());
        card.write32(1, 0x30, 0x0202_0202);
        card
    }

    #[test]
    fn time_passes_by_steps_or_by_itself() {
        let stepped = Shared::stepped(enabled());
        stepped.step(Duration::from_millis(1));
        assert_eq!(stepped.clone().lock().fill(), 2000);

        let real = Shared::real_time(enabled());
        let ticker = real.tick(Duration::from_millis(1));
        let start = Instant::now();
        let made = |card: &Shared<ModuleCard>| {
            let model = card.model.lock().unwrap_or_else(PoisonError::into_inner);
            model.fill()
        };
        while made(&real) == 0 {
            assert!(start.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(1));
        }
        drop(ticker);
    }
}
