//! Module cards on a real kernel: PCI enumeration, the mapped resource file, and the kernel's drivers.

use qrng_card::module::{ModuleCard, ModuleConfig};
use qrng_card::pace::Full;
use qrng_card::{Device, Fault};
use qrng_tests::bench;
use qrng_tests::chain::Chain;
use qrng_tests::vm::{Part, PciSocket, Served, between, check_manners};

/// Small blocks, so that start-up tests end soon on an emulated processor.
const SOURCE: &str = "[source]\nkind = \"pcie\"\n[source.health]\nblock-size = \"8 KiB\"\n";

/// A card with four modules that loses no byte because a guest is slow.
fn card() -> PciSocket<ModuleCard> {
    PciSocket::new(ModuleCard::new(ModuleConfig {
        full: Full::Waits,
        ..ModuleConfig::default()
    }))
}

#[test]
fn bytes_of_a_module_card_are_served_in_order_through_every_fault() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = card();
    let plan = bench.guest().device(card.device());
    let mut guest = plan.collector(&chain, SOURCE).start();
    // The kernel does not enable a device that no driver has.
    let words = guest.refused_collector();
    guest.succeed(&between(&words, "enable it: ", ";"));
    guest.start_collector();
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");
    // The first status is from before the first bytes.
    let source = guest.wait_for_source("the card's modules", |source| {
        source["sensors"]["modules_present"] == 0b1111
    });
    let sensors = source["sensors"].clone();
    assert_eq!(sensors["modules_healthy"], 0b1111, "{sensors}");

    for (faults, counter) in [
        (&[0, 1, 2, 3].map(Fault::ModuleFails)[..], "unhealthy"),
        (&[Fault::Hang], "silent"),
        (&[Fault::Gone], "gone"),
    ] {
        for fault in faults {
            card.model.lock().inject(*fault).unwrap();
        }
        let source = guest.wait_for_source(counter, |source| source["faults"][counter] == 1);
        card.model.lock().clear();
        served.read_on(&chain, &card.model);
        assert_eq!(guest.source()["faults"], source["faults"]);
    }

    // What is less than a failure: told, and served.
    card.model.lock().inject(Fault::ModuleFails(1)).unwrap();
    guest.wait_for_source("a module fails", |source| {
        source["sensors"]["modules_healthy"] == 0b1101
    });
    served.read_on(&chain, &card.model);
    card.model.lock().inject(Fault::Overflow).unwrap();
    guest.wait_for_source("an overflow", |source| {
        source["sensors"]["fifo_overflows"] == 1
    });
    card.model.lock().clear();
    let faults = guest.source()["faults"].clone();
    served.read_on(&chain, &card.model);
    assert_eq!(guest.source()["faults"], faults);
    check_manners(&*card.model.lock());
    guest.stop_collector();
}

#[test]
fn a_module_card_is_named_and_taken_away_from_a_driver_as_the_collector_says() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let (one, other) = (card(), card());
    let mut guest = bench
        .guest()
        .module("uio_pci_generic")
        .device(one.device())
        .device(other.device())
        .collector(&chain, SOURCE)
        .start();
    let words = guest.refused_collector();
    let named = between(&words, "name one of them: ", "\n");
    assert!(words.contains("there are 2 cards 179a:0001: "), "{words}");
    guest.succeed(&format!(
        "sed -i 's/^kind.*/&\\n{named}/' /etc/qrng/collector.toml"
    ));
    let address = named.split('"').nth(1).expect("an address in quotes");
    let folder = format!("/sys/bus/pci/devices/{address}");
    guest.succeed(&format!(
        "echo uio_pci_generic >{folder}/driver_override; echo {address} >/sys/bus/pci/drivers_probe"
    ));
    let words = guest.refused_collector();
    assert!(
        words.contains("the kernel's driver uio_pci_generic"),
        "{words}"
    );
    guest.succeed(&between(&words, "take it away from it: ", ";"));
    let words = guest.refused_collector();
    guest.succeed(&between(&words, "enable it: ", ";"));
    guest.start_collector();
    guest.wait_for_source("bytes", |source| {
        source["health"]["examined-bytes"].as_u64() > Some(0)
    });
    guest.stop_collector();
    for card in [&one, &other] {
        check_manners(&*card.model.lock());
    }
    // Of the two, the one that was named was read, and only that.
    let handed = [&one, &other].map(|card| card.model.lock().ledger().handed() > 0);
    assert!(handed[0] != handed[1], "{handed:?}");
}
