//! Quantis appliance, hardware reference section 5: answers to HTTP GET.
//!
//! ```text
//! /api/2.0/streambytes?size=N                       N bytes, or a JSON array of them (firmware variant)
//! /api/2.0/hexbytes?quantity=N&dataLength=L         N strings of L bytes each, two digits a byte
//! /api/2.0/short|int|double|float?min=&max=&quantity=N   N numbers
//! /api/2.0/firmwareinfo, /api/2.0/systeminfo
//! ```
//!
//! Left open by the reference, and chosen here:
//! - 80,000 bytes a second; the appliance keeps 1 MiB of bytes made before, and a request waits until there are enough.
//! - A request for more than 1 MiB, or a query that makes no sense, is answered with status 400. Another path is a violation,
//!   and is answered with 404.
//! - A number is made of 2 (`short`), 4 (`int`) or 8 bytes, which the ledger calls altered.
//! - Bytes of an answer of a wrong length, or that does not arrive whole or at once, are to be thrown away: condemned.
//! - The two pages of information are small objects.

mod answers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Device;
use crate::fault::{Fault, FaultError};
use crate::ledger::{Ledger, Worth};
use crate::pace::{Full, Rate};
use crate::stream::Stream;
use crate::supply::Supply;
use crate::violations::Violations;

use answers::Query;
pub use answers::{Number, Request};

/// Bytes a second.
pub const APPLIANCE_RATE: u64 = 80_000;
/// The most bytes of one request.
pub const LARGEST: usize = 1 << 20;

/// Where an answer of status 301 points to.
const ELSEWHERE: &str = "https://elsewhere.example/";

/// What an appliance is made of.
#[derive(Debug, Clone)]
pub struct ApplianceConfig {
    /// How fast it makes bytes.
    pub rate: Rate,
    /// The number of its stream.
    pub seed: u64,
    /// Whether `streambytes` answers with a JSON array.
    pub json: bool,
    /// Its serial number, on the page `systeminfo`.
    pub serial: String,
}

impl Default for ApplianceConfig {
    fn default() -> Self {
        Self {
            rate: Rate::BytesPerSecond(APPLIANCE_RATE),
            seed: 1,
            json: false,
            serial: "QA-180042".to_owned(),
        }
    }
}

/// How an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    Whole,
    /// One byte at a time, with pauses.
    Drip,
    /// Half of it; then the connection is closed.
    Broken,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// Where it points to, if elsewhere.
    pub location: Option<&'static str>,
    /// Body.
    pub body: Vec<u8>,
    /// How it leaves.
    pub delivery: Delivery,
}

/// The appliance.
pub struct Appliance {
    config: ApplianceConfig,
    supply: Supply,
    violations: Violations,
    requests: u64,
    /// The bytes of the last answer, which a fault can give again.
    last: Vec<u8>,
}

impl Appliance {
    /// An appliance that was just switched on.
    pub fn new(config: ApplianceConfig) -> Self {
        let mut supply = Supply::new(config.rate, Full::Waits, config.seed);
        supply.start(LARGEST as u64, 0);
        Self {
            supply,
            config,
            violations: Violations::default(),
            requests: 0,
            last: Vec::new(),
        }
    }

    /// Whether it can't be reached.
    pub fn gone(&self) -> bool {
        self.supply.faults.has(Fault::Gone)
    }

    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Records what a client did that is not allowed, beside asking for a wrong path.
    pub(crate) fn violate(&mut self, text: String) {
        self.violations.add(text);
    }

    /// The answer to a GET of a path with its query; none if it has to wait: ask again.
    pub fn answer(&mut self, target: &str) -> Option<Answer> {
        let faults = &self.supply.faults;
        if faults.has(Fault::Hang) || faults.has(Fault::Gone) {
            return None;
        }
        let delivery = match () {
            () if faults.has(Fault::Drip) => Delivery::Drip,
            () if faults.has(Fault::Short) => Delivery::Broken,
            () => Delivery::Whole,
        };
        let (status, kind, body) = self.page(target)?;
        self.requests += 1;
        Some(Answer {
            status,
            kind,
            location: (300..400).contains(&status).then_some(ELSEWHERE),
            body,
            delivery,
        })
    }

    fn page(&mut self, target: &str) -> Option<(u16, &'static str, Vec<u8>)> {
        const JSON: &str = "application/json";
        if self.supply.faults.has(Fault::Html) {
            return Some((200, "text/html", answers::HTML.into()));
        }
        if let Some(status) = self.supply.faults.status() {
            return Some((status, "text/html", answers::HTML.into()));
        }
        Some(match Query::parse(target) {
            Err(answers::Wrong::Path) => {
                self.violations.add(format!("GET {target}: no such path"));
                (404, "text/html", answers::HTML.into())
            }
            Err(answers::Wrong::Query) => (400, JSON, b"{\"error\":\"bad query\"}".to_vec()),
            Ok(Query::Firmware) => (200, JSON, answers::FIRMWARE.into()),
            Ok(Query::System) => (200, JSON, answers::system(&self.config.serial)),
            Ok(Query::Random(request)) => {
                let (kind, body) = self.random(request)?;
                (200, kind, body)
            }
        })
    }

    fn random(&mut self, mut request: Request) -> Option<(&'static str, Vec<u8>)> {
        let faults = &self.supply.faults;
        if faults.has(Fault::WrongLength) {
            request.halve();
        }
        if faults.has(Fault::TooLong) {
            request.lengthen();
        }
        if faults.has(Fault::Repeat) {
            return Some(request.write(self.last.clone(), self.config.json));
        }
        let refused = [
            Fault::WrongLength,
            Fault::TooLong,
            Fault::Short,
            Fault::Drip,
        ];
        let refused = refused.iter().any(|fault| faults.has(*fault));
        if self.supply.held() < request.bytes() as u64 {
            return None;
        }
        let worth = match request {
            _ if refused => Worth::Condemned,
            Request::Stream { .. } | Request::Hex { .. } => Worth::Good,
            Request::Numbers { .. } => Worth::Altered,
        };
        let mut bytes = vec![0; request.bytes()];
        self.supply.take_as(worth, &mut bytes);
        self.last.clone_from(&bytes);
        Some(request.write(bytes, self.config.json))
    }
}

impl Device for Appliance {
    fn advance(&mut self, now: Duration) {
        self.supply.advance(now, 1);
    }

    fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::Stuck | Fault::Biased | Fault::Zeros | Fault::Ones | Fault::Slow(_) => {}
            Fault::Html | Fault::Drip | Fault::WrongLength | Fault::Short => {}
            Fault::TooLong | Fault::Repeat | Fault::Status(_) => {}
            Fault::Hang | Fault::Gone => {}
            _ => return Err(FaultError::NotHere(fault)),
        }
        self.supply.faults.add(fault);
        Ok(())
    }

    fn clear(&mut self) {
        self.supply.faults.clear();
    }

    fn stream(&self) -> &Stream {
        &self.supply.stream
    }

    fn ledger(&self) -> &Ledger {
        &self.supply.ledger
    }

    fn violations(&self) -> &Violations {
        &self.violations
    }

    fn state(&self) -> String {
        format!(
            "appliance requests={} memory={} faults=[{}]",
            self.requests,
            self.supply.held(),
            self.supply.faults
        )
    }
}
