//! The gateway's stream socket as a supply, where there is no mount (docs/stream.md).

use std::path::{Path, PathBuf};
use std::time::Duration;

use qrng_consumer::{Consumer, ConsumerError};

use super::{NoBytes, Report, Supply};

/// A connection to the socket of a gateway.
pub struct Stream {
    path: PathBuf,
    consumer: Option<Consumer>,
}

impl Stream {
    /// The socket at `path`; it is connected to when it is needed, and again after the gateway was restarted.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            consumer: None,
        }
    }

    fn consumer(&mut self) -> Result<&mut Consumer, ConsumerError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => Consumer::connect(&self.path)?,
        };
        Ok(self.consumer.insert(consumer))
    }
}

impl Supply for Stream {
    fn take(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, NoBytes> {
        let taken = self
            .consumer()
            .and_then(|consumer| consumer.take_some(out, Some(wait)));
        taken.map_err(|e| match e {
            ConsumerError::Empty { .. } => NoBytes::Empty,
            ConsumerError::Latched { .. } | ConsumerError::Stalled { .. } => NoBytes::Refused,
            ConsumerError::Quota { .. } => NoBytes::Quota,
            other => NoBytes::Gone(other.to_string()),
        })
    }
}

impl Report for Stream {
    fn report(&mut self) -> Result<Vec<u8>, String> {
        self.consumer()
            .and_then(Consumer::status)
            .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gateway_there_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut stream = Stream::new(&directory.path().join("none"));
        let none = stream.take(&mut [0; 8], Duration::ZERO).unwrap_err();
        assert!(matches!(&none, NoBytes::Gone(what) if what.contains("no gateway listens")));
        assert!(stream.report().unwrap_err().contains("no gateway listens"));
    }
}
