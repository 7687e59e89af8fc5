use super::*;
use crate::memory::Pages;
use crate::xdma::{Descriptor, control, flag, offset as dma};

const BASE: u64 = 0x8_0000_0000;
const WRITEBACKS: u64 = BASE + 0x1000;
const DATA: u64 = BASE + 0x2000;
/// Buffers of a ring, which is one block of descriptors.
const BUFFERS: u64 = 32;

/// A host with a ring of buffers and credits.
struct Host {
    card: ChipCard,
    memory: Pages,
    now: Duration,
    taken: u64,
}

impl Host {
    fn new(config: ChipConfig) -> Self {
        let memory = Pages::new(BASE, 0x2000 + PACKET * BUFFERS as usize);
        let mut card = ChipCard::new(config);
        card.attach(memory.clone());
        let now = Duration::from_secs(1);
        card.advance(now);
        Self {
            card,
            memory,
            now,
            taken: 0,
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.card.advance(self.now);
    }

    fn millis(&mut self, millis: u64) {
        self.wait(Duration::from_millis(millis));
    }

    fn set(&mut self, offset: u32, value: u32) {
        self.card
            .write32(self.card.user_bar(), offset.into(), value);
    }

    fn get(&mut self, offset: u32) -> u32 {
        self.card.read32(self.card.user_bar(), offset.into())
    }

    fn init(&mut self, mode: Mode) {
        let (hwreject, value) = match mode {
            Mode::Rng => (0x0A, 0xA0000),
            Mode::Sample => (0x0C, 0xA0001),
        };
        for value in [0x10, 0x00, 0x10] {
            self.set(offset::RESET, value);
        }
        self.millis(100);
        self.set(offset::CONTROL, 0);
        self.set(offset::CHIPS, 0);
        self.set(offset::HWREJECT, hwreject);
        self.set(offset::MODE, value);
        self.millis(100);
        assert_eq!(self.get(offset::MODE), value);
        self.set(offset::CONTROL, 0x40);
        self.millis(300);
        self.set(offset::MODULE_ENABLE, 0x11);
        self.set(offset::CONTROL, 0x81);
    }

    /// Takes a step of the initialisation, so many milliseconds too early.
    fn take_step(&mut self, step: init::Step, early: u64) {
        match step {
            init::Step::Write(offset, values, wait) => {
                self.millis(wait.saturating_sub(early));
                self.set(offset, values[0]);
            }
            init::Step::Read(offset, wait) => {
                self.millis(wait.saturating_sub(early));
                self.get(offset);
            }
        }
    }

    /// A card that is initialised, and an engine that runs on a ring without credits yet.
    fn ready(config: ChipConfig, mode: Mode) -> Self {
        let mut host = Self::new(config);
        host.init(mode);
        host.millis(20);
        host.start();
        host
    }

    fn start(&mut self) {
        let dma = self.card.user_bar() + 1;
        for n in 0..BUFFERS {
            let descriptor = Descriptor {
                flags: flag::COMPLETED,
                next_adjacent: ((2 * BUFFERS - n - 2) % BUFFERS) as u32,
                length: PACKET as u32,
                writeback: WRITEBACKS + 8 * n,
                destination: DATA + PACKET as u64 * n,
                next: BASE + 32 * ((n + 1) % BUFFERS),
            };
            self.memory
                .write(BASE + 32 * n, &descriptor.to_bytes())
                .unwrap();
        }
        for (register, value) in [
            (dma::DESCRIPTOR_LOW, BASE as u32),
            (dma::DESCRIPTOR_HIGH, (BASE >> 32) as u32),
            (dma::DESCRIPTOR_ADJACENT, BUFFERS as u32 - 1),
            (dma::CREDIT_MODE_SET, 1 << 16),
            (dma::CONTROL, control::RUN | control::LOG),
            (dma::CREDITS, BUFFERS as u32),
        ] {
            self.card.write32(dma, register.into(), value);
        }
    }

    /// Takes what has come, and gives the buffers back.
    fn take(&mut self) -> Vec<u8> {
        let dma = self.card.user_bar() + 1;
        let completed = u64::from(self.card.read32(dma, dma::COMPLETED.into()));
        let mut bytes = Vec::new();
        for n in self.taken..completed {
            let mut told = [0; 8];
            let mut buffer = vec![0; PACKET];
            self.memory
                .read(WRITEBACKS + 8 * (n % BUFFERS), &mut told)
                .unwrap();
            self.memory
                .read(DATA + PACKET as u64 * (n % BUFFERS), &mut buffer)
                .unwrap();
            assert_eq!(told[..4], 0x52B4_0001_u32.to_le_bytes());
            buffer.truncate(u32::from_le_bytes(told[4..].try_into().unwrap()) as usize);
            bytes.extend(buffer);
        }
        let credits = (completed - self.taken) as u32;
        self.taken = completed;
        if credits > 0 {
            self.card.write32(dma, dma::CREDITS.into(), credits);
        }
        bytes
    }

    /// Takes at least `count` bytes.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(self.take());
            self.millis(1);
        }
        bytes
    }

    #[track_caller]
    fn violated(&self, text: &str) {
        let texts = self.card.violations().texts();
        assert!(
            matches!(texts, [one] if one.contains(text)),
            "{text:?} expected: {texts:?}"
        );
    }
}

#[test]
fn in_both_modes_and_layouts_the_bytes_behind_the_stale_ones_are_good() {
    for (mode, layout) in [
        (Mode::Rng, Layout::UserFirst),
        (Mode::Sample, Layout::UserSecond),
    ] {
        let config = ChipConfig {
            layout,
            full: Full::Waits,
            ..Default::default()
        };
        let mut host = Host::ready(config, mode);
        let stale = mode.stale() as usize;
        let bytes = host.bytes(stale + 1_000_000);
        assert!(bytes == host.card.stream().bytes(0, bytes.len()));
        let worths: Vec<_> = host
            .card
            .ledger()
            .pieces()
            .iter()
            .map(|p| p.worth)
            .collect();
        assert_eq!(
            worths,
            [crate::ledger::Worth::Stale, crate::ledger::Worth::Good]
        );
        let good = host.card.ledger().good(host.card.stream());
        assert!(bytes[stale..] == good[..bytes.len() - stale]);
        host.card.violations().assert_none();
    }
}

#[test]
fn its_rate_is_that_of_its_working_chips() {
    for (model, rate) in [(Model::M40, 5_000_000), (Model::M240, 30_000_000)] {
        let config = ChipConfig {
            model,
            ..Default::default()
        };
        let mut host = Host::ready(config, Mode::Rng);
        let before = host.card.ledger().produced();
        host.millis(1000);
        assert_eq!(host.card.ledger().produced() - before, rate);
        host.card.inject(Fault::PacketError(1)).unwrap();
        let present = (1 << model.chips()) - 1;
        assert_eq!(host.get(offset::STATUS), present | 1 << 12 | 1 << 21);
        let before = host.card.ledger().produced();
        host.millis(1000);
        assert_eq!(host.card.ledger().produced() - before, rate - CHIP_RATE);
        host.card.clear();
        assert_eq!(host.get(offset::STATUS), present | 1 << 12);
        host.card.inject(Fault::Slow(1000)).unwrap();
        let before = host.card.ledger().produced();
        host.millis(1000);
        assert_eq!(host.card.ledger().produced() - before, 1000);
    }
}

#[test]
fn a_host_that_is_late_loses_the_newest_bytes_and_none_of_those_that_it_gets() {
    let mut host = Host::ready(ChipConfig::default(), Mode::Rng);
    host.bytes(65_536);
    host.millis(1000);
    let before = host.card.ledger().overflowed();
    assert!(before > 29_000_000, "{before}");
    let bytes = host.bytes(1 << 20);
    assert!(!bytes.is_empty());
    let ledger = host.card.ledger();
    assert_eq!(
        ledger.produced(),
        ledger.handed() + ledger.overflowed() + host.card.supply.held()
    );
    host.card.violations().assert_none();
}

#[test]
fn an_unlimited_card_gives_what_there_are_credits_for() {
    let config = ChipConfig {
        rate: Rate::Unlimited,
        ..Default::default()
    };
    let mut host = Host::ready(config, Mode::Rng);
    assert_eq!(host.take().len(), 16 * PACKET, "the stale ones");
    for _ in 0..10 {
        host.wait(Duration::ZERO);
        host.wait(Duration::ZERO);
        assert_eq!(host.take().len(), BUFFERS as usize * PACKET);
    }
    assert_eq!(host.card.ledger().overflowed(), 0);
}

#[test]
fn it_is_ready_some_time_after_initialisation_and_tells_its_serial_number() {
    let mut host = Host::new(ChipConfig::default());
    let serial = [offset::BATCH, offset::INCREMENT, offset::MODEL].map(|o| host.get(o));
    let serial: Vec<u8> = serial.iter().flat_map(|w| w.to_le_bytes()).collect();
    assert_eq!(serial, *b"2407001\0Q240");
    assert_eq!(host.get(offset::STATUS), 0xFFF);
    host.init(Mode::Rng);
    assert_eq!(host.get(offset::STATUS), 0xFFF);
    host.millis(20);
    assert_eq!(host.get(offset::STATUS), 0x1FFF);
    host.set(offset::CONTROL, 0);
    host.set(offset::MODULE_ENABLE, 0);
    host.set(offset::RESET, 0);
    assert_eq!(host.get(offset::STATUS), 0);
    host.init(Mode::Sample);
    host.card.violations().assert_none();
}

#[test]
fn every_step_out_of_order_or_too_early_is_a_violation() {
    for skipped in 0..STEPS.len() {
        let mut host = Host::new(ChipConfig::default());
        for (_, step) in STEPS.iter().enumerate().filter(|(n, _)| *n != skipped) {
            host.take_step(*step, 0);
        }
        // Without the last one it gives no bytes, which a driver notices.
        let harmless = skipped == STEPS.len() - 1;
        let seen = host.card.violations().count() > 0;
        assert!(
            seen != harmless,
            "step {skipped}: {:?}",
            host.card.violations()
        );
    }
    for early in 0..STEPS.len() {
        let mut host = Host::new(ChipConfig::default());
        for (n, step) in STEPS.iter().enumerate() {
            host.take_step(*step, u64::from(n == early));
        }
        match early {
            3 | 7 | 9 => host.violated("after the step before"),
            _ => host.card.violations().assert_none(),
        }
    }
}

#[test]
fn wrong_values_registers_and_bars_are_violations() {
    let ready = || Host::ready(ChipConfig::default(), Mode::Rng);
    for (offset, value, text) in [
        (offset::CONTROL, 0x82, "not allowed after"),
        (offset::CONTROL, 0x1_0081, "not allowed after"),
        (offset::MODE, 0xA0001, "not allowed after"),
        (offset::STATUS, 0, "cannot be written"),
        (offset::VERSION, 0, "cannot be written"),
        (0x00C, 0, "cannot be written"),
        (0x002, 0, "not aligned"),
        (0x1_0000, 0, "beyond"),
    ] {
        let mut host = ready();
        host.set(offset, value);
        host.violated(text);
    }
    for (bar, offset, width, text) in [
        (0, 0x00C, 4, "reserved"),
        (0, 0x1000, 4, "reserved"),
        (0, 0x084, 1, "of 1 bytes"),
        (0, 0x084, 8, "of 8 bytes"),
        (1, 0x084, 4, "nothing to read"),
        (1, 0x100, 2, "of 2 bytes"),
        (2, 0x084, 4, "no driver needs"),
    ] {
        let mut host = ready();
        host.card.read(bar, offset, &mut vec![0; width]);
        host.violated(text);
    }
    let mut host = ready();
    assert_eq!(host.card.read32(0, 0x2000), 0);
    assert_eq!(host.card.read32(0, 0x3000), 0);
    assert_eq!(host.card.read32(1, 0x2000) >> 16, 0x1FC2);
    host.card.violations().assert_none();
}

#[test]
fn values_for_another_card_or_mode_are_violations() {
    for (chips, hwreject, text) in [(0x10, 0x0A, "other chips"), (0x20, 0x0C, "other mode")] {
        let mut host = Host::new(ChipConfig::default());
        for value in [0x10, 0x00, 0x10] {
            host.set(offset::RESET, value);
        }
        host.millis(100);
        host.set(offset::CONTROL, 0);
        host.set(offset::CHIPS, chips);
        host.set(offset::HWREJECT, hwreject);
        host.set(offset::MODE, 0xA0000);
        host.violated(text);
    }
}

#[test]
fn a_card_that_hangs_gives_nothing_and_one_that_hung_before_is_never_ready() {
    let mut host = Host::ready(ChipConfig::default(), Mode::Rng);
    host.bytes(65_536);
    host.card.inject(Fault::Hang).unwrap();
    host.take();
    host.millis(1000);
    assert!(host.take().is_empty());
    assert_eq!(host.get(offset::STATUS), 0x1FFF);
    host.card.clear();
    assert!(!host.bytes(4096).is_empty());

    let mut host = Host::new(ChipConfig::default());
    host.card.inject(Fault::Hang).unwrap();
    host.init(Mode::Rng);
    host.millis(2000);
    assert_eq!(host.get(offset::STATUS), 0xFFF);
    host.card.clear();
    host.millis(1);
    assert_eq!(host.get(offset::STATUS), 0x1FFF);
    host.card.violations().assert_none();
}

#[test]
fn faults_of_the_data_alter_it_and_short_packets_are_told_of() {
    let mut host = Host::ready(ChipConfig::default(), Mode::Rng);
    host.bytes(65_536 + 262_144);
    host.card.inject(Fault::Zeros).unwrap();
    host.take();
    host.millis(10);
    assert!(host.take().iter().all(|b| *b == 0));
    host.card.clear();
    host.card.inject(Fault::Short).unwrap();
    host.millis(10);
    host.take();
    host.millis(10);
    assert_eq!(host.take().len(), BUFFERS as usize * 1024);
    for fault in [
        Fault::Overflow,
        Fault::Html,
        Fault::PacketError(12),
        Fault::ModuleFails(0),
    ] {
        assert_eq!(host.card.inject(fault), Err(FaultError::NotHere(fault)));
    }
    host.card.violations().assert_none();
}

#[test]
fn a_card_that_is_gone_reads_all_ones_and_comes_back_as_after_power_on() {
    let mut host = Host::ready(ChipConfig::default(), Mode::Rng);
    host.card.inject(Fault::Gone).unwrap();
    assert_eq!(host.get(offset::STATUS), u32::MAX);
    assert_eq!(host.card.read32(1, dma::COMPLETED.into()), u32::MAX);
    let handed = host.card.ledger().handed();
    host.set(offset::CONTROL, 0x82);
    host.millis(1000);
    assert_eq!(host.card.ledger().handed(), handed);
    host.card.clear();
    assert_eq!(host.get(offset::STATUS), 0xFFF);
    assert_eq!(host.card.read32(1, dma::CONTROL.into()), 0);
    host.init(Mode::Rng);
    host.millis(20);
    host.start();
    host.taken = 0;
    assert!(!host.bytes(4096).is_empty());
    host.card.violations().assert_none();
}
