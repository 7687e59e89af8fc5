//! The restart bound on a disk: it survives a reboot, at which the runtime directory is lost.
//!
//! Every write costs a disk's sync, so it lies up to [`AHEAD_US`] ahead of what was accepted, and is written about twice in that
//! time, by a thread of its own as a rule. At an orderly end it is set to what was accepted. The invariant is the one of the
//! other file: nothing is accepted whose timestamp lies beyond what is on file.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use log::warn;
use qrng_daemon::write_atomically;

use super::{FILE_NAME, lock, read};

/// How far ahead of what was accepted it is written, in microseconds.
pub const AHEAD_US: u64 = 60_000_000;

/// The bound's file in the state directory.
#[derive(Debug)]
pub struct Durable {
    path: PathBuf,
    _lock: File,
    /// What is on file; 0 while it is being lowered.
    until_us: AtomicU64,
    /// Up to where this run may have accepted packets; 0 before the first.
    accepted_us: AtomicU64,
    /// Up to where earlier ones may have.
    before_us: AtomicU64,
    writing: Mutex<()>,
}

impl Durable {
    /// Takes the file in `directory`, which is made if there is none, for this process alone.
    ///
    /// # Errors
    /// The directory cannot be made or used, others may change it, or the file is damaged.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|e| {
            let shown = directory.display();
            io::Error::new(
                e.kind(),
                format!("state-directory {shown} cannot be made ({e}); make it, or name another"),
            )
        })?;
        let lock = lock(directory, "state-directory")?;
        let path = directory.join(FILE_NAME);
        let until_us = read(&path)?.unwrap_or(0);
        Ok(Self {
            path,
            _lock: lock,
            until_us: AtomicU64::new(until_us),
            accepted_us: AtomicU64::new(0),
            before_us: AtomicU64::new(until_us),
            writing: Mutex::new(()),
        })
    }

    /// What is on file; none if there is nothing.
    pub fn on_file(&self) -> Option<u64> {
        Some(self.until_us.load(SeqCst)).filter(|until_us| *until_us > 0)
    }

    /// Notes up to where earlier runs have accepted packets at the most, if that is known better than by this file.
    pub fn starts_at(&self, bound_us: u64) {
        self.before_us.store(bound_us, SeqCst);
    }

    /// Sees to it that the file covers `to_us` before anything up to there is accepted.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn cover(&self, to_us: u64) -> io::Result<()> {
        // This before that, and the other way round in `settle`: so one of both sees the other.
        self.accepted_us.fetch_max(to_us, SeqCst);
        if to_us <= self.until_us.load(SeqCst) {
            return Ok(());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(to_us.saturating_add(AHEAD_US))
    }

    /// Moves the file on when half of its lead is used up, so that [`Durable::cover`] need not wait for the disk. What fails
    /// here fails there again, when it matters.
    pub fn keep_ahead(&self) {
        let accepted_us = self.accepted_us.load(SeqCst);
        let until_us = self.until_us.load(SeqCst);
        if until_us > 0 && accepted_us > 0 && accepted_us.saturating_add(AHEAD_US / 2) > until_us {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.write(accepted_us.saturating_add(AHEAD_US));
        }
    }

    /// Takes the lead back at an orderly end, so that a start soon after need not wait for the clock to pass it.
    pub fn settle(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.until_us.swap(0, SeqCst);
        let accepted_us = self.accepted_us.load(SeqCst);
        let accepted_us = accepted_us.max(self.before_us.load(SeqCst));
        if accepted_us == 0 || accepted_us >= before {
            return;
        }
        if let Err(e) = self.write(accepted_us) {
            warn!(
                "{}: {e}; the next start may wait a minute longer",
                self.path.display()
            );
        }
    }

    /// With [`Durable::writing`] held.
    fn write(&self, to_us: u64) -> io::Result<()> {
        write_atomically(&self.path, &to_us.to_be_bytes(), 0o600, true)?;
        self.until_us.store(to_us, SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const T0: u64 = 1_800_000_000_000_000;
    const SECOND: u64 = 1_000_000;

    fn on_disk(directory: &Path) -> u64 {
        u64::from_be_bytes(
            fs::read(directory.join(FILE_NAME))
                .unwrap()
                .try_into()
                .unwrap(),
        )
    }

    #[test]
    fn what_is_accepted_always_lies_within_what_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/on/demand");
        let durable = Durable::open(&state).unwrap();
        assert_eq!(durable.on_file(), None);
        let mut writes = std::collections::HashSet::new();
        for second in 0..600 {
            let to_us = T0 + second * SECOND;
            durable.cover(to_us).unwrap();
            assert!(on_disk(&state) >= to_us);
            assert!(on_disk(&state) <= to_us + AHEAD_US);
            durable.keep_ahead();
            writes.insert(on_disk(&state));
        }
        // One in half a minute.
        assert!(writes.len() <= 21, "{}", writes.len());
        drop(durable);
        // A reboot without an orderly end.
        let durable = Durable::open(&state).unwrap();
        assert!(durable.on_file().unwrap() >= T0 + 599 * SECOND);
    }

    #[test]
    fn an_orderly_end_takes_the_lead_back_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::open(dir.path()).unwrap();
        durable.cover(T0).unwrap();
        durable.cover(T0 + SECOND).unwrap();
        durable.settle();
        assert_eq!(on_disk(dir.path()), T0 + SECOND);
        // What is accepted after it all the same is covered again.
        durable.cover(T0 + 2 * SECOND).unwrap();
        assert!(on_disk(dir.path()) >= T0 + 2 * SECOND);
        durable.settle();
        durable.settle();
        assert_eq!(on_disk(dir.path()), T0 + 2 * SECOND);
    }

    #[test]
    fn a_run_that_accepts_nothing_forgets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::open(dir.path()).unwrap();
        durable.cover(T0).unwrap();
        drop(durable);
        for _ in 0..3 {
            let durable = Durable::open(dir.path()).unwrap();
            let found = durable.on_file().unwrap();
            durable.starts_at(found);
            durable.keep_ahead();
            durable.settle();
            drop(durable);
            // Nor does it move the bound on, however often.
            assert_eq!(on_disk(dir.path()), found);
        }
        // A restart that finds the nearer bound leaves that.
        let durable = Durable::open(dir.path()).unwrap();
        durable.starts_at(T0 + SECOND);
        durable.settle();
        assert_eq!(on_disk(dir.path()), T0 + SECOND);
    }

    #[test]
    fn what_cannot_be_written_is_not_covered() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("bound.new")).unwrap();
        durable.cover(T0).unwrap_err();
        durable.cover(T0).unwrap_err();
        fs::remove_dir(dir.path().join("bound.new")).unwrap();
        durable.cover(T0).unwrap();
        assert_eq!(on_disk(dir.path()), T0 + AHEAD_US);
    }

    #[test]
    fn a_damaged_file_and_a_second_gateway_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = Durable::open(dir.path()).unwrap();
        let error = Durable::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("another gateway uses state-directory"),
            "{error}"
        );
        drop(first);
        fs::write(dir.path().join(FILE_NAME), b"abc").unwrap();
        let error = Durable::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("3 bytes long"), "{error}");
    }
}
