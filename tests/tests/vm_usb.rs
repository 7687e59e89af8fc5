//! USB cards on a real kernel.
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::thread;

use qrng_card::usb::{UsbCard, UsbConfig};
use qrng_card::{Device, Rate, Shared, usbip};
use qrng_tests::bench;
use qrng_tests::chain::Chain;
use qrng_tests::vm::{HOST, Part};

#[test]
fn usb() {
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = Shared::real_time(UsbCard::new(UsbConfig {
        full: qrng_card::pace::Full::Waits,
        rate: Rate::BytesPerSecond(500_000),
        ..UsbConfig::default()
    }));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = card.clone();
    thread::spawn(move || usbip::listen(&served, &listener));
    let mut guest = bench
        .guest()
        .module("vhci-hcd")
        .file(
            "/usbip-attach.sh",
            0o755,
            include_str!("../vm/usbip-attach.sh"),
        )
        .collector(&chain, "[source]\nkind = \"usb\"\n")
        .start();
    println!("{}", guest.succeed(&format!("nc {HOST} {port} -e /usbip-attach.sh; sleep 2; cat /sys/bus/usb/devices/*/idVendor; find /dev/bus/usb; dmesg | tail")));
    let t = std::time::Instant::now();
    guest.succeed(
        "qrng-collector --config /etc/qrng/collector.toml >/dev/null 2>/run/collector.log &",
    );
    let mut got = vec![0; 300_000];
    let reader = std::thread::spawn({
        let f = chain.file("raw");
        move || {
            let r = File::open(f).unwrap().read_exact(&mut got);
            (r, got)
        }
    });
    for _ in 0..10 {
        if reader.is_finished() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(3));
        println!("{}", guest.succeed("tail -3 /run/collector.log; top -b -n1 | head -8; grep -A60 sources /run/qrng-collector/status.json"));
        println!("{} {}", card.lock().state(), chain.status());
    }
    let (r, got) = reader.join().unwrap();
    println!("{r:?} {:?}", t.elapsed());
    println!("{:?}", qrng_tests::runs::runs(card.lock().stream(), &got));
    println!("{:?} {:?}", card.lock().violations(), card.lock().ledger());
    println!("{}", guest.succeed("cat /run/collector.log"));
}
