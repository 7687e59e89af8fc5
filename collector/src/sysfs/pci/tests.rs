use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const CARD: &str = "0000:03:00.0";
const TABLE: &str = "\
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000fe900140 0x00000000fe90017f 0x0000000000040200
0x000000000000e000 0x000000000000e0ff 0x0000000000040101
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000004000000000 0x000000400007ffff 0x0000000020140204
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
";

/// A tree with one card in it.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    add(&tree, CARD, "0x179a", "0x0001");
    tree
}

fn add(tree: &TempDir, address: &str, vendor: &str, device: &str) {
    fs::create_dir_all(tree.path().join(DEVICES).join(address)).unwrap();
    write(tree, address, "vendor", vendor);
    write(tree, address, "device", device);
}

fn write(tree: &TempDir, address: &str, attribute: &str, text: &str) {
    let path = tree.path().join(DEVICES).join(address).join(attribute);
    fs::write(path, format!("{text}\n")).unwrap();
}

fn link(tree: &TempDir, attribute: &str, target: &str) {
    let path = tree.path().join(DEVICES).join(CARD).join(attribute);
    symlink(target, path).unwrap();
}

fn only(tree: &TempDir) -> Function {
    let mut found = functions(tree.path()).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn addresses_are_read_and_written() {
    for (text, written) in [
        ("0000:03:00.0", "0000:03:00.0"),
        ("03:00.0", "0000:03:00.0"),
        ("0000:AF:1f.7", "0000:af:1f.7"),
        ("10000:e1:00.0", "10000:e1:00.0"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), written);
    }
    for wrong in [
        "",
        "03:00",
        "3:00.0",
        "0000:03:00.8",
        "0000:03:20.0",
        "0000:03:00.0 ",
        "000:03:00.0",
        "0000:+3:00.0",
        "0000:03:00.+0",
        "a:0000:03:00.0",
        "qrandom0",
    ] {
        assert_eq!(wrong.parse::<Address>(), Err(NoAddress), "{wrong}");
    }
}

#[test]
fn functions_are_listed_by_address() {
    let tree = tree();
    add(&tree, "0000:01:00.0", "0x1e89", "0x0002");
    add(&tree, "0000:00:1f.2", "0x8086", "0x2922");
    let found = functions(tree.path()).unwrap();
    let ids = found.iter().map(|f| (f.address.to_string(), f.id));
    let wanted = [
        ("0000:00:1f.2".to_owned(), Id::new(0x8086, 0x2922)),
        ("0000:01:00.0".to_owned(), CHIP_CARD_40M),
        (CARD.to_owned(), MODULE_CARD),
    ];
    assert!(ids.eq(wanted));
    assert_eq!(found[2].id.to_string(), "179a:0001");
    assert!(
        found[2]
            .attribute("resource1")
            .ends_with("0000:03:00.0/resource1")
    );
}

#[test]
fn a_function_that_goes_meanwhile_is_left_out() {
    let tree = tree();
    fs::create_dir(tree.path().join(DEVICES).join("0000:04:00.0")).unwrap();
    assert_eq!(only(&tree).address.to_string(), CARD);
}

#[test]
fn no_bus_is_an_absence_and_a_malformed_id_is_not() {
    let empty = tempfile::tempdir().unwrap();
    let error = functions(empty.path()).unwrap_err();
    assert!(error.is_absent(), "{error}");
    for wrong in ["179a", "0x", "0x1179a", "0x+9a", "0x17 9a", "none"] {
        let tree = tree();
        write(&tree, CARD, "vendor", wrong);
        let error = functions(tree.path()).unwrap_err();
        assert!(!error.is_absent());
        let text = error.to_string();
        assert!(
            text.ends_with(&format!("vendor: `{wrong}` is no PCI id")),
            "{text}"
        );
    }
    let tree = tree();
    fs::create_dir(tree.path().join(DEVICES).join("card")).unwrap();
    let error = functions(tree.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("devices/card: is no PCI address, such as 0000:03:00.0"),
        "{error}"
    );
}

#[test]
fn attributes_of_a_bare_function_are_absent() {
    let card = only(&tree());
    assert_eq!(card.driver().unwrap(), None);
    assert_eq!(card.kept_for().unwrap(), None);
    assert_eq!(card.iommu_group().unwrap(), None);
    assert_eq!(card.numa_node().unwrap(), None);
    assert!(card.is_enabled().unwrap_err().is_absent());
    assert!(card.bars().unwrap_err().is_absent());
}

#[test]
fn attributes_are_understood() {
    let tree = tree();
    link(&tree, "driver", "../../../bus/pci/drivers/vfio-pci");
    link(&tree, "iommu_group", "../../../kernel/iommu_groups/17");
    write(&tree, CARD, "numa_node", "1");
    write(&tree, CARD, "enable", "2");
    write(&tree, CARD, "driver_override", "vfio-pci");
    let card = only(&tree);
    assert_eq!(card.driver().unwrap().as_deref(), Some("vfio-pci"));
    assert_eq!(card.kept_for().unwrap().as_deref(), Some("vfio-pci"));
    assert_eq!(card.iommu_group().unwrap(), Some(17));
    assert_eq!(card.numa_node().unwrap(), Some(1));
    assert!(card.is_enabled().unwrap());
    write(&tree, CARD, "numa_node", "-1");
    write(&tree, CARD, "enable", "0");
    write(&tree, CARD, "driver_override", "(null)");
    assert_eq!(card.numa_node().unwrap(), None);
    assert_eq!(card.kept_for().unwrap(), None);
    assert!(!card.is_enabled().unwrap());
}

#[test]
fn malformed_attributes_are_told() {
    let tree = tree();
    write(&tree, CARD, "enable", "yes");
    write(&tree, CARD, "numa_node", "0x1");
    link(&tree, "iommu_group", "../groups/first");
    link(&tree, "driver", "/");
    let card = only(&tree);
    let told = |error: SysfsError, words: &str| {
        assert!(!error.is_absent());
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
    };
    told(card.is_enabled().unwrap_err(), "enable: `yes` is no number");
    told(card.numa_node().unwrap_err(), "numa_node: `0x1`");
    told(card.iommu_group().unwrap_err(), "iommu_group: `first`");
    told(card.driver().unwrap_err(), "driver: leads to nothing");
}

#[test]
fn bars_are_read() {
    let tree = tree();
    write(&tree, CARD, "resource", TABLE.trim_end());
    let bars = only(&tree).bars().unwrap();
    assert_eq!(bars[0], None);
    let bar = bars[1].unwrap();
    assert_eq!((bar.start, bar.length), (0xfe90_0140, 64));
    assert!(bar.is_memory() && bar.is_assigned());
    assert!(!bars[2].unwrap().is_memory());
    assert!(!bars[4].unwrap().is_assigned());
    assert_eq!(bars[5], None);
}

#[test]
fn malformed_tables_are_told_by_line() {
    let with = |line: &str| {
        TABLE.replace(
            "0x00000000fe900140 0x00000000fe90017f 0x0000000000040200",
            line,
        )
    };
    for wrong in [
        "",
        "0x1 0x2",
        "0x1 0x2 0x200 0x0",
        "0x1 0x2 200",
        "0x2  0x1 0x200",
        "0x2 0x0 0x200",
        "0x0 0xffffffffffffffff 0x200",
        "0x11111111111111111 0x2 0x200",
    ] {
        let error = bars(&with(wrong)).unwrap_err();
        assert_eq!(error, format!("line 2 is no range of addresses: `{wrong}`"));
    }
    assert_eq!(bars("0x0 0x0 0x0\n").unwrap_err(), "has fewer than 6 lines");
    assert_eq!(bars("").unwrap_err(), "has fewer than 6 lines");
}
