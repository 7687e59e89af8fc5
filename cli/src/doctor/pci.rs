//! Cards on the PCI bus.

use qrng_collector::source::pcie::find;
use qrng_collector::sysfs::pci::{self, CHIP_CARD_40M, CHIP_CARD_240M, Function, MODULE_CARD};

use super::host::{Host, Use};
use super::report::{Card, Problem};
use super::wanted::Wanted;

/// The driver that hands chip cards to processes.
const VFIO: &str = "vfio-pci";
/// Drivers that do not keep VFIO from using the rest of a group.
const HARMLESS: [&str; 3] = [VFIO, "pcieport", "pci-stub"];

/// What to do if a file is not there that the kernel ought to make.
const FROM_KERNEL: &str = "see dmesg: the kernel makes this file by itself";

/// What there is to say of a PCI function; nothing if it is no card of ours.
pub fn card(host: &Host, function: &Function, wanted: &Wanted) -> Option<Card> {
    let (kind, model) = match function.id {
        MODULE_CARD => ("pcie", "Quantis PCI or PCIe 4M or 16M (module card)"),
        CHIP_CARD_40M => ("xdma", "Quantis QRNG PCIe 40M (chip card)"),
        CHIP_CARD_240M => ("xdma", "Quantis QRNG PCIe 240M (chip card)"),
        _ => return None,
    };
    let mut problems = Vec::new();
    let mut known = |result: Result<Option<u32>, _>| match result {
        Ok(number) => number,
        Err(error) => {
            problems.push(malformed(host, &error));
            None
        }
    };
    let (iommu_group, numa_node) = (known(function.iommu_group()), known(function.numa_node()));
    let driver = function.driver().unwrap_or_else(|error| {
        problems.push(malformed(host, &error));
        None
    });
    let mut card = Card {
        driver,
        iommu_group,
        numa_node,
        wanted: wanted.pci(kind, function.address),
        problems,
        ..Card::new(kind, function.address.to_string(), model)
    };
    if kind == "pcie" {
        module_card(host, function, &mut card);
    } else {
        chip_card(host, function, &mut card);
    }
    Some(card)
}

fn malformed(host: &Host, error: &qrng_collector::sysfs::SysfsError) -> Problem {
    Problem::new(
        host.names_in(&error.to_string()),
        "see dmesg: this is not what a kernel shows",
    )
}

/// A module card is usable if the driver that looks for it finds it, and the user may map its registers.
fn module_card(host: &Host, function: &Function, card: &mut Card) {
    if let Err(error) = find::find(&host.sysfs(), Some(function.address)) {
        card.problems.push(Problem::new(
            host.names_in(&error.to_string()),
            host.names_in(&error.remedy()),
        ));
    }
    let file = function.attribute("resource1");
    card.used_through(host, &file, Use::ReadWrite, FROM_KERNEL);
}

/// A chip card is usable if VFIO has it and its whole group, and the user may use the group's node.
fn chip_card(host: &Host, function: &Function, card: &mut Card) {
    let address = function.address;
    if card.driver.as_deref() != Some(VFIO) {
        let device = format!("/sys/bus/pci/devices/{address}");
        let (what, unbind) = match &card.driver {
            Some(driver) => (
                format!("card {address} belongs to the kernel's driver {driver}"),
                format!("echo {address} > {device}/driver/unbind && "),
            ),
            None => (
                format!("card {address} belongs to no driver"),
                String::new(),
            ),
        };
        card.problems.push(Problem::new(
            format!("{what}, and {VFIO} must have it"),
            format!(
                "modprobe {VFIO} && echo {VFIO} > {device}/driver_override && {unbind}echo {address} > /sys/bus/pci/drivers_probe"
            ),
        ));
    }
    let Some(group) = card.iommu_group else {
        return;
    };
    for (address, driver) in in_the_way(host, group) {
        card.problems.push(Problem::new(
            format!(
                "{address}, of the same IOMMU group {group}, belongs to the kernel's driver {driver}, so that the whole group can't be \
                 handed over"
            ),
            format!("echo {address} > /sys/bus/pci/drivers/{driver}/unbind, or move the card to another slot"),
        ));
    }
    // The group's node appears with the driver.
    if card.driver.as_deref() == Some(VFIO) {
        let file = host.path(&format!("/dev/vfio/{group}"));
        card.used_through(host, &file, Use::ReadWrite, FROM_KERNEL);
    }
}

/// Other functions of a group that drivers own, and these drivers.
fn in_the_way(host: &Host, group: u32) -> Vec<(String, String)> {
    let functions = pci::functions(&host.sysfs()).unwrap_or_default();
    let owned = functions.iter().filter_map(|function| {
        let of_group = function.iommu_group().ok()? == Some(group);
        let driver = function.driver().ok()?.filter(|_| of_group)?;
        let harmless = HARMLESS.contains(&driver.as_str()) || is_ours(function);
        (!harmless).then(|| (function.address.to_string(), driver))
    });
    owned.collect()
}

/// Whether it is a card that is judged by itself.
fn is_ours(function: &Function) -> bool {
    [MODULE_CARD, CHIP_CARD_40M, CHIP_CARD_240M].contains(&function.id)
}

/// A card that a vendor's driver owns can be read through the driver's node: without a configuration that asks for more, that is
/// enough.
pub fn settle(cards: &mut [Card], wanted: &Wanted) {
    let has_node = cards
        .iter()
        .any(|card| card.kind == "node" && card.problems.is_empty());
    if !(wanted.is_any() && has_node) {
        return;
    }
    for card in cards {
        let driver = card.driver.as_deref().filter(|driver| *driver != VFIO);
        if let (Some(driver), true) = (driver, ["pcie", "xdma"].contains(&card.kind)) {
            card.notes.push(format!(
                "it belongs to the driver {driver}: read that driver's node, kind = \"node\""
            ));
            card.wanted = false;
        }
    }
}
