//! Functions of the PCI bus, as `bus/pci/devices` shows them.
//!
//! ```text
//!  functions("/sys") ── Function { address, id } ─┬─ driver()       who owns it
//!                                                 ├─ is_enabled()   whether it answers
//!                                                 ├─ iommu_group()  the number of its /dev/vfio node
//!                                                 ├─ numa_node()
//!                                                 └─ bars()         where its registers are
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{SysfsError, link_name, names, optional, text};

/// Where PCI functions are, below sysfs.
const DEVICES: &str = "bus/pci/devices";
/// BARs of a function with an ordinary header (PCI Local Bus Specification 3.0, section 6.2.5.1).
const BARS: usize = 6;

/// Quantis PCI and PCIe 4M and 16M, which carry generator modules (docs/hardware.md section 1).
pub const MODULE_CARD: Id = Id::new(0x179a, 0x0001);
/// Quantis QRNG PCIe 40M, which carries generator chips (docs/hardware.md section 3).
pub const CHIP_CARD_40M: Id = Id::new(0x1e89, 0x0002);
/// Quantis QRNG PCIe 240M, which carries generator chips (docs/hardware.md section 3).
pub const CHIP_CARD_240M: Id = Id::new(0x1e89, 0x0003);

/// Which make and model a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id {
    /// The vendor.
    pub vendor: u16,
    /// The vendor's number for it.
    pub device: u16,
}

impl Id {
    /// An id of these two numbers.
    pub const fn new(vendor: u16, device: u16) -> Self {
        Self { vendor, device }
    }
}

/// As `lspci -n` shows it: `179a:0001`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// Where a function is: `0000:03:00.0`, that is domain, bus, device (0 to 31) and function (0 to 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Text that is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no PCI address, such as 0000:03:00.0")]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    /// Reads what [`Display`](fmt::Display) writes, or the same without the domain, which is then 0.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let parse = || {
            let (front, function) = text.rsplit_once('.')?;
            let (front, device) = front.rsplit_once(':')?;
            let (domain, bus) = front.rsplit_once(':').unwrap_or(("0000", front));
            Some(Self {
                domain: hex(domain, 4..=8)?,
                bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
                device: u8::try_from(hex(device, 2..=2)?).ok()?,
                function: u8::try_from(hex(function, 1..=1)?).ok()?,
            })
        };
        let fits = |address: &Self| address.device < 32 && address.function < 8;
        parse().filter(fits).ok_or(NoAddress)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// A number of so many hexadecimal digits and nothing else.
fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let only_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16);
    number
        .ok()
        .filter(|_| only_digits && digits.contains(&text.len()))
}

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub id: Id,
    directory: PathBuf,
}

/// All PCI functions that sysfs, mounted at `sysfs`, shows, by address. One that goes while it is looked at is left out.
///
/// # Errors
/// There is no PCI bus, or an id is malformed.
pub fn functions(sysfs: &Path) -> Result<Vec<Function>, SysfsError> {
    let all = sysfs.join(DEVICES);
    let mut functions = Vec::new();
    for name in names(&all)? {
        let directory = all.join(&name);
        let Ok(address) = name.parse() else {
            return Err(SysfsError::malformed(&directory, NoAddress.to_string()));
        };
        if let Some(id) = optional(id(&directory))? {
            functions.push(Function {
                address,
                id,
                directory,
            });
        }
    }
    functions.sort_by_key(|function| function.address);
    Ok(functions)
}

fn id(directory: &Path) -> Result<Id, SysfsError> {
    let half = |name| {
        let path = directory.join(name);
        let text = text(&path)?;
        let number = number(&text).and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| SysfsError::malformed(&path, format!("`{text}` is no PCI id")))
    };
    Ok(Id::new(half("vendor")?, half("device")?))
}

/// A number as the kernel writes it in its tables: `0x` and hexadecimal digits.
fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16);
    number.ok().filter(|_| only_digits)
}

impl Function {
    /// The path of its attribute `name`.
    pub fn attribute(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The name of the kernel's driver that owns it, if one does.
    ///
    /// # Errors
    /// The link to the driver can't be read.
    pub fn driver(&self) -> Result<Option<String>, SysfsError> {
        link_name(&self.attribute("driver"))
    }

    /// The driver that it is kept for (`driver_override`), if it is for one.
    ///
    /// # Errors
    /// The attribute can't be read.
    pub fn kept_for(&self) -> Result<Option<String>, SysfsError> {
        let name = optional(text(&self.attribute("driver_override")))?;
        Ok(name.filter(|name| !name.is_empty() && name != "(null)"))
    }

    /// Whether it has been enabled, and so answers at its BARs.
    ///
    /// # Errors
    /// The attribute can't be read, or is no number.
    pub fn is_enabled(&self) -> Result<bool, SysfsError> {
        let path = self.attribute("enable");
        let text = text(&path)?;
        // How many have enabled it.
        let count: Result<u32, _> = text.parse();
        let count = count
            .map_err(|_| SysfsError::malformed(&path, format!("`{text}` is no number from 0")))?;
        Ok(count > 0)
    }

    /// The NUMA node that it is close to, if that is known.
    ///
    /// # Errors
    /// The attribute can't be read, or is no number.
    pub fn numa_node(&self) -> Result<Option<u32>, SysfsError> {
        let path = self.attribute("numa_node");
        let Some(text) = optional(text(&path))? else {
            return Ok(None);
        };
        let node: Result<i32, _> = text.parse();
        let node =
            node.map_err(|_| SysfsError::malformed(&path, format!("`{text}` is no number")))?;
        // -1: not known.
        Ok(u32::try_from(node).ok())
    }

    /// Its IOMMU group, which is the name of its node in `/dev/vfio`; none without an IOMMU.
    ///
    /// # Errors
    /// The link to the group can't be read, or its name is no number.
    pub fn iommu_group(&self) -> Result<Option<u32>, SysfsError> {
        let path = self.attribute("iommu_group");
        let Some(name) = link_name(&path)? else {
            return Ok(None);
        };
        let group = name
            .parse()
            .map_err(|_| SysfsError::malformed(&path, format!("`{name}` is no number of a group")));
        group.map(Some)
    }

    /// Its BARs.
    ///
    /// # Errors
    /// The attribute `resource` can't be read, or is no table of the kernel's.
    pub fn bars(&self) -> Result<[Option<Bar>; BARS], SysfsError> {
        let path = self.attribute("resource");
        bars(&text(&path)?).map_err(|what| SysfsError::malformed(&path, what))
    }
}

/// A range of addresses at which a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// The first address.
    pub start: u64,
    /// How many bytes there are, at least 1.
    pub length: u64,
    flags: u64,
}

impl Bar {
    // Linux, include/linux/ioport.h.
    const MEMORY: u64 = 0x0000_0200;
    const UNSET: u64 = 0x2000_0000;

    /// Whether it is in the memory space, not that of I/O ports.
    pub fn is_memory(&self) -> bool {
        self.flags & Self::MEMORY != 0
    }

    /// Whether the kernel has found a place for it.
    pub fn is_assigned(&self) -> bool {
        self.flags & Self::UNSET == 0
    }
}

/// Reads the attribute `resource`: a line for each range, `0xSTART 0xEND 0xFLAGS`, the BARs first; zeros if there is none.
fn bars(table: &str) -> Result<[Option<Bar>; BARS], String> {
    let mut lines = table.lines().enumerate();
    let mut bars = [None; BARS];
    for bar in &mut bars {
        let Some((index, line)) = lines.next() else {
            return Err(format!("has fewer than {BARS} lines"));
        };
        *bar = range(line)
            .ok_or_else(|| format!("line {} is no range of addresses: `{line}`", index + 1))?;
    }
    Ok(bars)
}

/// A line of the table; the inner `None` if the range is not used, the outer if it is malformed.
fn range(line: &str) -> Option<Option<Bar>> {
    let mut words = line.split(' ').map(number);
    let (start, end, flags) = (words.next()??, words.next()??, words.next()??);
    if words.next().is_some() {
        return None;
    }
    if (start, end, flags) == (0, 0, 0) {
        return Some(None);
    }
    let length = end.checked_sub(start)?.checked_add(1)?;
    Some(Some(Bar {
        start,
        length,
        flags,
    }))
}

#[cfg(test)]
mod tests;
