use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::source::pcie::tree::{TABLE, Tree};

fn find_in(tree: &Tree, wanted: Option<&str>) -> Result<Place, FindError> {
    find(tree.path(), wanted.map(|wanted| wanted.parse().unwrap()))
}

/// Asserts that the failure to find a card says all of `words`.
fn told(tree: &Tree, wanted: Option<&str>, words: &[&str]) {
    let failure = Failure::from(find_in(tree, wanted).unwrap_err());
    assert_eq!(failure.fault, Fault::Unavailable);
    for word in words {
        assert!(failure.text.contains(word), "{word} is not in: {failure}");
    }
}

const CARD: &str = "0000:03:00.0";
const OTHER: &str = "0000:04:00.0";

#[test]
fn the_only_card_is_found_and_so_is_one_that_is_named() {
    let tree = Tree::with(&[CARD]);
    let place = find_in(&tree, None).unwrap();
    assert_eq!(place.address.to_string(), CARD);
    assert_eq!(place.file, tree.directory(CARD).join("resource1"));
    assert_eq!(place.in_page, 0x140);
    assert_eq!(find_in(&tree, Some("03:00.0")).unwrap(), place);
    let tree = Tree::with(&[CARD, OTHER]);
    assert_eq!(
        find_in(&tree, Some(OTHER)).unwrap().address.to_string(),
        OTHER
    );
}

#[test]
fn it_is_told_which_cards_there_are() {
    let none = Tree::with(&[]);
    told(
        &none,
        None,
        &["no card 179a:0001", "lspci", "echo 1 > /sys/bus/pci/rescan"],
    );
    told(
        &none,
        Some(CARD),
        &["no card 179a:0001 at 0000:03:00.0", "none anywhere"],
    );
    let two = Tree::with(&[CARD, OTHER]);
    told(
        &two,
        None,
        &["2 cards", CARD, OTHER, "device = \"0000:03:00.0\""],
    );
    told(
        &two,
        Some("0000:05:00.0"),
        &[
            "at 0000:05:00.0",
            "name one that is there: 0000:03:00.0, 0000:04:00.0",
        ],
    );
    told(
        &two,
        Some("00:1f.2"),
        &[
            "0000:00:1f.2 is no card",
            "8086:2922",
            "0000:03:00.0, 0000:04:00.0",
        ],
    );
    let empty = tempfile::tempdir().unwrap();
    let error = find(empty.path(), None).unwrap_err();
    assert!(error.remedy().contains("sysfs is mounted"), "{error}");
}

#[test]
fn a_card_of_a_kernel_driver_is_refused() {
    let tree = Tree::with(&[CARD]);
    let driver = tree.directory(CARD).join("driver");
    symlink("../../../bus/pci/drivers/quantis", driver).unwrap();
    told(
        &tree,
        None,
        &[
            "driver quantis",
            "echo 0000:03:00.0 > /sys/bus/pci/drivers/quantis/unbind",
        ],
    );
}

#[test]
fn a_card_that_is_not_enabled_is_refused() {
    let tree = Tree::with(&[CARD]);
    tree.set(CARD, "enable", "0");
    told(
        &tree,
        None,
        &["not enabled", "echo 1 > ", "0000:03:00.0/enable"],
    );
    tree.set(CARD, "enable", "maybe");
    told(&tree, None, &["enable: `maybe` is no number"]);
}

#[test]
fn a_bar_that_holds_no_registers_is_refused() {
    let with = |line: &str, words: &[&str]| {
        let tree = Tree::with(&[CARD]);
        let lines: Vec<_> = TABLE.lines().collect();
        let table = [lines[0], line, lines[2], lines[3], lines[4], lines[5]].join("\n");
        tree.set(CARD, "resource", &table);
        told(&tree, None, words);
    };
    with("0x0 0x0 0x0", &["BAR 1 is missing", "seat the card"]);
    with("0x1 0x40", &["resource: line 2 is no range"]);
    with("0xe000 0xe03f 0x40101", &["BAR 1 is not in memory"]);
    with("0x0 0x3f 0x20040200", &["no address", "pci=realloc"]);
    with("0xfe900140 0xfe90015f 0x40200", &["has 32 bytes, and 64"]);
    with("0xfe900fe0 0xfe90101f 0x40200", &["begins at 0xfe900fe0"]);
    let tree = Tree::with(&[CARD]);
    tree.set(CARD, "resource", "0x0 0x0 0x0");
    told(&tree, None, &["resource: has fewer than 6 lines"]);
    fs::remove_file(tree.directory(CARD).join("resource")).unwrap();
    told(&tree, None, &["resource: ", "No such file"]);
}

#[test]
fn a_refusal_comes_with_its_remedy() {
    let file = Path::new("/sys/bus/pci/devices/0000:03:00.0/resource1");
    for (errno, remedy) in [
        (
            Errno::EACCES,
            "chgrp qrng /sys/bus/pci/devices/0000:03:00.0/resource1",
        ),
        (Errno::EPERM, "Secure Boot"),
        (Errno::EROFS, "ReadWritePaths=/sys/devices"),
        (Errno::EINVAL, "/proc/iomem"),
        (Errno::ENODEV, "just gone"),
        (Errno::EIO, "dmesg"),
    ] {
        let failure = refused(file, &errno.into());
        assert_eq!(failure.fault, Fault::Unavailable);
        assert!(failure.text.contains(remedy), "{failure}");
        assert!(
            failure.text.contains("resource1 can't be mapped"),
            "{failure}"
        );
    }
}
