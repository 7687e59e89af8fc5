//! The status documents of both daemons, as far as people are shown them.
//!
//! Every field may be missing and unknown ones are passed over, so that this command and the
//! daemons need not be upgraded in one step.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The gateway's document (`MOUNT/status`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// `serving`, `waiting`, `stalled` or `latched`.
    pub state: String,
    /// Why the state is not `serving`, and what else an operator should know.
    pub reasons: Vec<String>,
    /// Seconds since the start of the process.
    pub uptime_seconds: f64,
    /// Version of the gateway.
    pub version: String,
    /// The store of bytes.
    pub buffer: Buffer,
    /// What became of the bytes, since the start.
    pub bytes: Bytes,
    /// Datagrams that were no fault of anybody's, since the start.
    pub packets: Packets,
    /// Datagrams refused, by reason, since the start.
    pub rejected: BTreeMap<String, u64>,
    /// The key files.
    pub keys: Vec<KeyFile>,
    /// The session in use.
    pub session: Option<Session>,
    /// The noise sources the collector reports.
    pub sources: Vec<Source>,
    /// Kinds of noise sources that the bytes come from.
    pub kinds: Vec<String>,
    /// Seconds since the last packet that was verified.
    pub last_verified_age_seconds: Option<f64>,
    /// How far our clock is ahead of the collector's, in seconds.
    pub clock_skew_seconds: Option<f64>,
    /// Who reads.
    pub readers: Readers,
    /// What each user has had.
    pub users: Users,
    /// What the gateway's own health tests say; see [`super::health`].
    pub health: Option<Value>,
    /// Alarms, where they are listed by themselves.
    pub alarms: Vec<Value>,
    /// Whether it is confined; empty in a document that does not say.
    pub confinement: Confinement,
}

impl Gateway {
    /// Whether readers get bytes.
    pub fn is_serving(&self) -> bool {
        self.state == "serving"
    }

    /// Whether nothing more is served until an operator acts.
    pub fn is_latched(&self) -> bool {
        self.state == "latched"
    }

    /// Whether it is the collector that has latched, and not this gateway's own tests.
    pub fn is_latched_at_collector(&self) -> bool {
        let latched = |state: Option<&Value>| state.is_some_and(|state| state == "latched");
        let own = self.health.as_ref().and_then(|health| health.get("state"));
        self.is_latched()
            && !latched(own)
            && self
                .sources
                .iter()
                .any(|source| latched(source.state.as_ref()))
    }
}

/// The gateway's store of bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Buffer {
    /// Most bytes it holds now.
    pub capacity_bytes: u64,
    /// Most bytes it was set to hold; less are held when memory is short.
    pub set_capacity_bytes: Option<u64>,
    /// Bytes it holds.
    pub fill_bytes: u64,
    /// `discard` or `replace`.
    pub overflow_policy: String,
    /// Bytes of it that cannot be swapped out.
    pub locked_bytes: Option<u64>,
}

/// What became of the bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Verified and put into the buffer, or dropped because it was full.
    pub admitted: u64,
    /// Handed to a reader.
    pub served: u64,
    /// Taken for a reader that died.
    pub destroyed: u64,
    /// New bytes dropped because the buffer was full.
    pub overflow_discarded: u64,
    /// Old bytes replaced because the buffer was full.
    pub overflow_replaced: u64,
    /// Verified, and destroyed because the health tests did not let them pass.
    pub withheld: u64,
    /// Made by the gateway's generators, for `random` and `urandom`.
    pub generated: u64,
}

impl Bytes {
    /// Bytes lost to a full buffer, whatever the policy.
    pub fn overflow(&self) -> u64 {
        self.overflow_discarded
            .saturating_add(self.overflow_replaced)
    }
}

/// Datagrams.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Packets {
    /// Data packets verified and used.
    pub admitted: u64,
    /// Numbers that never came.
    pub lost: u64,
    /// Datagrams that the socket had no room for.
    pub socket_drops: u64,
    /// Announcements verified.
    pub announcements: u64,
}

/// The session in use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Names the key pair.
    pub key_id: Value,
    /// The session's start by the collector's clock, microseconds since the Unix epoch.
    pub epoch: u64,
    /// Which of the collector's gateways we are.
    pub slot: Option<u64>,
}

/// A key file of the gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct KeyFile {
    /// Where it is.
    pub file: String,
    /// Today's key.
    pub key_id: Option<String>,
    /// The last day of a calendar.
    pub last_day: Option<String>,
    /// Days after today that there are keys for; less than 0 if there is none for today.
    pub days_left: Option<i64>,
    /// Keys of past days that have been destroyed.
    pub destroyed: u64,
}

/// A noise source.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Kind, as in the packets.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Serial number, if the device has one.
    pub serial: Option<String>,
    /// What the collector says of it.
    pub state: Option<Value>,
    /// Seconds since the collector's report.
    pub age_seconds: Option<f64>,
    /// What the device says of itself, by name.
    pub sensors: BTreeMap<String, u64>,
    /// What the collector's health tests say of it; see [`super::health`].
    pub health: Option<Value>,
}

/// Readers at this moment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Readers {
    /// Reads that wait for bytes.
    pub waiting: u64,
}

/// What users have had since the start.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Users {
    /// Each of them, those with most bytes first.
    pub list: Vec<User>,
}

/// One user.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its number; none: all users who have no account of their own.
    pub uid: Option<u64>,
    /// What the configuration calls it.
    pub name: Option<String>,
    /// Bytes that it has had.
    pub bytes: u64,
    /// Of all users' bytes, in percent.
    pub percent: f64,
    /// How often it had to wait.
    pub waits: u64,
    /// Its part beside others; 0 in a document that does not say.
    pub weight: u64,
    /// Bytes that are left of its quota for today.
    pub quota_left_bytes: Option<u64>,
}

/// The collector's document (`status.json` in its runtime directory).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Collector {
    /// `running`; or `degraded`, `silent`, `failed`, `ended`, `latched`: what the noise source does.
    pub state: String,
    /// Why the state is not `running`, and what else an operator should know.
    pub reasons: Vec<String>,
    /// What is configured so that somebody should know of it.
    pub warnings: Vec<String>,
    /// Seconds since the start of the process.
    pub uptime_seconds: f64,
    /// Version of the collector.
    pub version: String,
    /// The noise source, or the first of several with the bytes of all together.
    pub source: Acquired,
    /// All of them, if there are several.
    pub sources: Vec<Acquired>,
    /// How several of them become one.
    pub combining: Option<Combining>,
    /// The gateways that it sends to.
    pub gateways: Vec<Destination>,
    /// Which of its processes are confined; empty in a document that does not say.
    pub confinement: Confinement,
}

/// Which of a daemon's processes are confined: `enforced`, or what they are instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// The gateway.
    pub gateway: String,
    /// The one with the keys and the sockets.
    pub sender: String,
    /// The one with the devices.
    pub reader: String,
    /// The one that pushes, if there is one.
    pub pusher: Option<String>,
}

impl Confinement {
    /// The processes that are not confined.
    pub fn missing(&self) -> Vec<&'static str> {
        let none = String::new();
        let all = [
            ("gateway", &self.gateway),
            ("sender", &self.sender),
            ("reader", &self.reader),
            ("pusher", self.pusher.as_ref().unwrap_or(&none)),
        ];
        let off = all.iter().filter(|(_, how)| *how == "off-insecure");
        off.map(|(process, _)| *process).collect()
    }
}

impl Collector {
    /// Whether bytes leave for a gateway, if only of some of several sources.
    pub fn is_sending(&self) -> bool {
        matches!(self.state.as_str(), "running" | "degraded")
    }

    /// Whether nothing more is sent until an operator acts.
    pub fn is_latched(&self) -> bool {
        self.state == "latched"
    }

    /// The noise sources, one or several.
    pub fn all_sources(&self) -> &[Acquired] {
        if self.sources.is_empty() {
            std::slice::from_ref(&self.source)
        } else {
            &self.sources
        }
    }
}

/// The noise source as the collector sees it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Acquired {
    /// Kind, as in the packets.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Serial number, if the device has one.
    pub serial: Option<String>,
    /// Why it cannot be read.
    pub error: Option<String>,
    /// What it does.
    pub state: Option<Value>,
    /// Bytes read from it, since the start.
    pub bytes_acquired: u64,
    /// How often it failed, by what was wrong, since the start.
    pub faults: BTreeMap<String, u64>,
    /// What the device says of itself, by name.
    pub sensors: BTreeMap<String, u64>,
    /// The devices that it is made of, if it is made of several.
    pub parts: Vec<Part>,
    /// How its bytes are conditioned.
    pub conditioning: Option<Conditioning>,
    /// What the health tests say of it; see [`super::health`].
    pub health: Option<Value>,
}

/// One of several devices that a source is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    /// What tells it from the others.
    pub name: String,
    /// Why it gives nothing, if so.
    pub error: Option<String>,
    /// Bytes that it gave, since the start.
    pub bytes: u64,
    /// How often it failed, by what was wrong, since the start.
    pub faults: BTreeMap<String, u64>,
}

/// How the bytes of a source are conditioned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditioning {
    /// Method, `none` if they are not.
    pub method: String,
    /// Bits of min-entropy in one bit that are claimed of the source.
    pub min_entropy_per_bit_before: Option<f64>,
    /// The same of what comes out.
    pub min_entropy_per_bit_after: Option<f64>,
}

/// How several sources become one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Combining {
    /// `xor` or `hkdf`.
    pub method: String,
    /// `stop` or `continue`.
    pub on_failure: String,
    /// Sources that deliver.
    pub sources_working: u64,
    /// Why nothing is sent.
    pub stopped: Option<String>,
}

/// A gateway as the collector sees it: an address it sends to and never hears from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Name in the configuration.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Names the key pair.
    pub key_id: String,
    /// The last day of a calendar of keys.
    pub last_key_day: Option<String>,
    /// Days after today that there are keys for; less than 0 if there is none for today.
    pub key_days_left: Option<i64>,
    /// Data packets made for it.
    pub sealed_packets: u64,
    /// Bytes of the datagrams that the kernel took.
    pub sent_bytes: u64,
    /// Datagrams that the kernel refused to send.
    pub failed_datagrams: u64,
    /// What was pushed; none if datagrams are sent.
    pub push: Option<Pushed>,
}

/// What was pushed to a gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pushed {
    /// Packets that it took.
    pub packets: u64,
    /// Packets that were never pushed.
    pub dropped: u64,
    /// Bytes that wait.
    pub queued: u64,
}
