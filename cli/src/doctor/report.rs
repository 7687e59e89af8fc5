//! What was seen, and what is to be mended: for people and for programs.

use std::path::Path;

use serde::Serialize;

use super::cuse::Cuse;
use super::dma::Dma;
use super::host::{Access, GROUP, Host, RULES_FILE, Use};
use super::line::Line;

/// Something that keeps a device from being used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What mends it: a command, or what to do if there is none.
    pub remedy: String,
}

impl Problem {
    /// `what` is wrong, and `remedy` mends it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// A device that may be a source.
#[derive(Debug, Serialize)]
pub struct Card {
    /// How the configuration calls what reads it: `pcie`, `xdma`, `usb` or `node`.
    pub kind: &'static str,
    /// Where it is: a PCI address, a USB port, a path.
    pub place: String,
    /// What it is called.
    pub model: &'static str,
    /// Its serial number, if it can be known without opening it.
    pub serial: Option<String>,
    /// The kernel's driver that owns it.
    pub driver: Option<String>,
    /// The file through which it is used, as the host calls it.
    pub file: Option<String>,
    /// Mode and owners of that file.
    pub file_owners: Option<String>,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
    /// The NUMA node that it is close to.
    pub numa_node: Option<u32>,
    /// Whether it is to be used, and so judged.
    pub wanted: bool,
    /// What keeps it from being used.
    pub problems: Vec<Problem>,
    /// What is worth knowing and nothing to mend.
    pub notes: Vec<String>,
}

/// All that the doctor has to say.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whom the devices are for.
    pub user: String,
    /// What there is.
    pub cards: Vec<Card>,
    /// What DMA needs.
    #[serde(flatten)]
    pub dma: Dma,
    /// Whether the kernel lets a gateway make character devices.
    pub cuse: Cuse,
    /// Whether the udev rules are installed.
    pub udev_rules: bool,
    /// The way to each gateway that is named.
    pub lines: Vec<Line>,
    /// What is to be mended, in order.
    pub problems: Vec<Problem>,
    /// What is worth knowing and nothing to mend.
    pub notes: Vec<String>,
}

impl Report {
    /// Nothing yet.
    pub fn new(host: &Host) -> Self {
        Self {
            user: host.user.name.clone(),
            cards: Vec::new(),
            dma: Dma::default(),
            cuse: Cuse::default(),
            udev_rules: host.has_rules(),
            lines: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds what makes mending last.
    pub fn advise(&mut self, host: &Host) {
        if self.cards.is_empty() {
            return;
        }
        if !host.has_rules() {
            self.notes.push(format!(
                "the udev rules of this project are not installed: what is mended by hand is undone when the host starts anew or a \
                 device is plugged in. install -m 0644 udev/{RULES_FILE} /etc/udev/rules.d/ && udevadm control --reload && \
                 udevadm trigger"
            ));
        }
        if !host.has_group() {
            self.notes.push(format!(
                "there is no group {GROUP}, to which these rules give the devices: groupadd --system {GROUP}"
            ));
        } else if !host.user_is_in_group() {
            self.notes.push(format!(
                "user {} is not in the group {GROUP}: usermod --append --groups {GROUP} {}",
                host.user.name, host.user.name
            ));
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("Devices, for user {}:", self.user), String::new()];
        if self.cards.is_empty() {
            lines.push(
                "  none of Quantis: no card on the PCI bus, none on the USB, no /dev/qrandom*"
                    .into(),
            );
            lines.push(String::new());
        }
        for card in &self.cards {
            lines.extend(card.lines());
            lines.push(String::new());
        }
        lines.extend(self.dma.lines());
        let installed = if self.udev_rules {
            "installed"
        } else {
            "not installed"
        };
        lines.push(format!("CUSE            {}", self.cuse.words()));
        lines.push(format!("udev rules      {installed}"));
        lines.push(String::new());
        for line in &self.lines {
            lines.extend(line.lines());
            lines.push(String::new());
        }
        for note in &self.notes {
            lines.push(format!("Note: {note}"));
        }
        match self.problems.len() {
            0 => lines.push("Nothing is missing.".into()),
            count => lines.push(format!("To mend ({count}):")),
        }
        for (number, problem) in (1..).zip(&self.problems) {
            lines.push(format!("  {number}. {}", problem.what));
            lines.push(format!("       {}", problem.remedy));
        }
        lines.join("\n") + "\n"
    }
}

impl Card {
    /// A device with nothing known of it but what it is.
    pub fn new(kind: &'static str, place: impl Into<String>, model: &'static str) -> Self {
        Self {
            kind,
            place: place.into(),
            model,
            serial: None,
            driver: None,
            file: None,
            file_owners: None,
            iommu_group: None,
            numa_node: None,
            wanted: true,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Says through which file, at `path`, it is used, and what is to be done if the user may not. `origin`: what to do if
    /// there is no such file.
    pub fn used_through(&mut self, host: &Host, path: &Path, wish: Use, origin: &str) {
        let name = host.name(path);
        self.file_owners = host.owners(path);
        match host.access(path, wish) {
            Access::Allowed => {}
            Access::Denied => self.problems.push(Problem::new(
                format!("user {} may not {} {name}", host.user.name, wish.words()),
                // Not by an access control list: sysfs has none.
                format!("chgrp {GROUP} {name} && chmod 0660 {name}"),
            )),
            Access::Absent => {
                let what = format!("{name} is not there");
                self.problems.push(Problem::new(what, origin));
            }
        }
        self.file = Some(name);
    }

    /// The card for people.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} at {}", self.model, self.place)];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
        if let Some(serial) = &self.serial {
            line("serial", serial.clone());
        }
        line("driver", self.driver.clone().unwrap_or("none".into()));
        if let Some(file) = &self.file {
            let owners = self.file_owners.as_deref().unwrap_or("not there");
            line("file", format!("{file} ({owners})"));
        }
        if let Some(group) = self.iommu_group {
            line("IOMMU group", group.to_string());
        }
        if let Some(node) = self.numa_node {
            line("NUMA node", node.to_string());
        }
        let state = match (self.wanted, self.problems.len()) {
            (true, 0) => format!("ready: kind = \"{}\"", self.kind),
            (true, 1) => "1 thing to mend, see below".to_owned(),
            (true, count) => format!("{count} things to mend, see below"),
            (false, _) => "not used".to_owned(),
        };
        line("state", state);
        for note in &self.notes {
            line("note", note.clone());
        }
        lines
    }
}
