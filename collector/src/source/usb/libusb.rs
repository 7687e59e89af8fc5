//! The host's USB: cards found in sysfs, their nodes opened and wrapped by libusb.
//!
//! libusb does not look for devices itself: that would need a netlink socket and a thread of its own in each context, and a list
//! that is old when an event is missed. sysfs is always right, and needs no permission.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusb::{Direction, Recipient, RequestType, TransferType, request_type};

use super::device::{Endpoint, TIMEOUT, UsbDevice, UsbError};
use super::find::Bus;
use super::transfer::UsbNode;
use crate::source::{Failure, Fault};
use crate::sysfs::{self, usb};

/// The only configuration.
const CONFIGURATION: u8 = 1;
/// The interface that is used.
const INTERFACE: u8 = 0;

/// The USB of this host.
pub(super) struct Host {
    sysfs: PathBuf,
    /// Where device nodes are.
    nodes: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            sysfs: sysfs::MOUNT.into(),
            nodes: "/dev".into(),
        }
    }
}

impl Bus for Host {
    fn cards(&self) -> Result<Vec<usb::Device>, Failure> {
        let mut devices = usb::devices(&self.sysfs)
            .map_err(|e| Failure::new(Fault::Unavailable, e.to_string()))?;
        devices.retain(|device| (device.vendor, device.product) == usb::QUANTIS);
        Ok(devices)
    }

    fn open(&self, card: &usb::Device) -> Result<Box<dyn UsbDevice>, Failure> {
        let node = self.nodes.join(card.node());
        let file = File::options()
            .read(true)
            .write(true)
            .open(&node)
            .map_err(|e| unopened(&node, &e))?;
        let wrapped = UsbNode::wrap(file).map_err(|e| {
            let node = node.display();
            Failure::new(Fault::Unavailable, format!("libusb cannot use {node}: {e}"))
        })?;
        Ok(Box::new(Card {
            node: wrapped,
            sysfs: self.sysfs.clone(),
            device: card.clone(),
        }))
    }
}

/// A card on the host's USB.
struct Card {
    node: UsbNode,
    sysfs: PathBuf,
    device: usb::Device,
}

impl Card {
    /// Who has the interface, and how it is freed.
    fn owner(&self) -> UsbError {
        let driver =
            usb::interface_driver(&self.sysfs, &self.device.port, CONFIGURATION, INTERFACE);
        UsbError::Busy(match driver.ok().flatten() {
            Some(driver) if driver != "usbfs" => {
                let port = &self.device.port;
                format!(
                    "the kernel driver `{driver}` has it; \
                     free it: echo {port}:{CONFIGURATION}.{INTERFACE} > /sys/bus/usb/drivers/{driver}/unbind"
                )
            }
            _ => {
                let node = self.device.node();
                format!(
                    "another program has it; end that: fuser -v /dev/{}",
                    node.display()
                )
            }
        })
    }
}

impl UsbDevice for Card {
    fn configuration(&mut self) -> Result<u8, UsbError> {
        self.node.handle().active_configuration().map_err(told)
    }

    fn configure(&mut self, configuration: u8) -> Result<(), UsbError> {
        match self.node.handle().set_active_configuration(configuration) {
            Err(rusb::Error::Busy) => Err(self.owner()),
            result => result.map_err(told),
        }
    }

    fn endpoints(&mut self) -> Result<Vec<Endpoint>, UsbError> {
        let device = self.node.handle().device();
        let configuration = device.active_config_descriptor().map_err(told)?;
        let settings = configuration.interfaces().flat_map(|i| i.descriptors());
        let ours =
            settings.filter(|s| (s.interface_number(), s.setting_number()) == (INTERFACE, 0));
        let endpoints = ours.flat_map(|s| s.endpoint_descriptors());
        Ok(endpoints
            .map(|e| Endpoint {
                address: e.address(),
                bulk: e.transfer_type() == TransferType::Bulk,
                packet: e.max_packet_size().into(),
            })
            .collect())
    }

    fn claim(&mut self) -> Result<(), UsbError> {
        match self.node.handle().claim_interface(INTERFACE) {
            Err(rusb::Error::Busy) => Err(self.owner()),
            result => result.map_err(told),
        }
    }

    fn control_in(&mut self, request: u8, answer: &mut [u8]) -> Result<usize, UsbError> {
        let handle = self.node.handle();
        handle
            .read_control(to_interface(Direction::In), request, 0, 0, answer, TIMEOUT)
            .map_err(told)
    }

    fn control_out(&mut self, request: u8) -> Result<(), UsbError> {
        let handle = self.node.handle();
        handle
            .write_control(to_interface(Direction::Out), request, 0, 0, &[], TIMEOUT)
            .map_err(told)
            .map(drop)
    }

    fn bulk_in(&mut self, endpoint: Endpoint, buffer: &mut [u8]) -> Result<(), UsbError> {
        self.node.bulk_in(endpoint, buffer)
    }
}

/// A vendor request to an interface: 0xC1 to the host, 0x41 from it.
fn to_interface(direction: Direction) -> u8 {
    request_type(direction, RequestType::Vendor, Recipient::Interface)
}

/// An error of libusb.
fn told(error: rusb::Error) -> UsbError {
    match error {
        rusb::Error::NoDevice => UsbError::Gone,
        rusb::Error::Timeout => UsbError::Timeout,
        rusb::Error::Pipe => UsbError::Stall,
        error => UsbError::Other(error.to_string()),
    }
}

/// Why a node cannot be opened, and what helps.
fn unopened(node: &Path, error: &io::Error) -> Failure {
    let node = node.display();
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "this user may not read and write {node}; give it access by a udev rule such as \
             SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"0aba\", ATTR{{idProduct}}==\"0102\", GROUP=\"qrng\", MODE=\"0660\", \
             and plug the card in again"
        ),
        _ => format!("{node} cannot be opened: {error}; plug the card in again"),
    };
    Failure::new(Fault::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn requests_go_to_the_interface() {
        assert_eq!(to_interface(Direction::In), 0xC1);
        assert_eq!(to_interface(Direction::Out), 0x41);
    }

    /// A host on which sysfs shows a card, with this file as its node.
    fn host(node: Option<&[u8]>) -> (tempfile::TempDir, Host) {
        let tree = tempfile::tempdir().unwrap();
        let device = tree.path().join("sys/bus/usb/devices/1-2");
        fs::create_dir_all(&device).unwrap();
        for (name, text) in [
            ("idVendor", "0aba"),
            ("idProduct", "0102"),
            ("serial", "A1"),
            ("busnum", "1"),
            ("devnum", "12"),
        ] {
            fs::write(device.join(name), text).unwrap();
        }
        let nodes = tree.path().join("dev");
        if let Some(content) = node {
            let bus = nodes.join("bus/usb/001");
            fs::create_dir_all(&bus).unwrap();
            fs::write(bus.join("012"), content).unwrap();
        }
        let host = Host {
            sysfs: tree.path().join("sys"),
            nodes,
        };
        (tree, host)
    }

    #[test]
    fn a_card_that_cannot_be_opened_is_told_with_its_node() {
        let cards = |host: &Host| host.cards().unwrap();
        let (_tree, absent) = host(None);
        let card = &cards(&absent)[0];
        let failure = absent.open(card).err().unwrap();
        assert_eq!(failure.fault, Fault::Unavailable);
        assert!(failure.text.contains("dev/bus/usb/001/012"), "{failure}");
        assert!(failure.text.contains("No such file"), "{failure}");
        // An ordinary file is no node of usbfs.
        let (_tree, wrong) = host(Some(b"no descriptors"));
        let failure = wrong.open(card).err().unwrap();
        assert!(failure.text.contains("libusb cannot use"), "{failure}");

        let denied = unopened(Path::new("/dev/x"), &io::ErrorKind::PermissionDenied.into());
        for word in ["/dev/x", "udev", "0aba", "0102", "MODE=\"0660\""] {
            assert!(denied.text.contains(word), "{word} is not in: {denied}");
        }
    }
}
