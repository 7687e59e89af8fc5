//! Memory that the card reaches through the IOMMU.

use std::fs::File;
use std::io;
use std::slice;
use std::sync::atomic::AtomicU64;

use memmap2::{Advice, MmapMut, MmapRaw};

use super::abi;
use super::lease::Lease;
use crate::source::xdma::function::DmaMemory;
use crate::source::xdma::ring::{self, MEMORY};

/// Where the card finds it: low, because some of these engines fetch descriptors below 4 GiB only, and away from what x86 and
/// ARM keep for interrupts. It is an address of the container's own, so it collides with nothing else.
pub const IOVA: u64 = 0x0100_0000;

/// Zeroed memory, kept out of swap, core dumps and children, that the devices of a container reach while a loan lasts.
///
/// Dropping it ends the loan, so that no device reaches it, then wipes it, then gives it back.
pub struct Memory {
    lease: Option<Lease>,
    map: MmapRaw,
}

impl Memory {
    /// Makes it and maps it for the devices of `container`, whose loan is not known yet.
    ///
    /// # Errors
    /// More memory would be locked than is allowed, or the IOMMU can't map it.
    pub fn new(container: &File) -> io::Result<Self> {
        let map = MmapMut::map_anon(MEMORY)?;
        map.advise(Advice::DontDump)?;
        // A child would share the pages, and a write by either side would give it others than the card has.
        map.advise(Advice::DontFork)?;
        map.lock()?;
        let map = MmapRaw::from(map);
        // SAFETY: the mapping was just made, and goes to a `Memory`, which gives it out as atomics only. Until the container is
        // closed the kernel keeps the pages for it, so a device that still reaches them reaches nothing of others.
        unsafe { abi::map_dma(container, map.as_mut_ptr(), IOVA, MEMORY as u64) }?;
        Ok(Self { lease: None, map })
    }

    /// The same, as long as this loan lasts.
    pub fn lent_by(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }
}

impl DmaMemory for Memory {
    fn address(&self) -> u64 {
        IOVA
    }

    fn words(&self) -> &[AtomicU64] {
        let words = self.map.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping begins at a page, is MEMORY bytes long, readable and writable, and lives as long as `self`. All
        // bits are a value of an AtomicU64. Nobody has any other reference to it, and the card's writes are to it what those of
        // another thread are.
        unsafe { slice::from_raw_parts(words, MEMORY / size_of::<u64>()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            lease.end();
        }
        ring::wipe_all(self);
    }
}
