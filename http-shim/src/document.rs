//! What the gateway says of itself: its status document, read once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::supply::Report;

/// From one look to the next.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// A document older than this says nothing any more.
const STALE: Duration = Duration::from_secs(5);

/// The present document.
#[derive(Default)]
pub struct Document(Mutex<Option<Arc<Look>>>);

/// One look at the gateway.
pub struct Look {
    /// The document, or why there is none.
    pub document: Result<Seen, String>,
    taken: Instant,
}

/// A document that was understood.
pub struct Seen {
    /// As it came, but for the section `users`.
    pub raw: Value,
    /// What is used of it here.
    pub gateway: Gateway,
}

/// What is used of the gateway's document. Every field may be missing, and unknown ones are passed over: the gateway may be of
/// another version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// `serving`, `waiting`, `stalled` or `latched`.
    pub state: String,
    /// Why the state is not `serving`, and what else an operator should know.
    pub reasons: Vec<String>,
    /// Seconds since the start of the gateway.
    pub uptime_seconds: f64,
    /// The store of bytes.
    pub buffer: Buffer,
    /// What became of the bytes, in bytes since the start.
    pub bytes: BTreeMap<String, f64>,
    /// Rates of the last second.
    pub rates: Rates,
    /// Datagrams that were no fault of anybody's, since the start.
    pub packets: BTreeMap<String, f64>,
    /// Datagrams refused, by reason, since the start.
    pub rejected: BTreeMap<String, f64>,
    /// Kinds of noise source that the bytes come from.
    pub kinds: Vec<String>,
    /// The noise sources that the collector reports.
    pub sources: Vec<Source>,
    /// Seconds since the last packet that was verified.
    pub last_verified_age_seconds: Option<f64>,
    /// The gateway's own health tests.
    pub health: Health,
}

/// The gateway's store.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Buffer {
    /// Most bytes it holds.
    pub capacity_bytes: f64,
    /// Bytes it holds.
    pub fill_bytes: f64,
}

/// Rates in bytes a second.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Verified bytes that came.
    pub admitted_bytes_per_second: f64,
    /// Bytes that readers got.
    pub served_bytes_per_second: f64,
}

/// A noise source.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Name.
    pub name: String,
    /// Kind, as in the packets.
    pub kind: String,
    /// Seconds since the collector's report.
    pub age_seconds: Option<f64>,
    /// What the device says of itself, by name.
    pub sensors: BTreeMap<String, f64>,
}

/// Health tests.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Health {
    /// `starting`, `passing`, `latched`, `off`.
    pub state: String,
    /// Intermittent alarms since the start.
    pub intermittent_alarms: f64,
    /// Permanent alarms since the start.
    pub permanent_alarms: f64,
}

impl Gateway {
    /// Whether nothing more is served until an operator acts.
    pub fn is_latched(&self) -> bool {
        self.state == "latched"
    }

    /// How full the buffer is, 0 to 100.
    pub fn fill_percent(&self) -> f64 {
        if self.buffer.capacity_bytes > 0.0 {
            self.buffer.fill_bytes / self.buffer.capacity_bytes * 100.0
        } else {
            0.0
        }
    }
}

impl Look {
    /// The document, unless it is too old to say anything.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fresh(&self) -> Result<&Seen, &str> {
        if self.taken.elapsed() > STALE {
            return Err("the gateway does not answer; restart it");
        }
        self.document.as_ref().map_err(String::as_str)
    }
}

impl Document {
    /// The last look; none before the first.
    pub fn last(&self) -> Option<Arc<Look>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks at the gateway anew.
    pub fn look(&self, report: &mut dyn Report) -> Arc<Look> {
        let look = Arc::new(Look {
            document: report.report().and_then(|text| understand(&text)),
            taken: Instant::now(),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&look));
        look
    }
}

fn understand(text: &[u8]) -> Result<Seen, String> {
    let not_ours =
        |e| format!("the gateway's status is not understood: {e}; use one version of qrng");
    let mut raw: Value = serde_json::from_slice(text).map_err(not_ours)?;
    // Who on the gateway's host reads how much is nothing for clients.
    if let Some(sections) = raw.as_object_mut() {
        sections.remove("users");
    }
    let gateway = Gateway::deserialize(&raw).map_err(not_ours)?;
    Ok(Seen { raw, gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Result<Vec<u8>, String>);

    impl Report for Told {
        fn report(&mut self) -> Result<Vec<u8>, String> {
            self.0.clone()
        }
    }

    #[test]
    fn other_versions_are_understood_as_far_as_they_go() {
        let document = Document::default();
        assert!(document.last().is_none());
        let text =
            br#"{"state":"serving","later":[1],"users":{"list":[]},"buffer":{"capacity_bytes":200,"fill_bytes":50}}"#;
        let look = document.look(&mut Told(Ok(text.to_vec())));
        let seen = look.fresh().unwrap();
        assert_eq!(seen.gateway.fill_percent(), 25.0);
        assert_eq!(seen.raw["later"][0], 1);
        assert_eq!(seen.raw.get("users"), None);
        for odd in [&b"nonsense"[..], b"7", br#"{"state":7}"#] {
            let look = document.look(&mut Told(Ok(odd.to_vec())));
            assert!(look.fresh().err().unwrap().contains("not understood"));
        }
        let look = document.look(&mut Told(Err("gone".into())));
        assert_eq!(look.fresh().err(), Some("gone"));
        assert_eq!(Gateway::default().fill_percent(), 0.0);
    }
}
