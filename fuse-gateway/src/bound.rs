//! The restart bound: the one thing that a gateway remembers across a restart.
//!
//! Everything that was ever accepted carries a timestamp below the bound on file, so a gateway
//! that starts again and accepts only what lies beyond it can't be made to accept anything twice.
//! The file holds 8 bytes: microseconds since the Unix epoch, big-endian. It is no secret.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{error, info};
use qrng_daemon::write_atomically;

use crate::admit::{AdvanceBound, first_bound};

/// Name of the file in the gateway's runtime directory.
pub const FILE_NAME: &str = "bound";

/// The bound's file.
#[derive(Debug)]
pub struct BoundFile {
    path: PathBuf,
    /// Whether the last write failed, so that one failure is told once.
    failing: bool,
}

/// What a starting gateway finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartBound {
    /// A restart: only packets beyond this time are accepted.
    Kept(u64),
    /// The first start since boot: whatever an earlier run accepted was stamped at most the
    /// allowed future skew ahead of now, so only packets beyond that are accepted.
    Fresh(u64),
}

impl StartBound {
    /// The bound itself, in microseconds since the Unix epoch.
    pub fn micros(self) -> u64 {
        match self {
            Self::Kept(us) | Self::Fresh(us) => us,
        }
    }
}

impl BoundFile {
    /// The bound's file in `runtime_directory`.
    pub fn new(runtime_directory: &Path) -> Self {
        Self {
            path: runtime_directory.join(FILE_NAME),
            failing: false,
        }
    }

    /// Reads the bound at a start at `now_us`.
    ///
    /// # Errors
    /// The file is there but cannot be read, or is not 8 bytes long: then nobody can say what was
    /// accepted before, and an operator should look.
    pub fn load(&self, now_us: u64) -> io::Result<StartBound> {
        match fs::read(&self.path) {
            Ok(bytes) => match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(bytes) => Ok(StartBound::Kept(u64::from_be_bytes(bytes))),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is {} bytes long instead of 8; remove it: the gateway then waits 5 s before it accepts packets",
                        self.path.display(),
                        bytes.len()
                    ),
                )),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(StartBound::Fresh(first_bound(now_us)))
            }
            Err(e) => Err(io::Error::new(
                e.kind(),
                format!("{} cannot be read: {e}", self.path.display()),
            )),
        }
    }
}

impl AdvanceBound for BoundFile {
    fn advance(&mut self, to_us: u64) -> io::Result<()> {
        // Not synced: the directory lies in memory, and after a power loss it is gone, which is
        // the case of a first start.
        let written = write_atomically(&self.path, &to_us.to_be_bytes(), 0o600, false);
        match &written {
            Err(e) if !self.failing => error!(
                "{} cannot be written ({e}): no packet is accepted until it can, because a restart could not tell what was served before; free space there or mend its permissions",
                self.path.display()
            ),
            Ok(()) if self.failing => info!("{} can be written again", self.path.display()),
            _ => {}
        }
        self.failing = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_start_waits_out_the_skew_and_a_restart_keeps_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = BoundFile::new(dir.path());
        assert_eq!(file.load(1_000_000).unwrap(), StartBound::Fresh(6_000_000));
        file.advance(77).unwrap();
        assert_eq!(file.load(1_000_000).unwrap(), StartBound::Kept(77));
        assert_eq!(
            fs::read(dir.path().join("bound")).unwrap(),
            77u64.to_be_bytes()
        );
    }

    #[test]
    fn a_torn_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bound"), b"abc").unwrap();
        let error = BoundFile::new(dir.path()).load(0).unwrap_err().to_string();
        assert!(error.contains("3 bytes long"), "{error}");
    }
}
