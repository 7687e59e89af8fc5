//! USB cards on a real kernel: usbfs, hot-plug, and the kernel's own time-outs and errors.

use qrng_card::pace::Full;
use qrng_card::usb::{UsbCard, UsbConfig};
use qrng_card::{Device, Fault};
use qrng_tests::bench;
use qrng_tests::chain::Chain;
use qrng_tests::vm::{Part, Served, UsbSocket, check_manners};

const SOURCE: &str = "[source]\nkind = \"usb\"\n[source.health]\nblock-size = \"8 KiB\"\n";

#[test]
fn bytes_of_a_usb_card_are_served_in_order_through_every_fault() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = UsbSocket::new(UsbCard::new(UsbConfig {
        full: Full::Waits,
        ..UsbConfig::default()
    }));
    let mut guest = bench.guest().usb().collector(&chain, SOURCE).start();

    let words = guest.refused_collector();
    assert!(words.contains("0aba:0102"), "{words}");
    card.plug(&mut guest);
    guest.wait_until("the node", "grep -l 0aba /sys/bus/usb/devices/*/idVendor");
    guest.start_collector();
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");
    // The first status is from before the first bytes.
    let source = guest.wait_for_source("the card's rate", |source| {
        source["sensors"]["rate_kbit"] == 4000
    });
    assert_eq!(source["serial"], "132445A410", "{source}");

    for (fault, counter) in [
        (Fault::ModuleFails(0), "unhealthy"),
        (Fault::Short, "short"),
        (Fault::Hang, "silent"),
        (Fault::Gone, "gone"),
    ] {
        card.model.lock().inject(fault).unwrap();
        let source = guest.wait_for_source(counter, |source| source["faults"][counter] == 1);
        card.model.lock().clear();
        if fault == Fault::Gone {
            card.plug(&mut guest);
        }
        served.read_on(&chain, &card.model);
        assert_eq!(guest.source()["faults"], source["faults"]);
    }
    check_manners(&*card.model.lock());
    guest.stop_collector();
}
