//! The section `[shares]`: how users share scarce bytes, and how many each may have a day.

use std::collections::BTreeMap;

use nix::unistd::User;
use qrng::units::Amount;
use qrng_daemon::Problems;
use serde::Deserialize;

use crate::shares::{MAX_USERS, NamedUser, SharesConfig};

/// The largest weight.
const WEIGHT_MAX: u32 = 1000;

/// The smallest quota, in bytes: whoever may read should get a seed of `urandom`, and some records.
const QUOTA_MIN: u64 = 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawShares {
    quota: Option<Amount>,
    users: BTreeMap<String, RawUser>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawUser {
    #[serde(default = "default_weight")]
    weight: u32,
    quota: Option<Amount>,
}

fn default_weight() -> u32 {
    1
}

impl RawShares {
    /// The checked section. What is wrong is noted, and the value is then not used.
    pub(super) fn check(self, problems: &mut Problems) -> SharesConfig {
        let quota = self
            .quota
            .and_then(|amount| quota("shares.quota", &amount, problems));
        if self.users.len() > MAX_USERS / 2 {
            problems.add(
                "shares.users",
                format_args!("names {} users", self.users.len()),
                format_args!("name at most {}", MAX_USERS / 2),
            );
        }
        let mut users: Vec<NamedUser> = Vec::new();
        for (name, raw) in self.users {
            let key = format!("shares.users.{name}");
            let Some(user) = raw.check(&key, name, quota, problems) else {
                continue;
            };
            if let Some(twice) = users.iter().find(|other| other.uid == user.uid) {
                problems.add(
                    &key,
                    format_args!("is user {}, as {:?} is", user.uid, twice.name),
                    "name each user once",
                );
            }
            users.push(user);
        }
        SharesConfig { quota, users }
    }
}

impl RawUser {
    /// `default` is the quota of those who have none of their own.
    fn check(
        self,
        key: &str,
        name: String,
        default: Option<u64>,
        problems: &mut Problems,
    ) -> Option<NamedUser> {
        if !(1..=WEIGHT_MAX).contains(&self.weight) {
            problems.add(
                &format!("{key}.weight"),
                format_args!("{} is out of range", self.weight),
                format_args!("give 1 to {WEIGHT_MAX}"),
            );
        }
        let quota = match &self.quota {
            None => default,
            Some(amount) if amount.text() == "none" => None,
            Some(amount) => Some(quota(&format!("{key}.quota"), amount, problems)?),
        };
        Some(NamedUser {
            uid: uid(key, &name, problems)?,
            name,
            weight: self.weight,
            quota,
        })
    }
}

fn quota(key: &str, amount: &Amount, problems: &mut Problems) -> Option<u64> {
    let remedy = "give bytes a day, such as \"100 MiB\"";
    let bytes = problems.keep(key, amount.size(), remedy)?;
    if bytes < QUOTA_MIN {
        problems.add(
            key,
            format_args!("{bytes} bytes a day are too few"),
            format_args!("give {QUOTA_MIN} or more, or leave it out for no limit"),
        );
        return None;
    }
    Some(bytes)
}

/// The number of a user that is given by name or by number.
fn uid(key: &str, name: &str, problems: &mut Problems) -> Option<u32> {
    if let Ok(uid) = name.parse() {
        return Some(uid);
    }
    let remedy = "name one that there is (getent passwd), give its number, or make it with useradd";
    match problems.keep(key, User::from_name(name), remedy)? {
        Some(user) => Some(user.uid.as_raw()),
        None => {
            problems.add(key, format_args!("there is no user {name:?}"), remedy);
            None
        }
    }
}
