//! The gateway's mount as a supply: the files `raw` and `status`.
//!
//! Reads never queue in the gateway (`O_NONBLOCK`): who waits, waits in `poll`, so that a program that reads a file is served
//! before a request that waits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};

use super::{NoBytes, Report, Supply};

/// The longest status document that is read, in bytes.
const DOCUMENT_MAX: u64 = 1 << 20;

/// The files of a gateway.
pub struct Mount {
    point: PathBuf,
    raw: Option<File>,
}

impl Mount {
    /// The files at `point`; they are opened when they are needed, and again after the gateway was restarted.
    pub fn new(point: &Path) -> Self {
        Self {
            point: point.to_path_buf(),
            raw: None,
        }
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(self.point.join(name))?;
        // Under an unmounted mount point there may be a file of this name: its bytes are nobody's randomness.
        if fstatfs(&file)?.filesystem_type() != FUSE_SUPER_MAGIC {
            return Err(io::Error::from(Errno::ENOTCONN));
        }
        Ok(file)
    }

    fn gone(&mut self, error: &io::Error) -> NoBytes {
        self.raw = None;
        NoBytes::Gone(format!(
            "no gateway serves {}: {error}",
            self.point.display()
        ))
    }
}

impl Supply for Mount {
    fn take(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, NoBytes> {
        if self.raw.is_none() {
            self.raw = Some(self.open("raw").map_err(|e| self.gone(&e))?);
        }
        let mut may_wait = !wait.is_zero();
        loop {
            let Some(raw) = &mut self.raw else {
                return Err(NoBytes::Empty);
            };
            match raw.read(out) {
                Ok(0) => return Err(self.gone(&io::ErrorKind::UnexpectedEof.into())),
                Ok(taken) => return Ok(taken),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && may_wait => {
                    may_wait = false;
                    let mut polled = [PollFd::new(raw.as_fd(), PollFlags::POLLIN)];
                    let limit = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
                    // Whatever it says, the next read tells.
                    let _ = poll(&mut polled, limit);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(NoBytes::Empty),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::EIO as i32) => {
                    return Err(NoBytes::Refused);
                }
                Err(e) if e.raw_os_error() == Some(Errno::EDQUOT as i32) => {
                    return Err(NoBytes::Quota);
                }
                Err(e) => return Err(self.gone(&e)),
            }
        }
    }
}

impl Report for Mount {
    fn report(&mut self) -> Result<Vec<u8>, String> {
        let mut document = Vec::new();
        self.open("status")
            .and_then(|file| file.take(DOCUMENT_MAX).read_to_end(&mut document))
            .map_err(|e| {
                let path = self.point.join("status");
                match e.kind() {
                    io::ErrorKind::PermissionDenied => format!(
                        "{} may be read by the gateway's group only; run this service with that group (qrng)",
                        path.display()
                    ),
                    _ => format!("{}: {e}; start the gateway", path.display()),
                }
            })?;
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_no_gateway_serves_is_no_supply() {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Mount::new(directory.path());
        let mut out = [0; 8];
        let none = mount.take(&mut out, Duration::ZERO).unwrap_err();
        assert!(none.to_string().contains("no gateway serves"), "{none}");
        std::fs::write(directory.path().join("raw"), [7; 8]).unwrap();
        std::fs::write(directory.path().join("status"), "{}").unwrap();
        assert!(matches!(
            mount.take(&mut out, Duration::ZERO),
            Err(NoBytes::Gone(_))
        ));
        assert_eq!(out, [0; 8]);
        assert!(mount.report().unwrap_err().contains("start the gateway"));
    }
}
