//! A made-up host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use nix::unistd::getgid;
use qrng_collector::sysfs::pci::Id;
use tempfile::TempDir;

use crate::doctor::report::Report;
use crate::doctor::{Arguments, look};

/// Where the functions of the PCI bus are.
const PCI: &str = "sys/bus/pci/devices";
const TABLE: &str = "\
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000fe900140 0x00000000fe90017f 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
";
/// The files of a host that does not exist.
pub struct Tree(TempDir);

impl Tree {
    /// A host with the collector's user, the group and the udev rules, and no devices.
    pub fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let user = |name: &str, id: u32| format!("{name}:x:{id}:{id}::/:/bin/false\n");
        let passwd = [
            user("root", 0),
            user("qrng-collector", 54_321),
            user("jo", 54_322),
        ];
        tree.write("etc/passwd", &passwd.concat());
        // Files that are made here are of the group of whoever runs the test.
        let group = format!("qrng:x:{}:qrng-collector,other\n", getgid());
        tree.write("etc/group", &group);
        tree.write("etc/udev/rules.d/70-qrng.rules", "");
        tree.write("proc/cmdline", "root=/dev/sda1 quiet\n");
        tree.limit("67108864");
        fs::create_dir_all(tree.path(PCI)).unwrap();
        fs::create_dir_all(tree.path("dev")).unwrap();
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Makes a file that is the group's, as the udev rules do.
    pub fn device_file(&self, path: &str) {
        self.write(path, "");
        self.mode(path, 0o660);
    }

    pub fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn limit(&self, bytes: &str) {
        let line =
            format!("Max locked memory         {bytes}            {bytes}            bytes\n");
        self.write("proc/self/limits", &line);
    }

    /// An attribute of a PCI function.
    pub fn set(&self, address: &str, attribute: &str, text: &str) {
        self.write(
            &format!("{PCI}/{address}/{attribute}"),
            &format!("{text}\n"),
        );
    }

    /// Lets a driver own a PCI function.
    pub fn bind(&self, address: &str, driver: &str) {
        fs::create_dir_all(self.path(&format!("sys/bus/pci/drivers/{driver}"))).unwrap();
        self.link(
            &format!("{PCI}/{address}/driver"),
            &format!("../../drivers/{driver}"),
        );
    }

    /// Adds a PCI function.
    pub fn function(&self, address: &str, id: Id) {
        for (attribute, text) in [
            ("vendor", format!("{:#06x}", id.vendor)),
            ("device", format!("{:#06x}", id.device)),
            ("enable", "1".into()),
            ("numa_node", "-1".into()),
            ("resource", TABLE.trim_end().into()),
        ] {
            self.set(address, attribute, &text);
        }
        self.device_file(&format!("{PCI}/{address}/resource1"));
    }

    /// Puts a PCI function into an IOMMU group.
    pub fn group(&self, address: &str, group: u32) {
        let groups = "sys/kernel/iommu_groups";
        fs::create_dir_all(self.path(&format!("{groups}/{group}"))).unwrap();
        self.link(
            &format!("{PCI}/{address}/iommu_group"),
            &format!("../../../../kernel/iommu_groups/{group}"),
        );
    }

    /// Adds a USB card.
    pub fn usb(&self, port: &str, number: u16, serial: &str) {
        for (attribute, text) in [
            ("idVendor", "0aba"),
            ("idProduct", "0102"),
            ("busnum", "1"),
            ("devnum", &number.to_string()),
            ("serial", serial),
        ] {
            self.write(&format!("sys/bus/usb/devices/{port}/{attribute}"), text);
        }
        self.device_file(&format!("dev/bus/usb/001/{number:03}"));
    }

    /// What the doctor says.
    pub fn report(&self) -> Report {
        self.report_on(None)
    }

    /// The same for a collector with these sources.
    pub fn report_for(&self, sources: &str) -> Report {
        let gateway = "[[gateway]]\naddress = \"192.0.2.1:4790\"\nkey = \"collector.key\"\n";
        self.write("collector.toml", &format!("{sources}\n{gateway}"));
        self.report_on(Some(self.path("collector.toml")))
    }

    pub fn report_on(&self, config: Option<PathBuf>) -> Report {
        look(&self.arguments(config)).unwrap()
    }

    pub fn arguments(&self, config: Option<PathBuf>) -> Arguments {
        Arguments {
            adapter: None,
            config,
            user: None,
            json: false,
            root: self.0.path().to_path_buf(),
        }
    }
}
