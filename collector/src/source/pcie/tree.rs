//! A made-up sysfs for tests.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The attribute `resource` of a good card.
pub const TABLE: &str = "\
0x00000000fe800000 0x00000000fe8000ff 0x0000000000040200
0x00000000fe900140 0x00000000fe90017f 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
";

/// A made-up sysfs.
pub struct Tree(TempDir);

impl Tree {
    /// A tree with good cards at these addresses, and something else at 0000:00:1f.2.
    pub fn with(cards: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.add("0000:00:1f.2", "0x8086", "0x2922");
        for card in cards {
            tree.add(card, "0x179a", "0x0001");
        }
        tree
    }

    /// Where sysfs would be mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The directory of a function.
    pub fn directory(&self, address: &str) -> PathBuf {
        self.0.path().join("bus/pci/devices").join(address)
    }

    /// Adds a function that is enabled.
    pub fn add(&self, address: &str, vendor: &str, device: &str) {
        fs::create_dir_all(self.directory(address)).unwrap();
        for (attribute, text) in [
            ("vendor", vendor),
            ("device", device),
            ("enable", "1"),
            ("resource", TABLE.trim_end()),
        ] {
            self.set(address, attribute, text);
        }
    }

    /// Writes an attribute.
    pub fn set(&self, address: &str, attribute: &str, text: &str) {
        fs::write(self.directory(address).join(attribute), format!("{text}\n")).unwrap();
    }
}
