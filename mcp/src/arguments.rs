//! What the tools take and give, and the limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Provenance;

/// The most bytes of one answer.
pub(crate) const MAX_BYTES: u32 = 4096;
/// The most integers of one answer.
pub(crate) const MAX_INTEGERS: u32 = 1000;
/// The most UUIDs or dice of one answer.
pub(crate) const MAX_FEW: u32 = 100;
/// The most items that are shuffled or chosen from.
pub(crate) const MAX_ITEMS: usize = 1000;
/// The largest integer that every JSON implementation keeps exact (RFC 8259 section 6).
pub(crate) const MAX_EXACT: i64 = (1 << 53) - 1;

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// Bytes, in an encoding.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bytes {
    /// How many bytes
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 4096))]
    pub count: u32,
    /// How they are written
    #[serde(default, alias = "format")]
    pub encoding: Encoding,
}

/// Bytes, in the encoding of the tool's name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    /// How many bytes
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 4096))]
    pub count: u32,
}

/// Integers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Integers {
    /// How many integers
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: u32,
    /// The smallest that may come
    #[schemars(range(min = -9007199254740991i64, max = 9007199254740991i64))]
    pub min: i64,
    /// The largest that may come
    #[schemars(range(min = -9007199254740991i64, max = 9007199254740991i64))]
    pub max: i64,
}

/// UUIDs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uuids {
    /// How many UUIDs
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub count: u32,
}

/// Dice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dice {
    /// How many dice
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub count: u32,
    /// Sides of each
    #[serde(default = "six")]
    #[schemars(range(min = 2))]
    pub sides: u32,
}

/// Items to be shuffled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Items {
    /// The items, of any kind
    #[schemars(length(min = 1, max = 1000))]
    pub items: Vec<Value>,
}

/// Items to choose from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    /// The items, of any kind
    #[schemars(length(min = 1, max = 1000))]
    pub items: Vec<Value>,
    /// How many different ones
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: u32,
}

fn one() -> u32 {
    1
}

fn six() -> u32 {
    6
}

fn thirty_two() -> u32 {
    32
}

/// Bytes as text.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BytesGiven {
    /// The bytes, written as asked for
    pub bytes: String,
    /// How they are written
    pub encoding: Encoding,
    /// How many bytes
    pub count: u32,
    pub provenance: Provenance,
}

/// Numbers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct IntegersGiven {
    /// The integers, in the order in which they were drawn
    pub integers: Vec<i64>,
    pub provenance: Provenance,
}

/// UUIDs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UuidsGiven {
    /// Version 4 UUIDs (RFC 9562)
    pub uuids: Vec<String>,
    pub provenance: Provenance,
}

/// Dice.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiceGiven {
    /// What each die shows
    pub rolls: Vec<u32>,
    /// Their sum
    pub total: u64,
    pub provenance: Provenance,
}

/// Items.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ItemsGiven {
    /// The items, in the order drawn
    pub items: Vec<Value>,
    pub provenance: Provenance,
}
