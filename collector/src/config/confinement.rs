//! Which of the collector's processes are confined.

pub use qrng_confine::Confinement;
use serde::Deserialize;

/// The section `[confinement]`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfinementConfig {
    /// The process that seals and sends.
    pub sender: Confinement,
    /// The process that has the devices.
    pub reader: Confinement,
    /// The process that pushes by HTTPS, if there is one.
    pub pusher: Confinement,
}
