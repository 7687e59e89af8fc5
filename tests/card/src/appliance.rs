//! The *appliance*: random bytes over HTTPS, hardware reference section 5.
//!
//! ```text
//! GET /api/2.0/streambytes?size=N   N raw bytes, or a JSON array of N numbers
//! ```
//!
//! Left open by the reference, and chosen here:
//! - An answer has a Content-Length, and says application/octet-stream or application/json.
//! - At most 1 MiB is given at a time; a request for more, for nothing, or for another path is a violation.
//! - Bytes are made when they are asked for.
//!
//! [`server`] puts the model on a loopback address, [`pki`] makes its certificates.

pub mod pki;
pub mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Device;
use crate::fault::{Fault, FaultError, Faults};
use crate::ledger::{Ledger, Worth};
use crate::stream::Stream;
use crate::violations::Violations;

/// Where random bytes are.
pub const PATH: &str = "/api/2.0/streambytes";
/// The most bytes that are given at a time.
pub const MOST: usize = 1 << 20;

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Quantis appliance</title></head>\
                    <body>Please log in.</body></html>\n";

/// How the firmware writes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// As they are.
    Raw,
    /// As a JSON array of numbers.
    Json,
}

/// What an appliance answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Content-Type.
    pub kind: &'static str,
    /// Where it points to, if elsewhere.
    pub location: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

/// An appliance.
pub struct Appliance {
    firmware: Firmware,
    stream: Stream,
    ledger: Ledger,
    faults: Faults,
    violations: Violations,
    /// The last answer's bytes.
    last: Vec<u8>,
    requests: u64,
}

impl Appliance {
    /// One with this firmware, and the stream of this seed.
    pub fn new(firmware: Firmware, seed: u64) -> Self {
        Self {
            firmware,
            stream: Stream::new(seed),
            ledger: Ledger::default(),
            faults: Faults::default(),
            violations: Violations::default(),
            last: Vec::new(),
            requests: 0,
        }
    }

    /// The faults that are active.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Answers a request, given as its first line and its header lines.
    pub fn answer(&mut self, request: &str) -> Reply {
        self.requests += 1;
        let Some(size) = self.size(request) else {
            return page(404);
        };
        for fault in self.faults.iter() {
            match fault {
                Fault::Html => return page(200),
                Fault::Status(status) => return page(status),
                _ => {}
            }
        }
        let bytes = self.make(size);
        match self.firmware {
            Firmware::Raw => Reply {
                status: 200,
                kind: "application/octet-stream",
                location: None,
                body: bytes,
            },
            Firmware::Json => Reply {
                status: 200,
                kind: "application/json",
                location: None,
                body: format!("{bytes:?}").into_bytes(),
            },
        }
    }

    /// How many bytes are wanted, if the request is as it should be.
    fn size(&mut self, request: &str) -> Option<usize> {
        let mut lines = request.lines();
        let line = lines.next().unwrap_or_default();
        let size = line
            .strip_prefix("GET ")
            .and_then(|rest| rest.strip_prefix(PATH)?.strip_prefix("?size="))
            .and_then(|rest| rest.strip_suffix(" HTTP/1.1")?.parse().ok())
            .filter(|size| (1..=MOST).contains(size));
        if size.is_none() {
            self.violations.add(format!("a request of {line:?}"));
        }
        if !lines.any(|line| line.to_ascii_lowercase().starts_with("host: ")) {
            self.violations.add("a request without Host");
        }
        size
    }

    /// The bytes of an answer to a request of `size` bytes.
    fn make(&mut self, size: usize) -> Vec<u8> {
        let (mut count, mut worth) = (size, Worth::Good);
        for fault in self.faults.iter() {
            match fault {
                Fault::Repeat => return self.last.clone(),
                Fault::WrongLength => (count, worth) = (size - 1, Worth::Condemned),
                Fault::TooLong => (count, worth) = (size + 1, Worth::Condemned),
                Fault::Cut | Fault::Drip => worth = Worth::Condemned,
                _ => {}
            }
        }
        let start = self.ledger.produced();
        let mut bytes = self.stream.bytes(start, count);
        if self.faults.distort(&mut bytes) != Worth::Good {
            worth = Worth::Altered;
        }
        self.ledger.make(count as u64);
        self.ledger.hand(start..start + count as u64, worth);
        self.last.clone_from(&bytes);
        bytes
    }
}

fn page(status: u16) -> Reply {
    Reply {
        status,
        kind: "text/html",
        location: (300..400)
            .contains(&status)
            .then_some("https://elsewhere.example/"),
        body: PAGE.into(),
    }
}

impl Device for Appliance {
    fn advance(&mut self, _: Duration) {}

    fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::Stuck
            | Fault::Biased
            | Fault::Zeros
            | Fault::Ones
            | Fault::Gone
            | Fault::Hang
            | Fault::Html
            | Fault::Drip
            | Fault::WrongLength
            | Fault::TooLong
            | Fault::Repeat
            | Fault::Status(_)
            | Fault::Cut => {
                self.faults.add(fault);
                Ok(())
            }
            _ => Err(FaultError::NotHere(fault)),
        }
    }

    fn clear(&mut self) {
        self.faults.clear();
    }

    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn violations(&self) -> &Violations {
        &self.violations
    }

    fn state(&self) -> String {
        format!(
            "appliance, firmware {:?}: {} requests, {} bytes made",
            self.firmware,
            self.requests,
            self.ledger.produced()
        )
    }
}
