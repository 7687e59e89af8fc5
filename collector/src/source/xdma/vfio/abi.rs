//! The kernel's VFIO calls (Linux, include/uapi/linux/vfio.h), each behind a safe function.
//!
//! A crate for this exists, made for virtual machine monitors: it brings their memory model, interrupts and hypervisors
//! with it. A driver needs these eleven calls.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc::{c_char, c_int};
use nix::{
    ioctl_none_bad, ioctl_readwrite_bad, ioctl_write_int_bad, ioctl_write_ptr_bad,
    request_code_none,
};

/// The version of the interface that this file follows.
const API_VERSION: c_int = 0;
/// The IOMMU model of x86 and of most others, second version: unmapping is exact.
const TYPE1_V2: c_int = 3;

/// The number of the region that is the PCI configuration space; BARs are 0 to 5.
pub const CONFIG_REGION: u32 = 7;
/// The number of the notice that the kernel wants the device back.
const REQUEST_IRQ: u32 = 4;

const GROUP_VIABLE: u32 = 1;
const DEVICE_IS_PCI: u32 = 1 << 1;
const REGION_READS: u32 = 1;
const REGION_WRITES: u32 = 1 << 1;
const DMA_READS: u32 = 1;
const DMA_WRITES: u32 = 1 << 1;
const IRQ_TO_EVENTFD: u32 = 1 << 2 | 1 << 5;

/// A structure with these fields, the others 0. Each begins with its size, by which the kernel knows its version.
macro_rules! sized {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let mut all = raw::$type::default();
        all.argsz = size_of::<raw::$type>() as u32;
        $(all.$field = $value;)*
        all
    }};
}

mod raw {
    use super::*;

    #[repr(C)]
    #[derive(Default)]
    pub struct GroupStatus {
        pub argsz: u32,
        pub flags: u32,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct DeviceInfo {
        pub argsz: u32,
        pub flags: u32,
        pub regions: u32,
        pub irqs: u32,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct RegionInfo {
        pub argsz: u32,
        pub flags: u32,
        pub index: u32,
        pub capabilities: u32,
        pub size: u64,
        pub offset: u64,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct IrqSet {
        pub argsz: u32,
        pub flags: u32,
        pub index: u32,
        pub start: u32,
        pub count: u32,
        pub eventfd: c_int,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct DmaMap {
        pub argsz: u32,
        pub flags: u32,
        pub address: u64,
        pub iova: u64,
        pub size: u64,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct DmaUnmap {
        pub argsz: u32,
        pub flags: u32,
        pub iova: u64,
        pub size: u64,
    }

    ioctl_none_bad!(get_api_version, request_code_none!(b';', 100));
    ioctl_write_int_bad!(check_extension, request_code_none!(b';', 101));
    ioctl_write_int_bad!(set_iommu, request_code_none!(b';', 102));
    ioctl_readwrite_bad!(group_get_status, request_code_none!(b';', 103), GroupStatus);
    ioctl_write_ptr_bad!(group_set_container, request_code_none!(b';', 104), c_int);
    ioctl_write_ptr_bad!(group_get_device, request_code_none!(b';', 106), c_char);
    ioctl_readwrite_bad!(device_get_info, request_code_none!(b';', 107), DeviceInfo);
    ioctl_readwrite_bad!(device_get_region, request_code_none!(b';', 108), RegionInfo);
    ioctl_write_ptr_bad!(device_set_irqs, request_code_none!(b';', 110), IrqSet);
    ioctl_write_ptr_bad!(map_dma, request_code_none!(b';', 113), DmaMap);
    ioctl_readwrite_bad!(unmap_dma, request_code_none!(b';', 114), DmaUnmap);
}

/// Whether the kernel's interface is the one that is known here, with an IOMMU of the usual model.
pub fn speaks_type1(container: &File) -> nix::Result<bool> {
    let fd = container.as_raw_fd();
    // SAFETY: neither call has an argument that is an address; both only ask.
    unsafe {
        Ok(raw::get_api_version(fd)? == API_VERSION && raw::check_extension(fd, TYPE1_V2)? > 0)
    }
}

/// Whether every device of the group is bound to a driver of VFIO's, or to none.
pub fn is_viable(group: &File) -> nix::Result<bool> {
    let mut status = sized!(GroupStatus {});
    // SAFETY: the structure is as long as it says, and the kernel writes no more than that.
    unsafe { raw::group_get_status(group.as_raw_fd(), &mut status) }?;
    Ok(status.flags & GROUP_VIABLE != 0)
}

/// Puts the group into the container.
pub fn set_container(group: &File, container: &File) -> nix::Result<()> {
    let fd = container.as_raw_fd();
    // SAFETY: the argument is the address of an int, which the kernel reads.
    unsafe { raw::group_set_container(group.as_raw_fd(), &fd) }?;
    Ok(())
}

/// Has the container translate addresses of its devices; until something is mapped, they can reach nothing.
pub fn set_type1(container: &File) -> nix::Result<()> {
    // SAFETY: the argument is a number.
    unsafe { raw::set_iommu(container.as_raw_fd(), TYPE1_V2) }?;
    Ok(())
}

/// Opens the group's device of this name, which is its PCI address. The kernel resets it if it can.
pub fn open_device(group: &File, name: &CStr) -> nix::Result<File> {
    // SAFETY: the argument is a text that ends with a zero, which the kernel reads.
    let fd = unsafe { raw::group_get_device(group.as_raw_fd(), name.as_ptr()) }?;
    // SAFETY: the kernel gave a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Whether the device is a PCI function.
pub fn is_pci(device: &File) -> nix::Result<bool> {
    let mut info = sized!(DeviceInfo {});
    // SAFETY: the structure is as long as it says, and the kernel writes no more than that.
    unsafe { raw::device_get_info(device.as_raw_fd(), &mut info) }?;
    Ok(info.flags & DEVICE_IS_PCI != 0)
}

/// A region of a device: a BAR or the configuration space.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    /// Where it is in the device's file.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

/// Asks about the region number `index`. None: it is not there, or can't be both read and written.
pub fn region(device: &File, index: u32) -> nix::Result<Option<Region>> {
    let mut info = sized!(RegionInfo { index: index });
    // SAFETY: the structure is as long as it says, and the kernel writes no more than that.
    unsafe { raw::device_get_region(device.as_raw_fd(), &mut info) }?;
    let usable = info.flags & REGION_READS != 0 && info.flags & REGION_WRITES != 0;
    Ok((usable && info.size > 0).then_some(Region {
        offset: info.offset,
        size: info.size,
    }))
}

/// Has the kernel tell by `event` when it wants the device back.
pub fn notify_request(device: &File, event: BorrowedFd<'_>) -> nix::Result<()> {
    let set = sized!(IrqSet {
        flags: IRQ_TO_EVENTFD,
        index: REQUEST_IRQ,
        count: 1,
        eventfd: event.as_raw_fd(),
    });
    // SAFETY: the structure is as long as it says, its one element included, and the kernel only reads it. The kernel keeps
    // a reference of its own to the event.
    unsafe { raw::device_set_irqs(device.as_raw_fd(), &set) }?;
    Ok(())
}

/// Lets the container's devices reach `size` bytes of this process's memory at `address`, as `iova`. The kernel keeps the
/// pages where they are until they are unmapped or the container is closed, also if this process gives the memory back.
///
/// # Safety
/// The memory must be a mapping of the caller's that is used for nothing else, and only by accesses that bear changes from
/// outside at any time, until it is unmapped.
pub unsafe fn map_dma(container: &File, address: *mut u8, iova: u64, size: u64) -> nix::Result<()> {
    let map = sized!(DmaMap {
        flags: DMA_READS | DMA_WRITES,
        address: address.addr() as u64,
        iova: iova,
        size: size,
    });
    // SAFETY: the structure is as long as it says, and the kernel only reads it. What devices may then do to the memory is the
    // caller's promise.
    unsafe { raw::map_dma(container.as_raw_fd(), &map) }?;
    Ok(())
}

/// Ends that. When this returns, no device reaches the memory.
pub fn unmap_dma(container: &File, iova: u64, size: u64) -> nix::Result<()> {
    let mut unmap = sized!(DmaUnmap {
        iova: iova,
        size: size,
    });
    // SAFETY: the structure is as long as it says, and the kernel writes no more than that. Less memory can be reached, so no
    // promise to anybody is broken.
    unsafe { raw::unmap_dma(container.as_raw_fd(), &mut unmap) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<raw::GroupStatus>(), 8);
        assert_eq!(size_of::<raw::DeviceInfo>(), 16);
        assert_eq!(size_of::<raw::RegionInfo>(), 32);
        assert_eq!(size_of::<raw::IrqSet>(), 24);
        assert_eq!(size_of::<raw::DmaMap>(), 32);
        assert_eq!(size_of::<raw::DmaUnmap>(), 24);
        assert_eq!(request_code_none!(b';', 100), 0x3b64);
    }
}
