//! Mappings of files under test.

use std::fs::File;
use std::io;

use memmap2::MmapOptions;

/// Reads the first byte of a private mapping of `file`. Where there is no page behind it, the process gets SIGBUS.
///
/// # Errors
/// mmap(2) was refused.
pub fn first_byte_of_private(file: &File) -> io::Result<u8> {
    // SAFETY: the mapping is private and read once, as a byte, of which every value is valid.
    let map = unsafe { MmapOptions::new().len(4096).map_copy_read_only(file)? };
    Ok(std::hint::black_box(&map)[0])
}

/// Makes a shared mapping of `file`.
///
/// # Errors
/// mmap(2) was refused.
pub fn map_shared(file: &File) -> io::Result<()> {
    MmapOptions::new()
        .len(4096)
        .map_raw_read_only(file)
        .map(drop)
}
