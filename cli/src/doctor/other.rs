//! Cards on the USB, and nodes of the vendor's drivers.

use qrng_collector::sysfs::{SysfsError, usb};

use super::host::{Host, Use};
use super::report::Card;
use super::wanted::Wanted;

/// How the nodes of the vendor's drivers are called, before their number.
const NODE: &str = "qrandom";

/// The cards on the USB.
///
/// # Errors
/// The bus can't be looked at.
pub fn usb(host: &Host, wanted: &Wanted) -> Result<Vec<Card>, SysfsError> {
    let devices = usb::devices(&host.sysfs())?;
    let ours = devices
        .into_iter()
        .filter(|device| (device.vendor, device.product) == usb::QUANTIS);
    let cards = ours.map(|device| {
        let node = format!("/dev/{}", device.node().display());
        let mut card = Card {
            wanted: wanted.usb(device.serial.as_deref()),
            driver: driver(host, &device.port),
            ..Card::new("usb", format!("USB port {}", device.port), "Quantis USB-4M")
        };
        card.serial = device.serial;
        card.used_through(
            host,
            &host.path(&node),
            Use::ReadWrite,
            "unplug the card and plug it in again",
        );
        card
    });
    Ok(cards.collect())
}

/// The driver of the card's one interface.
fn driver(host: &Host, port: &str) -> Option<String> {
    let link = format!("/sys/bus/usb/devices/{port}:1.0/driver");
    let target = std::fs::read_link(host.path(&link)).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// The nodes of the vendor's drivers, and nodes that the configuration names.
pub fn nodes(host: &Host, wanted: &Wanted) -> Vec<Card> {
    let names = host.names("/dev");
    let numbered = names.iter().filter(|name| {
        let number = name.strip_prefix(NODE).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let mut nodes: Vec<String> = numbered.map(|name| format!("/dev/{name}")).collect();
    let others = wanted.nodes().filter(|node| !nodes.contains(node));
    nodes.extend(others.collect::<Vec<_>>());
    let cards = nodes.into_iter().map(|node| {
        let model = if node.starts_with(&format!("/dev/{NODE}")) {
            "Node of a vendor's driver"
        } else {
            "Node or file"
        };
        let mut card = Card {
            wanted: wanted.node(&node),
            ..Card::new("node", node.clone(), model)
        };
        card.used_through(
            host,
            &host.path(&node),
            Use::Read,
            "load the driver that makes it, or correct the path",
        );
        card
    });
    cards.collect()
}
