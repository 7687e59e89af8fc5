//! The restart bound: the one thing that a gateway remembers across a restart.
//!
//! Everything that was ever accepted carries a timestamp below the bound on file, so a gateway
//! that starts again and accepts only what lies beyond it can't be made to accept anything twice.
//! The file holds 8 bytes: microseconds since the Unix epoch, big-endian. It is no secret.
//!
//! There are two: one in the runtime directory, written once a second and never synced, for restarts; and one in the
//! state directory, for reboots, which lies up to a minute ahead ([`Durable`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info};
use qrng_daemon::write_atomically;

use crate::admit::{AdvanceBound, first_bound};

mod durable;

pub use durable::Durable;

/// Name of the file in the gateway's runtime directory.
pub const FILE_NAME: &str = "bound";

/// A failed write is tried again after this time, so that packets which need it cost no more.
const RETRY: Duration = Duration::from_millis(100);

/// The bound's file.
#[derive(Debug)]
pub struct BoundFile {
    path: PathBuf,
    /// Held as long as the gateway runs: two gateways with one bound would move it back.
    _lock: File,
    /// The other file, if there is one.
    durable: Option<Arc<Durable>>,
    /// When the last write failed, if it did: a failure is told once.
    failed: Option<Instant>,
}

/// What a starting gateway finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartBound {
    /// A restart: only packets beyond this time are accepted.
    Kept(u64),
    /// The first start since boot, with a bound on disk: only packets beyond this time are accepted, which may lie a
    /// minute ahead of the last one before.
    Stored(u64),
    /// The first start of all, as far as is known: whatever an earlier run accepted was stamped at most the
    /// allowed future skew ahead of now, so only packets beyond that are accepted.
    Fresh(u64),
}

impl StartBound {
    /// The bound itself, in microseconds since the Unix epoch.
    pub fn micros(self) -> u64 {
        match self {
            Self::Kept(us) | Self::Stored(us) | Self::Fresh(us) => us,
        }
    }
}

impl BoundFile {
    /// Takes the bound's file in `runtime_directory` for this process alone; `durable` is the other one.
    ///
    /// # Errors
    /// Another gateway uses the directory, or others than its owner may change it: whoever can
    /// remove the bound can have packets accepted twice.
    pub fn open(runtime_directory: &Path, durable: Option<Arc<Durable>>) -> io::Result<Self> {
        Ok(Self {
            path: runtime_directory.join(FILE_NAME),
            _lock: lock(runtime_directory, "runtime-directory")?,
            durable,
            failed: None,
        })
    }

    /// Reads the bound at a start at `now_us`.
    ///
    /// # Errors
    /// The file is there but cannot be read, or is not 8 bytes long: then nobody can say what was
    /// accepted before, and an operator should look.
    pub fn load(&self, now_us: u64) -> io::Result<StartBound> {
        let stored = self.durable.as_ref().and_then(|durable| durable.on_file());
        let start = match (read(&self.path)?, stored) {
            (Some(kept), _) => StartBound::Kept(kept),
            (None, Some(stored)) => StartBound::Stored(stored),
            (None, None) => StartBound::Fresh(first_bound(now_us)),
        };
        if let Some(durable) = &self.durable {
            durable.starts_at(start.micros());
        }
        Ok(start)
    }
}

/// Takes a directory with a bound for this process alone.
fn lock(directory: &Path, setting: &str) -> io::Result<File> {
    let shown = directory.display();
    let mode = fs::metadata(directory)?.mode();
    if mode & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "{setting} {shown} can be changed by others (mode {:04o}); run `chmod go-w {shown}`",
            mode & 0o7777
        )));
    }
    let lock = File::create(directory.join("lock")).map_err(|e| {
        let user = nix::unistd::geteuid();
        io::Error::new(
            e.kind(),
            format!("{setting} {shown} cannot be written in by user {user}: {e}"),
        )
    })?;
    lock.try_lock().map_err(|_| {
        io::Error::other(format!(
            "another gateway uses {setting} {shown}; stop it, or name another directory"
        ))
    })?;
    Ok(lock)
}

/// The bound in a file; none if there is no file.
fn read(path: &Path) -> io::Result<Option<u64>> {
    match fs::read(path) {
        Ok(bytes) => match <[u8; 8]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Some(u64::from_be_bytes(bytes))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} is {} bytes long instead of 8; remove it: the gateway then waits 5 s before it accepts packets",
                    path.display(),
                    bytes.len()
                ),
            )),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io::Error::new(
            e.kind(),
            format!("{} cannot be read: {e}", path.display()),
        )),
    }
}

impl AdvanceBound for BoundFile {
    fn advance(&mut self, to_us: u64) -> io::Result<()> {
        // Not synced: the directory lies in memory, and after a power loss it is gone, which is
        // what the durable one is for.
        if self.failed.is_some_and(|at| at.elapsed() < RETRY) {
            return Err(io::Error::other("the last write has just failed"));
        }
        let durable = self.durable.as_ref();
        let written = durable
            .map_or(Ok(()), |durable| durable.cover(to_us))
            .and_then(|()| write_atomically(&self.path, &to_us.to_be_bytes(), 0o600, false));
        match &written {
            Err(e) if self.failed.is_none() => error!(
                "the restart bound, {} or the one in the state directory, cannot be written ({e}): no packet is accepted until it can, because a restart could not tell what was served before; free space there or mend its permissions",
                self.path.display()
            ),
            Ok(()) if self.failed.is_some() => {
                info!("{} can be written again", self.path.display())
            }
            _ => {}
        }
        self.failed = written.is_err().then(Instant::now);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_start_waits_out_the_skew_and_a_restart_keeps_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = BoundFile::open(dir.path(), None).unwrap();
        assert_eq!(file.load(1_000_000).unwrap(), StartBound::Fresh(6_000_000));
        file.advance(77).unwrap();
        assert_eq!(file.load(1_000_000).unwrap(), StartBound::Kept(77));
        assert_eq!(
            fs::read(dir.path().join("bound")).unwrap(),
            77u64.to_be_bytes()
        );
    }

    #[test]
    fn after_a_reboot_the_bound_on_disk_counts_whatever_the_clock_says() {
        let (run, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let durable = || Some(Arc::new(Durable::open(state.path()).unwrap()));
        let mut file = BoundFile::open(run.path(), durable()).unwrap();
        let now_us = 1_800_000_000_000_000;
        assert_eq!(
            file.load(now_us).unwrap(),
            StartBound::Fresh(now_us + 5_000_000)
        );
        file.advance(now_us + 9_000_000).unwrap();
        drop(file);
        // A restart finds the nearer one.
        let file = BoundFile::open(run.path(), durable()).unwrap();
        assert_eq!(file.load(0).unwrap(), StartBound::Kept(now_us + 9_000_000));
        drop(file);
        // A reboot, and a clock that is an hour behind.
        let run = tempfile::tempdir().unwrap();
        let file = BoundFile::open(run.path(), durable()).unwrap();
        let start = file.load(now_us - 3_600_000_000).unwrap();
        assert!(
            matches!(start, StartBound::Stored(us) if us >= now_us + 9_000_000),
            "{start:?}"
        );
    }

    #[test]
    fn a_torn_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bound"), b"abc").unwrap();
        let file = BoundFile::open(dir.path(), None).unwrap();
        let error = file.load(0).unwrap_err().to_string();
        assert!(error.contains("3 bytes long"), "{error}");
    }

    #[test]
    fn a_directory_serves_one_gateway_and_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = BoundFile::open(dir.path(), None).unwrap();
        let error = BoundFile::open(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("another gateway"), "{error}");
        drop(first);
        BoundFile::open(dir.path(), None).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = BoundFile::open(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }

    #[test]
    fn a_bound_that_cannot_be_written_is_refused_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = BoundFile::open(dir.path(), None).unwrap();
        // A directory in the way of the temporary file stands for a full disk.
        fs::create_dir(dir.path().join("bound.new")).unwrap();
        file.advance(5).unwrap_err();
        fs::remove_dir(dir.path().join("bound.new")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while file.advance(6).is_err() {
            assert!(Instant::now() < deadline, "it never heals");
        }
        assert_eq!(file.load(0).unwrap(), StartBound::Kept(6));
    }
}
