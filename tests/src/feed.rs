//! A noise source in the hands of a test: a named pipe that a real collector reads as a node, byte by byte as the test
//! writes them, faults included.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::chain::PATIENCE;

/// The writing end. It also holds the reading end open, so that the collector sees no end of file when it starts or ends.
pub struct Feed {
    path: PathBuf,
    pipe: File,
}

impl Feed {
    /// Makes the pipe.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(path: PathBuf) -> Self {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
        let pipe = File::options()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(&path)
            .expect("both ends of the pipe");
        Self { path, pipe }
    }

    /// The pipe's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`.
    ///
    /// # Panics
    /// Nobody reads them within [`PATIENCE`].
    pub fn write(&mut self, bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.pipe.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    assert!(
                        Instant::now() < deadline,
                        "nobody reads: {} bytes left",
                        rest.len()
                    );
                    thread::sleep(Duration::from_millis(1));
                }
                Err(e) => panic!("the pipe cannot be written: {e}"),
            }
        }
    }
}

/// A copy of `bytes` with a run of `length` equal bits that begins at bit `at`, bits lowest first, and is no longer.
///
/// # Panics
/// The run does not lie within the bytes, with a bit on either side.
pub fn with_run(bytes: &[u8], at: usize, length: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut set = |bit: usize, value: bool| {
        let mask = 1 << (bit % 8);
        bytes[bit / 8] = bytes[bit / 8] & !mask | if value { mask } else { 0 };
    };
    set(at - 1, true);
    set(at + length, true);
    (at..at + length).for_each(|bit| set(bit, false));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_as_long_as_it_is_told() {
        for at in 1..70 {
            let bytes = with_run(&[0x55; 40], at, 45);
            let bits = (0..320).map(|i| bytes[i / 8] >> (i % 8) & 1);
            let bits: Vec<_> = bits.collect();
            let longest = bits.chunk_by(|a, b| a == b).map(<[u8]>::len).max();
            assert_eq!(longest, Some(45));
            assert!(bits[at..at + 45].iter().all(|bit| *bit == 0));
        }
    }
}
