//! Which of the collector's two processes are confined.

use serde::{Deserialize, Serialize};

/// The section `[confinement]`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfinementConfig {
    /// The process that seals and sends.
    pub sender: Confinement,
    /// The process that has the devices.
    pub reader: Confinement,
}

/// Whether a process is confined. Its socket is deaf either way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// It is, or it does not start.
    #[default]
    Enforced,
    /// It is not. For kernels that cannot do it, where something else keeps the host apart.
    OffInsecure,
}

impl Confinement {
    /// Its name, as in the configuration and in status documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::OffInsecure => "off-insecure",
        }
    }
}
