//! The last epoch used, kept over restarts.
//!
//! An epoch names a session, and a gateway accepts only newer ones. So each is greater than all
//! before it, even when the clock was set back, and is on disk before it is announced. The file
//! `epoch` in the state directory holds the last one as 8 bytes, big-endian. It is no secret.
//!
//! The file is opened once, before the sender gives up all access to files, and written in place from
//! then on: 8 bytes within one sector, which a disk writes whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use qrng_daemon::write_atomically;
use thiserror::Error;

/// How long the end of a killed process may take.
const DYING: Duration = Duration::from_secs(2);
/// How often to look whether it has ended.
const AGAIN: Duration = Duration::from_millis(10);

/// Where new epochs come from.
pub trait Epochs {
    /// A new epoch, greater than every one before: the time `now_us`, or one more than the last.
    /// It has been persisted when this returns.
    ///
    /// # Errors
    /// It could not be persisted, and so must not be used.
    fn next(&mut self, now_us: u64) -> Result<u64, EpochError>;
}

/// Why there is no epoch.
#[derive(Debug, Error)]
pub enum EpochError {
    /// The state directory cannot be made or used.
    #[error(
        "state directory {0}: {1}; make it writable for this user, or name another one as state-directory"
    )]
    Directory(PathBuf, io::Error),
    /// Another collector uses the state directory.
    #[error(
        "state directory {0} is in use by another collector; end that one, or name another directory as state-directory"
    )]
    InUse(PathBuf),
    /// The file cannot be read or written.
    #[error(
        "epoch file {0}: {1}; it must be readable and its directory writable, because gateways refuse a collector that repeats an epoch"
    )]
    File(PathBuf, io::Error),
    /// The file holds no epoch.
    #[error(
        "epoch file {path} is damaged ({what}); if the clock is right, remove the file and start again: the epoch is then the current time"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The epoch file. Locked: two collectors never share one.
#[derive(Debug)]
pub struct EpochFile {
    path: PathBuf,
    file: File,
    last: u64,
    _lock: File,
}

impl EpochFile {
    /// Opens the epoch file of `directory`, which is made if there is none.
    ///
    /// # Errors
    /// See [`EpochError`].
    pub fn open(directory: &Path) -> Result<Self, EpochError> {
        let denied = |e| EpochError::Directory(directory.to_path_buf(), e);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(denied)?;
        let lock = File::create(directory.join("lock")).map_err(denied)?;
        take(&lock).map_err(|e| match e {
            TryLockError::WouldBlock => EpochError::InUse(directory.to_path_buf()),
            TryLockError::Error(e) => denied(e),
        })?;
        let path = directory.join("epoch");
        let unusable = |e| EpochError::File(path.clone(), e);
        let last = match fs::read(&path) {
            Ok(bytes) => decode(&bytes).map_err(|what| EpochError::Damaged {
                path: path.clone(),
                what,
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Whole from the first: a file of no bytes would be taken for a damaged one.
                write_atomically(&path, &[0; 8], 0o600, true).map_err(unusable)?;
                0
            }
            Err(e) => return Err(unusable(e)),
        };
        let file = OpenOptions::new().write(true).open(&path);
        Ok(Self {
            file: file.map_err(unusable)?,
            path,
            last,
            _lock: lock,
        })
    }
}

/// Takes the lock, also one whose holder is about to die: the sender of a collector that was killed.
fn take(lock: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + DYING;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(AGAIN),
            taken => return taken,
        }
    }
}

impl AsRawFd for EpochFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Epochs for EpochFile {
    fn next(&mut self, now_us: u64) -> Result<u64, EpochError> {
        // `decode` leaves room for one more.
        let epoch = now_us.max(self.last + 1);
        self.file
            .write_all_at(&epoch.to_be_bytes(), 0)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| EpochError::File(self.path.clone(), e))?;
        self.last = epoch;
        Ok(epoch)
    }
}

/// An epoch from a file's bytes.
fn decode(bytes: &[u8]) -> Result<u64, String> {
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("{} bytes instead of 8", bytes.len()))?;
    match u64::from_be_bytes(bytes) {
        // In the year 294,247 by the clock: no epoch that any collector has used.
        epoch if epoch > i64::MAX as u64 => Err(format!("impossible epoch {epoch}")),
        epoch => Ok(epoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    #[test]
    fn epochs_are_the_time_and_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/on/demand");
        let mut file = EpochFile::open(&state).unwrap();
        assert_eq!(file.next(NOW).unwrap(), NOW);
        assert_eq!(file.next(NOW).unwrap(), NOW + 1);
        drop(file);
        assert_eq!(
            fs::read(state.join("epoch")).unwrap(),
            (NOW + 1).to_be_bytes()
        );
        let mut file = EpochFile::open(&state).unwrap();
        assert_eq!(file.next(NOW - 5_000_000).unwrap(), NOW + 2);
        assert_eq!(file.next(NOW + 9_000_000).unwrap(), NOW + 9_000_000);
    }

    #[test]
    fn a_damaged_file_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        for (content, words) in [
            (&b""[..], "0 bytes instead of 8"),
            (b"1234567", "7 bytes"),
            (b"123456789", "9 bytes"),
            (&[0xff; 8], "impossible epoch 18446744073709551615"),
        ] {
            fs::write(dir.path().join("epoch"), content).unwrap();
            let error = EpochFile::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(error.contains("remove the file"), "{error}");
        }
    }

    #[test]
    fn a_second_collector_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = EpochFile::open(dir.path()).unwrap();
        let error = EpochFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another collector"), "{error}");
        drop(first);
        assert!(EpochFile::open(dir.path()).is_ok());
    }

    #[test]
    fn an_unusable_directory_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = EpochFile::open(&file.join("state"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("state-directory"), "{error}");
        // A directory in the file's place cannot be read as one.
        fs::create_dir(dir.path().join("epoch")).unwrap();
        assert!(matches!(
            EpochFile::open(dir.path()),
            Err(EpochError::File(..))
        ));
    }

    #[test]
    fn the_file_is_whole_before_the_first_epoch() {
        let dir = tempfile::tempdir().unwrap();
        drop(EpochFile::open(dir.path()).unwrap());
        assert_eq!(fs::read(dir.path().join("epoch")).unwrap(), [0; 8]);
        let mut file = EpochFile::open(dir.path()).unwrap();
        assert_eq!(file.next(0).unwrap(), 1);
    }

    #[test]
    fn an_epoch_that_cannot_be_written_is_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = EpochFile::open(dir.path()).unwrap();
        assert_eq!(file.next(NOW).unwrap(), NOW);
        file.file = File::open(dir.path().join("epoch")).unwrap();
        assert!(matches!(file.next(NOW), Err(EpochError::File(..))));
        assert_eq!(file.last, NOW);
    }
}
