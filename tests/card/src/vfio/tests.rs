use super::*;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use tempfile::TempDir;
use vfio_user::Client;

use crate::Device;
use crate::chip::{ChipCard, ChipConfig};
use crate::fault::Fault;
use crate::module::{ModuleCard, ModuleConfig};
use crate::pace::Rate;
use crate::xdma::{Descriptor, control, flag, offset as dma};

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: u32 = VFIO_PCI_CONFIG_REGION_INDEX;

struct Bench<C> {
    card: Shared<C>,
    client: Client,
    socket: PathBuf,
    _directory: TempDir,
}

impl<C: PciCard + 'static> Bench<C> {
    fn new(card: C) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("card");
        let card = Shared::real_time(card);
        let listener = listen(&card, &socket).unwrap();
        thread::spawn(move || listener.run());
        let client = Client::new(&socket).unwrap();
        Self {
            card,
            client,
            socket,
            _directory: directory,
        }
    }

    fn read(&mut self, region: u32, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.client.region_read(region, offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn write(&mut self, region: u32, offset: u64, value: u32) {
        let bytes = value.to_le_bytes();
        self.client.region_write(region, offset, &bytes).unwrap();
    }
}

fn unlimited_module() -> ModuleCard {
    ModuleCard::new(ModuleConfig {
        rate: Rate::Unlimited,
        ..Default::default()
    })
}

#[test]
fn its_configuration_space_and_regions_are_those_of_the_card() {
    let mut bench = Bench::new(unlimited_module());
    assert_eq!(bench.read(CONFIG, 0), 0x0001_179A);
    assert_eq!(bench.client.region(1).unwrap().size, 64);
    assert_eq!(bench.client.region(3).unwrap().size, 0);
    assert_eq!(
        bench.client.region(1).unwrap().flags,
        3,
        "read, write, not mapped"
    );
    bench.write(CONFIG, 0x14, u32::MAX);
    assert_eq!(bench.read(CONFIG, 0x14), 0xFFFF_FFC0);
    assert_eq!(bench.read(1, 0x3C), u32::MAX, "memory is not enabled");
    bench.write(CONFIG, 4, 2);
    assert_eq!(bench.read(1, 0x3C), 0xC0C0_C0C0);
    bench.card.lock().violations().assert_none();
}

#[test]
fn each_word_that_is_read_over_the_socket_is_the_streams() {
    let mut bench = Bench::new(unlimited_module());
    bench.write(CONFIG, 4, 2);
    for (offset, value) in [(0, 1), (4, 1), (0x30, 0x0202_0202), (0x20, 0)] {
        bench.write(1, offset, value);
    }
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend(bench.read(1, 0x2C).to_le_bytes());
        assert_eq!(bench.read(1, 0x28) & 0xC0, 0x40);
    }
    let card = bench.card.lock();
    assert_eq!(bytes, card.stream().bytes(0, 4000));
    card.violations().assert_none();
}

#[test]
fn accesses_of_a_wrong_width_reach_the_model() {
    let mut bench = Bench::new(unlimited_module());
    bench.write(CONFIG, 4, 2);
    bench.client.region_read(1, 0x3C, &mut [0; 2]).unwrap();
    bench.client.region_write(1, 0x20, &[0; 8]).unwrap();
    bench.read(1, 0x40);
    assert_eq!(bench.card.lock().violations().count(), 3);
}

#[test]
fn a_card_that_is_gone_reads_all_ones_everywhere_and_comes_back() {
    let mut bench = Bench::new(unlimited_module());
    bench.write(CONFIG, 4, 2);
    bench.card.lock().inject(Fault::Gone).unwrap();
    assert_eq!(bench.read(CONFIG, 0), u32::MAX);
    assert_eq!(bench.read(1, 0x3C), u32::MAX);
    bench.card.lock().clear();
    assert_eq!(bench.read(CONFIG, 0), 0x0001_179A);
    assert_eq!(bench.read(1, 0x3C), 0xC0C0_C0C0);
}

#[test]
fn a_reset_and_a_client_that_leaves_set_the_card_back() {
    let mut bench = Bench::new(unlimited_module());
    let switched = |bench: &mut Bench<ModuleCard>| {
        assert_eq!(bench.read(CONFIG, 4), 0);
        bench.write(CONFIG, 4, 2);
        assert_eq!(bench.read(1, 0x3C), 0xC0C0_C0C0);
        bench.write(1, 0x30, 0x0202_0202);
        assert_eq!(bench.read(1, 0x3C), 0xC2C2_C2C2);
    };
    switched(&mut bench);
    bench.client.reset().unwrap();
    switched(&mut bench);
    bench.client.shutdown().unwrap();
    bench.client = Client::new(&bench.socket).unwrap();
    switched(&mut bench);
}

/// Initialises a chip card; the waits are real.
fn initialise(bench: &mut Bench<ChipCard>) {
    for step in crate::chip::STEPS {
        match step {
            crate::chip::Step::Write(offset, values, wait) => {
                thread::sleep(Duration::from_millis(wait));
                bench.write(0, offset.into(), values[0]);
            }
            crate::chip::Step::Read(offset, wait) => {
                thread::sleep(Duration::from_millis(wait));
                bench.read(0, offset.into());
            }
        }
    }
    let start = Instant::now();
    while bench.read(0, 0x084) & 1 << 12 == 0 {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_chip_card_writes_into_the_clients_memory() {
    const IOVA: u64 = 0xFFFF_0000_0000;
    let mut bench = Bench::new(ChipCard::new(ChipConfig::default()));
    let mut memory = tempfile::tempfile().unwrap();
    memory.write_all(&[0; 0x10_0000]).unwrap();
    let descriptor = Descriptor {
        flags: flag::STOP | flag::COMPLETED,
        next_adjacent: 0,
        length: 4096,
        writeback: IOVA + 64,
        destination: IOVA + 0x1000,
        next: 0,
    };
    memory.write_all_at(&descriptor.to_bytes(), 0).unwrap();
    let descriptor = memory.as_raw_fd();
    bench
        .client
        .dma_map(0, IOVA, 0x10_0000, descriptor)
        .unwrap();
    bench.write(CONFIG, 4, 6);
    initialise(&mut bench);
    for (register, value) in [
        (dma::DESCRIPTOR_LOW, IOVA as u32),
        (dma::DESCRIPTOR_HIGH, (IOVA >> 32) as u32),
        (dma::POLL_LOW, IOVA as u32 + 128),
        (dma::POLL_HIGH, (IOVA >> 32) as u32),
        (dma::CONTROL, control::RUN | control::POLL_MODE),
    ] {
        bench.write(1, register.into(), value);
    }
    // From here on only memory is watched, as a driver would.
    let start = Instant::now();
    let mut count = [0; 4];
    while count == [0; 4] {
        assert!(start.elapsed() < PATIENCE);
        memory.read_exact_at(&mut count, 128).unwrap();
    }
    assert_eq!(count, [1, 0, 0, 0]);
    let mut told = [0; 8];
    memory.read_exact_at(&mut told, 64).unwrap();
    assert_eq!(told, [1, 0, 0xB4, 0x52, 0, 0x10, 0, 0]);
    let mut data = vec![0; 4096];
    memory.read_exact_at(&mut data, 0x1000).unwrap();
    let card = bench.card.lock();
    assert!(data == card.stream().bytes(0, 4096));
    card.violations().assert_none();
}
