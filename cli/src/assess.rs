//! `qrng assess`: whether anything about some random bytes is odd, told to a person and to scripts.
//!
//! ```text
//! FILE, -, MOUNT/raw ─ assess/input.rs ─ qrng_assess::run ─┬─ text ── standard output
//!                                         │                └─ HTML ── assess/page.rs
//!                                         └─ assess/progress.rs ── standard error, if it is a terminal
//! ```
//!
//! Bytes that are read from a gateway are used up, as by any other reader.

mod input;
mod page;
mod progress;
mod utc;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Error, Result};
use qrng_assess::{AssessError, Assessment, Options};

use crate::text;
use input::Input;
use page::Page;
use progress::Bar;

/// Bytes that are read unless something else is asked for.
const USUAL_BYTES: u64 = 16 << 20;
/// The same of a quick look: eight sequences of SP 800-22.
const QUICK_BYTES: u64 = 1 << 20;
/// Exit code when a check failed.
const FAILED: u8 = 1;
/// Exit code when there is no assessment.
const COULD_NOT: u8 = 2;
/// The errno of a gateway that serves nothing more (EIO).
const NOT_SERVED: i32 = nix::errno::Errno::EIO as i32;

/// What `qrng assess` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bytes: a file, a gateway's file such as /qrng/raw, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many bytes to assess at most, such as "64 MiB" [default: 16 MiB]
    #[arg(long, value_name = "N", value_parser = size)]
    bytes: Option<u64>,
    /// Write the report with pictures here, as one file for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A quick look: at most 1 MiB
    #[arg(long, conflicts_with = "bytes")]
    quick: bool,
}

fn size(text: &str) -> Result<u64, String> {
    match qrng::units::parse_size(text) {
        Ok(0) => Err("at least 4096 bytes are needed".into()),
        Ok(size) => Ok(size),
        Err(error) => Err(error.to_string()),
    }
}

/// Assesses and reports. Exit code 0: passed, 1: a check failed, 2: there is no assessment.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match assess(arguments) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::from(FAILED)),
        Err(error) => {
            text::complain(&format!("qrng: {error:#}"))?;
            Ok(ExitCode::from(COULD_NOT))
        }
    }
}

fn assess(arguments: &Arguments) -> Result<bool> {
    let limit = arguments.bytes.unwrap_or(if arguments.quick {
        QUICK_BYTES
    } else {
        USUAL_BYTES
    });
    let input = Input::open(&arguments.file, limit)?;
    // Opened first: minutes of work are not to be lost for a directory that is missing.
    let page = match &arguments.html {
        Some(path) => Some(Page::open(path, &input)?),
        None => None,
    };
    let assessment = match examine(input) {
        Ok(assessment) => assessment,
        Err(error) => {
            if let Some(page) = page {
                page.abandon();
            }
            return Err(error);
        }
    };
    text::say(assessment.text().trim_end())?;
    if let (Some(page), Some(path)) = (page, &arguments.html) {
        page.write(&assessment.html())?;
        text::say(&format!("\nWith pictures: {}", path.display()))?;
    }
    Ok(assessment.passed())
}

fn examine(input: Input) -> Result<Assessment> {
    let options = Options {
        what: input.what,
        when: utc::minute(SystemTime::now()),
        max_bytes: input.max_bytes,
        ..Options::default()
    };
    let mut bar = Bar::new();
    let outcome = qrng_assess::run(input.reader, options, |progress| bar.show(progress));
    bar.clear();
    outcome.map_err(|error| match (&error, input.gateway) {
        (AssessError::Read(cause), Some(mount)) if is_not_served(cause) => Error::new(error)
            .context(format!(
                "the gateway serves nothing (`qrng status --mount {}` says why)",
                mount.display()
            )),
        _ => Error::new(error),
    })
}

fn is_not_served(error: &io::Error) -> bool {
    error.raw_os_error() == Some(NOT_SERVED)
}

#[cfg(test)]
mod tests;
