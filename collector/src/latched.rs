//! Which sources are latched, kept over restarts: only an operator clears a latch.
//!
//! The file `latched.json` in the state directory holds the alarm of each latched source by the source's name, as a JSON
//! object. There is none while no source is latched.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use qrng::health::Alarm;
use qrng_daemon::write_atomically;
use thiserror::Error;

/// The name of the file.
pub const FILE_NAME: &str = "latched.json";

/// Why it is not known what is latched.
#[derive(Debug, Error)]
pub enum LatchedError {
    /// The file cannot be read.
    #[error(
        "{0} cannot be read ({1}): it may hold a permanent alarm; mend its permissions, or remove it to clear that"
    )]
    File(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error(
        "{0} is damaged ({1}): it may hold a permanent alarm; find out what is wrong with the source, then remove it"
    )]
    Damaged(PathBuf, #[source] serde_json::Error),
}

/// The latched sources.
#[derive(Debug)]
pub struct Latched {
    path: PathBuf,
    alarms: Mutex<BTreeMap<String, Alarm>>,
}

impl Latched {
    /// Those that the file in this state directory names.
    ///
    /// # Errors
    /// See [`LatchedError`]; then nothing may be sent.
    pub fn open(directory: &Path) -> Result<Self, LatchedError> {
        let path = directory.join(FILE_NAME);
        let alarms = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| LatchedError::Damaged(path.clone(), e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(LatchedError::File(path, e)),
        };
        Ok(Self {
            path,
            alarms: Mutex::new(alarms),
        })
    }

    /// The alarm that latched the source of this name, if one did.
    pub fn alarm(&self, source: &str) -> Option<Alarm> {
        let alarms = self.alarms.lock();
        let alarms = alarms.unwrap_or_else(PoisonError::into_inner);
        alarms.get(source).cloned()
    }

    /// Keeps that this alarm has latched its source.
    pub fn add(&self, alarm: &Alarm) {
        self.change(|alarms| alarms.insert(alarm.source.clone(), alarm.clone()));
    }

    /// Forgets the latch of a source, which an operator has cleared.
    pub fn remove(&self, source: &str) {
        self.change(|alarms| alarms.remove(source));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Alarm>) -> T) {
        let alarms = self.alarms.lock();
        // A panic elsewhere cannot leave the map half changed.
        let mut alarms = alarms.unwrap_or_else(PoisonError::into_inner);
        change(&mut alarms);
        let written = if alarms.is_empty() {
            match fs::remove_file(&self.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        } else {
            // Strings and finite numbers only: the encoding cannot fail.
            let text = serde_json::to_vec_pretty(&*alarms).unwrap_or_default();
            write_atomically(&self.path, &text, 0o600, true)
        };
        if let Err(e) = written {
            log::error!(
                "{} cannot be written ({e}): a restart would not know which sources are latched; mend its directory",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use qrng::health::{Test, Tier};

    use super::*;

    fn alarm(source: &str) -> Alarm {
        Alarm {
            source: source.into(),
            test: Test::Bias,
            tier: Tier::Permanent,
            statistic: 0.6,
            limit: 0.51,
            sample: 65_535,
            lag: None,
            at_us: 7,
        }
    }

    #[test]
    fn latches_are_kept_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Latched::open(dir.path()).unwrap();
        let latched = open();
        assert_eq!(latched.alarm("card"), None);
        latched.remove("card");
        latched.add(&alarm("card"));
        latched.add(&alarm("a \"quoted\" stick\n"));
        let later = open();
        assert_eq!(later.alarm("card"), Some(alarm("card")));
        assert!(later.alarm("a \"quoted\" stick\n").is_some());
        later.remove("card");
        assert_eq!(open().alarm("card"), None);
        open().remove("a \"quoted\" stick\n");
        assert!(!dir.path().join(FILE_NAME).exists());
    }

    #[test]
    fn a_file_that_says_nothing_is_an_error_and_no_clearance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for text in ["", "{", "[]", r#"{"card": {"test": "bias"}}"#] {
            fs::write(&path, text).unwrap();
            let error = Latched::open(dir.path()).unwrap_err();
            assert!(matches!(error, LatchedError::Damaged(..)), "{text}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = Latched::open(dir.path()).unwrap_err();
        assert!(matches!(error, LatchedError::File(..)));
    }
}
