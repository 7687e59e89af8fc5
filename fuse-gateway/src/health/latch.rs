//! The files of a permanent alarm: one that keeps it over a restart, one by which an operator clears it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{error, info, warn};

use super::{Health, HealthError};

/// Name of the file that keeps a latch, in the gateway's runtime directory.
pub(super) const FILE_NAME: &str = "latched";

/// A file by which an operator asks for a latch to be cleared.
pub struct ClearRequest(PathBuf);

impl ClearRequest {
    /// Name of the file in the gateway's runtime directory.
    pub const FILE_NAME: &str = "clear-latch";

    /// The request's file in `runtime_directory`, which only the gateway's user and root can write.
    pub fn new(runtime_directory: &Path) -> Self {
        Self(runtime_directory.join(Self::FILE_NAME))
    }

    /// Looks for the file, removes it, and clears the latch.
    pub fn look(&self, health: &Health) {
        use std::os::unix::fs::MetadataExt;
        let Ok(metadata) = fs::symlink_metadata(&self.0) else {
            return;
        };
        let owner = metadata.uid();
        if let Err(e) = fs::remove_file(&self.0) {
            error!(
                "{} cannot be removed ({e}), so the latch is not cleared; remove it, and make it anew as a file",
                self.0.display()
            );
            return;
        }
        if health.clear() {
            warn!("the permanent alarm was cleared by user {owner}; start-up tests run");
        } else {
            info!("user {owner} asked to clear an alarm, but there is none");
        }
    }
}

/// Why the gateway was latched when it ended; none if it was not.
pub(super) fn read(path: &Path) -> Result<Option<String>, HealthError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(HealthError::LatchFile(path.to_owned(), e)),
    }
}

/// Removes it, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
