//! A card behind VFIO, the kernel's way to hand a PCI function to a process. All `unsafe` of the driver is below this.
//!
//! ```text
//!  /dev/vfio/vfio   container: one address space for devices  ── Memory   [memory]
//!  /dev/vfio/N      group: what the IOMMU can only guard together
//!        └─ device  registers, configuration space            ── Device   [device]
//!  all three, until somebody ends it                          ── Lease    [lease]
//! ```
//!
//! An IOMMU is required: then the card reaches the memory that is mapped for it and nothing else, whatever its engine does.
//! The kernel resets the card when it is opened and when it is closed, if the card can be reset.
//!
//! Containers and groups are used rather than the newer iommufd: every kernel of a supported distribution has them, and to
//! one process with one card both are the same.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;

#[allow(unsafe_code)] // The kernel's calls take addresses.
mod abi;
mod device;
mod find;
mod lease;
#[allow(unsafe_code)] // Memory that a device writes.
mod memory;

use device::{Device, OpenError};
use find::{Place, unavailable};

use super::channel;
use super::function::{Function, Slot};
use crate::source::{Failure, Fault};
use crate::sysfs::pci::Address;

/// How often is looked whether opening or closing is done.
const LOOK: Duration = Duration::from_millis(1);

/// Where VFIO is.
#[derive(Debug, Clone)]
struct Roots {
    /// Where sysfs is mounted.
    sysfs: PathBuf,
    /// The directory of VFIO's nodes.
    nodes: PathBuf,
}

/// The place of the card at an address, or of the only card.
///
/// The kernel takes its time to open and close a device, because it resets it: threads wait for that.
pub struct VfioSlot {
    roots: Roots,
    wanted: Option<Address>,
    work: Option<Work>,
}

/// What a thread does.
enum Work {
    Opening(JoinHandle<Result<Function, Failure>>),
    Closing(JoinHandle<()>),
}

impl Work {
    fn is_done(&self) -> bool {
        match self {
            Self::Opening(thread) => thread.is_finished(),
            Self::Closing(thread) => thread.is_finished(),
        }
    }
}

impl VfioSlot {
    /// The slot of the card at `wanted`, or of the only card.
    pub fn new(wanted: Option<Address>) -> Self {
        Self::below("/sys", "/dev/vfio", wanted)
    }

    /// As [`VfioSlot::new`], with sysfs and the nodes of VFIO at other places.
    pub fn below(
        sysfs: impl Into<PathBuf>,
        nodes: impl Into<PathBuf>,
        wanted: Option<Address>,
    ) -> Self {
        Self {
            roots: Roots {
                sysfs: sysfs.into(),
                nodes: nodes.into(),
            },
            wanted,
            work: None,
        }
    }

    fn start_opening(&self) -> Result<Work, Failure> {
        let (roots, wanted) = (self.roots.clone(), self.wanted);
        let thread = thread::Builder::new().name("vfio-open".into());
        let thread = thread.spawn(move || open(&roots, wanted));
        thread.map(Work::Opening).map_err(no_thread)
    }
}

impl Slot for VfioSlot {
    fn open(&mut self, deadline: Instant) -> Result<Option<Function>, Failure> {
        loop {
            let work = match self.work.take() {
                Some(work) => work,
                None => self.start_opening()?,
            };
            if !work.is_done() {
                self.work = Some(work);
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                thread::sleep(left.min(LOOK));
                continue;
            }
            // A card that is closed can be opened; that begins in the next round.
            if let Work::Opening(thread) = work {
                let opened = thread.join();
                return opened
                    .map_err(|_| Failure::new(Fault::Io, "opening the card panicked"))?
                    .map(Some);
            }
        }
    }

    fn close(&mut self, function: Function) {
        let thread = thread::Builder::new().name("vfio-close".into());
        // Without a thread the card is closed here and now.
        self.work = thread.spawn(move || drop(function)).ok().map(Work::Closing);
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::new(Fault::Io, format!("no thread can be had: {error}"))
}

/// Finds the card and opens it.
fn open(roots: &Roots, wanted: Option<Address>) -> Result<Function, Failure> {
    let place = find::find(&roots.sysfs, wanted)?;
    let container = node(&roots.nodes.join("vfio"))?;
    match abi::speaks_type1(&container) {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            return Err(unavailable(
                "VFIO of this kernel has no IOMMU of type 1 for this card: \
                 load its module (modprobe vfio_iommu_type1), or use another kernel",
            ));
        }
    }
    let group = node(&roots.nodes.join(place.group.to_string()))?;
    join(roots, &place, &group, &container)?;
    // An address on the bus holds no zero.
    let name = CString::new(place.address.to_string()).unwrap_or_default();
    let refused = |e: &dyn std::fmt::Display| {
        unavailable(format!(
            "VFIO does not open the card at {}: {e}; `dmesg` may say why",
            place.address
        ))
    };
    let file = abi::open_device(&group, &name).map_err(|e| refused(&e))?;
    let (device, memory) = Device::new(file, group, container).map_err(|error| match error {
        OpenError::Memory(error) => no_memory(&place, &error),
        OpenError::Refused(error) => refused(&error),
    })?;
    let regions = device.regions().map_err(|e| refused(&e))?;
    let mut bars: Vec<_> = regions.iter().map(|region| device.bar(*region)).collect();
    let (user, config) = channel::find(&mut bars)?;
    let (stop, run) = channel::STOP;
    device.stop_by(regions[config], stop, run);
    let config = bars.swap_remove(config).registers;
    Ok(Function {
        user: bars.swap_remove(user).registers,
        config,
        control: Box::new(device),
        memory,
        model: place.model,
        place: place.address.to_string(),
    })
}

/// Puts the group into the container, and has the IOMMU guard it.
fn join(roots: &Roots, place: &Place, group: &File, container: &File) -> Result<(), Failure> {
    let refused = |what: &str, errno: Errno| {
        unavailable(format!(
            "VFIO does not {what} for the card at {}: {errno}; `dmesg` may say why",
            place.address
        ))
    };
    if !abi::is_viable(group).map_err(|e| refused("tell its group's state", e))? {
        return Err(unavailable(format!(
            "the IOMMU can guard the card at {} only together with its group {}, in which drivers of the kernel have: {}; \
             unbind them or give them to vfio-pci, or put the card into another slot",
            place.address,
            place.group,
            find::in_the_way(&roots.sysfs, place)
        )));
    }
    abi::set_container(group, container).map_err(|e| refused("take its group", e))?;
    match abi::set_type1(container) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => Err(unavailable(
            "the IOMMU does not remap interrupts, so VFIO does not use it: switch interrupt remapping on in the firmware's \
             settings (`dmesg | grep -i remapping` says why it is off)",
        )),
        Err(errno) => Err(refused("set the IOMMU up", errno)),
    }
}

/// Opens a node of VFIO's.
fn node(path: &Path) -> Result<File, Failure> {
    let file = File::options().read(true).write(true).open(path);
    file.map_err(|error| refusal(path, &error))
}

/// Why a node can't be opened, and what to do.
fn refusal(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    unavailable(match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no {shown}: load the module (modprobe vfio-pci); a node with noiommu in its name is not used"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{shown} may not be opened by this user: install the project's udev rules, or as root: chgrp qrng {shown}; \
             chmod 0660 {shown}; and run the collector in the group qrng"
        ),
        io::ErrorKind::ResourceBusy => format!(
            "{shown} is in use by another process: end that one (`fuser -v {shown}` names it)"
        ),
        _ => format!("{shown} can't be opened: {error}"),
    })
}

fn no_memory(place: &Place, error: &io::Error) -> Failure {
    unavailable(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOMEM | Errno::EAGAIN | Errno::EPERM) => format!(
            "memory for DMA can't be locked ({error}): allow 3 MiB a card, by LimitMEMLOCK=8M in the unit of systemd or \
             `ulimit -l 8192` in a shell",
        ),
        _ => format!(
            "memory for DMA of the card at {} can't be had: {error}",
            place.address
        ),
    })
}

#[cfg(test)]
mod tests;
