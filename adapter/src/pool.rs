//! The form `pool`: bytes for the kernel's own generator.
//!
//! ```text
//! gateway ── status ──> before ─┐
//!         ── take ────> bytes ──┼─> judge ── add, with or without credit ──> RNDADDENTROPY
//!         ── status ──> after ──┘      └──── destroy
//! ```
//!
//! `judge` is pure; this file moves bytes; `ioctl` meets the kernel.

#[expect(
    unsafe_code,
    reason = "the ioctl of the kernel's pool has no safe form"
)]
mod ioctl;
mod judge;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use qrng_consumer::ConsumerError;
use qrng_daemon::Manager;
use thiserror::Error;

use self::ioctl::{Packet, add_entropy};
use self::judge::{Verdict, judge};
use crate::books::Books;
use crate::config::PoolConfig;
use crate::gateway::Gateway;

pub use self::ioctl::MOST;

/// The kernel's generator.
const DEVICE: &str = "/dev/random";

/// How long a feeding waits for bytes. The first one of a boot keeps those who are ordered after this service waiting for so long at
/// the most, and not at all where there is no gateway.
const PATIENCE: Duration = Duration::from_secs(10);

/// From one try to the next until the first one has succeeded, if the interval is longer.
const SOON: Duration = Duration::from_secs(5);

/// The kernel's pool, and what it is fed with.
pub struct Pool {
    gateway: Gateway,
    device: File,
    config: PoolConfig,
    books: Arc<Books>,
}

/// What the kernel was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    bytes: usize,
    /// Bits of entropy that it was told they have.
    credit: usize,
    simulated: bool,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, credit, .. } = self;
        write!(
            f,
            "the kernel's pool got {bytes} bytes, which count as {credit} bits of entropy"
        )?;
        if self.simulated {
            f.write_str("; they may be simulated")?;
        }
        Ok(())
    }
}

/// Why the kernel was given nothing.
#[derive(Debug, Error)]
pub enum NotGiven {
    /// The gateway gave nothing.
    #[error("the kernel's pool got nothing: {0}")]
    Gateway(#[from] ConsumerError),
    /// What the gateway said forbids it.
    #[error("the kernel's pool got nothing: {0}")]
    Judged(&'static str),
    /// The kernel refused.
    #[error(
        "the kernel's pool took nothing: {0}; let this process have CAP_SYS_ADMIN, as the unit qrng-pool.service does"
    )]
    Kernel(io::Error),
}

impl Pool {
    /// Opens the kernel's side.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(gateway: Gateway, config: PoolConfig, books: Arc<Books>) -> anyhow::Result<Self> {
        let device = OpenOptions::new().write(true).open(DEVICE);
        let device = device.with_context(|| {
            format!("{DEVICE} cannot be opened for writing; let this process do that")
        })?;
        Ok(Self {
            gateway,
            device,
            config,
            books,
        })
    }

    /// Feeds it for ever.
    ///
    /// # Errors
    /// The kernel refuses: that will not mend itself.
    pub fn run(mut self, manager: &Manager) -> anyhow::Result<()> {
        let soon = self.config.interval.min(SOON);
        let mut pause = soon;
        let mut told = String::new();
        let mut ready = false;
        loop {
            match self.feed() {
                Ok(given) => {
                    log::info!("{given}");
                    pause = self.config.interval;
                    told.clear();
                }
                Err(e @ NotGiven::Kernel(_)) => return Err(e.into()),
                Err(e) => {
                    let words = e.to_string();
                    // The same again is no news.
                    if words != told {
                        log::warn!("{words}; it is tried again every {} s", pause.as_secs());
                    }
                    told = words;
                }
            }
            // Also if nothing came: a boot goes on without.
            if !ready {
                manager.ready("feeding the kernel's pool");
                ready = true;
            }
            thread::sleep(pause);
        }
    }

    /// Feeds it once.
    ///
    /// # Errors
    /// See [`NotGiven`].
    pub fn feed(&mut self) -> Result<Given, NotGiven> {
        let before = self.gateway.told()?;
        judge::serves(&before).map_err(NotGiven::Judged)?;
        let mut packet = Packet::new(self.config.bytes);
        let bytes = packet.bytes_mut();
        let len = bytes.len();
        self.gateway.take(bytes, PATIENCE)?;
        self.books.taken(len);
        let given = self.give(&mut packet, |gateway| {
            let after = gateway.told()?;
            Ok(judge(&before, &after))
        });
        match given {
            Ok(_) => self.books.handed_on(len),
            Err(_) => self.books.destroyed(len),
        }
        given
    }

    /// Gives the kernel what `verdict` allows.
    fn give(
        &mut self,
        packet: &mut Packet,
        verdict: impl FnOnce(&mut Gateway) -> Result<Verdict, ConsumerError>,
    ) -> Result<Given, NotGiven> {
        let simulated = match verdict(&mut self.gateway)? {
            Verdict::Destroy(why) => return Err(NotGiven::Judged(why)),
            Verdict::Add { simulated } => simulated,
        };
        let credited = !simulated || self.config.credit_simulated;
        let bytes = packet.bytes_mut().len();
        let credit = if credited {
            bytes * usize::from(self.config.credit)
        } else {
            0
        };
        add_entropy(&self.device, packet, credit).map_err(NotGiven::Kernel)?;
        Ok(Given {
            bytes,
            credit,
            simulated,
        })
    }
}
