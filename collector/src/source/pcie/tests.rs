use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::registers::offset;
use super::tree::Tree;
use super::*;
use crate::source::Fault;

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[test]
fn modules_are_listed_for_people() {
    assert_eq!(listed(0), "no module");
    assert_eq!(listed(0b0100), "module 2");
    assert_eq!(listed(0b1001), "modules 0, 3");
}

/// A file in a card's place: its registers do not change, and the FIFO is full of one word for ever.
fn plug_in(tree: &Tree, address: &str, word: u32) {
    tree.add(address, "0x179a", "0x0001");
    let file = File::create(tree.directory(address).join("resource1")).unwrap();
    file.set_len(4096).unwrap();
    for (offset, value) in [
        (offset::CV_SR, 0x0910_0705),
        (offset::FS_RR, 0x4e),
        (offset::FD_RR, word),
        (offset::MX_SR, 0xc0c2),
    ] {
        // Where the attribute `resource` says that the BAR begins.
        let place = 0x140 + u64::from(offset);
        file.write_all_at(&u32::to_le_bytes(value), place).unwrap();
    }
}

/// Takes the card away, with the pages of its BAR.
fn unplug(tree: &Tree, address: &str) {
    let directory = tree.directory(address);
    let file = File::options()
        .write(true)
        .open(directory.join("resource1"));
    file.unwrap().set_len(0).unwrap();
    fs::remove_dir_all(directory).unwrap();
}

fn registers(tree: &Tree, address: &str) -> Vec<u8> {
    fs::read(tree.directory(address).join("resource1")).unwrap()[0x140..0x180].to_vec()
}

fn open(sysfs: &Path) -> Pcie<PciSlot> {
    Pcie::new("card", PciSlot::new(sysfs, None)).unwrap()
}

/// The failure that the next read tells.
fn failure(source: &mut Pcie<PciSlot>) -> Failure {
    match source.read(&mut [0; 64], later(60)) {
        Err(SourceError::Retry(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

const CARD: &str = "0000:03:00.0";

#[test]
fn a_card_is_mapped_started_and_read() {
    let tree = Tree::with(&[]);
    plug_in(&tree, CARD, 0x0403_0201);
    let mut source = open(tree.path());
    assert_eq!(source.identity().kind, Kind::PcieModule);
    let mut buffer = [0; 10_000];
    assert_eq!(source.read(&mut buffer, later(60)).unwrap(), 10_000);
    assert!(buffer.chunks(4).all(|word| word == [1, 2, 3, 4]));
    let registers = registers(&tree, CARD);
    assert_eq!(registers[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(registers[0x30..0x34], [2, 2, 0, 0]);
    let sensors = Sensors::from([
        ("board_version", 0x0910_0705),
        ("fifo_overflows", 0),
        ("modules_healthy", 0b01),
        ("modules_present", 0b11),
    ]);
    assert_eq!(source.sensors(), sensors);
}

#[test]
fn a_card_that_is_unplugged_is_found_again_elsewhere() {
    let tree = Tree::with(&[]);
    plug_in(&tree, CARD, 0x0101_0101);
    let mut source = open(tree.path());
    assert_eq!(source.read(&mut [0; 64], later(60)).unwrap(), 64);
    unplug(&tree, CARD);
    assert_eq!(failure(&mut source).fault, Fault::Gone);
    assert!(!source.sensors().contains_key("modules_present"));
    for _ in 0..2 {
        let failure = failure(&mut source);
        assert_eq!(failure.fault, Fault::Unavailable);
        assert!(failure.text.contains("there is no card"), "{failure}");
    }
    plug_in(&tree, "0000:05:00.0", 0x0202_0202);
    let mut buffer = [0; 64];
    assert_eq!(source.read(&mut buffer, later(60)).unwrap(), 64);
    assert_eq!(buffer, [2; 64]);
}

#[test]
fn a_card_that_is_there_and_does_not_answer_is_no_error_of_opening() {
    let tree = Tree::with(&[]);
    plug_in(&tree, CARD, 0);
    let ones = tree.directory(CARD).join("resource1");
    fs::write(&ones, [0xff; 4096]).unwrap();
    let mut source = open(tree.path());
    assert_eq!(failure(&mut source).fault, Fault::Gone);
    plug_in(&tree, CARD, 5);
    assert_eq!(source.read(&mut [0; 64], later(60)).unwrap(), 64);
}

#[test]
fn a_card_that_cannot_be_opened_is_an_error_with_words() {
    let tree = Tree::with(&[CARD]);
    let error = Pcie::new("card", PciSlot::new(tree.path(), None))
        .err()
        .unwrap();
    assert_eq!(error.fault, Fault::Unavailable);
    // There is no file to map.
    assert!(error.text.contains("resource1 can't be mapped"), "{error}");
}
