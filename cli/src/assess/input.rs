//! Where the bytes to assess come from, and how a report names that place.

use std::fs::{self, File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::status::document::Gateway;
use crate::status::look_at_gateway;
use crate::text;

/// Bytes to assess.
pub struct Input {
    /// Gives them.
    pub reader: Box<dyn Read>,
    /// Where they come from, in words.
    pub what: String,
    /// How many to take at most.
    pub max_bytes: u64,
    /// The mount of the gateway that serves them, if one does.
    pub gateway: Option<PathBuf>,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl Input {
    /// Opens `path`, or standard input for `-`, for at most `limit` bytes.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Self::standard_input(limit);
        }
        let name = path.display();
        let metadata = fs::metadata(path).with_context(|| format!("cannot find {name}"))?;
        if metadata.is_dir() {
            bail!("{name} is a directory: name a file in it, such as its `raw`");
        }
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let (what, max_bytes, gateway) = described(path, &metadata, limit);
        Ok(Self {
            reader: Box::new(file),
            what,
            max_bytes,
            gateway,
            identity: Some((metadata.dev(), metadata.ino())),
        })
    }

    fn standard_input(limit: u64) -> Result<Self> {
        let input = io::stdin();
        if input.is_terminal() {
            bail!("standard input is a terminal: name a file, or pipe bytes into this command");
        }
        Ok(Self {
            reader: Box::new(input),
            what: "standard input".into(),
            max_bytes: limit,
            gateway: None,
            identity: None,
        })
    }

    /// Whether `other` is the file that is assessed.
    pub fn is(&self, other: &Metadata) -> bool {
        self.identity == Some((other.dev(), other.ino()))
    }
}

/// The place in words, the bytes to take, and the mount of a gateway.
///
/// Only an ordinary file with a length is known to end: then the report tells how much of it was
/// taken, and the progress bar knows its end.
fn described(path: &Path, metadata: &Metadata, limit: u64) -> (String, u64, Option<PathBuf>) {
    let name = path.display();
    if let Some((mount, sources)) = gateway_of(path) {
        return (format!("{name}, {sources}"), limit, Some(mount));
    }
    match metadata.len() {
        0 => (name.to_string(), limit, None),
        len if len <= limit => (format!("{name}, all of it"), len, None),
        len => {
            let (first, all) = (text::memory(limit), text::memory(len));
            (format!("{name}, the first {first} of {all}"), limit, None)
        }
    }
}

/// The mount that a file belongs to, if a gateway serves it, and its noise sources.
fn gateway_of(path: &Path) -> Option<(PathBuf, String)> {
    let mount = fs::canonicalize(path).ok()?.parent()?.to_path_buf();
    let sample = look_at_gateway(&mount).ok()?;
    let served = !sample.document.state.is_empty();
    served.then(|| (mount, sources(&sample.document)))
}

fn sources(gateway: &Gateway) -> String {
    let mut kinds: Vec<&str> = gateway
        .sources
        .iter()
        .map(|source| source.kind.as_str())
        .collect();
    if kinds.is_empty() {
        kinds = gateway.kinds.iter().map(String::as_str).collect();
    }
    let mut words = match kinds.as_slice() {
        [] => return "noise source unknown".into(),
        [kind] => format!("noise source: {kind}"),
        kinds => format!("noise sources: {}", kinds.join(", ")),
    };
    if kinds.contains(&"simulator") {
        words.push_str(" (NOT QUANTUM: for trials only)");
    }
    words
}
