//! The gateways: addresses and keys that one gateway alone has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use qrng::keys::CollectorKey;
use qrng::packet::SLOTS;
use qrng_daemon::{Problems, Psk, path_in, read_secret};
use zeroize::Zeroizing;

use super::Gateway;
use super::raw::RawGateway;

/// The most gateways: each has its slot.
const MOST_GATEWAYS: usize = SLOTS as usize;

/// Checks the gateways of the configuration in `file`, and reads their key files.
pub(super) fn check(
    problems: &mut Problems,
    file: &Path,
    raw: Vec<RawGateway>,
    psk: &Psk,
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
    let psk = psk.check(problems);
    let mut gateways = Vec::new();
    // The gateway's number by each thing that is its alone.
    let mut seen = HashMap::new();
    for (number, raw) in (1..).zip(raw) {
        let place = format!("gateway {number}");
        let Some(gateway) = gateway(problems, &place, file, raw, psk.as_ref()) else {
            continue;
        };
        for (what, value) in [
            ("address", gateway.address.to_string()),
            ("key", gateway.key.key_id().to_string()),
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

fn gateway(
    problems: &mut Problems,
    place: &str,
    file: &Path,
    raw: RawGateway,
    psk: Option<&Zeroizing<[u8; 32]>>,
) -> Option<Gateway> {
    let address = problems.keep(
        &format!("{place}: address"),
        one_host(&raw.address),
        "write the gateway's ip:port, for instance \"192.0.2.10:4790\"",
    );
    let key = key(problems, place, &path_in(file, &raw.key));
    let (address, mut key) = (address?, key?);
    if let Some(psk) = psk {
        key = key.with_psk(psk.clone());
    }
    let name = raw.name.unwrap_or_else(|| address.to_string());
    Some(Gateway { name, address, key })
}

fn key(problems: &mut Problems, place: &str, path: &Path) -> Option<CollectorKey> {
    let key = format!("{place}: key");
    let text = problems.keep(
        &key,
        read_secret(path),
        "name the collector's key file that `qrng keygen` made",
    )?;
    let parsed = CollectorKey::parse(&text).map_err(|e| format!("{}: {e}", path.display()));
    problems.keep(
        &key,
        parsed,
        "name the collector's key file that `qrng keygen` made",
    )
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
