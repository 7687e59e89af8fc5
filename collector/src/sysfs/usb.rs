//! Devices of the USB, as `bus/usb/devices` shows them.

use std::path::{Path, PathBuf};

use super::{SysfsError, link_name, names, optional, text};

/// Where USB devices are, below sysfs.
const DEVICES: &str = "bus/usb/devices";

/// Vendor and product of Quantis USB-4M (docs/hardware.md section 4).
pub const QUANTIS: (u16, u16) = (0x0aba, 0x0102);

/// A USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its place on the bus, such as `1-2.3`.
    pub port: String,
    /// The number of its vendor.
    pub vendor: u16,
    /// The vendor's number for it.
    pub product: u16,
    /// Its serial number, if it tells one.
    pub serial: Option<String>,
    /// The number of its bus.
    pub bus: u16,
    /// Its number on the bus, until it is plugged in again.
    pub number: u16,
}

impl Device {
    /// Its node, below the directory where devices are (usually `/dev`).
    pub fn node(&self) -> PathBuf {
        format!("bus/usb/{:03}/{:03}", self.bus, self.number).into()
    }
}

/// All USB devices that sysfs, mounted at `sysfs`, shows, by port; none if there is no USB. One that goes while it is looked at
/// is left out.
///
/// # Errors
/// An attribute can't be read, or is malformed.
pub fn devices(sysfs: &Path) -> Result<Vec<Device>, SysfsError> {
    let all = sysfs.join(DEVICES);
    let mut devices = Vec::new();
    for name in optional(names(&all))?.unwrap_or_default() {
        // Interfaces are here too, and have no ids of a device.
        if let Some(device) = optional(device(&all.join(&name), &name))? {
            devices.push(device);
        }
    }
    devices.sort_by(|a, b| a.port.cmp(&b.port));
    Ok(devices)
}

/// The driver of an interface of the device at `port`, if it has one; `usbfs` if a program has claimed it.
///
/// # Errors
/// The link can't be read.
pub fn interface_driver(
    sysfs: &Path,
    port: &str,
    configuration: u8,
    interface: u8,
) -> Result<Option<String>, SysfsError> {
    let name = format!("{port}:{configuration}.{interface}");
    link_name(&sysfs.join(DEVICES).join(name).join("driver"))
}

fn device(directory: &Path, port: &str) -> Result<Device, SysfsError> {
    let number = |name: &str, radix| {
        let path = directory.join(name);
        let text = text(&path)?;
        u16::from_str_radix(&text, radix)
            .map_err(|_| SysfsError::malformed(&path, format!("`{text}` is no number")))
    };
    Ok(Device {
        port: port.to_owned(),
        vendor: number("idVendor", 16)?,
        product: number("idProduct", 16)?,
        serial: optional(text(&directory.join("serial")))?,
        bus: number("busnum", 10)?,
        number: number("devnum", 10)?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(devices: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (name, attributes) in devices {
            let directory = tree.path().join(DEVICES).join(name);
            fs::create_dir_all(&directory).unwrap();
            for (attribute, text) in *attributes {
                fs::write(directory.join(attribute), format!("{text}\n")).unwrap();
            }
        }
        tree
    }

    const QUANTIS_4M: [(&str, &str); 5] = [
        ("idVendor", "0aba"),
        ("idProduct", "0102"),
        ("serial", "0123456A410"),
        ("busnum", "1"),
        ("devnum", "12"),
    ];

    #[test]
    fn devices_are_found_and_interfaces_are_none() {
        let tree = tree(&[
            ("1-2", &QUANTIS_4M),
            ("1-2:1.0", &[("bInterfaceNumber", "00")]),
        ]);
        let found = devices(tree.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].vendor, found[0].product), QUANTIS);
        assert_eq!(found[0].serial.as_deref(), Some("0123456A410"));
        assert_eq!(found[0].node(), Path::new("bus/usb/001/012"));
    }

    #[test]
    fn the_driver_of_an_interface_is_told() {
        let tree = tree(&[("1-2:1.0", &[]), ("1-3:1.0", &[])]);
        let link = tree.path().join(DEVICES).join("1-2:1.0/driver");
        std::os::unix::fs::symlink("../../../../bus/usb/drivers/usbfs", link).unwrap();
        let driver = |port| interface_driver(tree.path(), port, 1, 0).unwrap();
        assert_eq!(driver("1-2").as_deref(), Some("usbfs"));
        assert_eq!(driver("1-3"), None);
        assert_eq!(driver("1-4"), None);
    }

    #[test]
    fn without_usb_there_are_no_devices() {
        let tree = tree(&[]);
        assert_eq!(devices(tree.path()).unwrap(), []);
    }

    #[test]
    fn a_malformed_number_is_told() {
        let mut attributes = QUANTIS_4M;
        attributes[3].1 = "one";
        let tree = tree(&[("1-2", &attributes)]);
        let error = devices(tree.path()).unwrap_err().to_string();
        assert!(error.ends_with("1-2/busnum: `one` is no number"), "{error}");
    }
}
