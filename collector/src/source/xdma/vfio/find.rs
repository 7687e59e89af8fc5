//! Which card, and whether VFIO can have it: as sysfs shows it, with what to do if not.

use std::fs;
use std::path::Path;

use crate::source::xdma::function::Model;
use crate::source::{Failure, Fault};
use crate::sysfs::SysfsError;
use crate::sysfs::pci::{self, Address, CHIP_CARD_40M, CHIP_CARD_240M, Function};

/// The driver that hands a function to this process.
const DRIVER: &str = "vfio-pci";

/// A card that VFIO has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub address: Address,
    /// Which one it is.
    pub model: Model,
    /// Its IOMMU group, which is the name of its node in `/dev/vfio`.
    pub group: u32,
}

/// Finds the card at `wanted`, or else the only one, in what sysfs, mounted at `sysfs`, shows.
///
/// # Errors
/// There is none, or there are several, or it has no IOMMU, or another driver has it.
pub fn find(sysfs: &Path, wanted: Option<Address>) -> Result<Place, Failure> {
    let (function, model) = choose(cards(sysfs)?, wanted)?;
    let address = function.address;
    let Some(group) = function.iommu_group().map_err(unclear)? else {
        return Err(unavailable(format!(
            "no IOMMU guards the memory from the card at {address}, and without one it is not used: switch on VT-d or AMD-Vi in \
             the firmware's settings, and start the kernel with intel_iommu=on (of AMD, it is on by itself)"
        )));
    };
    match function.driver().map_err(unclear)? {
        Some(driver) if driver == DRIVER => Ok(Place {
            address,
            model,
            group,
        }),
        owner => Err(not_ours(address, owner.as_deref())),
    }
}

/// The cards on the bus.
fn cards(sysfs: &Path) -> Result<Vec<(Function, Model)>, Failure> {
    let functions = pci::functions(sysfs).map_err(unclear)?;
    let known = |function: Function| Model::from_id(function.id).map(|model| (function, model));
    Ok(functions.into_iter().filter_map(known).collect())
}

fn choose(
    mut cards: Vec<(Function, Model)>,
    wanted: Option<Address>,
) -> Result<(Function, Model), Failure> {
    let there: Vec<_> = cards
        .iter()
        .map(|(function, model)| format!("{} ({})", function.address, model.name()))
        .collect();
    if let Some(wanted) = wanted {
        cards.retain(|(function, _)| function.address == wanted);
    }
    match (cards.len(), wanted) {
        (1, _) => Ok(cards.remove(0)),
        (_, None) if there.is_empty() => Err(unavailable(format!(
            "there is no Quantis QRNG PCIe 40M or 240M ({CHIP_CARD_40M}, {CHIP_CARD_240M}) on the PCI bus: look whether one is seated \
             (`lspci -d {:04x}:`), and after that whether the bus has seen it (`echo 1 > /sys/bus/pci/rescan`)",
            CHIP_CARD_40M.vendor
        ))),
        (_, None) => Err(unavailable(format!(
            "there are {} cards: name one of them, such as device = \"{}\": {}",
            there.len(),
            cards[0].0.address,
            there.join(", ")
        ))),
        (_, Some(wanted)) => Err(unavailable(format!(
            "there is no Quantis QRNG PCIe 40M or 240M at {wanted}: {}",
            if there.is_empty() {
                "none is on the PCI bus; look whether one is seated".to_owned()
            } else {
                format!("name one that is there as device: {}", there.join(", "))
            }
        ))),
    }
}

/// What to do if `owner`, or nobody, has the function.
fn not_ours(address: Address, owner: Option<&str>) -> Failure {
    let device = format!("/sys/bus/pci/devices/{address}");
    let (state, unbind) = match owner {
        Some(owner) => (
            format!("belongs to the driver {owner} of the kernel"),
            format!("echo {address} > {device}/driver/unbind; "),
        ),
        None => ("belongs to no driver".to_owned(), String::new()),
    };
    unavailable(format!(
        "the card at {address} {state}; give it to {DRIVER}, as root: modprobe {DRIVER}; \
         echo {DRIVER} > {device}/driver_override; {unbind}echo {address} > /sys/bus/pci/drivers_probe"
    ))
}

/// The functions in the group other than the card whose drivers keep the group from being used, for people.
pub fn in_the_way(sysfs: &Path, place: &Place) -> String {
    let group = sysfs.join(format!("kernel/iommu_groups/{}/devices", place.group));
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let members = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Address>().ok());
    let members: Vec<Address> = members.filter(|other| *other != place.address).collect();
    let functions = pci::functions(sysfs).unwrap_or_default();
    let others = functions
        .iter()
        .filter(|function| members.contains(&function.address));
    let owned = others.filter_map(|function| {
        let driver = function.driver().ok().flatten()?;
        // Bridges and placeholders are let be by VFIO.
        let harmless = [DRIVER, "pcieport", "pci-stub"].contains(&driver.as_str());
        (!harmless).then(|| format!("{} ({driver})", function.address))
    });
    let owned: Vec<_> = owned.collect();
    if owned.is_empty() {
        "a device that sysfs does not name".to_owned()
    } else {
        owned.join(", ")
    }
}

/// A failure to get at the card.
pub fn unavailable(text: impl Into<String>) -> Failure {
    Failure::new(Fault::Unavailable, text)
}

fn unclear(error: SysfsError) -> Failure {
    unavailable(format!(
        "what the kernel shows of the PCI bus can't be used: {error}; is sysfs mounted?"
    ))
}

#[cfg(test)]
pub mod tests;
