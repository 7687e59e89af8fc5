//! `qrng status`: what the daemons of this machine do.
//!
//! ```text
//! MOUNT/status ────────────┐
//!                          ├ document.rs (tolerant of unknown fields) ─ render.rs ─ text
//! RUNTIME/status.json ─────┘
//! ```
//!
//! The two hosts of a link see only their own side: on the isolated host there is a collector and
//! no mount, on the other one a mount and no collector. So one of the two is enough.

pub mod document;
mod health;
pub mod render;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde::de::DeserializeOwned;

use crate::text;
use document::{Collector, Gateway};

/// A daemon that takes longer than this to answer is reported as silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The collector rewrites its file every second; an older one was left behind.
const FRESH_LIMIT: Duration = Duration::from_secs(5);
/// Time between the two samples that a rate is made of.
const SAMPLE_GAP: Duration = Duration::from_secs(1);
/// The errno of a mount whose server is gone (ENOTCONN).
const NOT_CONNECTED: i32 = nix::errno::Errno::ENOTCONN as i32;

/// What `qrng status` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory where the gateway's files are mounted
    #[arg(long, value_name = "DIR", default_value = "/qrng")]
    mount: PathBuf,
    /// The collector's runtime directory
    #[arg(long, value_name = "DIR", default_value = "/run/qrng-collector")]
    collector_runtime: PathBuf,
    /// Print the documents themselves, as one JSON object
    #[arg(long)]
    json: bool,
    /// Take one sample only: answers at once, without rates
    #[arg(long)]
    once: bool,
}

/// One look at a daemon.
pub struct Sample<T> {
    /// The document as it came.
    pub raw: serde_json::Value,
    /// The same, read.
    pub document: T,
    /// When it was taken.
    pub taken: Instant,
}

/// Why there is no document.
pub enum Trouble {
    /// Nothing is there: perhaps this host has the other end of the link.
    Absent(String),
    /// Something is there and is not for us to read.
    Forbidden(String),
    /// Something is there and does not work.
    Broken(String),
}

impl Trouble {
    /// What is wrong and how to mend it.
    pub fn words(&self) -> &str {
        match self {
            Self::Absent(words) | Self::Forbidden(words) | Self::Broken(words) => words,
        }
    }
}

/// A daemon's document, or why there is none.
pub type Look<T> = Result<Sample<T>, Trouble>;

/// Prints the state of what is found; the exit code says it to scripts.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let first = look_at_gateway(&arguments.mount);
    let collector_first = look_at_collector(&arguments.collector_runtime);
    let (gateway, collector, earlier) = if arguments.once || arguments.json {
        (first, collector_first, None)
    } else {
        if first.is_ok() || collector_first.is_ok() {
            thread::sleep(SAMPLE_GAP);
        }
        (
            look_at_gateway(&arguments.mount),
            look_at_collector(&arguments.collector_runtime),
            Some((first, collector_first)),
        )
    };
    if arguments.json {
        text::say(&as_json(&gateway, &collector)?)?;
    } else {
        let (before, collector_before) = match &earlier {
            Some((gateway, collector)) => (gateway.as_ref().ok(), collector.as_ref().ok()),
            None => (None, None),
        };
        if let Ok(sample) = &gateway {
            text::say(&render::gateway(&arguments.mount, sample, before))?;
        }
        if let Ok(sample) = &collector {
            text::say(&render::collector(sample, collector_before))?;
        }
    }
    complain(&gateway, &collector)?;
    Ok(ExitCode::from(verdict(&gateway, &collector)))
}

fn as_json(gateway: &Look<Gateway>, collector: &Look<Collector>) -> Result<String> {
    let document = serde_json::json!({
        "gateway": gateway.as_ref().ok().map(|sample| &sample.raw),
        "collector": collector.as_ref().ok().map(|sample| &sample.raw),
    });
    Ok(serde_json::to_string_pretty(&document)?)
}

/// Says what is wrong; an absent end is worth a word only if the other one is absent too.
fn complain(gateway: &Look<Gateway>, collector: &Look<Collector>) -> io::Result<()> {
    let both_absent = matches!(
        (gateway, collector),
        (Err(Trouble::Absent(_)), Err(Trouble::Absent(_)))
    );
    for trouble in [gateway.as_ref().err(), collector.as_ref().err()]
        .into_iter()
        .flatten()
    {
        if both_absent || !matches!(trouble, Trouble::Absent(_)) {
            text::complain(&format!("qrng: {}", trouble.words()))?;
        }
    }
    Ok(())
}

/// 0 serving, 1 not serving, 2 nothing found or not allowed to look.
fn verdict(gateway: &Look<Gateway>, collector: &Look<Collector>) -> u8 {
    let of_gateway = match gateway {
        Ok(sample) => Some(u8::from(!sample.document.is_serving())),
        Err(Trouble::Broken(_)) => Some(1),
        Err(Trouble::Forbidden(_)) => Some(2),
        Err(Trouble::Absent(_)) => None,
    };
    let of_collector = match collector {
        Ok(sample) => Some(u8::from(!sample.document.is_sending())),
        Err(Trouble::Broken(_)) => Some(1),
        Err(Trouble::Forbidden(_)) => Some(2),
        Err(Trouble::Absent(_)) => None,
    };
    // Readers are served by the gateway: where there is one, its word counts.
    of_gateway.or(of_collector).unwrap_or(2)
}

/// Reads and understands `MOUNT/status`.
pub fn look_at_gateway(mount: &Path) -> Look<Gateway> {
    let path = mount.join("status");
    match read_with_limit(&path) {
        Ok(Some(text)) => understand(&path, &text),
        Ok(None) => Err(Trouble::Broken(format!(
            "{} does not answer: the gateway hangs; restart it",
            path.display()
        ))),
        Err(error) => Err(gateway_trouble(mount, &path, &error)),
    }
}

fn gateway_trouble(mount: &Path, path: &Path, error: &io::Error) -> Trouble {
    let mount = mount.display();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => Trouble::Absent(format!(
            "no gateway serves {mount}: start it (qrng-gateway --config FILE), or name its directory with --mount DIR"
        )),
        (io::ErrorKind::PermissionDenied, _) => Trouble::Forbidden(format!(
            "{}: only root and the file's group may read it; try: sudo qrng status --mount {mount}",
            path.display()
        )),
        (_, Some(NOT_CONNECTED)) => Trouble::Broken(format!(
            "the gateway that served {mount} is gone and its mount is left: start it again (it mends that), or: umount -l {mount}"
        )),
        _ => Trouble::Broken(format!("cannot read {}: {error}", path.display())),
    }
}

/// Reads and understands the collector's `status.json`.
pub fn look_at_collector(runtime: &Path) -> Look<Collector> {
    let path = runtime.join("status.json");
    let read = fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .and_then(|modified| Ok((modified, fs::read_to_string(&path)?)));
    let (modified, text) = read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Trouble::Absent(format!(
            "no collector runs here ({} is missing): start it (qrng-collector --config FILE), or name its directory with --collector-runtime DIR",
            path.display()
        )),
        io::ErrorKind::PermissionDenied => Trouble::Forbidden(format!(
            "{}: not allowed to read it; try: sudo qrng status",
            path.display()
        )),
        _ => Trouble::Broken(format!("cannot read {}: {error}", path.display())),
    })?;
    let age = SystemTime::now()
        .duration_since(modified)
        .unwrap_or_default();
    if age > FRESH_LIMIT {
        return Err(Trouble::Broken(format!(
            "{} was last written {} ago: the collector has ended or hangs; start it again",
            path.display(),
            text::span(age.as_secs_f64())
        )));
    }
    understand(&path, &text)
}

/// A document of `path` as a sample taken now.
pub(crate) fn understand<T: DeserializeOwned>(path: &Path, text: &str) -> Look<T> {
    let not_ours = |error: serde_json::Error| {
        Trouble::Broken(format!(
            "{} is not a status document of qrng: {error}",
            path.display()
        ))
    };
    let raw: serde_json::Value = serde_json::from_str(text).map_err(not_ours)?;
    let document = T::deserialize(&raw).map_err(not_ours)?;
    Ok(Sample {
        raw,
        document,
        taken: Instant::now(),
    })
}

/// Reads a file that a hanging daemon may never answer; `None` when the limit is over.
fn read_with_limit(path: &Path) -> io::Result<Option<String>> {
    let (answer, answered) = mpsc::sync_channel(1);
    let path = path.to_path_buf();
    thread::spawn(move || {
        let _ = answer.send(fs::read_to_string(&path));
    });
    match answered.recv_timeout(ANSWER_LIMIT) {
        Ok(text) => text.map(Some),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
