//! A reader that can be killed at any moment without hiding what it got.
//!
//! It reads straight into a shared mapping of its output file: whatever the kernel handed to this
//! process is in that file, even if the process died before the system call returned.
//!
//! Usage: `qrng-test-reader FILE OUT CAPACITY SIZE [reopen]`: reads of SIZE bytes from FILE until
//! OUT holds CAPACITY bytes; with `reopen` FILE is opened anew once it ends.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};

use memmap2::MmapMut;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, out, capacity, size, rest @ ..] = arguments.as_slice() else {
        panic!("usage: qrng-test-reader FILE OUT CAPACITY SIZE [reopen]");
    };
    let capacity: usize = capacity.parse().expect("CAPACITY is a number");
    let size: usize = size.parse().expect("SIZE is a number");
    let mut mapping = map(out, capacity)?;
    let mut file = File::open(path)?;
    let mut at = 0;
    while at < capacity {
        let end = capacity.min(at + size);
        match file.read(&mut mapping[at..end]) {
            Ok(0) if rest.first().is_some_and(|r| r == "reopen") => file = File::open(path)?,
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[allow(unsafe_code)]
fn map(path: &str, capacity: usize) -> std::io::Result<MmapMut> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.set_len(capacity as u64)?;
    // SAFETY: the file is this process's own output, named by the test that started it; the test
    // looks at it only after this process has ended, and nobody truncates it.
    unsafe { MmapMut::map_mut(&file) }
}
