//! What a guest is made of.

use std::fs;
use std::path::Path;

use super::bench::Bench;
use super::collector::CONFIG;
use super::cpio::Archive;
use super::guest::{Guest, SLOT};
use super::{modules, programs};
use crate::chain::Chain;

const INIT: &str = include_str!("../../vm/init.sh");
const AGENT: &str = include_str!("../../vm/agent.sh");
const USBIP_ATTACH: &str = include_str!("../../vm/usbip-attach.sh");
/// Starts the agent in a guest with systemd.
const AGENT_UNIT: &str = "[Unit]\nDescription=Agent of the test harness\nDefaultDependencies=no\nAfter=sysinit.target\n\
    [Service]\nExecStart=/bin/sh /agent.sh\n";

/// This machine's loopback, as guests see it.
pub const HOST: &str = "10.0.2.2";

/// What every guest loads: its network.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];
/// What a guest with a disk loads before it can mount it.
const DISK_MODULES: [&str; 3] = ["virtio_blk", "crc32c_generic", "ext4"];

/// A guest that does not run yet.
pub struct Plan<'a> {
    bench: &'a Bench,
    modules: Vec<&'static str>,
    files: Vec<(String, u32, Vec<u8>)>,
    devices: Vec<String>,
    options: Vec<(&'static str, String)>,
    boot: Vec<&'static str>,
    processor: &'static str,
    iommu: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(bench: &'a Bench) -> Self {
        let mut modules = MODULES.to_vec();
        if bench.is_full() {
            modules.extend(DISK_MODULES);
        }
        Self {
            bench,
            modules,
            files: Vec::new(),
            devices: Vec::new(),
            options: Vec::new(),
            boot: Vec::new(),
            processor: "max",
            iommu: false,
        }
    }

    /// Loads a kernel module at boot, with all that it needs.
    pub fn module(mut self, name: &'static str) -> Self {
        self.modules.push(name);
        self
    }

    /// Has a program of this workspace in `/usr/local/bin`.
    ///
    /// # Panics
    /// It does not build.
    pub fn program(self, package: &str, name: &str) -> Self {
        let content = fs::read(programs::build(package, name)).expect("cargo has just built it");
        self.file(&format!("/usr/local/bin/{name}"), 0o755, content)
    }

    /// Has a program of this workspace where it is installed to.
    ///
    /// # Panics
    /// It does not build.
    pub fn installed(self, package: &str, name: &str, folder: &str) -> Self {
        let content = fs::read(programs::build(package, name)).expect("cargo has just built it");
        self.file(&format!("{folder}/{name}"), 0o755, content)
    }

    /// Has a program as it was built for this machine, with its libraries, under `name` in `/usr/local/bin`. For guests without
    /// a disk: others have libraries of their own.
    ///
    /// # Panics
    /// It or a library of it is missing.
    pub fn foreign(mut self, path: &Path, name: &str) -> Self {
        for library in programs::libraries(path) {
            let there = library.to_str().expect("a library's path is text");
            if self
                .files
                .iter()
                .all(|(path, ..)| format!("/{path}") != there)
            {
                let content = fs::read(&library).expect("a library that ldd names");
                self = self.file(there, 0o755, content);
            }
        }
        self.file(
            &format!("/usr/local/bin/{name}"),
            0o755,
            programs::stripped(path),
        )
    }

    /// Has the test program `name` of this package, as [`Self::foreign`].
    ///
    /// # Panics
    /// It does not build.
    pub fn test_program(self, name: &str) -> Self {
        let path = programs::test(name);
        self.foreign(&path, name)
    }

    /// Has a file, with the directories above it. It belongs to root.
    pub fn file(mut self, path: &str, permissions: u32, content: impl Into<Vec<u8>>) -> Self {
        let path = path.trim_start_matches('/').to_owned();
        self.files.push((path, permissions, content.into()));
        self
    }

    /// Has the collector, which sends to the chain's gateway on this machine; `tables` are its source and anything else.
    ///
    /// # Panics
    /// It does not build.
    pub fn collector(self, chain: &Chain, tables: &str) -> Self {
        let config = format!(
            "[[gateway]]\nname = \"outside\"\naddress = \"{HOST}:{}\"\nkey = \"/etc/qrng/collector.key\"\n\n{tables}\n",
            chain.port
        );
        let key = fs::read(chain.path("collector.key")).expect("the chain made a key");
        self.program("qrng-collector", "qrng-collector")
            .file("/etc/qrng/collector.key", 0o600, key)
            .file(CONFIG, 0o644, config)
    }

    /// Has a device, as QEMU's `-device` takes it.
    pub fn device(mut self, device: impl ToString) -> Self {
        self.devices.push(device.to_string());
        self
    }

    /// Has what an option of QEMU gives it, such as `-object`.
    pub fn option(mut self, name: &'static str, value: impl ToString) -> Self {
        self.options.push((name, value.to_string()));
        self
    }

    /// Has a word more on its kernel's command line.
    pub fn boot(mut self, word: &'static str) -> Self {
        self.boot.push(word);
        self
    }

    /// Has this processor, as QEMU's `-cpu` takes it, instead of one with all that can be emulated.
    pub fn processor(mut self, processor: &'static str) -> Self {
        self.processor = processor;
        self
    }

    /// Has a USB bus, which is plugged into by USB/IP.
    pub fn usb(self) -> Self {
        self.module("vhci_hcd")
            .file("/usbip-attach.sh", 0o755, USBIP_ATTACH)
    }

    /// Has a slot into which [`Guest::plug`] plugs one device.
    pub fn slot(self) -> Self {
        self.device(format!("pcie-root-port,id={SLOT},chassis=1,slot=1"))
    }

    /// Has an IOMMU, which lets a program own a PCI device.
    pub fn iommu(mut self) -> Self {
        self.iommu = true;
        self
    }

    /// Boots it and waits until it takes commands.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(self) -> Guest {
        let directory = tempfile::Builder::new()
            .prefix("qrng-vm.")
            .tempdir()
            .expect("a temporary directory");
        let initramfs = directory.path().join("initramfs");
        fs::write(&initramfs, self.initramfs()).expect("the guest's first file system is written");
        let mut qemu = self.bench.qemu();
        qemu.args(self.arguments(&initramfs));
        Guest::start(qemu, directory)
    }

    fn initramfs(&self) -> Vec<u8> {
        let mut archive = Archive::default();
        let busybox = fs::read(self.bench.path("kernel/busybox")).expect("set-up put it there");
        archive.file("bin/busybox", 0o755, &busybox);
        archive.symlink("bin/sh", "busybox");
        archive.file("init", 0o755, INIT.as_bytes());
        archive.file(
            "modules",
            0o644,
            (self.modules.join("\n") + "\n").as_bytes(),
        );
        self.add_kernel_modules(&mut archive);
        let root = if self.bench.is_full() { "payload/" } else { "" };
        archive.file(&format!("{root}agent.sh"), 0o755, AGENT.as_bytes());
        if self.bench.is_full() {
            archive.file(&format!("{root}usr/local/bin/busybox"), 0o755, &busybox);
            let units = format!("{root}etc/systemd/system");
            let unit = format!("{units}/agent.service");
            archive.file(&unit, 0o644, AGENT_UNIT.as_bytes());
            let wants = format!("{units}/multi-user.target.wants/agent.service");
            archive.symlink(&wants, "/etc/systemd/system/agent.service");
        }
        for (path, permissions, content) in &self.files {
            archive.file(&format!("{root}{path}"), *permissions, content);
        }
        archive.finish()
    }

    fn add_kernel_modules(&self, archive: &mut Archive) {
        let folder = self.bench.kernel_modules();
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("set-up made it");
        let (dependencies, builtin) = (read("modules.dep"), read("modules.builtin"));
        let needed = modules::files(&dependencies, &builtin, &self.modules)
            .unwrap_or_else(|e| panic!("{e}; tests/vm/setup.sh says which are kept"));
        let version = folder.file_name().expect("it has a name").to_string_lossy();
        let inside = format!("lib/modules/{version}");
        archive.file(
            &format!("{inside}/modules.dep"),
            0o644,
            dependencies.as_bytes(),
        );
        for path in needed {
            let content = fs::read(folder.join(&path)).expect("a module that modules.dep names");
            archive.file(&format!("{inside}/{path}"), 0o644, &content);
        }
    }

    fn arguments(&self, initramfs: &Path) -> Vec<String> {
        let memory = if self.bench.is_full() { "512M" } else { "256M" };
        // The processor's own clocks are measured against others at boot, and wrongly if this machine is busy just then.
        let mut kernel =
            String::from("console=ttyS0 panic=-1 loglevel=6 clocksource=hpet nolapic_timer");
        // The software card reaches the guest's memory through the file that backs it.
        let mut arguments: Vec<String> = ["-M", "q35,memory-backend=ram,kernel-irqchip=off"]
            .into_iter()
            .chain(["-accel", "tcg,thread=multi", "-cpu", self.processor])
            .chain(["-m", memory])
            .chain([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .map(str::to_owned)
            .collect();
        let mut add = |option: &str, value: String| {
            arguments.extend([option.to_owned(), value]);
        };
        add(
            "-object",
            format!("memory-backend-memfd,id=ram,size={memory},share=on"),
        );
        if self.iommu {
            add("-device", "intel-iommu,intremap=on,caching-mode=on".into());
            kernel.push_str(" intel_iommu=on");
        }
        add("-netdev", "user,id=net,ipv6=off".into());
        add("-device", "virtio-net-pci,netdev=net,romfile=".into());
        if self.bench.is_full() {
            let disk = self.bench.path("full/disk.ext4");
            // What is written goes to a temporary file that nobody sees.
            let drive = "if=none,id=disk,format=raw,snapshot=on,file=";
            add("-drive", format!("{drive}{}", disk.display()));
            add("-device", "virtio-blk-pci,drive=disk".into());
        }
        // What devices refer to comes before them.
        for (name, value) in &self.options {
            add(name, value.clone());
        }
        for device in &self.devices {
            add("-device", device.clone());
        }
        for word in &self.boot {
            kernel.push(' ');
            kernel.push_str(word);
        }
        add(
            "-kernel",
            self.bench.path("kernel/vmlinuz").display().to_string(),
        );
        add("-initrd", initramfs.display().to_string());
        add("-append", kernel);
        arguments
    }
}
