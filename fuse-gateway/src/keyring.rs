//! The key files: read at the start and anew on SIGHUP, and overwritten where the keys of past days were.
//!
//! ```text
//!  thread `reload`   files ── replace ──> Keyring ── take_new ──> thread `receive`: admit
//!  thread `watch`    files <── erase ───  Keyring <─ destroyed ── (memory first, then the file)
//! ```
//!
//! A key that was destroyed in memory and could not be erased on file is read again by the next start, and
//! destroyed again as soon as it is certain that its day is over.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::{info, warn};
use qrng::keys::{CalendarDay, Day, ERASED, GatewayKey, GatewayKeys, KeyId, ends_soon};
use qrng_daemon::{overwrite_secret, read_secret};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::admit::Destroyed;

/// A key file, without its keys.
#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    /// Each key and its day.
    keys: Vec<(KeyId, Option<Day>)>,
    /// The lines of a calendar.
    days: Vec<CalendarDay>,
    /// Why the keys of past days cannot be erased, if so.
    problem: Option<String>,
}

/// Key files and the keys in them.
#[derive(Debug, Default)]
pub struct Loaded {
    files: Vec<KeyFile>,
    keys: Vec<GatewayKey>,
}

impl Loaded {
    /// Reads one file more, with `psk` in place of its own pre-shared keys.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn add(&mut self, path: PathBuf, psk: Option<&Zeroizing<[u8; 32]>>) -> Result<(), String> {
        let text = read_secret(&path).map_err(|e| e.to_string())?;
        let read = GatewayKeys::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let read = match psk {
            Some(psk) => read.with_psk(psk),
            None => read,
        };
        let known: HashSet<_> = self.keys.iter().map(GatewayKey::key_id).collect();
        if let Some(twice) = read.keys.iter().find(|key| known.contains(&key.key_id())) {
            return Err(format!(
                "{} is there twice (key {}): name each key file once",
                path.display(),
                twice.key_id()
            ));
        }
        let keys = read.keys.iter().map(|key| (key.key_id(), key.day()));
        self.files.push(KeyFile {
            path,
            keys: keys.collect(),
            days: read.days,
            problem: None,
        });
        self.keys.extend(read.keys);
        Ok(())
    }

    /// The keys.
    pub fn keys(&self) -> &[GatewayKey] {
        &self.keys
    }

    /// The files and their keys in a few words, for the log: the key of `now_us` of each calendar.
    pub fn names(&self, now_us: u64) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.name(now_us)).collect();
        names.join(", ")
    }
}

/// The keys to install, and the ids of those that were destroyed.
pub type NewKeys = (Vec<GatewayKey>, HashSet<KeyId>);

/// What the threads tell each other of the keys.
#[derive(Debug)]
pub struct Keyring(Mutex<State>);

#[derive(Debug)]
struct State {
    files: Vec<KeyFile>,
    new: Option<NewKeys>,
    to_erase: Vec<Destroyed>,
}

/// A key file as the status shows it.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The file.
    pub file: String,
    /// The key of today; none if there is none.
    pub key_id: Option<String>,
    /// Today, if the file is a calendar.
    pub day: Option<String>,
    /// The calendar's last day.
    pub last_day: Option<String>,
    /// Days after today that there are keys for: less than 0 if there is none for today.
    pub days_left: Option<i64>,
    /// How many keys of past days have been destroyed.
    pub destroyed: usize,
    /// Why the keys of past days stay in the file, if they do.
    pub problem: Option<String>,
}

impl Keyring {
    /// With these files, whose keys are to be installed.
    pub fn new(loaded: Loaded) -> Self {
        let keyring = Self(Mutex::new(State {
            files: Vec::new(),
            new: None,
            to_erase: Vec::new(),
        }));
        keyring.replace(loaded);
        keyring
    }

    /// Makes these files the only ones. Says in the log of which calendars past keys cannot be erased.
    pub fn replace(&self, mut loaded: Loaded) {
        for file in &mut loaded.files {
            file.look();
        }
        let days = loaded.files.iter().flat_map(|file| &file.days);
        let past = days.filter(|day| day.destroyed).map(|day| day.key_id);
        let new = (loaded.keys, past.collect());
        let mut state = self.state();
        state.files = loaded.files;
        state.new = Some(new);
    }

    /// The keys to install, if they are others than before.
    pub fn take_new(&self) -> Option<NewKeys> {
        self.state().new.take()
    }

    /// Takes note of keys that were destroyed in memory.
    pub fn destroyed(&self, keys: Vec<Destroyed>) {
        self.state().to_erase.extend(keys);
    }

    /// Erases on file what was destroyed in memory. What could not be is tried again at the next call, and told once.
    pub fn erase(&self) {
        let mut state = self.state();
        let State {
            files, to_erase, ..
        } = &mut *state;
        to_erase.retain(|gone| match files.iter_mut().find(|file| file.has(gone)) {
            Some(file) => {
                let done = file.erase(gone);
                // The file was read for it.
                qrng::wipe_stack();
                !done
            }
            None => false,
        });
    }

    /// The files, and whether each is a calendar.
    pub fn files(&self) -> Vec<(PathBuf, bool)> {
        let state = self.state();
        let files = state.files.iter();
        files
            .map(|file| (file.path.clone(), !file.days.is_empty()))
            .collect()
    }

    /// What the status shows at a time.
    pub fn told(&self, now_us: u64) -> Vec<Told> {
        let state = self.state();
        state.files.iter().map(|file| file.told(now_us)).collect()
    }

    /// What an operator should know of the keys.
    pub fn reasons(&self, now_us: u64) -> Vec<String> {
        let problems = self
            .told(now_us)
            .into_iter()
            .filter_map(|told| told.problem);
        self.few_days(now_us).into_iter().chain(problems).collect()
    }

    /// Which calendars end soon, in words.
    pub fn few_days(&self, now_us: u64) -> Vec<String> {
        let (state, today) = (self.state(), Day::of_us(now_us));
        let ends = state.files.iter().filter_map(|file| {
            let what = format!("the keys in {}", file.path.display());
            ends_soon(&what, file.days.last()?.day, today)
        });
        ends.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each part is whole whenever the lock is given back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyFile {
    fn series(&self) -> Option<KeyId> {
        self.days.first().map(|day| day.key_id)
    }

    fn has(&self, gone: &Destroyed) -> bool {
        self.series() == Some(gone.series)
    }

    fn today(&self, now_us: u64) -> Option<KeyId> {
        let today = Day::of_us(now_us);
        let of_today = |day: &Option<Day>| day.is_none_or(|day| day == today);
        let key = self.keys.iter().find(|(_, day)| of_today(day));
        key.map(|(id, _)| *id)
    }

    fn name(&self, now_us: u64) -> String {
        match (self.today(now_us), self.days.last()) {
            (Some(id), None) => id.to_string(),
            (Some(id), Some(last)) => {
                format!("{id} of {} days until {}", self.days.len(), last.day)
            }
            (None, _) => format!("none for today in {}", self.path.display()),
        }
    }

    /// Finds out whether past keys of a calendar can be erased.
    fn look(&mut self) {
        if self.days.is_empty() {
            return;
        }
        let nothing = overwrite_secret(&self.path, ERASED, |_| Ok(Vec::new()));
        if let Err(e) = nothing {
            self.refused(&e.to_string());
        }
    }

    fn refused(&mut self, why: &str) {
        let problem = format!(
            "the keys of past days stay on file, so whoever gets that file can read what was recorded then: {why}; \
             put it where the gateway may write, such as its state-directory"
        );
        if self.problem.as_ref() != Some(&problem) {
            warn!("{problem}");
        }
        self.problem = Some(problem);
    }

    /// Erases a key on file; tells whether it is done.
    fn erase(&mut self, gone: &Destroyed) -> bool {
        let erased = overwrite_secret(&self.path, ERASED, |text| secrets(text, gone));
        match erased {
            Ok(_) => {
                info!(
                    "the key {} of {} is destroyed, also in {}",
                    gone.key_id,
                    gone.day,
                    self.path.display()
                );
                let days = self.days.iter_mut().filter(|day| day.day == gone.day);
                days.for_each(|day| day.destroyed = true);
                self.keys.retain(|(_, day)| *day != Some(gone.day));
                self.problem = None;
                true
            }
            Err(e) => {
                self.refused(&e.to_string());
                false
            }
        }
    }

    fn told(&self, now_us: u64) -> Told {
        let (today, last) = (Day::of_us(now_us), self.days.last().map(|day| day.day));
        Told {
            file: self.path.display().to_string(),
            key_id: self.today(now_us).map(|id| id.to_string()),
            day: last.map(|_| today.to_string()),
            last_day: last.map(|last| last.to_string()),
            days_left: last.map(|last| last.days_after(today)),
            destroyed: self.days.iter().filter(|day| day.destroyed).count(),
            problem: self.problem.clone(),
        }
    }
}

/// Where the secrets of a key are in the text of its file, which may have become another file since.
fn secrets(text: &str, gone: &Destroyed) -> Result<Vec<std::ops::Range<usize>>, String> {
    let read = GatewayKeys::parse(text).map_err(|e| e.to_string())?;
    if read.days.first().map(|day| day.key_id) != Some(gone.series) {
        return Err("is another calendar now; send SIGHUP to the gateway".into());
    }
    let day = read.days.into_iter().find(|day| day.day == gone.day);
    Ok(day.map_or_else(Vec::new, |day| day.secrets.into()))
}

#[cfg(test)]
mod tests;
