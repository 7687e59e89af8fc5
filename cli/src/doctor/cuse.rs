//! CUSE, by which the kernel lets the gateway make character devices.

use serde::Serialize;

use super::host::Host;
use super::report::Problem;

/// The gateway's configuration.
const GATEWAY: &str = "/etc/qrng/gateway.toml";

/// What there is of it, and what brings it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cuse {
    /// What there is.
    pub state: State,
    /// What mends it, if it is not ready.
    pub remedy: Option<String>,
}

/// Whether it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The kernel has it.
    Ready,
    /// It is a module, which is not loaded.
    NotLoaded,
    /// The kernel has none, nor a module of it.
    #[default]
    Absent,
}

/// Looks for it.
pub fn look(host: &Host) -> Cuse {
    let release = host.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let is_listed = |name| {
        let list = host.text(&format!("/lib/modules/{release}/{name}"));
        list.is_some_and(|text| text.contains("/cuse.ko"))
    };
    // A driver's name is there as long as the driver is, whether it is a module or not.
    if host.path("/sys/class/misc/cuse").exists() {
        Cuse {
            state: State::Ready,
            remedy: None,
        }
    } else if is_listed("modules.dep") || is_listed("modules.builtin") {
        Cuse {
            state: State::NotLoaded,
            remedy: Some("modprobe cuse".into()),
        }
    } else {
        Cuse {
            state: State::Absent,
            remedy: Some(format!(
                "install the package that has its module cuse: linux-image-amd64 or linux-image-cloud-amd64 (Debian), \
                 linux-modules-extra-{release} (Ubuntu)"
            )),
        }
    }
}

impl Cuse {
    /// It for people.
    pub fn words(&self) -> String {
        let state = match self.state {
            State::Ready => "ready: the gateway can make /dev/qrng",
            State::NotLoaded => "the module is not loaded",
            State::Absent => "not in this kernel",
        };
        match &self.remedy {
            Some(remedy) => format!("{state}; for /dev/qrng: {remedy}"),
            None => state.to_owned(),
        }
    }

    /// That it is missing, if the gateway of this host is to make devices.
    pub fn problem(&self, host: &Host) -> Option<Problem> {
        let remedy = self.remedy.as_ref()?;
        let config = host.text(GATEWAY).unwrap_or_default();
        let wanted = config.lines().any(|line| line.trim() == "[device]");
        wanted.then(|| {
            let what = format!("{GATEWAY} has a section [device], and the kernel no CUSE");
            Problem::new(what, remedy)
        })
    }
}
