//! The guest's memory, as the client maps it for the card.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_user::DmaMapFlags;

use crate::memory::{HostMemory, NotMapped};

/// What is mapped. It is a memory file that the guest has mapped too, so plain reads and writes of the file are reads and writes
/// of the guest's memory, in order, and need no mapping here.
#[derive(Debug, Default, Clone)]
pub struct DmaTable(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    mappings: Vec<Mapping>,
    /// The card may use the bus.
    master: bool,
}

#[derive(Debug)]
struct Mapping {
    range: Range<u64>,
    file: File,
    /// Where the range begins in the file.
    offset: u64,
    flags: DmaMapFlags,
}

/// A part of an access that is within one mapping.
struct Part<'a> {
    mapping: &'a Mapping,
    /// Place in the file.
    offset: u64,
    length: usize,
}

impl DmaTable {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows the card to use the bus, or forbids it.
    pub(super) fn set_master(&self, master: bool) {
        self.inner().master = master;
    }

    pub(super) fn map(
        &self,
        flags: DmaMapFlags,
        offset: u64,
        range: Range<u64>,
        file: Option<File>,
    ) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.mappings.iter().any(|m| overlap(&m.range, &range)) {
            return Err(io::Error::other(format!("{range:#x?} is mapped already")));
        }
        // Without a file it is memory that can be reached by messages only, such as another card's: none of this card's business.
        if let Some(file) = file {
            inner.mappings.push(Mapping {
                range,
                file,
                offset,
                flags,
            });
        }
        Ok(())
    }

    pub(super) fn unmap(&self, range: Range<u64>) -> io::Result<()> {
        let mut inner = self.inner();
        let within = |m: &Mapping| range.start <= m.range.start && m.range.end <= range.end;
        let partly = |m: &&Mapping| overlap(&m.range, &range) && !within(m);
        if let Some(mapping) = inner.mappings.iter().find(partly) {
            let text = format!("{range:#x?} is a part of the mapping {:#x?}", mapping.range);
            return Err(io::Error::other(text));
        }
        inner.mappings.retain(|m| !within(m));
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.inner().mappings.clear();
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

impl Inner {
    /// The parts of an access, if all of it is mapped with `flags`.
    fn parts(
        &self,
        iova: u64,
        length: usize,
        flags: DmaMapFlags,
    ) -> Result<Vec<Part<'_>>, NotMapped> {
        let error = NotMapped { iova, length };
        let end = iova.checked_add(length as u64).ok_or(error)?;
        let mut parts = Vec::new();
        let mut at = iova;
        while at < end {
            let fits = |m: &&Mapping| m.range.contains(&at) && m.flags.contains(flags);
            let found = self.mappings.iter().find(fits).filter(|_| self.master);
            let mapping = found.ok_or(error)?;
            let next = end.min(mapping.range.end);
            parts.push(Part {
                mapping,
                offset: mapping.offset + (at - mapping.range.start),
                length: (next - at) as usize,
            });
            at = next;
        }
        Ok(parts)
    }
}

impl HostMemory for DmaTable {
    fn read(&self, iova: u64, data: &mut [u8]) -> Result<(), NotMapped> {
        let inner = self.inner();
        let error = NotMapped {
            iova,
            length: data.len(),
        };
        let mut rest = data;
        for part in inner.parts(iova, rest.len(), DmaMapFlags::READ)? {
            let (now, later) = rest.split_at_mut(part.length);
            let read = part.mapping.file.read_exact_at(now, part.offset);
            read.map_err(|_| error)?;
            rest = later;
        }
        Ok(())
    }

    fn write(&self, iova: u64, data: &[u8]) -> Result<(), NotMapped> {
        let inner = self.inner();
        let error = NotMapped {
            iova,
            length: data.len(),
        };
        let mut rest = data;
        for part in inner.parts(iova, rest.len(), DmaMapFlags::WRITE)? {
            let (now, later) = rest.split_at(part.length);
            let written = part.mapping.file.write_all_at(now, part.offset);
            written.map_err(|_| error)?;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file() -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 0x4000]).unwrap();
        file
    }

    /// Two mappings side by side, the second one at another place of its file; the card may use the bus.
    fn table() -> (DmaTable, File) {
        let table = DmaTable::default();
        let file = file();
        let mapped = |flags, offset, range| {
            table
                .map(flags, offset, range, Some(file.try_clone().unwrap()))
                .unwrap();
        };
        mapped(DmaMapFlags::READ_WRITE, 0x2000, 0x1000..0x2000);
        mapped(DmaMapFlags::READ_WRITE, 0x0000, 0x2000..0x3000);
        mapped(DmaMapFlags::READ, 0x1000, 0x3000..0x4000);
        table.set_master(true);
        (table, file)
    }

    #[test]
    fn an_access_across_mappings_goes_to_each_ones_place() {
        let (table, file) = table();
        table.write(0x1FFE, &[1, 2, 3, 4]).unwrap();
        let mut bytes = [0; 2];
        file.read_exact_at(&mut bytes, 0x2FFE).unwrap();
        assert_eq!(bytes, [1, 2]);
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [3, 4]);
        let mut read = [0; 4];
        table.read(0x1FFE, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_not_mapped_or_allowed_fails_whole() {
        let (table, file) = table();
        for (iova, length) in [(0xFFF, 2), (0x2FFF, 2), (0x3000, 1), (u64::MAX, 2)] {
            let error = NotMapped { iova, length };
            assert_eq!(table.write(iova, &vec![1; length]), Err(error));
        }
        let mut byte = [9];
        file.read_exact_at(&mut byte, 0xFFF).unwrap();
        assert_eq!(byte, [0], "nothing was written");
        table.read(0x3000, &mut byte).unwrap();
        table.set_master(false);
        assert!(table.read(0x3000, &mut byte).is_err(), "no bus master");
    }

    #[test]
    fn mappings_go_away_whole() {
        let (table, _file) = table();
        assert!(
            table
                .map(DmaMapFlags::READ, 0, 0x3FFF..0x5000, Some(file()))
                .is_err()
        );
        assert!(table.unmap(0x1000..0x1800).is_err());
        table.unmap(0x0000..0x2000).unwrap();
        assert!(table.write(0x1000, &[1]).is_err());
        table.write(0x2000, &[1]).unwrap();
        table.clear();
        assert!(table.write(0x2000, &[1]).is_err());
        table
            .map(DmaMapFlags::READ_WRITE, 0, 0..0x1000, None)
            .unwrap();
        assert!(table.write(0, &[1]).is_err(), "no file");
    }
}
