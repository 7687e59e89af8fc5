//! Holds bytes back until they are judged.

use zeroize::Zeroizing;

use super::alarm::Alarm;
use super::monitor::{Monitor, Verdict};
use super::settings::{Settings, SettingsError};

/// A [`Monitor`] with the block that it waits for. Bytes go in as they come, of any length, and come
/// out in whole blocks that passed; all others are wiped. It holds one block and no more.
pub struct Gate {
    monitor: Monitor,
    held: Zeroizing<Vec<u8>>,
}

impl Gate {
    /// An empty gate that begins with start-up tests.
    ///
    /// # Errors
    ///
    /// A setting outside its range.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let held = Zeroizing::new(Vec::with_capacity(settings.block_bytes));
        let monitor = Monitor::new(settings)?;
        Ok(Self { monitor, held })
    }

    /// The monitor, for its state and numbers.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Bytes that wait to be judged.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Takes bytes that came at `now_us` and gives blocks that passed to `serve`. Returns the alarms
    /// raised, most often none.
    pub fn push(&mut self, bytes: &[u8], now_us: u64, mut serve: impl FnMut(&[u8])) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let mut bytes = bytes;
        let block = self.monitor.settings().block_bytes;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(block - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() < block {
                break;
            }
            match self.monitor.examine(&self.held, now_us) {
                Verdict::Serve => serve(&self.held),
                Verdict::Discard(alarm) | Verdict::Latch(alarm) => alarms.push(alarm),
                Verdict::StartUp | Verdict::Latched | Verdict::WrongLength => {}
            }
            self.wipe();
        }
        alarms
    }

    /// To be called about once a second, as [`Monitor::tick`].
    pub fn tick(&mut self, now_us: u64) -> Option<Alarm> {
        let alarm = self.monitor.tick(now_us)?;
        self.wipe();
        Some(alarm)
    }

    /// An operator has dealt with the source, as [`Monitor::clear`]; what is held is wiped.
    pub fn clear(&mut self) -> bool {
        self.wipe();
        self.monitor.clear()
    }

    /// The device was opened again, as [`Monitor::restart`]; what is held is wiped.
    pub fn restart(&mut self) {
        self.wipe();
        self.monitor.restart();
    }

    /// Wipes the block and keeps its memory.
    fn wipe(&mut self) {
        crate::wipe(&mut self.held);
        self.held.clear();
    }
}
