//! What the reader's sources need, by driver.
//!
//! | Driver | Files | Sockets | Capabilities, if it runs as root |
//! |---|---|---|---|
//! | all | the state directory (latches) and the runtime directory, written | of the service manager, if it wants word | to access files of others |
//! | simulator | | | |
//! | node, a device | the files of its directory, read and asked (ioctl): a device that is plugged in anew is another file | | |
//! | node, a file or a named pipe | the file, read | | |
//! | pcie | sysfs, read; the directory above the card's there, written: it outlives the card | | |
//! | xdma | sysfs, read; `/dev/vfio` | | to lock memory |
//! | usb | sysfs, read; `/dev/bus/usb` | | |
//! | appliance | what looking up names reads, if one is given by name | IPv4, IPv6, to connect; of the kernel and the resolver | |
//!
//! A driver says here, and nowhere else, what it needs: an arm in [`Needs::add`], and a row above.
//! What is read when the configuration is (matrices, seeds) needs nothing.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use qrng_confine::files::{Access, Allowed};
use qrng_confine::privileges::{DAC_OVERRIDE, IPC_LOCK};

use crate::config::{Config, Driver};
use crate::source::appliance::Settings;
use crate::sysfs;
use crate::sysfs::pci::{self, Address, MODULE_CARD};

/// Where device nodes of VFIO are, and those of the USB.
const VFIO: &str = "/dev/vfio";
const USB: &str = "/dev/bus/usb";

/// What sysfs shows of buses and devices: links, and where these lead.
const SYSFS: [&str; 3] = ["bus", "devices", "kernel/iommu_groups"];

/// What the C library reads to look up a name. Of the directories, what is in them: modules, and the
/// resolver's file where it is a link.
const RESOLVER: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/usr/lib",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
];

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
    /// What a reader without sources needs: to write into its directories.
    pub fn none(directories: &[&Path]) -> Self {
        let own = directories.iter().map(|path| Allowed {
            path: path.to_path_buf(),
            access: Access::Own,
        });
        Self {
            files: own.collect(),
            network: false,
            netlink: false,
            capabilities: DAC_OVERRIDE,
        }
    }

    /// What all sources of `config` need together.
    pub fn of(config: &Config) -> Self {
        let mut needs = Self::none(&[&config.state_directory, &config.runtime_directory]);
        for source in &config.sources {
            needs.add(&source.driver);
        }
        needs
    }

    /// What the pusher needs: to connect, and to look up names if it `looks_up`.
    pub fn of_pusher(looks_up: bool) -> Self {
        let mut needs = Self {
            network: true,
            capabilities: 0,
            ..Self::none(&[])
        };
        if looks_up {
            needs.allow(Access::List, RESOLVER);
        }
        needs
    }

    fn add(&mut self, driver: &Driver) {
        match driver {
            Driver::Simulator { .. } => {}
            Driver::Node { path } => self.files.push(node(path)),
            Driver::Pcie { device } => {
                self.sysfs();
                let slots = slots(Path::new(sysfs::MOUNT), *device);
                self.allow(Access::Device, slots);
            }
            Driver::Xdma { .. } => {
                self.sysfs();
                self.allow(Access::Device, [VFIO]);
                self.capabilities |= IPC_LOCK;
            }
            Driver::Usb { .. } => {
                self.sysfs();
                self.allow(Access::Device, [USB]);
            }
            Driver::Appliances(settings) => {
                self.network = true;
                if looks_up(settings) {
                    self.allow(Access::List, RESOLVER);
                }
            }
        }
    }

    fn sysfs(&mut self) {
        self.allow(
            Access::List,
            SYSFS.map(|part| Path::new(sysfs::MOUNT).join(part)),
        );
    }

    fn allow<P: Into<PathBuf>>(&mut self, access: Access, paths: impl IntoIterator<Item = P>) {
        let paths = paths.into_iter().map(Into::into);
        self.files
            .extend(paths.map(|path| Allowed { path, access }));
    }
}

/// Whether an appliance is given by name.
fn looks_up(settings: &Settings) -> bool {
    let is_name = |host: &str| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_err()
    };
    settings
        .addresses
        .iter()
        .any(|address| is_name(address.host()))
}

/// The directories above those of the module cards that may be meant, in the tree of devices.
fn slots(sysfs: &Path, wanted: Option<Address>) -> Vec<PathBuf> {
    let functions = pci::functions(sysfs).unwrap_or_default();
    let meant = functions.into_iter().filter(|function| match wanted {
        Some(address) => function.address == address,
        None => function.id == MODULE_CARD,
    });
    let directories = meant.filter_map(|function| {
        let link = sysfs
            .join("bus/pci/devices")
            .join(function.address.to_string());
        Some(fs::canonicalize(link).ok()?.parent()?.to_owned())
    });
    directories.collect()
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
        access: if is_device { Access::Ask } else { Access::Read },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_needs_its_directory_and_a_file_itself() {
        let allowed = |path: &str| node(Path::new(path)).path;
        assert_eq!(allowed("/dev/null"), Path::new("/dev"));
        assert_eq!(node(Path::new("/dev/null")).access, Access::Ask);
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(node(&link).path, Path::new("/dev"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(node(&file).path, file);
        assert_eq!(allowed("/nonexistent/x"), Path::new("/nonexistent/x"));
    }

    #[test]
    fn a_card_needs_the_directory_above_its_own() {
        let sysfs = tempfile::tempdir().unwrap();
        let bus = sysfs.path().join("bus/pci/devices");
        fs::create_dir_all(&bus).unwrap();
        for (address, device) in [("0000:03:00.0", "0x0001"), ("0000:04:00.0", "0x0002")] {
            let port = format!("devices/pci0000:00/port-of-{address}");
            let function = sysfs.path().join(port).join(address);
            fs::create_dir_all(&function).unwrap();
            fs::write(function.join("vendor"), "0x179a\n").unwrap();
            fs::write(function.join("device"), format!("{device}\n")).unwrap();
            std::os::unix::fs::symlink(&function, bus.join(address)).unwrap();
        }
        let port = |address: &str| {
            let port = format!("devices/pci0000:00/port-of-{address}");
            fs::canonicalize(sysfs.path().join(port)).unwrap()
        };
        assert_eq!(slots(sysfs.path(), None), [port("0000:03:00.0")]);
        let wanted = "0000:04:00.0".parse().ok();
        assert!(wanted.is_some());
        assert_eq!(slots(sysfs.path(), wanted), [port("0000:04:00.0")]);
        assert!(slots(Path::new("/nonexistent"), None).is_empty());
    }
}
