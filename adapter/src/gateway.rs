//! The gateway as a consumer sees it: its bytes, and what it says of itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use qrng_consumer::{Client, Consumer, ConsumerError};
use serde_json::Value;

/// A gateway's stream socket, connected to when it is needed.
#[derive(Debug)]
pub struct Gateway {
    path: PathBuf,
    consumer: Option<Consumer>,
}

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// serving, waiting, stalled or latched; empty if it does not say.
    pub state: String,
    /// Kinds of noise source behind all bytes since it started.
    pub kinds: Vec<String>,
    /// Bytes that wait for readers.
    pub fill: u64,
    /// For how long it has run, in seconds.
    pub uptime: u64,
}

impl Gateway {
    /// The one whose socket is at `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            consumer: None,
        }
    }

    /// Another connection to it, for another thread.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.path)
    }

    /// Fills `out` whole, or not at all; see [`Consumer::take`].
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn take(&mut self, out: &mut [u8], wait: Duration) -> Result<(), ConsumerError> {
        self.consumer()?.take(out, Some(wait))
    }

    /// At least one byte; see [`Consumer::take_some`].
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn take_some(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, ConsumerError> {
        self.consumer()?.take_some(out, Some(wait))
    }

    /// At least one byte for a client that waits; see [`Consumer::take_some_for`].
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn take_some_for(
        &mut self,
        client: Client<'_>,
        out: &mut [u8],
    ) -> Result<usize, ConsumerError> {
        self.consumer()?.take_some_for(client, out, None)
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn told(&mut self) -> Result<Told, ConsumerError> {
        let document = self.consumer()?.status()?;
        Ok(Told::of(&document))
    }

    fn consumer(&mut self) -> Result<&mut Consumer, ConsumerError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => Consumer::connect(&self.path)?,
        };
        Ok(self.consumer.insert(consumer))
    }
}

impl Told {
    /// What a status document says. Anything may be absent.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(document).unwrap_or_default();
        let number = |at: &str| status.pointer(at).and_then(Value::as_u64).unwrap_or(0);
        let kinds = status["kinds_since_start"].as_array();
        let kinds = kinds.map(Vec::as_slice).unwrap_or_default().iter();
        Self {
            state: status["state"].as_str().unwrap_or_default().to_owned(),
            kinds: kinds.filter_map(|k| Some(k.as_str()?.to_owned())).collect(),
            fill: number("/buffer/fill_bytes"),
            uptime: number("/uptime_seconds"),
        }
    }

    /// Whether it has stopped for good, because a test failed.
    #[must_use]
    pub fn is_latched(&self) -> bool {
        self.state == "latched"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_what_is_absent_is_nothing() {
        let told = Told::of(
            br#"{"state":"serving","uptime_seconds":7,"kinds":["usb"],"kinds_since_start":["usb","simulator"],
            "buffer":{"fill_bytes":12}}"#,
        );
        assert_eq!((told.fill, told.uptime), (12, 7));
        assert_eq!(told.kinds, ["usb", "simulator"]);
        assert!(!told.is_latched());
        for odd in [
            &b"{}"[..],
            b"[1]",
            b"no",
            br#"{"state":1,"kinds_since_start":[2]}"#,
        ] {
            let told = Told::of(odd);
            assert_eq!((told.state.as_str(), told.kinds.len()), ("", 0));
        }
    }

    #[test]
    fn without_a_gateway_there_is_nothing() {
        let mut gateway = Gateway::new(Path::new("/nonexistent/s"));
        let error = gateway.take_some(&mut [0], Duration::ZERO).unwrap_err();
        assert!(matches!(error, ConsumerError::Absent { .. }), "{error}");
        assert!(gateway.told().is_err());
    }
}
