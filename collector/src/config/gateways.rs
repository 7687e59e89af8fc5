//! The gateways: addresses and keys that one gateway alone has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use qrng::packet::SLOTS;
use qrng_daemon::{PSK_REMEDY, PSK_VARIABLE, Problems, path_in};

use super::raw::RawGateway;
use super::{Gateway, KeyCheck, Reach, push};
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
    let ways: Vec<_> = (1..)
        .zip(&raw)
        .map(|(number, raw)| reach(problems, &format!("gateway {number}"), file, raw))
        .collect();
    let checked = key_ids(problems, &files, &ways, keys);
    let mut gateways = Vec::new();
    // The gateway's number by each thing that is its alone.
    let mut seen = HashMap::new();
    let all = raw
        .into_iter()
        .zip(ways)
        .zip(files.into_iter().zip(checked));
    for (number, ((raw, reach), (key, id))) in (1..).zip(all) {
        let place = format!("gateway {number}");
        let id = problems.keep(
            &format!("{place}: key"),
            id,
            "name the collector's key file that `qrng keygen` made",
        );
        let (Some(reach), Some(key_id)) = (reach, id) else {
            continue;
        };
        let mut gateway = Gateway {
            name: String::new(),
            reach,
            key,
            key_id,
        };
        gateway.name = raw.name.unwrap_or_else(|| gateway.place());
        let address = match &gateway.reach {
            Reach::Udp(_) => "address",
            Reach::Push(_) => "url",
        };
        for (what, value) in [
            (address, gateway.place()),
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

/// For each key file the key's id, or what is wrong with it. What is wrong with the keys for pushing is noted.
fn key_ids(
    problems: &mut Problems,
    files: &[PathBuf],
    ways: &[Option<Reach>],
    keys: KeyCheck<'_>,
) -> Vec<Result<String, String>> {
    let pushed = (1..).zip(ways).filter_map(|(number, way)| match way {
        Some(Reach::Push(push)) => Some((number, push.api_key.clone())),
        _ => None,
    });
    let (numbers, api_keys): (Vec<u16>, Vec<_>) = pushed.unzip();
    let checked = problems.keep(
        "gateway",
        keys(files, &api_keys).map_err(|e| format!("the key files cannot be checked: {e:#}")),
        "see the log",
    );
    let Checked {
        psk,
        mut keys,
        api_keys,
    } = checked.unwrap_or_default();
    if let Some(what) = psk {
        let variable = format!("environment variable {PSK_VARIABLE}");
        problems.add(&variable, what, PSK_REMEDY);
    }
    for (number, checked) in numbers.into_iter().zip(api_keys) {
        let _ = problems.keep(
            &format!("gateway {number}: push.api-key"),
            checked,
            "put the key that `qrng-http --new-key` has printed into a file of its own",
        );
    }
    keys.resize_with(files.len(), || Err("was not checked".into()));
    keys
}

/// How the gateway at `place` is reached.
fn reach(problems: &mut Problems, place: &str, file: &Path, raw: &RawGateway) -> Option<Reach> {
    let key = format!("{place}: address");
    let remedy = "write the gateway's ip:port, for instance \"192.0.2.10:4790\"";
    match (&raw.address, &raw.push) {
        (Some(address), None) => {
            let address = problems.keep(&key, one_host(address), remedy);
            address.map(Reach::Udp)
        }
        (None, Some(push)) => push::check(problems, place, file, push).map(Reach::Push),
        (None, None) => {
            problems.add(&key, "is missing", remedy);
            None
        }
        (Some(_), Some(_)) => {
            problems.add(
                &key,
                "is given, and [gateway.push] as well",
                "leave one out: a gateway is sent to or pushed to",
            );
            None
        }
    }
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
