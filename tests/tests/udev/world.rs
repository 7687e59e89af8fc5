//! A made-up sysfs with made-up nodes, and udev's engine in it.
//!
//! ```text
//!  directory/sys ── mounted at /sys  ─┐ in a mount namespace that nobody else sees
//!  directory/dev ── mounted at /dev  ─┼─ udevadm test DEVICE ── what it would run is run
//!  directory/run ── mounted at /run  ─┘
//! ```

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

/// The number that the group `qrng` has there.
pub const GROUP: u32 = 4711;

/// The number that the user `qrng-gateway` has there.
pub const GATEWAY: u32 = 4712;

/// The number that the user `qrng-mount` has there.
pub const HELPER: u32 = 4713;

/// Runs udev's engine on the device `$2` in the world in the directory `$1`, and then what the rules want to be run.
const ENGINE: &str = r#"
set -eu
cd "$1"
for place in sys dev run; do mount --bind $place /$place; done
mount --bind group /etc/group
mount --bind passwd /etc/passwd
mount --bind sbin /sbin
SYSTEMD_DEVICE_VERIFY_SYSFS=0 udevadm test --action=add "/sys/$2" >run/told 2>&1
cat run/told
sed -n "s/^run: '\(.*\)'$/\1/p" run/told | while read -r command; do eval "$command"; done
"#;

/// The rules for the cards.
pub fn rules() -> String {
    fs::read_to_string(directory().join("70-qrng.rules")).unwrap()
}

/// Where all rules of this project are. The names of the files begin alike.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../udev")
}

/// Why the engine can't be run here, if so.
pub fn cannot_run() -> Option<String> {
    for program in ["udevadm", "unshare"] {
        if Command::new(program).arg("--version").output().is_err() {
            return Some(format!("{program} is not installed"));
        }
    }
    let mounts = Command::new("unshare").args(["-m", "true"]).output();
    let allowed = mounts.is_ok_and(|output| output.status.success());
    (!allowed).then(|| "mount namespaces are for root only here".to_owned())
}

/// Devices that do not exist.
pub struct World(TempDir);

/// What the rules make of a device.
#[derive(Debug)]
pub struct Made {
    properties: Vec<String>,
    node: Option<String>,
    /// What they have run.
    pub ran: Vec<String>,
    /// What udev has to say against them.
    pub complaints: String,
}

impl Made {
    /// A property of the device.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut values = self.properties.iter();
        values.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the device's node is to be read and written by the group, and by nobody else.
    pub fn node_is_for_group(&self) -> bool {
        let node = self.node.as_deref().unwrap_or_default();
        node.contains("mode=0660") && node.contains(&format!("gid={GROUP}"))
    }

    /// Whether the device's node is to be read and written by this user, and by nobody else.
    pub fn node_is_for_user(&self, user: u32) -> bool {
        let node = self.node.as_deref().unwrap_or_default();
        node.contains("mode=0600") && node.contains(&format!("uid={user}"))
    }

    /// Whether everybody may read the device's node, and nobody write to it.
    pub fn node_is_for_readers(&self) -> bool {
        let node = self.node.as_deref().unwrap_or_default();
        node.contains("mode=0444") && node.contains(&format!("gid={GROUP}"))
    }
}

impl World {
    /// An empty one, with the rules, the group and the users of this project and no others.
    pub fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for place in ["sys/bus", "sys/class", "dev", "run/udev/rules.d"] {
            fs::create_dir_all(world.0.path().join(place)).unwrap();
        }
        for file in fs::read_dir(directory()).unwrap() {
            let file = file.unwrap();
            let rules = world.0.path().join("run/udev/rules.d");
            fs::copy(file.path(), rules.join(file.file_name())).unwrap();
        }
        let group = format!("root:x:0:\nqrng:x:{GROUP}:\n");
        fs::write(world.0.path().join("group"), group).unwrap();
        let user = |name, number| format!("{name}:x:{number}:{GROUP}::/:/bin/false\n");
        let users = [
            ("root", 0),
            ("qrng-gateway", GATEWAY),
            ("qrng-mount", HELPER),
        ];
        let passwd: String = users.map(|(name, number)| user(name, number)).concat();
        fs::write(world.0.path().join("passwd"), passwd).unwrap();
        world.install(&["vfio-pci"]);
        world.node("null", 1, 3);
        world
    }

    /// Lets these modules be installed, and no others. None is ever loaded.
    pub fn install(&self, modules: &[&str]) {
        let sbin = self.0.path().join("sbin");
        fs::create_dir_all(&sbin).unwrap();
        let modprobe = sbin.join("modprobe");
        let known = modules.join("|");
        let text = format!(
            "#!/bin/sh\nfor last; do :; done\ncase $last in {known}) exit 0 ;; *) exit 1 ;; esac\n"
        );
        fs::write(&modprobe, text).unwrap();
        fs::set_permissions(&modprobe, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn sys(&self, path: &str) -> PathBuf {
        self.0.path().join("sys").join(path)
    }

    fn node(&self, name: &str, major: u64, minor: u64) {
        let path = self.0.path().join("dev").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, mode, makedev(major, minor)).unwrap();
    }

    /// A device of a subsystem, with lines for its `uevent`.
    pub fn device(&self, path: &str, subsystem: &str, uevent: &str) {
        fs::create_dir_all(self.sys(path)).unwrap();
        fs::create_dir_all(self.sys(&format!("bus/{subsystem}/devices"))).unwrap();
        self.link(&format!("{path}/subsystem"), &format!("bus/{subsystem}"));
        let name = path.rsplit('/').next().unwrap();
        self.link(&format!("bus/{subsystem}/devices/{name}"), path);
        self.set(path, "uevent", uevent);
    }

    /// The same, with a character device.
    pub fn device_with_node(&self, path: &str, subsystem: &str, node: &str, uevent: &str) {
        self.node(node, 189, 11);
        let numbers = format!("MAJOR=189\nMINOR=11\nDEVNAME={node}\n{uevent}");
        self.device(path, subsystem, &numbers);
        self.set(path, "dev", "189:11");
    }

    /// Lets a driver own a device.
    pub fn bind(&self, path: &str, driver: &str) {
        let place = format!("bus/pci/drivers/{driver}");
        fs::create_dir_all(self.sys(&place)).unwrap();
        self.link(&format!("{path}/driver"), &place);
        let uevent = self.get(path, "uevent");
        self.set(path, "uevent", &format!("DRIVER={driver}\n{uevent}\n"));
    }

    /// Makes a link in sysfs to another place of it.
    pub fn link(&self, link: &str, target: &str) {
        let up = "../".repeat(link.split('/').count() - 1);
        let link = self.sys(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(format!("{up}{target}"), link).unwrap();
    }

    /// Writes a file of sysfs.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.sys(path), text).unwrap();
    }

    /// The text of a file of sysfs, without the end of its line.
    pub fn read(&self, path: &str) -> String {
        let text = fs::read_to_string(self.sys(path)).unwrap();
        text.trim_end().to_owned()
    }

    /// Writes an attribute of a device.
    pub fn set(&self, path: &str, attribute: &str, text: &str) {
        self.write(&format!("{path}/{attribute}"), text);
    }

    /// Takes an attribute of a device away.
    pub fn remove(&self, path: &str, attribute: &str) {
        fs::remove_file(self.sys(path).join(attribute)).unwrap();
    }

    /// Waits until the engine has told this of the device that it is at.
    pub fn until_told(&self, words: &str) {
        let told = self.0.path().join("run/told");
        let start = Instant::now();
        while !fs::read_to_string(&told).is_ok_and(|told| told.contains(words)) {
            assert!(start.elapsed() < Duration::from_secs(60), "{words}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// An attribute of a device.
    pub fn get(&self, path: &str, attribute: &str) -> String {
        self.read(&format!("{path}/{attribute}"))
    }

    /// The group and the mode of an attribute.
    pub fn owner(&self, path: &str, attribute: &str) -> (u32, u32) {
        let meta = fs::metadata(self.sys(path).join(attribute)).unwrap();
        (meta.gid(), meta.mode() & 0o7777)
    }

    /// Applies the rules to a device that appears, and runs what they want to be run.
    pub fn apply(&self, path: &str) -> Made {
        let mut engine = Command::new("unshare");
        engine.args(["-m", "sh", "-c", ENGINE, "sh"]);
        let output = engine.arg(self.0.path()).arg(path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}\n{errors}");
        let ours = |line: &&str| line.contains("/70-qrng") && line.contains(".rules:");
        // What is said of a line that does what it should is in these words.
        let done = |line: &&str| {
            let words = [
                " ATTR '",
                " RUN '",
                " PROGRAM '",
                " OWNER ",
                " GROUP ",
                " MODE ",
                " Running ",
                " returned 1 (error)",
            ];
            words.iter().any(|word| line.contains(word))
        };
        let complaints = told.lines().filter(ours).filter(|line| !done(line));
        let ran = told.lines().filter_map(|line| line.strip_prefix("run: '"));
        Made {
            complaints: complaints.collect::<Vec<_>>().join("\n"),
            node: told
                .lines()
                .rfind(|l| l.contains("gid="))
                .map(str::to_owned),
            ran: ran
                .map(|line| line.trim_end_matches('\'').to_owned())
                .collect(),
            properties: told.lines().map(str::to_owned).collect(),
        }
    }
}
