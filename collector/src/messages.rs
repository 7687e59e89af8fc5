//! What the reader and the sender, and the reader and the pusher, tell each other besides random bytes and reports.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Confinement, SendConfig};
use crate::counters::Counters;
use crate::pusher::PushCounters;

/// The first message to the sender: what it is to do. Paths are sent as they are, in any encoding.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Say whether these key files can be used, and end.
    Check(Files),
    /// Seal and send what follows.
    Send(SendOrder),
}

/// Files with keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct Files {
    /// Of links.
    pub keys: Vec<OsString>,
    /// With which gateways are pushed to.
    pub api_keys: Vec<OsString>,
}

/// All that sealing and sending need.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendOrder {
    /// The gateways, each by its slot.
    pub gateways: Vec<Destination>,
    /// How to send.
    pub send: SendConfig,
    /// Where the epoch file is.
    pub state_directory: OsString,
    /// Whether to be confined.
    pub confinement: Confinement,
    /// The pipe to the pusher, if there is one, by its number: the sender is started with it.
    pub pusher: Option<i32>,
}

/// All that pushing needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct PushOrder {
    /// The gateways that are pushed to.
    pub gateways: Vec<PushTo>,
    /// Whether to be confined.
    pub confinement: Confinement,
}

/// A gateway as the pusher knows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct PushTo {
    /// Its name in the log.
    pub name: String,
    /// `https://`, host and port.
    pub url: String,
    /// The host in it.
    pub host: String,
    /// The port in it.
    pub port: u16,
    /// The file with the key that lets us push.
    pub api_key: OsString,
    /// The file with certificates of who issued its.
    pub ca_file: OsString,
    /// How long packets may wait for others.
    pub interval: Duration,
    /// Bytes of packets that may wait.
    pub queue: usize,
}

/// How the sender gets packets to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Datagrams to this address.
    Udp(SocketAddr),
    /// By the pusher, to the gateway of this number among those that it has.
    Pusher(u16),
}

/// A gateway as the sender knows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Destination {
    /// Its name in the log.
    pub name: String,
    /// Where it is, for the log.
    pub place: String,
    /// How packets get there.
    pub way: Way,
    /// The file with the key shared with it.
    pub key: OsString,
}

/// What the sender answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The key files were looked at.
    Checked(Checked),
    /// It is confined, and waits for bytes.
    Ready {
        /// The version of Landlock that it is under, if it is confined.
        landlock: Option<u32>,
    },
    /// It cannot do it, and ends.
    Refused(String),
    /// Once a second: what the sender has done.
    Counters(Counters),
    /// Once a second: what the pusher has done.
    Pushed(Vec<PushCounters>),
}

/// What became of the check of key files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checked {
    /// What is wrong with the pre-shared key that the environment gives.
    pub psk: Option<String>,
    /// For each file the key's id, or what is wrong with it.
    pub keys: Vec<Result<String, String>>,
    /// For each file with a key for pushing whether it can be used, or what is wrong with it.
    pub api_keys: Vec<Result<(), String>>,
}
