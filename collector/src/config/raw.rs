//! The configuration file as it is written.

use std::fmt;
use std::path::PathBuf;

use qrng::units::Amount;
use qrng_daemon::LogConfig;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::ConfinementConfig;
use super::appliance::RawAppliance;
use super::push::RawPush;

/// The configuration file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    #[serde(default = "Raw::state_directory")]
    pub(super) state_directory: PathBuf,
    #[serde(default = "Raw::runtime_directory")]
    pub(super) runtime_directory: PathBuf,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) source: Vec<RawSource>,
    pub(super) combine: Option<RawCombine>,
    #[serde(default)]
    pub(super) gateway: Vec<RawGateway>,
    #[serde(default)]
    pub(super) send: RawSend,
    #[serde(default)]
    pub(super) confinement: ConfinementConfig,
    #[serde(default)]
    pub(super) log: LogConfig,
}

impl Raw {
    fn state_directory() -> PathBuf {
        "/var/lib/qrng-collector".into()
    }

    fn runtime_directory() -> PathBuf {
        "/run/qrng-collector".into()
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawKind {
    Simulator,
    Node,
    Pcie,
    Usb,
    Appliance,
    Xdma,
}

/// What the chips of a card give.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawMode {
    #[default]
    Rng,
    Sample,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSource {
    pub(super) kind: RawKind,
    pub(super) name: Option<String>,
    pub(super) rate: Option<Amount>,
    pub(super) path: Option<PathBuf>,
    pub(super) serial: Option<String>,
    pub(super) device: Option<String>,
    pub(super) mode: Option<RawMode>,
    pub(super) processing: Option<RawProcessing>,
    pub(super) group: Option<String>,
    pub(super) appliance: Option<RawAppliance>,
    #[serde(default)]
    pub(super) health: RawHealth,
    #[serde(default)]
    pub(super) conditioning: RawConditioning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawProcessing {
    Raw,
    PostProcessed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawHealth {
    pub(super) enabled: Option<bool>,
    pub(super) entropy_per_bit: Option<f64>,
    pub(super) entropy_per_byte: Option<f64>,
    pub(super) uniform: Option<bool>,
    pub(super) block_size: Option<Amount>,
    pub(super) expected_rate: Option<Amount>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawMethod {
    #[default]
    None,
    VonNeumann,
    Matrix,
    Toeplitz,
    Hmac,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConditioning {
    #[serde(default)]
    pub(super) method: RawMethod,
    pub(super) file: Option<PathBuf>,
    pub(super) input_bits: Option<usize>,
    pub(super) output_bits: Option<usize>,
    pub(super) input_bytes: Option<usize>,
    pub(super) independent_bits: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawCombining {
    Xor,
    Hkdf,
    Interleave,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawOnFailure {
    #[default]
    Stop,
    Continue,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCombine {
    pub(super) method: RawCombining,
    #[serde(default)]
    pub(super) on_failure: RawOnFailure,
    pub(super) bytes_each: Option<usize>,
    pub(super) output_bytes: Option<usize>,
}

/// One `[source]`, or several `[[source]]`.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawSource>, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
        type Value = Vec<RawSource>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a [source] section, or several [[source]] sections")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            RawSource::deserialize(MapAccessDeserializer::new(map)).map(|source| vec![source])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }
    deserializer.deserialize_any(Either)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGateway {
    pub(super) name: Option<String>,
    pub(super) address: Option<String>,
    pub(super) key: PathBuf,
    pub(super) push: Option<RawPush>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSend {
    pub(super) data_size: Option<Amount>,
    pub(super) rate: Option<Amount>,
    pub(super) burst: Option<Amount>,
}
