//! Archives that Linux unpacks as its first file system: cpio, "newc" format.
//!
//! ```text
//! entry   "070701", 13 numbers of 8 hexadecimal digits, name, NUL, zeros to a multiple of 4, content, zeros likewise
//! end     an entry named TRAILER!!!
//! ```
//!
//! Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive in the making. All that is in it belongs to root.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a regular file, and the directories above it. `path` has no slash in front.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.above(path);
        self.entry(path, REGULAR | permissions, content);
    }

    /// Adds a symbolic link that leads to `target`, and the directories above it.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.above(path);
        self.entry(path, SYMLINK | 0o777, target.as_bytes());
    }

    /// Adds a directory, and those above it; nothing if it is there.
    pub fn directory(&mut self, path: &str) {
        self.above(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, &[]);
        }
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn above(&mut self, path: &str) {
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a guest's file is smaller than 4 GiB");
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        // inode, mode, uid, gid, links, time, size, device (2), device of a device node (2), length of the name, check
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes
                .extend_from_slice(format!("{number:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_small_archive() {
        let mut archive = Archive::default();
        archive.file("d/f", 0o644, b"hello");
        archive.directory("d");
        let expected = concat!(
            "0707010000000100",
            "0041ED0000000000",
            "0000000000000200",
            "0000000000000000",
            "0000000000000000",
            "0000000000000000",
            "00000200000000d\0",
            "0707010000000200",
            "0081A40000000000",
            "0000000000000100",
            "0000000000000500",
            "0000000000000000",
            "0000000000000000",
            "00000400000000d/f\0\0\0",
            "hello\0\0\0",
            "0707010000000300",
            "0000000000000000",
            "0000000000000100",
            "0000000000000000",
            "0000000000000000",
            "0000000000000000",
            "00000B00000000TRAILER!!!\0\0\0\0",
        );
        assert_eq!(String::from_utf8(archive.finish()).unwrap(), expected);
    }

    #[test]
    fn a_link_leads_to_its_target_and_its_directories_come_first() {
        let mut archive = Archive::default();
        archive.symlink("a/b/c", "../d");
        let text = String::from_utf8(archive.finish()).unwrap();
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/c\0"));
        assert!(at("0000A1FF") < at("a/b/c\0") && text.contains("../d"));
    }
}
