//! Cards that are plugged in and out of a machine with systemd: the project's udev rules give them to the collector's group and
//! start it, and the collector outlives its card.

use qrng_card::module::{ModuleCard, ModuleConfig};
use qrng_card::pace::Full;
use qrng_card::usb::{UsbCard, UsbConfig};
use qrng_tests::bench;
use qrng_tests::chain::Chain;
use qrng_tests::vm::{Guest, Part, PciSocket, Plan, Served, UsbSocket, check_manners};

/// The rules as they are shipped.
const RULES: &str = include_str!("../../udev/70-qrng.rules");

/// A service of an ordinary user, that may write below /sys/devices only.
const UNIT: &str = "[Service]\n\
    ExecStart=/usr/local/bin/qrng-collector --config /etc/qrng/collector.toml\n\
    User=qrng\n\
    Group=qrng\n\
    StateDirectory=qrng-collector\n\
    RuntimeDirectory=qrng-collector\n\
    ProtectSystem=strict\n\
    ProtectKernelTunables=yes\n\
    ReadWritePaths=/sys/devices\n\
    StandardError=journal+console\n";

/// Makes the collector's user and group before udev starts, which reads names of groups when it reads its rules.
const USER: &str = "u qrng - \"Quantum random numbers\"\n";

/// A guest with rules, unit and user.
fn start(plan: Plan, chain: &Chain, kind: &str) -> Guest {
    let source = format!("[source]\nkind = \"{kind}\"\n[source.health]\nblock-size = \"8 KiB\"\n");
    let mut guest = plan
        .file("/usr/lib/udev/rules.d/70-qrng.rules", 0o644, RULES)
        .file("/usr/lib/sysusers.d/qrng.conf", 0o644, USER)
        .file("/etc/systemd/system/qrng-collector.service", 0o644, UNIT)
        .collector(chain, &source)
        .start();
    guest.succeed("chown qrng /etc/qrng/collector.key");
    guest
}

/// Whether systemd runs the collector, and has started it once only.
fn is_active(guest: &mut Guest) -> bool {
    let shown = guest.succeed("systemctl show -p ActiveState -p NRestarts qrng-collector");
    let has = |line| shown.lines().any(|shown| shown == line);
    has("ActiveState=active") && has("NRestarts=0")
}

#[test]
fn a_module_card_plugged_in_starts_the_collector_which_outlives_it() {
    let bench = bench!(Part::Full);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = PciSocket::new(ModuleCard::new(ModuleConfig {
        full: Full::Waits,
        ..ModuleConfig::default()
    }));
    let mut guest = start(bench.guest().slot(), &chain, "pcie");
    assert!(!is_active(&mut guest));

    guest.plug(card.device());
    guest.wait_until("the collector", "systemctl is-active qrng-collector");
    let files = guest.succeed(
        "d=$(dirname $(grep -l 0x179a /sys/bus/pci/devices/*/vendor)); cat $d/enable; stat -c '%G %a' $d/resource1",
    );
    assert_eq!(files, "1\nqrng 660\n");
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");

    guest.unplug();
    let source = guest.wait_for_source("an error", |source| !source["error"].is_null());
    eprintln!(
        "{source:#} {}",
        guest.succeed("journalctl -q -o cat -u qrng-collector")
    );
    assert!(is_active(&mut guest));
    guest.plug(card.device());
    served.read_on(&chain, &card.model);
    eprintln!(
        "{}",
        guest.succeed("journalctl -q -o cat -u qrng-collector")
    );
    assert!(is_active(&mut guest));
    check_manners(&*card.model.lock());
}

#[test]
fn a_usb_card_plugged_in_starts_the_collector() {
    let bench = bench!(Part::Full);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = UsbSocket::new(UsbCard::new(UsbConfig {
        full: Full::Waits,
        ..UsbConfig::default()
    }));
    let mut guest = start(bench.guest().usb(), &chain, "usb");
    assert!(!is_active(&mut guest));
    card.plug(&mut guest);
    guest.wait_until("the collector", "systemctl is-active qrng-collector");
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");
    assert!(is_active(&mut guest));
    check_manners(&*card.model.lock());
}
