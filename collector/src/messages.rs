//! What the reader and the sender tell each other besides random bytes and reports.

use std::ffi::OsString;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::{Confinement, SendConfig};
use crate::counters::Counters;

/// The first message to the sender: what it is to do. Paths are sent as they are, in any encoding.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Say whether these key files can be used, and end.
    Check(Vec<OsString>),
    /// Seal and send what follows.
    Send(SendOrder),
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
}

/// A gateway as the sender knows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Destination {
    /// Its name in the log.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
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
    /// Once a second: what it has done.
    Counters(Counters),
}

/// What became of the check of key files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checked {
    /// What is wrong with the pre-shared key that the environment gives.
    pub psk: Option<String>,
    /// For each file the key's id, or what is wrong with it.
    pub keys: Vec<Result<String, String>>,
}
