use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Adds a function to a made-up sysfs.
pub fn add(
    sysfs: &Path,
    address: &str,
    ids: (&str, &str),
    driver: Option<&str>,
    group: Option<u32>,
) {
    let directory = sysfs.join("bus/pci/devices").join(address);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("vendor"), format!("{}\n", ids.0)).unwrap();
    fs::write(directory.join("device"), format!("{}\n", ids.1)).unwrap();
    if let Some(driver) = driver {
        let target = format!("../../../../bus/pci/drivers/{driver}");
        symlink(target, directory.join("driver")).unwrap();
    }
    if let Some(group) = group {
        let target = format!("../../../kernel/iommu_groups/{group}");
        symlink(target, directory.join("iommu_group")).unwrap();
        let members = sysfs.join(format!("kernel/iommu_groups/{group}/devices"));
        fs::create_dir_all(&members).unwrap();
        symlink(&directory, members.join(address)).unwrap();
    }
}

pub const Q240M: (&str, &str) = ("0x1e89", "0x0003");
const Q40M: (&str, &str) = ("0x1e89", "0x0002");
const OTHER: (&str, &str) = ("0x8086", "0x10d3");

fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    add(tree.path(), "0000:00:02.0", OTHER, Some("e1000e"), Some(1));
    tree
}

#[track_caller]
fn told(result: Result<Place, Failure>, words: &[&str]) {
    let failure = result.unwrap_err();
    assert_eq!(failure.fault, Fault::Unavailable);
    for word in words {
        assert!(failure.text.contains(word), "{word} is not in: {failure}");
    }
}

#[test]
fn the_only_card_is_found_and_any_by_its_address() {
    let tree = tree();
    add(tree.path(), "0000:03:00.0", Q240M, Some(DRIVER), Some(7));
    let place = Place {
        address: "0000:03:00.0".parse().unwrap(),
        model: Model::Q240M,
        group: 7,
    };
    assert_eq!(find(tree.path(), None), Ok(place));
    add(tree.path(), "0000:04:00.0", Q40M, Some(DRIVER), Some(8));
    assert_eq!(find(tree.path(), Some(place.address)), Ok(place));
    let other = find(tree.path(), Some("0000:04:00.0".parse().unwrap())).unwrap();
    assert_eq!((other.model, other.group), (Model::Q40M, 8));
    let words = [
        "2 cards",
        "name one",
        "0000:03:00.0",
        "0000:04:00.0 (Quantis QRNG PCIe 40M)",
    ];
    told(find(tree.path(), None), &words);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let tree = tree();
    let words = ["no Quantis", "1e89:0002", "lspci -d 1e89:"];
    told(find(tree.path(), None), &words);
    let wanted = Some("0000:09:00.0".parse().unwrap());
    told(
        find(tree.path(), wanted),
        &["at 0000:09:00.0", "none is on the PCI bus"],
    );
    add(tree.path(), "0000:03:00.0", Q240M, Some(DRIVER), Some(7));
    told(
        find(tree.path(), wanted),
        &["at 0000:09:00.0", "0000:03:00.0"],
    );
    let nothing = tempfile::tempdir().unwrap();
    told(find(nothing.path(), None), &["sysfs"]);
}

#[test]
fn a_card_without_an_iommu_is_not_used() {
    let tree = tree();
    add(tree.path(), "0000:03:00.0", Q240M, Some(DRIVER), None);
    told(find(tree.path(), None), &["no IOMMU", "intel_iommu=on"]);
}

#[test]
fn the_commands_that_hand_the_card_over_are_told() {
    let tree = tree();
    add(
        tree.path(),
        "0000:03:00.0",
        Q240M,
        Some("quantis_chip_pcie"),
        Some(7),
    );
    let commands = [
        "quantis_chip_pcie",
        "modprobe vfio-pci",
        "echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override",
        "echo 0000:03:00.0 > /sys/bus/pci/devices/0000:03:00.0/driver/unbind",
        "echo 0000:03:00.0 > /sys/bus/pci/drivers_probe",
    ];
    told(find(tree.path(), None), &commands);
    let tree = self::tree();
    add(tree.path(), "0000:03:00.0", Q240M, None, Some(7));
    told(find(tree.path(), None), &["no driver", "drivers_probe"]);
    let text = find(tree.path(), None).unwrap_err().text;
    assert!(!text.contains("unbind"), "{text}");
}

#[test]
fn what_is_in_the_way_of_a_group_is_named() {
    let tree = tree();
    add(tree.path(), "0000:03:00.0", Q240M, Some(DRIVER), Some(1));
    add(
        tree.path(),
        "0000:00:01.0",
        OTHER,
        Some("pcieport"),
        Some(1),
    );
    add(tree.path(), "0000:05:00.0", OTHER, Some("nvme"), Some(2));
    let place = find(tree.path(), None).unwrap();
    assert_eq!(in_the_way(tree.path(), &place), "0000:00:02.0 (e1000e)");
}
