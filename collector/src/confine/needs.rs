//! What the reader's sources need, by driver.
//!
//! | Driver | Files | Sockets | Capabilities, if it runs as root |
//! |---|---|---|---|
//! | all | the runtime directory, to write; | of the service manager, if it wants word | to access files of others |
//! | simulator | | | |
//! | node, a device | the files of its directory, read: a device that is plugged in anew is another file | | |
//! | node, a file or a named pipe | the file, read | | |
//!
//! A driver says here, and nowhere else, what it needs: an arm in [`Needs::add`], and a row above.
//! What is read when the configuration is (matrices, seeds) needs nothing.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::files::{Access, Allowed};
use super::privileges::DAC_OVERRIDE;
use crate::config::{Config, Driver};

/// What a reader needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Files and directories.
    pub files: Vec<Allowed>,
    /// Whether it talks to an appliance: connections to others, never from them.
    pub network: bool,
    /// Whether it hears of devices from the kernel (netlink).
    pub netlink: bool,
    /// Capabilities as a mask, of those that it has.
    pub capabilities: u64,
}

impl Needs {
    /// What a reader without sources needs: to write into its runtime directory.
    pub fn none(runtime_directory: &Path) -> Self {
        Self {
            files: vec![Allowed {
                path: runtime_directory.to_owned(),
                access: Access::Own,
            }],
            network: false,
            netlink: false,
            capabilities: DAC_OVERRIDE,
        }
    }

    /// What all sources of `config` need together.
    pub fn of(config: &Config) -> Self {
        let mut needs = Self::none(&config.runtime_directory);
        for source in &config.sources {
            needs.add(&source.driver);
        }
        needs
    }

    fn add(&mut self, driver: &Driver) {
        match driver {
            Driver::Simulator { .. } => {}
            Driver::Node { path } => self.files.push(node(path)),
        }
    }
}

/// A device's directory; the file itself if it is none.
fn node(path: &Path) -> Allowed {
    let is_device = fs::metadata(path).is_ok_and(|meta| meta.file_type().is_char_device());
    // The directory of the device, not of a link to it.
    let real = fs::canonicalize(path).ok();
    let directory = real.as_deref().and_then(Path::parent);
    Allowed {
        path: match directory {
            Some(directory) if is_device => directory.to_owned(),
            _ => path.to_owned(),
        },
        access: Access::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_needs_its_directory_and_a_file_itself() {
        let allowed = |path: &str| node(Path::new(path)).path;
        assert_eq!(allowed("/dev/null"), Path::new("/dev"));
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(node(&link).path, Path::new("/dev"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(node(&file).path, file);
        assert_eq!(allowed("/nonexistent/x"), Path::new("/nonexistent/x"));
    }
}
