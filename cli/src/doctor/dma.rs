//! What chip cards need of the host for DMA: an IOMMU, VFIO, and memory that may be locked.

use serde::Serialize;

use super::host::Host;
use super::report::Problem;

/// Bytes that a card's driver locks, with a margin.
const LOCKED_EACH: u64 = 16 << 20;

/// What DMA needs.
#[derive(Debug, Default, Serialize)]
pub struct Dma {
    /// Groups of devices that the IOMMU keeps apart; none without an IOMMU.
    pub iommu_groups: usize,
    /// The IOMMUs.
    pub iommus: Vec<String>,
    /// What the kernel was told about them.
    pub iommu_arguments: Vec<String>,
    /// Whether VFIO's driver is there.
    pub vfio_pci: bool,
    /// Bytes that a process started like this one may lock; none if there is no limit.
    pub locked_memory_limit: Option<u64>,
}

/// Looks for it.
pub fn look(host: &Host) -> Dma {
    let arguments = host.text("/proc/cmdline").unwrap_or_default();
    let about_iommu = arguments
        .split_whitespace()
        .filter(|word| word.contains("iommu"));
    Dma {
        iommu_groups: host.names("/sys/kernel/iommu_groups").len(),
        iommus: host.names("/sys/class/iommu"),
        iommu_arguments: about_iommu.map(str::to_owned).collect(),
        vfio_pci: host.path("/sys/bus/pci/drivers/vfio-pci").is_dir(),
        locked_memory_limit: locked(&host.text("/proc/self/limits").unwrap_or_default()),
    }
}

/// The soft limit of locked memory in a text such as /proc/self/limits, in bytes.
fn locked(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Dma {
    /// What keeps chip cards from being used.
    pub fn problems(&self, host: &Host) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.iommu_groups == 0 {
            problems.push(self.no_iommu());
        }
        let limit = self
            .locked_memory_limit
            .filter(|limit| *limit < LOCKED_EACH);
        if let (Some(limit), false) = (limit, host.user.is_root()) {
            problems.push(Problem::new(
                format!(
                    "processes started like this one may lock {} KiB of memory, and DMA needs 16 MiB a card",
                    limit >> 10
                ),
                "LimitMEMLOCK=16M for each card in the collector's unit, or ulimit -l 16384 as root before it is started by hand",
            ));
        }
        problems
    }

    fn no_iommu(&self) -> Problem {
        let told = self
            .iommu_arguments
            .iter()
            .any(|word| word.ends_with("iommu=on"));
        let what = "no IOMMU is in use, and without one no card is let into the memory";
        Problem::new(
            what,
            if told {
                "switch VT-d (Intel) or AMD-Vi on in the firmware's settings; the kernel was told to use it and found none"
            } else {
                "switch VT-d (Intel) or AMD-Vi on in the firmware's settings, and for Intel: sed -i \
                 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on /' /etc/default/grub && update-grub && reboot"
            },
        )
    }

    /// The same for people.
    pub fn lines(&self) -> Vec<String> {
        let iommu = match self.iommu_groups {
            0 => "not in use".to_owned(),
            count => format!("{count} groups ({})", self.iommus.join(", ")),
        };
        let arguments = match self.iommu_arguments.join(" ") {
            none if none.is_empty() => String::new(),
            some => format!("; the kernel was told: {some}"),
        };
        let limit = self.locked_memory_limit;
        let limit = limit.map_or("no limit".to_owned(), |bytes| {
            format!("{} KiB", bytes >> 10)
        });
        vec![
            format!("IOMMU           {iommu}{arguments}"),
            format!(
                "vfio-pci        {}",
                if self.vfio_pci {
                    "loaded"
                } else {
                    "not loaded"
                }
            ),
            format!("locked memory   {limit} for processes started like this one"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max locked memory         8388608              unlimited            bytes\n";
        assert_eq!(locked(limits), Some(8 << 20));
        assert_eq!(locked(&limits.replace("8388608", "unlimited")), None);
        assert_eq!(locked(""), None);
    }
}
