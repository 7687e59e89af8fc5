//! Chip cards on a real kernel: VFIO, an IOMMU, and DMA into the collector's memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use qrng_card::chip::{ChipCard, ChipConfig};
use qrng_card::pace::Full;
use qrng_card::{Device, Fault, Rate};
use qrng_tests::bench;
use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::vm::{Guest, Part, PciSocket, Served, between, check_manners};

/// Small blocks, so that start-up tests end soon on an emulated processor.
const SOURCE: &str = "[source]\nkind = \"xdma\"\n[source.health]\nblock-size = \"8 KiB\"\n";

/// A 240M card, slower than one, that loses no byte because a guest is slow.
fn card() -> PciSocket<ChipCard> {
    PciSocket::new(ChipCard::new(ChipConfig {
        rate: Rate::BytesPerSecond(20_000),
        full: Full::Waits,
        ..ChipConfig::default()
    }))
}

#[test]
fn bytes_of_a_chip_card_come_by_dma_in_order_through_every_fault() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = card();
    let mut guest = bench
        .guest()
        .iommu()
        .module("vfio_pci")
        .module("vfio_iommu_type1")
        .device(card.device())
        .collector(&chain, SOURCE)
        .start();
    let words = guest.refused_collector();
    guest.succeed(&between(&words, "as root: ", "\n"));
    guest.start_collector();
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");
    // The document is a second old at times.
    let source = guest.wait_for_source("all chips are told", |source| {
        source["sensors"]["chips_present"] == 0xfff
    });
    assert_eq!(source["serial"], "2407001Q240", "{source}");

    for (fault, counter) in [(Fault::Hang, "silent"), (Fault::Gone, "gone")] {
        card.model.lock().inject(fault).unwrap();
        let source = guest.wait_for_source(counter, |source| source["faults"][counter] == 1);
        card.model.lock().clear();
        served.read_on(&chain, &card.model);
        assert_eq!(guest.source()["faults"], source["faults"]);
    }
    card.model.lock().inject(Fault::PacketError(3)).unwrap();
    guest.wait_for_source("a chip fails", |source| {
        source["sensors"]["chip_packet_errors"] == 1 << 3
    });
    served.read_on(&chain, &card.model);
    check_manners(&*card.model.lock());
    guest.stop_collector();
}

#[test]
fn an_unplugged_chip_card_is_let_go_also_while_nobody_reads_it() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = card();
    let mut guest = bench
        .guest()
        .iommu()
        .module("vfio_pci")
        .module("vfio_iommu_type1")
        .slot()
        .collector(&chain, SOURCE)
        .start();
    let plug = |guest: &mut Guest| {
        guest.plug(card.device());
        guest.wait_until("the card", "grep -q 0x1e89 /sys/bus/pci/devices/*/vendor");
    };
    plug(&mut guest);
    let words = guest.refused_collector();
    let bind = between(&words, "as root: ", "\n");
    guest.succeed(&bind);
    guest.start_collector();
    let mut served = Served::default();
    served.read_on(&chain, &card.model);

    // Latched: the source is not read until somebody clears the latch, and the kernel waits for whoever has a card.
    card.model.lock().inject(Fault::Zeros).unwrap();
    guest.wait_for_source("a latch", |source| source["state"] == "latched");
    wait_until("the gateway's hearing of it", || {
        chain.status()["sources"][0]["state"] == "latched"
    });
    guest.unplug();
    card.model.lock().clear();
    plug(&mut guest);
    guest.succeed(&bind);
    guest.succeed("touch /run/qrng-collector/clear-latch");
    guest.wait_for_source("the loss", |source| source["faults"]["gone"] == 1);
    // Reads fail until the gateway has heard that the latch is cleared.
    wait_until("reads without an error", || {
        let mut options = File::options();
        let options = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut raw = options.open(chain.file("raw")).unwrap();
        // What is left from before the latch is no sign.
        let error = loop {
            if let Err(error) = raw.read(&mut [0; 4096]) {
                break error;
            }
        };
        error.kind() == ErrorKind::WouldBlock
    });
    served.read_on(&chain, &card.model);
    check_manners(&*card.model.lock());
    guest.stop_collector();
}
