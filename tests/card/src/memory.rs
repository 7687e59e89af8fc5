//! The host's memory as a card with DMA sees it.

use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

/// The card used an address that the host has not mapped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{length} bytes at {iova:#x} are not mapped")]
pub struct NotMapped {
    /// I/O virtual address.
    pub iova: u64,
    /// Bytes.
    pub length: usize,
}

/// Memory that a card reads and writes by I/O virtual addresses.
///
/// Writes must become visible to the host in the order in which they are made, as PCI Express has it.
pub trait HostMemory: Send {
    /// Reads.
    ///
    /// # Errors
    /// Any of the bytes is not mapped.
    fn read(&self, iova: u64, data: &mut [u8]) -> Result<(), NotMapped>;

    /// Writes; nothing is written if it fails.
    ///
    /// # Errors
    /// Any of the bytes is not mapped, or may not be written.
    fn write(&self, iova: u64, data: &[u8]) -> Result<(), NotMapped>;
}

/// No memory at all: what a card sees until it is given some.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoMemory;

impl HostMemory for NoMemory {
    fn read(&self, iova: u64, data: &mut [u8]) -> Result<(), NotMapped> {
        let length = data.len();
        Err(NotMapped { iova, length })
    }

    fn write(&self, iova: u64, data: &[u8]) -> Result<(), NotMapped> {
        let length = data.len();
        Err(NotMapped { iova, length })
    }
}

/// One mapped run of memory, shared by a card and a test that plays the host.
#[derive(Debug, Clone)]
pub struct Pages {
    base: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Pages {
    /// `size` zero bytes mapped at `base`.
    pub fn new(base: u64, size: usize) -> Self {
        let bytes = Arc::new(Mutex::new(vec![0; size]));
        Self { base, bytes }
    }

    /// Calls `use_it` with the mapped bytes from `iova` on, `length` of them.
    fn with<T>(
        &self,
        iova: u64,
        length: usize,
        use_it: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, NotMapped> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = iova.checked_sub(self.base);
        let start = start.and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let part = range.and_then(|range| bytes.get_mut(range));
        part.map(use_it).ok_or(NotMapped { iova, length })
    }
}

impl HostMemory for Pages {
    fn read(&self, iova: u64, data: &mut [u8]) -> Result<(), NotMapped> {
        self.with(iova, data.len(), |bytes| data.copy_from_slice(bytes))
    }

    fn write(&self, iova: u64, data: &[u8]) -> Result<(), NotMapped> {
        self.with(iova, data.len(), |bytes| bytes.copy_from_slice(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_mapped_runs_are_accessed() {
        let pages = Pages::new(0x1000, 16);
        pages.write(0x1004, &[1, 2, 3]).unwrap();
        let mut data = [9; 4];
        pages.read(0x1003, &mut data).unwrap();
        assert_eq!(data, [0, 1, 2, 3]);
        for (iova, length) in [(0xFFF, 2), (0x100D, 4), (u64::MAX, 1), (0, 1)] {
            let error = NotMapped { iova, length };
            assert_eq!(pages.write(iova, &vec![0; length]), Err(error));
            assert_eq!(NoMemory.read(iova, &mut vec![0; length]), Err(error));
        }
    }
}
