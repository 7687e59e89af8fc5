//! The section `[device]`: files as character devices.

use qrng_daemon::Problems;
use serde::Deserialize;

use crate::tree::{Entry, NODES, Node};

/// What each name begins with: udev's rule gives devices so called their permissions, and no other driver's is taken.
const PREFIX: &str = "qrng";

/// Longest name, in bytes.
const NAME_MAX: usize = 32;

/// A device to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The name below /dev.
    pub name: String,
    /// The file that it is.
    pub file: &'static Entry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDevice {
    raw: Option<String>,
    random: Option<String>,
    urandom: Option<String>,
}

impl RawDevice {
    /// The checked section. What is wrong is noted, and the device is then not made.
    pub(super) fn check(self, problems: &mut Problems) -> Vec<DeviceConfig> {
        let mut devices: Vec<DeviceConfig> = Vec::new();
        for (key, node, name) in [
            ("device.raw", Node::Raw, self.raw),
            ("device.random", Node::Random, self.random),
            ("device.urandom", Node::Urandom, self.urandom),
        ] {
            let Some(name) = name else { continue };
            if let Err(why) = check_name(&name) {
                problems.add(
                    key,
                    format_args!("{name:?} {why}"),
                    format_args!(
                        "give a name of lower-case letters, digits and dashes that begins with {PREFIX}, such as {PREFIX:?}"
                    ),
                );
            } else if devices.iter().any(|device| device.name == name) {
                problems.add(
                    key,
                    format_args!("another device is called {name:?}, too"),
                    "give each device a name of its own",
                );
            } else if let Some(file) = NODES.iter().find(|entry| entry.node == node) {
                devices.push(DeviceConfig { name, file });
            }
        }
        if devices.is_empty() {
            problems.add(
                "device",
                "names no device",
                "add raw = \"qrng\" or urandom = \"qrng-urandom\", or leave the section out",
            );
        }
        devices
    }
}

/// Whether a device may be called so.
///
/// # Errors
/// What is wrong with the name, to be said after it.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > NAME_MAX {
        Err("is longer than 32 bytes")
    } else if !name.bytes().all(good) {
        Err("has other characters than a device may have")
    } else if !name.starts_with(PREFIX) {
        Err("does not begin with qrng")
    } else {
        Ok(())
    }
}
