//! The section `[stream]`: a Unix socket for programs where there is no mount.

use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};
use qrng_daemon::{PATH_MAX, Problems};
use serde::Deserialize;

use crate::stream::StreamConfig;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawStream {
    listen: PathBuf,
    #[serde(default = "default_mode")]
    mode: String,
    group: Option<String>,
    users: Option<Vec<String>>,
}

fn default_mode() -> String {
    "0660".into()
}

impl RawStream {
    /// The checked section. What is wrong is noted, and the value is then not used.
    pub(super) fn check(self, problems: &mut Problems) -> StreamConfig {
        if !self.listen.is_absolute() || self.listen.file_name().is_none() {
            problems.add(
                "stream.listen",
                format_args!(
                    "{} is not an absolute path of a file",
                    self.listen.display()
                ),
                "give one, such as /run/qrng-gateway/stream.socket",
            );
        }
        if self.listen.as_os_str().len() > PATH_MAX {
            problems.add(
                "stream.listen",
                "is longer than the path of a socket can be",
                format_args!("give at most {PATH_MAX} bytes"),
            );
        }
        StreamConfig {
            mode: mode(&self.mode, problems),
            group: self.group.and_then(|name| group(&name, problems)),
            users: self.users.map(|names| {
                names
                    .iter()
                    .filter_map(|name| user(name, problems))
                    .collect()
            }),
            listen: self.listen,
        }
    }
}

fn mode(text: &str, problems: &mut Problems) -> u32 {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
        .unwrap_or_else(|| {
            problems.add(
                "stream.mode",
                format_args!("{text:?} is no mode"),
                "give three octal digits, such as \"0660\"",
            );
            0
        })
}

fn group(name: &str, problems: &mut Problems) -> Option<Gid> {
    let remedy = "name one that there is (getent group), or make it with groupadd";
    match problems.keep("stream.group", Group::from_name(name), remedy)? {
        Some(group) => Some(group.gid),
        None => {
            problems.add(
                "stream.group",
                format_args!("there is no group {name:?}"),
                remedy,
            );
            None
        }
    }
}

fn user(name: &str, problems: &mut Problems) -> Option<Uid> {
    let remedy = "name one that there is (getent passwd), or make it with useradd";
    match problems.keep("stream.users", User::from_name(name), remedy)? {
        Some(user) => Some(user.uid),
        None => {
            problems.add(
                "stream.users",
                format_args!("there is no user {name:?}"),
                remedy,
            );
            None
        }
    }
}
