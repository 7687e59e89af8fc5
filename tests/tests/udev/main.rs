//! The udev rules, by udev's own engine (`udevadm test`) on made-up devices in a mount namespace of its own.

mod world;

use qrng_collector::sysfs::pci::{CHIP_CARD_40M, CHIP_CARD_240M, Id, MODULE_CARD};
use qrng_collector::sysfs::usb;
use qrng_tests::skip;
use world::{GATEWAY, GROUP, HELPER, Made, World, cannot_run};

const CARD: &str = "devices/pci0000:00/0000:03:00.0";

/// A PCI function with the attributes that the rules touch.
fn function(world: &World, path: &str, id: Id) {
    let address = path.rsplit('/').next().unwrap();
    world.device(path, "pci", &format!("PCI_SLOT_NAME={address}\n"));
    for (attribute, text) in [
        ("vendor", format!("{:#06x}", id.vendor)),
        ("device", format!("{:#06x}", id.device)),
        ("enable", "0".to_owned()),
        ("driver_override", "(null)".to_owned()),
        ("resource1", String::new()),
    ] {
        world.set(path, attribute, &text);
    }
}

/// What the rules make of a device; none if this machine can't tell, which is then said.
fn apply(world: &World, path: &str) -> Made {
    let made = world.apply(path);
    assert_eq!(made.complaints, "", "of the rules");
    made
}

const STARTS: &str = "qrng-collector.service";

#[test]
fn a_module_card_is_enabled_and_its_registers_are_for_the_group() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    function(&world, CARD, MODULE_CARD);
    let made = apply(&world, CARD);
    assert_eq!(world.get(CARD, "enable"), "1");
    assert_eq!(world.owner(CARD, "resource1"), (GROUP, 0o660));
    assert_eq!(world.get(CARD, "driver_override"), "(null)");
    assert_eq!(made.property("SYSTEMD_WANTS"), Some(STARTS));
    assert_eq!(made.property("TAGS"), Some(":systemd:"));
}

#[test]
fn the_registers_of_a_card_that_was_just_plugged_in_are_waited_for() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    function(&world, CARD, MODULE_CARD);
    world.remove(CARD, "resource1");
    std::thread::scope(|scope| {
        // Once the rules have been read, which want the file.
        scope.spawn(|| {
            world.until_told("run: ");
            world.set(CARD, "resource1", "");
        });
        apply(&world, CARD);
    });
    assert_eq!(world.get(CARD, "enable"), "1");
    assert_eq!(world.owner(CARD, "resource1"), (GROUP, 0o660));
}

#[test]
fn a_module_card_of_a_kernel_driver_is_left_alone() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    function(&world, CARD, MODULE_CARD);
    world.bind(CARD, "quantis");
    let made = apply(&world, CARD);
    assert_eq!(world.get(CARD, "enable"), "0");
    assert_ne!(world.owner(CARD, "resource1"), (GROUP, 0o660));
    assert_eq!(made.property("SYSTEMD_WANTS"), None);
}

#[test]
fn a_chip_card_is_given_to_vfio_and_the_collector_starts_when_it_has_it() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    for id in [CHIP_CARD_40M, CHIP_CARD_240M] {
        let world = World::new();
        function(&world, CARD, id);
        world.write("bus/pci/drivers_probe", "");
        let made = apply(&world, CARD);
        assert_eq!(world.get(CARD, "driver_override"), "vfio-pci");
        assert_eq!(world.read("bus/pci/drivers_probe"), "0000:03:00.0");
        assert!(made.ran.contains(&"/sbin/modprobe vfio-pci".to_owned()));
        assert_eq!(world.get(CARD, "enable"), "0");
        assert_eq!(made.property("SYSTEMD_WANTS"), None);
        world.bind(CARD, "vfio-pci");
        world.write("bus/pci/drivers_probe", "");
        let made = apply(&world, CARD);
        assert_eq!(world.read("bus/pci/drivers_probe"), "");
        assert_eq!(made.property("SYSTEMD_WANTS"), Some(STARTS));
    }
}

#[test]
fn a_chip_card_whose_vendors_driver_is_installed_waits_for_it() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    world.install(&["vfio-pci", "quantis_chip_pcie"]);
    function(&world, CARD, CHIP_CARD_240M);
    let made = apply(&world, CARD);
    assert_eq!(world.get(CARD, "driver_override"), "(null)");
    assert!(made.ran.is_empty(), "{:?}", made.ran);
}

#[test]
fn a_chip_card_of_the_vendors_driver_is_left_alone() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    function(&world, CARD, CHIP_CARD_240M);
    world.bind(CARD, "quantis_chip_pcie");
    let made = apply(&world, CARD);
    assert_eq!(world.get(CARD, "driver_override"), "(null)");
    assert!(made.ran.is_empty(), "{:?}", made.ran);
    assert_eq!(made.property("SYSTEMD_WANTS"), None);
}

#[test]
fn the_node_of_a_chip_cards_iommu_group_is_for_the_group() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    function(&world, CARD, CHIP_CARD_40M);
    let other = "devices/pci0000:00/0000:00:02.0";
    function(&world, other, Id::new(0x8086, 0x1234));
    for (group, card) in [(17, CARD), (18, other)] {
        let name = card.rsplit('/').next().unwrap();
        world.link(&format!("kernel/iommu_groups/{group}/devices/{name}"), card);
        let node = format!("devices/virtual/vfio/{group}");
        world.device_with_node(&node, "vfio", &format!("vfio/{group}"), "");
        let made = apply(&world, &node);
        assert_eq!(made.node_is_for_group(), card == CARD, "{made:?}");
    }
}

#[test]
fn usb_cards_and_the_vendors_nodes_are_for_the_group() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    let (vendor, product) = usb::QUANTIS;
    let usb = |path: &str, product: u16| {
        world.device_with_node(path, "usb", "bus/usb/001/012", "DEVTYPE=usb_device\n");
        world.set(path, "idVendor", &format!("{vendor:04x}"));
        world.set(path, "idProduct", &format!("{product:04x}"));
        apply(&world, path)
    };
    let card = usb("devices/pci0000:00/0000:00:14.0/usb1/1-2", product);
    assert!(card.node_is_for_group(), "{card:?}");
    assert_eq!(card.property("SYSTEMD_WANTS"), Some(STARTS));
    let other = usb("devices/pci0000:00/0000:00:14.0/usb1/1-3", product + 1);
    assert!(!other.node_is_for_group(), "{other:?}");
    assert_eq!(other.property("SYSTEMD_WANTS"), None);

    let path = "devices/virtual/quantis/qrandom0";
    world.device_with_node(path, "quantis", "qrandom0", "");
    let node = apply(&world, path);
    assert!(node.node_is_for_group(), "{node:?}");
    assert_eq!(node.property("SYSTEMD_WANTS"), Some(STARTS));
}

#[test]
fn the_gateway_may_keep_processors_awake_and_nobody_else() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    for (name, expected) in [("cpu_dma_latency", true), ("hpet", false)] {
        let path = format!("devices/virtual/misc/{name}");
        world.device_with_node(&path, "misc", name, "");
        let made = apply(&world, &path);
        assert_eq!(made.node_is_for_user(GATEWAY), expected, "{made:?}");
    }
}

#[test]
fn the_mount_helper_makes_character_devices_and_everybody_reads_them() {
    if let Some(reason) = cannot_run() {
        skip!("{reason}");
    }
    let world = World::new();
    for (subsystem, name, makes, reads) in [
        ("misc", "cuse", true, false),
        ("cuse", "qrng", false, true),
        ("cuse", "qrng-urandom", false, true),
        ("cuse", "other", false, false),
        ("misc", "qrng", false, false),
    ] {
        let path = format!("devices/virtual/{subsystem}/{name}");
        world.device_with_node(&path, subsystem, name, "");
        let made = apply(&world, &path);
        assert_eq!(made.node_is_for_user(HELPER), makes, "{made:?}");
        assert_eq!(made.node_is_for_readers(), reads, "{made:?}");
    }
}

#[test]
fn the_rules_name_the_devices_that_the_drivers_know() {
    let rules = world::rules();
    for id in [MODULE_CARD, CHIP_CARD_40M, CHIP_CARD_240M] {
        assert!(rules.contains(&format!("\"{:#06x}\"", id.vendor)), "{id}");
        assert!(rules.contains(&format!("{:#06x}", id.device)), "{id}");
    }
    let (vendor, product) = usb::QUANTIS;
    assert!(rules.contains(&format!("ATTR{{idVendor}}==\"{vendor:04x}\"")));
    assert!(rules.contains(&format!("ATTR{{idProduct}}==\"{product:04x}\"")));
    // Every label that is gone to is there, later.
    let lines: Vec<_> = rules.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        if let Some((_, rest)) = line.split_once("GOTO=") {
            let label = format!("LABEL={rest}");
            assert!(lines[number..].contains(&&*label), "{label}");
        }
    }
}
