//! The operator's word: the file `clear-latch` in the runtime directory clears every latch.
//!
//! Who may write in that directory is who may clear. The file is removed before anything is
//! cleared, so that one word clears once.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use qrng::report::State;

use crate::stats::Stats;

/// The name of the file.
pub const CLEAR_LATCH: &str = "clear-latch";

/// Looks for the operator's word.
pub struct ClearLatch {
    path: PathBuf,
    failing: bool,
}

impl ClearLatch {
    /// In this runtime directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(CLEAR_LATCH),
            failing: false,
        }
    }

    /// Does as the file says, if it is there.
    pub fn look(&mut self, stats: &Stats) {
        let path = self.path.display();
        let owner = match self.take() {
            Ok(Some(owner)) => owner,
            Ok(None) => {
                self.failing = false;
                return;
            }
            Err(e) if !self.failing => {
                log::warn!("{path} cannot be removed: {e}; nothing is cleared; remove it");
                self.failing = true;
                return;
            }
            Err(_) => return,
        };
        self.failing = false;
        let latched = |state| state == State::Latched;
        let mut cleared = false;
        for source in stats
            .sources()
            .iter()
            .filter(|s| latched(s.condition().state))
        {
            let name = &source.identity().name;
            log::warn!("the latch of source {name} is cleared by user {owner}, by {path}");
            source.ask_clear();
            cleared = true;
        }
        if !cleared {
            log::warn!("user {owner} asks by {path} to clear a latch, and no source is latched");
        }
    }

    /// Removes the file and says whose it was.
    fn take(&self) -> io::Result<Option<u32>> {
        let owner = match fs::symlink_metadata(&self.path) {
            Ok(meta) => meta.uid(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        fs::remove_file(&self.path)?;
        Ok(Some(owner))
    }
}

#[cfg(test)]
mod tests {
    use qrng::report::Kind;

    use super::*;
    use crate::source::Identity;

    #[test]
    fn one_word_clears_once_and_only_what_is_latched() {
        let dir = tempfile::tempdir().unwrap();
        let identity = |name: &str| Identity {
            kind: Kind::Usb,
            name: name.into(),
            serial: None,
        };
        let stats = Stats::new(vec![identity("a"), identity("b")]);
        stats.sources()[1].is(State::Latched);
        let mut latch = ClearLatch::new(dir.path());
        latch.look(&stats);
        let asked = |stats: &Stats| [0, 1].map(|i| stats.sources()[i].asked_to_clear());
        assert_eq!(asked(&stats), [false, false]);
        let file = dir.path().join("clear-latch");
        fs::write(&file, "").unwrap();
        latch.look(&stats);
        assert_eq!(asked(&stats), [false, true]);
        assert!(!file.exists());
        stats.sources()[1].wait_for_clear();
        latch.look(&stats);
        assert_eq!(asked(&stats), [false, false]);
        // What cannot be removed clears nothing.
        fs::create_dir(&file).unwrap();
        latch.look(&stats);
        assert_eq!(asked(&stats), [false, false]);
    }
}
