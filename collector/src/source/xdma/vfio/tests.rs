use std::fs;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Receiver};

use super::super::function::{Control, DmaMemory, Model, Registers};
use super::find::tests::{Q240M, add};
use super::*;

/// How long a test waits for a thread at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sysfs with a card that is VFIO's, and a directory for its nodes.
fn machine() -> (tempfile::TempDir, VfioSlot) {
    let root = tempfile::tempdir().unwrap();
    let (sysfs, nodes) = (root.path().join("sys"), root.path().join("dev"));
    add(&sysfs, "0000:03:00.0", Q240M, Some("vfio-pci"), Some(7));
    fs::create_dir(&nodes).unwrap();
    let slot = VfioSlot::below(&sysfs, &nodes, None);
    (root, slot)
}

#[track_caller]
fn told(slot: &mut VfioSlot, words: &[&str]) {
    let failure = match slot.open(Instant::now() + PATIENCE) {
        Err(failure) => failure,
        Ok(_) => panic!("there is nothing to open"),
    };
    assert_eq!(failure.fault, Fault::Unavailable);
    for word in words {
        assert!(failure.text.contains(word), "{word} is not in: {failure}");
    }
}

#[test]
fn each_thing_that_is_missing_is_told_with_its_remedy() {
    let (root, mut slot) = machine();
    told(&mut slot, &["dev/vfio", "modprobe vfio-pci"]);
    // A file is no node of VFIO's.
    fs::write(root.path().join("dev/vfio"), "").unwrap();
    told(&mut slot, &["IOMMU", "modprobe vfio_iommu_type1"]);
}

#[test]
fn nodes_are_told_by_their_errors() {
    let text = |error: io::Error| refusal(Path::new("/dev/vfio/7"), &error).text;
    let errno = |errno: Errno| text(errno.into());
    assert!(errno(Errno::ENOENT).contains("modprobe vfio-pci"));
    let denied = errno(Errno::EACCES);
    assert!(denied.contains("chgrp qrng /dev/vfio/7"), "{denied}");
    assert!(errno(Errno::EBUSY).contains("fuser -v /dev/vfio/7"));
    assert!(errno(Errno::EIO).contains("can't be opened"));
}

#[test]
fn a_limit_of_locked_memory_is_told() {
    let place = Place {
        address: "0000:03:00.0".parse().unwrap(),
        model: Model::Q40M,
        group: 7,
    };
    let text = |errno: Errno| no_memory(&place, &errno.into()).text;
    assert!(text(Errno::ENOMEM).contains("LimitMEMLOCK=8M"));
    assert!(text(Errno::EINVAL).contains("0000:03:00.0"));
}

/// Parts of a card that nobody uses; dropping it waits for a word.
struct Slow(Receiver<()>);

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.recv_timeout(PATIENCE).unwrap();
    }
}

impl Control for Slow {
    fn is_taken_back(&mut self) -> bool {
        false
    }
    fn cut_off(&mut self) {}
}

struct Nothing;

impl Registers for Nothing {
    fn read(&mut self, _: u32) -> u32 {
        0
    }
    fn write(&mut self, _: u32, _: u32) {}
}

impl DmaMemory for Nothing {
    fn address(&self) -> u64 {
        0
    }
    fn words(&self) -> &[AtomicU64] {
        &[]
    }
}

#[test]
fn a_card_is_opened_again_once_it_is_closed_and_nobody_waits_for_that() {
    let (_root, mut slot) = machine();
    let (let_go, word) = mpsc::channel();
    slot.close(Function {
        user: Box::new(Nothing),
        config: Box::new(Nothing),
        control: Box::new(Slow(word)),
        memory: Box::new(Nothing),
        model: Model::Q40M,
        place: String::new(),
    });
    for _ in 0..3 {
        assert!(matches!(slot.open(Instant::now()), Ok(None)));
    }
    let_go.send(()).unwrap();
    told(&mut slot, &["modprobe vfio-pci"]);
}
