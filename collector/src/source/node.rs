//! A character device, named pipe or file as a noise source.
//!
//! The vendor's driver of the chip cards has no poll, and its reads can hang for ever, so a thread of its own reads the
//! device ([`ahead`](super::ahead)). What is special about the vendor's nodes is in [`device`]; there are no more than the
//! calls of [`ioctl`] behind it, so that tests can stand in for the drivers.
//!
//! Whatever the driver says of itself, the source is a [`Kind::KernelNode`]: its bytes came through a kernel driver that is not
//! ours, and that is what readers are told.
//!
//! A device that fails is opened anew. A regular file is not: it would begin anew too, and its bytes
//! would be sent a second time. So an error of a file is its end.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use qrng::report::Kind;

mod device;
#[allow(unsafe_code)] // ioctls have no safe form.
mod ioctl;

use super::ahead::{Ahead, Device, LONGEST_READ, Stream};
use super::{Failure, Fault, Identity, SourceError};
use device::OpenDevice;

/// How long an open may take, and a read of a regular file, which may be far away.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many threads may hang in calls of a character device.
const SPARES: usize = 2;

/// Opens `path` and starts to read it, as a source of this name.
///
/// # Errors
/// There is no such file, it is a directory, a block device or a socket, or it cannot be opened. An open that hangs is no
/// error: the source is then silent.
pub fn open(name: &str, path: &Path) -> Result<Ahead, SourceError> {
    let kind = vet(path).map_err(|e| failure(&e))?;
    if kind.is_file() {
        log::warn!(
            "{} is a regular file, which is for trials: it is sent once, \
             but from its beginning again whenever the collector starts",
            path.display()
        );
    }
    let identity = Identity {
        kind: Kind::KernelNode,
        name: name.to_owned(),
        serial: None,
    };
    let device = Node {
        path: path.to_path_buf(),
        spares: if kind.is_char_device() { SPARES } else { 0 },
        again: AtomicBool::new(false),
    };
    Ahead::start(identity, device)
}

/// Refuses what cannot be a noise source, and says what it is.
fn vet(path: &Path) -> io::Result<FileType> {
    let kind = fs::metadata(path)?.file_type();
    let wrong = if kind.is_dir() {
        "is a directory"
    } else if kind.is_block_device() {
        "is a block device"
    } else if kind.is_socket() {
        "is a socket"
    } else {
        return Ok(kind);
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{wrong}, not a character device or file"),
    ))
}

/// An error of the device as a failure of the source.
fn failure(error: &io::Error) -> Failure {
    let fault = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            Fault::Unavailable
        }
        _ => Fault::Io,
    };
    Failure::new(fault, error.to_string())
}

/// What is at a path.
struct Node {
    path: PathBuf,
    spares: usize,
    /// Whether it was open before.
    again: AtomicBool,
}

impl Device for Node {
    fn thread(&self) -> &'static str {
        "node"
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn spares(&self) -> usize {
        self.spares
    }

    fn open(&self) -> Result<Box<dyn Stream>, SourceError> {
        let open = || {
            let file = File::open(&self.path)?;
            let regular = file.metadata()?.is_file();
            Ok((file, regular))
        };
        let (file, regular) = open().map_err(|e| failure(&e))?;
        Ok(if regular {
            Box::new(OpenFile(file))
        } else {
            let name = self.path.display().to_string();
            let again = self.again.swap(true, Relaxed);
            Box::new(OpenDevice::new(name, Box::new(file), again))
        })
    }
}

/// An open regular file.
struct OpenFile(File);

impl Stream for OpenFile {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn longest_read(&self) -> usize {
        LONGEST_READ
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            return match self.0.read(buffer) {
                Ok(0) => Err(SourceError::Ended),
                Ok(count) => Ok(count),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(SourceError::Lost(e.to_string())),
            };
        }
    }
}

#[cfg(test)]
mod tests;
