use qrng_collector::sysfs::pci::{CHIP_CARD_40M, CHIP_CARD_240M, Id, MODULE_CARD};

use super::*;
use tree::Tree;

mod tree;

const CARD: &str = "0000:03:00.0";
const OTHER: &str = "0000:04:00.0";

/// The things to mend must be these, each told and remedied in these words.
#[track_caller]
fn told(report: &Report, wanted: &[(&str, &str)]) {
    let problems = &report.problems;
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
    for (problem, (what, remedy)) in problems.iter().zip(wanted) {
        assert!(problem.what.contains(what), "{what} is not in: {problem:?}");
        assert!(
            problem.remedy.contains(remedy),
            "{remedy} is not in: {problem:?}"
        );
    }
}

/// A host with a module card that can be used.
fn module_card() -> Tree {
    let tree = Tree::new();
    tree.function(CARD, MODULE_CARD);
    tree
}

/// A host with a chip card that can be used.
fn chip_card() -> Tree {
    let tree = Tree::new();
    tree.function(CARD, CHIP_CARD_40M);
    tree.bind(CARD, "vfio-pci");
    tree.group(CARD, 17);
    tree.device_file("dev/vfio/17");
    tree
}

#[test]
fn a_module_card_that_can_be_used_is_ready() {
    let tree = module_card();
    let report = tree.report();
    told(&report, &[]);
    assert_eq!(report.user, "qrng-collector");
    let [card] = &report.cards[..] else {
        panic!("{:?}", report.cards)
    };
    assert_eq!((card.kind, &*card.place), ("pcie", CARD));
    let file = "/sys/bus/pci/devices/0000:03:00.0/resource1";
    assert_eq!(card.file.as_deref(), Some(file));
    assert_eq!(card.driver, None);
    let text = report.text();
    for words in [
        "module card) at 0000:03:00.0",
        "ready: kind = \"pcie\"",
        "udev rules      installed",
        "Nothing is missing.",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn what_keeps_a_module_card_from_being_used_is_told_with_the_command() {
    let tree = module_card();
    let resource = "sys/bus/pci/devices/0000:03:00.0/resource1";
    tree.set(CARD, "enable", "0");
    tree.mode(resource, 0o640);
    let file = "/sys/bus/pci/devices/0000:03:00.0";
    let enable = format!("echo 1 > {file}/enable");
    let open = format!("chgrp qrng {file}/resource1 && chmod 0660 {file}/resource1");
    told(
        &tree.report(),
        &[
            ("not enabled", &enable),
            ("user qrng-collector may not read and write", &open),
        ],
    );
    tree.mode(resource, 0o660);
    tree.set(CARD, "resource", "none");
    tree.set(CARD, "enable", "1");
    let malformed = ("/resource: line 1 is no range", "sysfs");
    told(&tree.report(), &[malformed]);
    let tree = module_card();
    tree.bind(CARD, "quantis");
    told(
        &tree.report(),
        &[(
            "driver quantis",
            "echo 0000:03:00.0 > /sys/bus/pci/drivers/quantis/unbind",
        )],
    );
}

#[test]
fn a_vendors_driver_with_a_node_is_another_way() {
    let tree = module_card();
    tree.bind(CARD, "quantis");
    tree.device_file("dev/qrandom0");
    tree.write("dev/qrandomx", "");
    let report = tree.report();
    told(&report, &[]);
    let kinds: Vec<_> = report.cards.iter().map(|c| (c.kind, c.wanted)).collect();
    assert_eq!(kinds, [("pcie", false), ("node", true)]);
    assert!(report.cards[0].notes[0].contains("kind = \"node\""));
    // Who has configured the card itself wants it back.
    let report = tree.report_for("[source]\nkind = \"pcie\"");
    told(&report, &[("driver quantis", "unbind")]);
    // The node is to be read only.
    tree.mode("dev/qrandom0", 0o640);
    told(&tree.report(), &[]);
    tree.mode("dev/qrandom0", 0o600);
    let report = tree.report_for("[source]\nkind = \"node\"\npath = \"/dev/qrandom0\"");
    told(
        &report,
        &[("may not read /dev/qrandom0", "chgrp qrng /dev/qrandom0")],
    );
}

#[test]
fn a_chip_card_that_can_be_used_is_ready() {
    let report = chip_card().report();
    told(&report, &[]);
    assert_eq!(report.cards[0].iommu_group, Some(17));
    assert_eq!(report.cards[0].file.as_deref(), Some("/dev/vfio/17"));
    assert_eq!(report.dma.iommu_groups, 1);
    assert!(report.dma.vfio_pci);
}

#[test]
fn what_keeps_a_chip_card_from_being_used_is_told_with_the_command() {
    let tree = Tree::new();
    tree.function(CARD, CHIP_CARD_240M);
    tree.limit("65536");
    let bind = "modprobe vfio-pci && echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override && \
                echo 0000:03:00.0 > /sys/bus/pci/drivers_probe";
    told(
        &tree.report(),
        &[
            ("no IOMMU", "intel_iommu=on"),
            ("may lock 64 KiB", "LimitMEMLOCK=16M"),
            ("belongs to no driver", bind),
        ],
    );
    tree.write("proc/cmdline", "quiet intel_iommu=on\n");
    tree.bind(CARD, "quantis_chip_pcie");
    tree.limit("unlimited");
    let unbind = "echo 0000:03:00.0 > /sys/bus/pci/devices/0000:03:00.0/driver/unbind && echo";
    told(
        &tree.report(),
        &[
            ("no IOMMU", "firmware's settings; the kernel was told"),
            ("driver quantis_chip_pcie", unbind),
        ],
    );
    let tree = chip_card();
    tree.mode("dev/vfio/17", 0o600);
    tree.function("0000:03:00.1", Id::new(0x8086, 0x1234));
    tree.function("0000:02:00.0", Id::new(0x8086, 0x1235));
    tree.bind("0000:03:00.1", "snd_hda_intel");
    tree.bind("0000:02:00.0", "pcieport");
    tree.group("0000:03:00.1", 17);
    tree.group("0000:02:00.0", 17);
    told(
        &tree.report(),
        &[
            (
                "0000:03:00.1, of the same IOMMU group 17, belongs to the kernel's driver snd_hda_intel",
                "echo 0000:03:00.1 > /sys/bus/pci/drivers/snd_hda_intel/unbind",
            ),
            ("/dev/vfio/17", "chgrp qrng /dev/vfio/17"),
        ],
    );
}

#[test]
fn usb_cards_are_judged() {
    let tree = Tree::new();
    tree.usb("1-2", 12, "0123456A410");
    tree.link("sys/bus/usb/devices/1-2:1.0/driver", "../../drivers/usbfs");
    let report = tree.report();
    told(&report, &[]);
    let card = &report.cards[0];
    assert_eq!(card.serial.as_deref(), Some("0123456A410"));
    assert_eq!(card.driver.as_deref(), Some("usbfs"));
    assert_eq!(card.file.as_deref(), Some("/dev/bus/usb/001/012"));
    tree.mode("dev/bus/usb/001/012", 0o664);
    told(&tree.report(), &[]);
    tree.mode("dev/bus/usb/001/012", 0o644);
    told(
        &tree.report(),
        &[(
            "read and write /dev/bus/usb",
            "chmod 0660 /dev/bus/usb/001/012",
        )],
    );
}

#[test]
fn only_what_the_configuration_names_is_judged() {
    let tree = module_card();
    tree.function(OTHER, MODULE_CARD);
    tree.set(OTHER, "enable", "0");
    tree.usb("1-2", 12, "0123456A410");
    tree.mode("dev/bus/usb/001/012", 0o600);
    let report = tree.report_for(&format!("[source]\nkind = \"pcie\"\ndevice = \"{CARD}\""));
    told(&report, &[]);
    let wanted: Vec<_> = report.cards.iter().map(|card| card.wanted).collect();
    assert_eq!(wanted, [true, false, false]);
    assert!(report.text().contains("not used"));
    let report = tree.report_for(&format!("[source]\nkind = \"pcie\"\ndevice = \"{OTHER}\""));
    told(&report, &[("0000:04:00.0 is not enabled", "echo 1 > /sys")]);
    told(&tree.report_for("[source]\nkind = \"simulator\""), &[]);
}

#[test]
fn devices_that_are_named_and_not_there_are_told() {
    let tree = module_card();
    tree.function(OTHER, MODULE_CARD);
    tree.function("0000:05:00.0", CHIP_CARD_40M);
    let of = |source: &str| tree.report_for(&format!("[source]\nname = \"x\"\n{source}"));
    let first = |report: Report, what: &str, remedy: &str| {
        let problem = &report.problems[0];
        assert!(problem.what.contains(what), "{problem:?}");
        assert!(problem.remedy.contains(remedy), "{problem:?}");
    };
    first(
        of("kind = \"pcie\""),
        "source x: there are 2 cards",
        "device = \"0000:03:00.0\"",
    );
    first(
        of("kind = \"pcie\"\ndevice = \"0000:09:00.0\""),
        "source x: there is no card 179a:0001 at 0000:09:00.0",
        "0000:03:00.0, 0000:04:00.0",
    );
    first(
        of("kind = \"xdma\"\ndevice = \"0000:09:00.0\""),
        "source x: there is no chip card at 0000:09:00.0",
        "0000:05:00.0",
    );
    told(
        &of("kind = \"usb\""),
        &[("source x: there is no Quantis USB-4M", "lsusb")],
    );
    told(
        &of("kind = \"node\"\npath = \"/dev/qrandom0\""),
        &[("/dev/qrandom0 is not there", "load the driver")],
    );
    tree.usb("1-2", 12, "A");
    tree.usb("1-3", 13, "B");
    told(
        &of("kind = \"usb\"\nserial = \"C\""),
        &[("no USB card with the serial number C", "A, B")],
    );
    told(&of("kind = \"usb\""), &[("2 USB cards", "serial = \"A\"")]);
    told(&of("kind = \"usb\"\nserial = \"B\""), &[]);
}

#[test]
fn a_wrong_configuration_is_told_and_the_devices_are_judged_all_the_same() {
    let tree = module_card();
    tree.set(CARD, "enable", "0");
    let report = tree.report_for("[source]\nkind = \"pcie\"\ndevice = \"first\"");
    told(
        &report,
        &[
            ("source.device: `first` is no PCI address", "--check"),
            ("not enabled", "echo 1 >"),
        ],
    );
    let report = tree.report_on(Some("/nonexistent/collector.toml".into()));
    told(
        &report,
        &[("cannot be read", "--check"), ("not enabled", "echo 1 >")],
    );
}

#[test]
fn a_host_without_devices_lacks_one() {
    let tree = Tree::new();
    let report = tree.report();
    told(&report, &[("no device of Quantis", "rescan")]);
    assert!(report.text().contains("To mend (1):"));
    // Nor is a bus a must.
    std::fs::remove_dir_all(tree.path("sys/bus/pci")).unwrap();
    told(&tree.report(), &[("no device of Quantis", "rescan")]);
}

#[test]
fn what_makes_mending_last_is_noted() {
    let tree = module_card();
    assert!(tree.report().notes.is_empty());
    tree.remove("etc/udev/rules.d/70-qrng.rules");
    let notes = tree.report().notes;
    assert!(notes[0].contains("udevadm control --reload"), "{notes:?}");
    tree.write("etc/group", "");
    let notes = tree.report().notes;
    assert!(notes[1].contains("groupadd --system qrng"), "{notes:?}");
    tree.write("etc/group", "qrng:x:990:\n");
    let notes = tree.report().notes;
    assert!(notes[1].contains("usermod --append --groups qrng qrng-collector"));
    // The rules of a package count too.
    tree.write("usr/lib/udev/rules.d/70-qrng.rules", "");
    assert_eq!(tree.report().notes.len(), 1);
}

#[test]
fn the_user_decides() {
    let tree = module_card();
    let of = |user: &str| {
        let mut arguments = tree.arguments(None);
        arguments.user = Some(user.to_owned());
        look(&arguments)
    };
    told(&of("qrng-collector").unwrap(), &[]);
    told(&of("root").unwrap(), &[]);
    told(&of("jo").unwrap(), &[("user jo may not", "chgrp")]);
    let error = of("nobody-there").err().unwrap().to_string();
    assert!(error.contains("no user nobody-there"), "{error}");
    // Without the collector's user, whoever asks.
    tree.write("etc/passwd", "");
    let me = tree.report().user;
    assert_eq!(me, nix::unistd::getuid().to_string());
}

#[test]
fn the_exit_code_tells() {
    let code = |tree: &Tree| format!("{:?}", run(&tree.arguments(None)).unwrap());
    let expected = |code: u8| format!("{:?}", ExitCode::from(code));
    let tree = module_card();
    assert_eq!(code(&tree), expected(0));
    tree.set(CARD, "enable", "0");
    assert_eq!(code(&tree), expected(1));
    // What is malformed can't be looked at.
    tree.set(CARD, "vendor", "Quantis");
    assert_eq!(code(&tree), expected(2));
    std::fs::remove_dir_all(tree.path("sys")).unwrap();
    assert_eq!(code(&tree), expected(2));
}

#[test]
fn programs_get_the_same_as_json() {
    let tree = chip_card();
    tree.mode("dev/vfio/17", 0o600);
    let json = serde_json::to_value(tree.report()).unwrap();
    assert_eq!(json["user"], "qrng-collector");
    assert_eq!(json["cards"][0]["kind"], "xdma");
    assert_eq!(json["cards"][0]["driver"], "vfio-pci");
    assert_eq!(json["cards"][0]["iommu_group"], 17);
    assert_eq!(json["cards"][0]["wanted"], true);
    assert_eq!(json["iommu_groups"], 1);
    assert_eq!(json["locked_memory_limit"], 64 << 20);
    assert_eq!(json["udev_rules"], true);
    let remedy = "chgrp qrng /dev/vfio/17 && chmod 0660 /dev/vfio/17";
    assert_eq!(json["problems"][0]["remedy"], remedy);
}

#[test]
fn it_says_what_brings_character_devices_and_wants_it_only_where_they_are_configured() {
    let tree = module_card();
    tree.write("proc/sys/kernel/osrelease", "6.1.0-50-amd64\n");
    let absent = tree.report();
    told(&absent, &[]);
    let text = absent.text();
    assert!(
        text.contains("linux-modules-extra-6.1.0-50-amd64"),
        "{text}"
    );
    let json = serde_json::to_value(&absent).unwrap();
    assert_eq!(json["cuse"]["state"], "absent");

    tree.write("etc/qrng/gateway.toml", "# [device]\n");
    told(&tree.report(), &[]);
    tree.write("etc/qrng/gateway.toml", "[device]\nraw = \"qrng\"\n");
    told(
        &tree.report(),
        &[("a section [device]", "linux-image-amd64")],
    );
    let modules = "kernel/fs/fuse/cuse.ko: kernel/fs/fuse/fuse.ko\n";
    tree.write("lib/modules/6.1.0-50-amd64/modules.dep", modules);
    told(&tree.report(), &[("the kernel no CUSE", "modprobe cuse")]);
    tree.write("sys/class/misc/cuse/dev", "10:203\n");
    let ready = tree.report();
    told(&ready, &[]);
    assert!(
        ready.text().contains("CUSE            ready"),
        "{}",
        ready.text()
    );
}

#[test]
fn this_host_can_be_looked_at() {
    let arguments = Arguments {
        adapter: None,
        config: None,
        user: None,
        json: false,
        root: "/".into(),
    };
    let text = look(&arguments).unwrap().text();
    assert!(text.starts_with("Devices, for user "), "{text}");
}
