//! Which card, and whether it can be used: from what sysfs shows to the file and place of its registers.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};
use thiserror::Error;

use super::registers::WINDOW;
use crate::source::{Failure, Fault};
use crate::sysfs::SysfsError;
use crate::sysfs::pci::{self, Address, Bar, Function, Id, MODULE_CARD};

/// The BAR that holds the registers (docs/hardware.md section 1).
const REGISTERS: usize = 1;

/// Where a card's registers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The card.
    pub address: Address,
    /// The file that maps the BAR.
    pub file: PathBuf,
    /// Bytes from the begin of the mapped page to the first register.
    pub in_page: usize,
}

/// Why there is no card to use.
#[derive(Debug, Error)]
pub enum FindError {
    /// No card at all.
    #[error("there is no card {MODULE_CARD} on the PCI bus")]
    None,
    /// Several cards, and none was named.
    #[error("there are {} cards {MODULE_CARD}: {}", .0.len(), listed(.0))]
    Several(Vec<Address>),
    /// Nothing at the address that was named.
    #[error("there is no card {MODULE_CARD} at {wanted}")]
    Absent {
        /// The address.
        wanted: Address,
        /// Where cards are.
        cards: Vec<Address>,
    },
    /// Something else at the address that was named.
    #[error("{wanted} is no card {MODULE_CARD}, but {id}")]
    Other {
        /// The address.
        wanted: Address,
        /// What is there.
        id: Id,
        /// Where cards are.
        cards: Vec<Address>,
    },
    /// A kernel's driver owns it.
    #[error("card {address} belongs to the kernel's driver {driver}")]
    Owned {
        /// The card.
        address: Address,
        /// The driver.
        driver: String,
    },
    /// Its memory space is off.
    #[error("card {address} is not enabled")]
    Disabled {
        /// The card.
        address: Address,
        /// What enables it.
        enable: PathBuf,
    },
    /// Its BAR 1 is not what it must be.
    #[error("card {address}: BAR {REGISTERS} {what}")]
    Bar {
        /// The card.
        address: Address,
        /// What is wrong.
        what: String,
        /// How to mend it.
        remedy: &'static str,
    },
    /// What sysfs shows is malformed or can't be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
}

impl FindError {
    /// How to mend it: what to do, and the command if there is one.
    pub fn remedy(&self) -> String {
        match self {
            Self::None => format!(
                "look for it: lspci -nn -d {MODULE_CARD}; if it was plugged in meanwhile: echo 1 > /sys/bus/pci/rescan"
            ),
            Self::Several(cards) => format!("name one of them: device = \"{}\"", cards[0]),
            Self::Absent { cards, .. } | Self::Other { cards, .. } if cards.is_empty() => {
                format!("there is none anywhere: look with lspci -nn -d {MODULE_CARD}")
            }
            Self::Absent { cards, .. } | Self::Other { cards, .. } => {
                format!("name one that is there: {}", listed(cards))
            }
            Self::Owned { address, driver } => format!(
                "take it away from it: echo {address} > /sys/bus/pci/drivers/{driver}/unbind; \
                 or read the driver's node: kind = \"node\""
            ),
            Self::Disabled { enable, .. } => format!(
                "enable it: echo 1 > {}; the udev rules of this project do so",
                enable.display()
            ),
            Self::Bar { remedy, .. } => (*remedy).to_owned(),
            Self::Sysfs(_) => {
                "look whether sysfs is mounted at /sys and whether this user may read it".to_owned()
            }
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let text = format!("{error}; {}", error.remedy());
        Failure::new(Fault::Unavailable, text)
    }
}

fn listed(cards: &[Address]) -> String {
    let cards: Vec<_> = cards.iter().map(Address::to_string).collect();
    cards.join(", ")
}

/// Finds the card at `wanted`, or else the only one, in what sysfs, mounted at `sysfs`, shows, and checks that it can be used.
///
/// # Errors
/// There is none, it isn't clear which, or it can't be used: see [`FindError`].
pub fn find(sysfs: &Path, wanted: Option<Address>) -> Result<Place, FindError> {
    let card = choose(pci::functions(sysfs)?, wanted)?;
    let address = card.address;
    if let Some(driver) = card.driver()? {
        return Err(FindError::Owned { address, driver });
    }
    if !card.is_enabled()? {
        let enable = card.attribute("enable");
        return Err(FindError::Disabled { address, enable });
    }
    let bar = check(address, card.bars()?[REGISTERS])?;
    Ok(Place {
        address,
        file: card.attribute(&format!("resource{REGISTERS}")),
        in_page: in_page(bar.start),
    })
}

/// The function that is meant.
fn choose(mut functions: Vec<Function>, wanted: Option<Address>) -> Result<Function, FindError> {
    let is_card = |function: &&Function| function.id == MODULE_CARD;
    let cards = functions.iter().filter(is_card).map(|card| card.address);
    let mut cards: Vec<Address> = cards.collect();
    let address = match (wanted, cards.len()) {
        (Some(wanted), _) => wanted,
        (None, 0) => return Err(FindError::None),
        (None, 1) => cards.remove(0),
        (None, _) => return Err(FindError::Several(cards)),
    };
    functions.retain(|function| function.address == address);
    match functions.pop() {
        Some(card) if card.id == MODULE_CARD => Ok(card),
        Some(Function { id, .. }) => Err(FindError::Other {
            wanted: address,
            id,
            cards,
        }),
        None => Err(FindError::Absent {
            wanted: address,
            cards,
        }),
    }
}

/// Whether the registers can be in this BAR.
fn check(address: Address, bar: Option<Bar>) -> Result<Bar, FindError> {
    let wrong = |what: String, remedy| {
        Err(FindError::Bar {
            address,
            what,
            remedy,
        })
    };
    let seat = "power off, seat the card anew or try another slot";
    let Some(bar) = bar else {
        return wrong("is missing".into(), seat);
    };
    if !bar.is_assigned() {
        return wrong(
            "has no address: the kernel found no room for it (see dmesg)".into(),
            "boot with pci=realloc, or change the firmware's settings of PCI memory",
        );
    }
    if !bar.is_memory() {
        return wrong("is not in memory, but I/O ports".into(), seat);
    }
    // A larger one holds the registers too, as long as the map stays within a page.
    if bar.length < WINDOW as u64 {
        let what = format!("has {} bytes, and {WINDOW} are needed", bar.length);
        return wrong(what, seat);
    }
    if !bar.start.is_multiple_of(WINDOW as u64) {
        let what = format!(
            "begins at {:#x}, which is no multiple of {WINDOW}",
            bar.start
        );
        return wrong(what, seat);
    }
    Ok(bar)
}

/// How far after the begin of a page an address is.
fn in_page(address: u64) -> usize {
    // Less than a page, so it fits.
    (address % page()) as usize
}

/// Bytes of a page.
fn page() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// What a refusal to open or map the registers in `file` means.
pub fn refused(file: &Path, error: &io::Error) -> Failure {
    let path = file.display();
    let remedy = match error.raw_os_error().map(Errno::from_raw) {
        // sysfs has no access control lists.
        Some(Errno::EACCES) => format!(
            "install the udev rules of this project and run the collector in the group qrng, or until the card is plugged in again: \
             chgrp qrng {path} && chmod 0660 {path}"
        ),
        Some(Errno::EPERM) => {
            "the kernel is locked down, as with Secure Boot: turn that off, or use the vendor's signed driver and kind = \"node\""
                .to_owned()
        }
        Some(Errno::EROFS) => {
            "the service may not write below /sys: ReadWritePaths=/sys/devices in its unit".to_owned()
        }
        Some(Errno::EINVAL) => format!(
            "something in the kernel has claimed the card: look for it in /proc/iomem, and at {}",
            file.with_file_name("driver").display()
        ),
        Some(Errno::ENOENT | Errno::ENODEV) => "the card has just gone".to_owned(),
        _ => "see dmesg".to_owned(),
    };
    Failure::new(
        Fault::Unavailable,
        format!("{path} can't be mapped: {error}; {remedy}"),
    )
}

#[cfg(test)]
mod tests;
