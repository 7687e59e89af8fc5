//! What an answer says of where its bytes come from.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Where bytes come from, as the gateway's status tells it at the time of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Provenance {
    /// The gateway's state: serving, waiting, stalled or latched; unknown if its status can't be read.
    pub state: String,
    /// Kinds of noise source behind the bytes, such as pcie-module, usb or simulator. Simulated bytes are not random.
    pub kinds: Vec<String>,
    /// The noise sources that the collector reports.
    pub sources: Vec<Origin>,
    /// The key of the link over which they came, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_key: Option<String>,
    /// What else should be known: why the state is what it is, or why the status can't be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A noise source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Origin {
    /// Its name in the collector's configuration.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The device's serial number, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// What its health tests say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

impl Provenance {
    /// What a status document of the gateway says. Anything may be absent.
    #[must_use]
    pub fn of_status(document: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(document) {
            Ok(status) => Self::of_value(&status),
            Err(e) => Self::unknown(format!("the gateway's status is no JSON: {e}")),
        }
    }

    /// Nothing is known, and why.
    #[must_use]
    pub fn unknown(why: String) -> Self {
        Self {
            state: "unknown".into(),
            notes: vec![why],
            ..Self::default()
        }
    }

    /// The same of a document that was read already.
    #[must_use]
    pub fn of_value(status: &Value) -> Self {
        let sources = status["sources"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            state: text(&status["state"]).unwrap_or_else(|| "unknown".into()),
            kinds: texts(&status["kinds"]),
            sources: sources.iter().map(origin).collect(),
            link_key: status.pointer("/session/key_id").and_then(text),
            notes: texts(&status["reasons"]),
        }
    }
}

fn origin(source: &Value) -> Origin {
    Origin {
        name: text(&source["name"]).unwrap_or_default(),
        kind: text(&source["kind"]).unwrap_or_default(),
        serial: text(&source["serial"]),
        health: source.pointer("/health/state").and_then(text),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_where_bytes_come_from() {
        let status = br#"{"state":"serving","reasons":[],"kinds":["usb"],"session":{"key_id":"ce71dc40","epoch":1},
            "sources":[{"name":"a","kind":"usb","serial":"42","state":"running","health":{"state":"passing"}},{"name":"b"}]}"#;
        let it = Provenance::of_status(status);
        assert_eq!(
            (it.state.as_str(), it.link_key.as_deref()),
            ("serving", Some("ce71dc40"))
        );
        assert_eq!(it.kinds, ["usb"]);
        assert_eq!(it.sources[0].serial.as_deref(), Some("42"));
        assert_eq!(it.sources[0].health.as_deref(), Some("passing"));
        assert_eq!(it.sources[1].serial, None);
        assert!(it.notes.is_empty());
    }

    #[test]
    fn what_is_not_known_is_said() {
        for odd in [
            &b"{}"[..],
            b"[]",
            b"null",
            br#"{"sources":7,"kinds":{},"state":1}"#,
        ] {
            let it = Provenance::of_status(odd);
            assert_eq!(it.state, "unknown");
            assert!(it.sources.is_empty() && it.kinds.is_empty());
        }
        assert!(Provenance::of_status(b"<html>").notes[0].contains("no JSON"));
    }
}
