//! What the kernel shows of devices under `/sys`. Only read here, never written.
//!
//! ```text
//!  /sys ─┬─ pci.rs   functions of the PCI bus: ids, driver, IOMMU group, BARs
//!        └─ usb.rs   devices of the USB
//! ```
//!
//! Every function takes the directory where sysfs is mounted (usually [`MOUNT`]), so that a made-up tree does as well. An
//! attribute is read when it is asked for: what is malformed about one device is no obstacle to another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub mod pci;
pub mod usb;

/// Where sysfs is mounted.
pub const MOUNT: &str = "/sys";

/// Why an attribute tells nothing.
#[derive(Debug, Error)]
pub enum SysfsError {
    /// It can't be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says something else than the kernel would.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl SysfsError {
    /// Whether the file is not there: no such device or attribute, or the device has just gone.
    pub fn is_absent(&self) -> bool {
        match self {
            // ENODEV: the attribute of a device that goes while it is read.
            Self::Io { error, .. } => {
                error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
            }
            Self::Malformed { .. } => false,
        }
    }

    fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, error }
    }

    fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }
}

/// The text of an attribute, without the end of its line.
fn text(path: &Path) -> Result<String, SysfsError> {
    let bytes = fs::read(path).map_err(|e| SysfsError::io(path, e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| SysfsError::malformed(path, "holds something else than text"))?;
    Ok(text.trim_end().to_owned())
}

/// `None` in place of the error that the attribute is absent.
fn optional<T>(result: Result<T, SysfsError>) -> Result<Option<T>, SysfsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last part of what a symbolic link names; none if there is no such link.
fn link_name(path: &Path) -> Result<Option<String>, SysfsError> {
    let target = optional(fs::read_link(path).map_err(|e| SysfsError::io(path, e)))?;
    let Some(target) = target else {
        return Ok(None);
    };
    match target.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(SysfsError::malformed(path, "leads to nothing with a name")),
    }
}

/// The names in a directory.
fn names(directory: &Path) -> Result<Vec<String>, SysfsError> {
    let failed = |e| SysfsError::io(directory, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        // What is no text is no device of the kernel.
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
