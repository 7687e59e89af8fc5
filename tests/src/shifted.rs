//! A clock for the programs under test that is wrong by as much as a test likes, by libfaketime (Debian package `faketime`).
//! Only the time of day is wrong, not the clocks by which waits are measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library, if it is installed.
pub fn library() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").ok()?.flatten();
    let places = directories.map(|directory| directory.path());
    let mut candidates = places.map(|place| place.join("faketime/libfaketimeMT.so.1"));
    candidates.find(|path| path.is_file())
}

/// A clock that a test sets.
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// One that is right at first, with its file in `directory`; none without the library.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn new(directory: &Path) -> Option<Self> {
        let clock = Self {
            file: directory.join("clock"),
            library: library()?,
        };
        clock.set(0);
        Some(clock)
    }

    /// Makes it `seconds` ahead of the host's; less than 0 is behind. Programs see it within a second or so.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("a clock's file");
        fs::rename(&new, &self.file).expect("a clock's file");
    }

    /// Gives it to a program that is to be started.
    pub fn give_to(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }
}
