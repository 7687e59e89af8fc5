//! The software card in a slot, and what the log says about it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use qrng_card::module::{BAR, ModuleCard};
use qrng_card::{PciCard, Shared};
use qrng_collector::source::pcie::Slot;
use qrng_collector::source::pcie::registers::Registers;
use qrng_collector::source::{Failure, Fault};

/// The card's registers, as a driver sees them.
pub struct CardRegisters(pub Shared<ModuleCard>);

impl Registers for CardRegisters {
    fn read(&mut self, offset: u32) -> u32 {
        self.0.lock().read32(BAR, offset.into())
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.0.lock().write32(BAR, offset.into(), value);
    }
}

/// A slot with one card, which is found unless it is gone.
pub struct CardSlot {
    pub card: Shared<ModuleCard>,
    /// How often it was opened.
    pub opened: Arc<AtomicUsize>,
}

impl CardSlot {
    pub fn new(card: &Shared<ModuleCard>) -> Self {
        Self {
            card: card.clone(),
            opened: Arc::default(),
        }
    }
}

impl Slot for CardSlot {
    type Registers = CardRegisters;

    fn open(&mut self) -> Result<(CardRegisters, String), Failure> {
        if self.card.lock().gone() {
            return Err(Failure::new(Fault::Unavailable, "there is no card"));
        }
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok((CardRegisters(self.card.clone()), "in a slot".into()))
    }
}

/// What was logged by all tests of this program.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeper;

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.level(), record.args());
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    fn flush(&self) {}
}

/// Keeps the log from now on.
pub fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
}

/// What was logged about the source called `name`.
pub fn logged(name: &str) -> Vec<String> {
    let about = format!("noise source {name}: ");
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.iter().filter(|line| line.contains(&about));
    lines.map(|line| line.replace(&about, "")).collect()
}
