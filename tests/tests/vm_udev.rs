//! Cards that are plugged in and out of a machine with systemd: the project's udev rules give them to the collector's group and
//! start it, and the collector outlives its card.

use qrng_card::Rate;
use qrng_card::chip::{ChipCard, ChipConfig};
use qrng_card::module::{ModuleCard, ModuleConfig};
use qrng_card::pace::Full;
use qrng_card::usb::{UsbCard, UsbConfig};
use qrng_tests::bench;
use qrng_tests::chain::Chain;
use qrng_tests::vm::{Guest, Part, PciSocket, Plan, Served, UsbSocket, check_manners};

/// The rules as they are shipped.
const RULES: &str = include_str!("../../udev/70-qrng.rules");

/// The users and groups as they are shipped. They are made before udev starts, which looks groups up when it reads its rules.
const USERS: &str = include_str!("../../systemd/sysusers.conf");

/// A service of an ordinary user, that may write below /sys/devices only.
const UNIT: &str = "[Service]\n\
    ExecStart=/usr/local/bin/qrng-collector --config /etc/qrng/collector.toml\n\
    User=qrng-collector\n\
    StateDirectory=qrng-collector\n\
    RuntimeDirectory=qrng-collector\n\
    ProtectSystem=strict\n\
    ProtectKernelTunables=yes\n\
    ReadWritePaths=/sys/devices\n\
    LimitMEMLOCK=16M\n\
    Restart=on-failure\n\
    StandardError=journal+console\n";

/// What `qrng doctor` says of the collector's host.
const DOCTOR: &str = "qrng doctor --config /etc/qrng/collector.toml --json";

/// A guest with rules, unit and users, whose collector reads a source of this kind.
fn start(plan: Plan, chain: &Chain, kind: &str) -> Guest {
    let source = format!("[source]\nkind = \"{kind}\"\n[source.health]\nblock-size = \"8 KiB\"\n");
    let mut guest = plan
        .program("qrng-cli", "qrng")
        .file("/usr/lib/udev/rules.d/70-qrng.rules", 0o644, RULES)
        .file("/usr/lib/sysusers.d/qrng.conf", 0o644, USERS)
        .file("/etc/systemd/system/qrng-collector.service", 0o644, UNIT)
        .collector(chain, &source)
        .start();
    guest.succeed("chown qrng-collector /etc/qrng/collector.key");
    assert!(!is_active(&mut guest), "there is no card");
    guest
}

/// Whether systemd runs the collector.
fn is_active(guest: &mut Guest) -> bool {
    guest.run("systemctl is-active qrng-collector").code == 0
}

/// How often systemd has started the collector anew.
fn restarts(guest: &mut Guest) -> String {
    guest.succeed("systemctl show -P NRestarts qrng-collector")
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
    let missing = guest.run(DOCTOR);
    assert_eq!(missing.code, 1, "{}", missing.text);

    guest.plug(card.device());
    guest.wait_until("the collector", "systemctl is-active qrng-collector");
    let files = guest.succeed(
        "d=$(dirname $(grep -l 0x179a /sys/bus/pci/devices/*/vendor)); cat $d/enable; stat -c '%G %a' $d/resource1",
    );
    assert_eq!(files, "1\nqrng 660\n");
    guest.succeed(DOCTOR);
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");

    guest.unplug();
    guest.wait_for_source("that it is gone", |source| source["faults"]["gone"] == 1);
    guest.plug(card.device());
    served.read_on(&chain, &card.model);
    assert_eq!(restarts(&mut guest), "0\n");
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
    card.plug(&mut guest);
    guest.wait_until("the collector", "systemctl is-active qrng-collector");
    let mut served = Served::default();
    let runs = served.read_on(&chain, &card.model);
    assert_eq!(runs.len(), 1, "bytes are missing, and nothing went wrong");
    guest.succeed(DOCTOR);
    assert_eq!(restarts(&mut guest), "0\n");
    check_manners(&*card.model.lock());
}

#[test]
fn a_chip_card_plugged_in_is_given_to_vfio_and_starts_the_collector() {
    let bench = bench!(Part::Full);
    let mut chain = Chain::new();
    chain.start_gateway("", "");
    let card = PciSocket::new(ChipCard::new(ChipConfig {
        rate: Rate::BytesPerSecond(20_000),
        full: Full::Waits,
        ..ChipConfig::default()
    }));
    let mut guest = start(bench.guest().iommu().slot(), &chain, "xdma");
    guest.plug(card.device());
    guest.wait_until("the collector", "systemctl is-active qrng-collector");
    let driver = guest.succeed(
        "basename $(readlink $(dirname $(grep -l 0x1e89 /sys/bus/pci/devices/*/vendor))/driver)",
    );
    assert_eq!(driver, "vfio-pci\n");
    assert_eq!(
        guest.succeed("stat -c '%G %a' /dev/vfio/[0-9]*"),
        "qrng 660\n"
    );
    // The limit that the doctor wants raised is this shell's; the unit has raised the collector's.
    let limited = guest.run(DOCTOR);
    assert!(
        limited.text.contains("LimitMEMLOCK=16M"),
        "{}",
        limited.text
    );
    guest.succeed(&format!("ulimit -l 16384; {DOCTOR}"));
    let mut served = Served::default();
    served.read_on(&chain, &card.model);
    guest.unplug();
    guest.wait_for_source("that it is gone", |source| source["faults"]["gone"] == 1);
    guest.plug(card.device());
    served.read_on(&chain, &card.model);
    assert_eq!(restarts(&mut guest), "0\n");
    check_manners(&*card.model.lock());
}
