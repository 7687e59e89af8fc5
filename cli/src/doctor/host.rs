//! The host as its files show it, and the user that the devices are for.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{getgroups, getuid};
use qrng_collector::sysfs::SysfsError;
use qrng_collector::sysfs::pci::{self, Function};

/// Who the collector runs as, if the host is set up for it.
const SERVICE: &str = "qrng-collector";
/// The group that the udev rules of this project give the devices to.
pub const GROUP: &str = "qrng";
/// Where udev looks for rules.
const RULES: [&str; 4] = [
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
];
/// The udev rules of this project.
pub const RULES_FILE: &str = "70-qrng.rules";

/// A host, from the top of its file system.
pub struct Host {
    root: PathBuf,
    /// Whom the devices are for.
    pub user: User,
}

/// A user, with what decides about access to files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name; the number if there is none.
    pub name: String,
    uid: u32,
    groups: Vec<u32>,
}

/// What a user wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

impl Use {
    /// The bits of a file's mode that allow it, for others.
    fn bits(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::ReadWrite => 0o6,
        }
    }

    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read and write",
        }
    }
}

/// What a file is to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may be used so.
    Allowed,
    /// It may not.
    Denied,
    /// It is not there.
    Absent,
}

impl Host {
    /// The host below `root`, seen for the user called `user`; without one for the collector's user or else whoever asks.
    ///
    /// # Errors
    /// There is no such user, or no sysfs.
    pub fn new(root: &Path, user: Option<&str>) -> Result<Self> {
        let passwd = table(root, "etc/passwd");
        let groups = table(root, "etc/group");
        let named = |name: &str| User::named(name, &passwd, &groups);
        let user = match user {
            Some(name) => named(name).with_context(|| format!("there is no user {name}"))?,
            None => match named(SERVICE) {
                Some(user) => user,
                None => User::myself(&passwd)?,
            },
        };
        let host = Self {
            root: root.to_path_buf(),
            user,
        };
        if !host.path("/sys").join("bus").is_dir() {
            bail!(
                "{} shows no devices: is sysfs mounted?",
                host.path("/sys").display()
            );
        }
        Ok(host)
    }

    /// Where the file `path` of the host is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether it is the host that this process runs on.
    pub fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where its sysfs is.
    pub fn sysfs(&self) -> PathBuf {
        self.path("/sys")
    }

    /// How the host itself calls the file at `path`.
    pub fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        format!("/{}", below.display())
    }

    /// The same, in a text that may name its files.
    pub fn names_in(&self, text: &str) -> String {
        let root = self.root.display().to_string();
        match root.trim_end_matches('/') {
            "" => text.to_owned(),
            root => text.replace(root, ""),
        }
    }

    /// Its PCI functions; none if it has no PCI.
    ///
    /// # Errors
    /// The bus can't be looked at.
    pub fn pci_functions(&self) -> Result<Vec<Function>, SysfsError> {
        match pci::functions(&self.sysfs()) {
            Err(error) if error.is_absent() => Ok(Vec::new()),
            functions => functions,
        }
    }

    /// The text of a file, if it can be read.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// Names in a directory, in order; none if it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Whether the user may use the file at `path` so. Access control lists are not looked at.
    pub fn access(&self, path: &Path, wish: Use) -> Access {
        match fs::metadata(path) {
            Ok(meta) if self.user.may(wish, &meta) => Access::Allowed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Access::Absent,
            Ok(_) | Err(_) => Access::Denied,
        }
    }

    /// Who may do what with a file, for people: `0660 root:qrng`.
    pub fn owners(&self, path: &Path) -> Option<String> {
        let meta = fs::metadata(path).ok()?;
        let name = |file: &str, id: u32| {
            let lines = table(&self.root, file);
            let named = lines.iter().find(|fields| number(fields, 2) == Some(id));
            named.map_or_else(|| id.to_string(), |fields| fields[0].clone())
        };
        Some(format!(
            "{:04o} {}:{}",
            meta.mode() & 0o7777,
            name("etc/passwd", meta.uid()),
            name("etc/group", meta.gid())
        ))
    }

    /// Whether the group of the udev rules is there.
    pub fn has_group(&self) -> bool {
        let groups = table(&self.root, "etc/group");
        groups.iter().any(|fields| fields[0] == GROUP)
    }

    /// Whether the user is in it, or needs not be.
    pub fn user_is_in_group(&self) -> bool {
        let groups = table(&self.root, "etc/group");
        let group = groups.iter().find(|fields| fields[0] == GROUP);
        let number = group.and_then(|fields| number(fields, 2));
        self.user.uid == 0 || number.is_some_and(|number| self.user.groups.contains(&number))
    }

    /// Whether the udev rules are installed.
    pub fn has_rules(&self) -> bool {
        let mut places = RULES.iter();
        places.any(|place| self.path(place).join(RULES_FILE).exists())
    }
}

impl User {
    fn named(name: &str, passwd: &[Vec<String>], groups: &[Vec<String>]) -> Option<Self> {
        let fields = passwd.iter().find(|fields| fields[0] == name)?;
        let member = |fields: &&Vec<String>| {
            let members = fields.get(3).map(String::as_str).unwrap_or_default();
            members.split(',').any(|member| member == name)
        };
        let own = number(fields, 3);
        let others = groups.iter().filter(member);
        Some(Self {
            name: name.to_owned(),
            uid: number(fields, 2)?,
            groups: own
                .into_iter()
                .chain(others.filter_map(|g| number(g, 2)))
                .collect(),
        })
    }

    /// Whoever runs this.
    fn myself(passwd: &[Vec<String>]) -> Result<Self> {
        let uid = getuid().as_raw();
        let named = passwd.iter().find(|fields| number(fields, 2) == Some(uid));
        let groups = getgroups().context("cannot learn your groups")?;
        Ok(Self {
            name: named.map_or_else(|| uid.to_string(), |fields| fields[0].clone()),
            uid,
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        })
    }

    /// Whether this is root, whom no mode of a file stops.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether the mode of a file lets the user use it so.
    fn may(&self, wish: Use, meta: &Metadata) -> bool {
        let shift = if meta.uid() == self.uid {
            6
        } else if self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        self.is_root() || meta.mode() >> shift & wish.bits() == wish.bits()
    }
}

/// The lines of a table such as /etc/passwd, in fields; none if there is none. Each has a first field.
fn table(root: &Path, file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| line.split(':').map(str::to_owned).collect())
        .collect()
}

fn number(fields: &[String], index: usize) -> Option<u32> {
    fields.get(index)?.parse().ok()
}
