//! The gateways: addresses and keys that one gateway alone has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use qrng::packet::SLOTS;
use qrng_daemon::{PSK_REMEDY, PSK_VARIABLE, Problems, path_in};

use super::raw::RawGateway;
use super::{Gateway, KeyCheck};
use crate::messages::Checked;

/// The most gateways: each has its slot.
const MOST_GATEWAYS: usize = SLOTS as usize;

/// Checks the gateways of the configuration in `file`, and has their key files checked.
pub(super) fn check(
    problems: &mut Problems,
    file: &Path,
    raw: Vec<RawGateway>,
    keys: KeyCheck<'_>,
) -> Vec<Gateway> {
    if raw.is_empty() {
        problems.add(
            "gateway",
            "there is none",
            "add a [[gateway]] section with address and key",
        );
    }
    if raw.len() > MOST_GATEWAYS {
        problems.add(
            "gateway",
            format!("there are {}", raw.len()),
            format!("use another collector for what is beyond {MOST_GATEWAYS}"),
        );
    }
    let files: Vec<PathBuf> = raw.iter().map(|raw| path_in(file, &raw.key)).collect();
    let ids = key_ids(problems, &files, keys);
    let mut gateways = Vec::new();
    // The gateway's number by each thing that is its alone.
    let mut seen = HashMap::new();
    for (number, ((raw, key), id)) in (1..).zip(raw.into_iter().zip(files).zip(ids)) {
        let place = format!("gateway {number}");
        let Some(gateway) = gateway(problems, &place, raw, key, id) else {
            continue;
        };
        for (what, value) in [
            ("address", gateway.address.to_string()),
            ("key", gateway.key_id.clone()),
            ("name", gateway.name.clone()),
        ] {
            if let Some(first) = seen.insert((what, value), number) {
                problems.add(
                    &format!("{place}: {what}"),
                    format!("is that of gateway {first} too"),
                    "give each gateway its own, or remove one: \
                     no two gateways may get the same stream",
                );
            }
        }
        gateways.push(gateway);
    }
    gateways
}

/// For each key file the key's id, or what is wrong with it.
fn key_ids(
    problems: &mut Problems,
    files: &[PathBuf],
    keys: KeyCheck<'_>,
) -> Vec<Result<String, String>> {
    let checked = problems.keep(
        "gateway",
        keys(files).map_err(|e| format!("the key files cannot be checked: {e:#}")),
        "see the log",
    );
    let Checked { psk, mut keys } = checked.unwrap_or_default();
    if let Some(what) = psk {
        let variable = format!("environment variable {PSK_VARIABLE}");
        problems.add(&variable, what, PSK_REMEDY);
    }
    keys.resize_with(files.len(), || Err("was not checked".into()));
    keys
}

fn gateway(
    problems: &mut Problems,
    place: &str,
    raw: RawGateway,
    key: PathBuf,
    id: Result<String, String>,
) -> Option<Gateway> {
    let address = problems.keep(
        &format!("{place}: address"),
        one_host(&raw.address),
        "write the gateway's ip:port, for instance \"192.0.2.10:4790\"",
    );
    let id = problems.keep(
        &format!("{place}: key"),
        id,
        "name the collector's key file that `qrng keygen` made",
    );
    let (address, key_id) = (address?, id?);
    let name = raw.name.unwrap_or_else(|| address.to_string());
    Some(Gateway {
        name,
        address,
        key,
        key_id,
    })
}

/// An address that one gateway alone can have.
fn one_host(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("`{text}` is no ip:port (names are not looked up: that would ask the network)")
    })?;
    let ip = address.ip().to_canonical();
    let many = ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if many {
        return Err(format!(
            "`{text}` is an address of many hosts, which would all get the same bytes"
        ));
    }
    if ip.is_unspecified() || address.port() == 0 {
        return Err(format!("`{text}` is no address that can be sent to"));
    }
    Ok(SocketAddr::new(ip, address.port()))
}
