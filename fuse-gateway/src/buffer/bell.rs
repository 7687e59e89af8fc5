//! Waking those who wait for bytes. Ringing costs one load when nobody listens.
//!
//! A listener arms the bell, looks whether there is something for it, and only then waits: a byte that comes between the
//! look and the wait has rung the bell already, so no wake-up is lost.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// How often the bell had rung when its holder began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rings(u64);

#[derive(Debug, Default)]
pub(super) struct Bell {
    armed: AtomicBool,
    rings: Mutex<u64>,
    heard: Condvar,
    chime: OnceLock<Arc<EventFd>>,
}

impl Bell {
    /// A descriptor that each ring makes readable; always the same.
    pub(super) fn chime(&self) -> io::Result<Arc<EventFd>> {
        if let Some(chime) = self.chime.get() {
            return Ok(Arc::clone(chime));
        }
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let made = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        Ok(Arc::clone(self.chime.get_or_init(|| made)))
    }

    /// The present count, without asking to be rung.
    pub(super) fn rings(&self) -> Rings {
        Rings(*self.lock())
    }

    /// Asks for the next ring.
    pub(super) fn arm(&self) -> Rings {
        let rings = self.lock();
        self.armed.store(true, Ordering::SeqCst);
        Rings(*rings)
    }

    /// Wakes all listeners if one has armed the bell.
    pub(super) fn ring(&self) {
        if self.armed.load(Ordering::SeqCst) {
            self.ring_always();
        }
    }

    /// Wakes all listeners, armed or not.
    pub(super) fn ring_always(&self) {
        let mut rings = self.lock();
        self.armed.store(false, Ordering::SeqCst);
        *rings += 1;
        drop(rings);
        self.heard.notify_all();
        if let Some(chime) = self.chime.get() {
            // It fails only when it has been rung 2^64 times unheard; it is readable then.
            let _ = chime.write(1);
        }
    }

    /// Waits until the bell has rung since `seen`, or until `limit` has passed.
    pub(super) fn wait(&self, seen: Rings, limit: Option<Duration>) {
        let rings = self.lock();
        let unheard = |rings: &mut u64| *rings == seen.0;
        match limit {
            Some(limit) => drop(self.heard.wait_timeout_while(rings, limit, unheard)),
            None => drop(self.heard.wait_while(rings, unheard)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // A count is whole whatever happened to the thread that held it.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
