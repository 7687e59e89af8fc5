//! What of today's quotas is used, on file, so that a restart of the gateway renews nobody's.
//!
//! A file of text in the runtime directory, written once a second if it has changed and at an orderly end: the day in days since
//! the Unix epoch, then a line `user bytes` for each. A crash loses a second of it, a reboot all of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use log::warn;
use qrng_daemon::write_atomically;

use super::Users;

/// Name of the file in the gateway's runtime directory.
const FILE_NAME: &str = "quotas";

/// The longest file that is read, in bytes; a longer one was not written by a gateway.
const MAX_LEN: u64 = 64 * 1024;

/// The file.
#[derive(Debug)]
pub struct QuotaFile {
    path: PathBuf,
    users: Arc<Users>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    written: String,
    failed: bool,
}

impl QuotaFile {
    /// The file in `directory`. What an earlier run has left there of today is used of `users`' quotas. A file that cannot be
    /// read is passed over with a warning: quotas are whole again then.
    pub fn open(directory: &Path, users: Arc<Users>) -> Self {
        let path = directory.join(FILE_NAME);
        if users.has_quotas() {
            match read(&path) {
                Ok(None) => {}
                Ok(Some(text)) if take_over(&text, &users).is_some() => {}
                Ok(Some(_)) => warn!("{} is damaged: today's quotas are whole", path.display()),
                Err(e) => warn!(
                    "{} cannot be read ({e}): today's quotas are whole",
                    path.display()
                ),
            }
        }
        Self {
            path,
            users,
            state: Mutex::default(),
        }
    }

    /// Writes the file if something has changed. A failure is told once.
    pub fn keep(&self) {
        if !self.users.has_quotas() {
            return;
        }
        let text = self.text();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if text == state.written {
            return;
        }
        match write_atomically(&self.path, text.as_bytes(), 0o600, false) {
            Ok(()) => {
                state.written = text;
                state.failed = false;
            }
            Err(e) if !state.failed => {
                warn!(
                    "{}: {e}; a restart would renew today's quotas",
                    self.path.display()
                );
                state.failed = true;
            }
            Err(_) => {}
        }
    }

    fn text(&self) -> String {
        let today = self.users.today();
        let used = self.users.used_today(today);
        let lines = used.iter().map(|(user, bytes)| format!("{user} {bytes}\n"));
        std::iter::once(format!("{today}\n")).chain(lines).collect()
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() <= MAX_LEN => {}
        Ok(_) => return Err(ErrorKind::InvalidData.into()),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    fs::read_to_string(path).map(Some)
}

/// Notes what `text` says of today; `None` if it is no such text, and nothing is noted then.
fn take_over(text: &str, users: &Users) -> Option<()> {
    let mut lines = text.lines();
    let day: u64 = lines.next()?.parse().ok()?;
    let used = lines.map(|line| {
        let (user, bytes) = line.split_once(' ')?;
        Some((user.parse().ok()?, bytes.parse().ok()?))
    });
    let used: Vec<(u64, u64)> = used.collect::<Option<_>>()?;
    if day == users.today() {
        for (user, bytes) in used {
            users.by_id(user).add_used(day, bytes);
        }
    }
    Some(())
}
