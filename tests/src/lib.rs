//! What the end-to-end tests share.
//!
//! A test that can't run here says so with [`skip!`]; it never passes in silence.

pub mod adapter;
pub mod broken;
pub mod browser;
pub mod chain;
pub mod confined;
pub mod container;
pub mod feed;
pub mod frames;
pub mod fuse_harness;
pub mod helper;
pub mod http;
pub mod icmp;
#[allow(unsafe_code)] // Mapping a file is the one way to see what a mapping of it gives.
pub mod mapping;
pub mod memory;
pub mod namespaces;
pub mod netns;
pub mod numbered;
pub mod podman;
pub mod processes;
pub mod pushed;
pub mod python;
pub mod relay;
pub mod rubbish;
pub mod runs;
pub mod shifted;
pub mod shim;
pub mod tap;
pub mod vm;

use std::io::Write;

/// Leaves the test that calls it, loudly: says `SKIPPED` on standard error, and appends `name: reason` to the file that the
/// environment variable `QRNG_SKIP_LOG` names, if it is set.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::note_skip(&format!($($reason)+));
        return;
    }};
}

/// Notes that the present test is skipped; used by [`skip!`].
pub fn note_skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    // Past the capture of the test harness, so that it is seen when the test passes.
    let _ = write!(std::io::stderr(), "SKIPPED: {line}");
    if let Some(path) = std::env::var_os("QRNG_SKIP_LOG") {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        let written = log.and_then(|mut log| log.write_all(line.as_bytes()));
        written.expect("QRNG_SKIP_LOG names a file that can be written");
    }
}
