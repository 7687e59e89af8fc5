//! Keeping idle processors awake while somebody reads little and often.
//!
//! A read of some KiB takes a few microseconds, and waking a processor that sleeps several times as long, most of all a virtual one
//! that has been given back to its host. So while one read follows another at once, the kernel is asked not to let
//! processors sleep, and with the first pause they may again. The request is the kernel's power management quality of service
//! for the latency of processors (Linux documentation, power/pm_qos_interface): it counts as long as its file is open and says so,
//! so it ends with this process whatever happens to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::thread::available_parallelism;

/// A 32-bit number of microseconds written here is the longest that a processor may take to wake.
const LATENCY: &str = "/dev/cpu_dma_latency";

/// No time at all: idle processors do not sleep.
const AWAKE: i32 = 0;

/// No wish.
const ASLEEP: i32 = -1;

/// Reads that must have followed one another at once: a request costs as much as some of them save.
const SUCCESSION: u32 = 16;

/// The most processors for which [`StayAwake::Auto`] asks: all of them stay awake for one reader.
const FEW: usize = 4;

/// When idle processors are kept awake.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StayAwake {
    /// While somebody reads little and often, on a machine of at most four processors.
    #[default]
    Auto,
    /// The same on any machine.
    Yes,
    /// Never.
    No,
}

/// The kernel's promise, as far as there is one. It belongs to whoever reads the next request.
#[derive(Debug)]
pub(super) struct Awake {
    file: Option<File>,
    succession: u32,
}

impl Awake {
    /// Opens the kernel's file where that is wanted. Without it everything works, more slowly.
    pub(super) fn open(wanted: StayAwake) -> Self {
        let few = || available_parallelism().is_ok_and(|processors| processors.get() <= FEW);
        let file = match wanted {
            StayAwake::No => None,
            StayAwake::Auto if !few() => None,
            StayAwake::Auto | StayAwake::Yes => OpenOptions::new()
                .write(true)
                .open(LATENCY)
                .inspect_err(|e| tell(wanted, e))
                .ok(),
        };
        Self::with(file)
    }

    fn with(file: Option<File>) -> Self {
        Self {
            file,
            succession: 0,
        }
    }

    /// Said before each request is read: whether it was there at once. If not, the thread may be about to sleep.
    pub(super) fn meet(&mut self, at_once: bool) {
        if at_once {
            self.succession = self.succession.saturating_add(1);
            if self.succession == SUCCESSION {
                self.ask(AWAKE);
            }
        } else {
            if self.succession >= SUCCESSION {
                self.ask(ASLEEP);
            }
            self.succession = 0;
        }
    }

    fn ask(&mut self, latency_us: i32) {
        if let Some(file) = &mut self.file
            && let Err(e) = file.write_all(&latency_us.to_ne_bytes())
        {
            log::warn!("{LATENCY} takes no wish any more, so small reads are slower: {e}");
            // Closing it ends the wish.
            self.file = None;
        }
    }
}

/// What was wanted outright is missed, anything else only mentioned.
fn tell(wanted: StayAwake, error: &io::Error) {
    let level = match wanted {
        StayAwake::Yes => log::Level::Warn,
        StayAwake::Auto | StayAwake::No => log::Level::Debug,
    };
    log::log!(
        level,
        "processors are not kept awake for small reads: {LATENCY} cannot be opened: {error}; \
         give it to this user (the package's udev rule does), or set stay-awake = \"no\""
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    /// What the kernel is asked for while requests come at once or not.
    fn asked(requests: impl IntoIterator<Item = bool>) -> Vec<i32> {
        let (mut read, write) = io::pipe().unwrap();
        let mut awake = Awake::with(Some(File::from(OwnedFd::from(write))));
        requests.into_iter().for_each(|at_once| awake.meet(at_once));
        drop(awake);
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).unwrap();
        let words = bytes.chunks_exact(4);
        words
            .map(|word| i32::from_ne_bytes(word.try_into().unwrap()))
            .collect()
    }

    fn succession(length: u32) -> impl Iterator<Item = bool> {
        (0..length).map(|_| true).chain([false])
    }

    #[test]
    fn a_succession_is_asked_for_once_and_let_go_at_its_end() {
        assert_eq!(asked(succession(SUCCESSION)), [AWAKE, ASLEEP]);
        assert_eq!(asked(succession(100 * SUCCESSION)), [AWAKE, ASLEEP]);
        let twice = succession(SUCCESSION).chain(succession(SUCCESSION));
        assert_eq!(asked(twice), [AWAKE, ASLEEP, AWAKE, ASLEEP]);
    }

    #[test]
    fn whoever_reads_now_and_then_costs_nothing() {
        let seldom = (0..1000).flat_map(|_| succession(SUCCESSION - 1));
        assert_eq!(asked(seldom), [0; 0]);
    }

    #[test]
    fn a_file_that_takes_nothing_is_closed_and_all_goes_on() {
        let (read, write) = io::pipe().unwrap();
        let mut awake = Awake::with(Some(File::from(OwnedFd::from(write))));
        drop(read);
        succession(SUCCESSION).for_each(|at_once| awake.meet(at_once));
        assert!(awake.file.is_none());
        succession(SUCCESSION).for_each(|at_once| awake.meet(at_once));
    }

    #[test]
    fn it_is_not_opened_where_it_is_not_wanted() {
        assert!(Awake::open(StayAwake::No).file.is_none());
    }
}
