//! Networks by address and prefix length: `192.0.2.0/24`, `::1`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    length: u32,
    v4: bool,
}

/// An address that came over an IPv6 socket as the IPv4 address that it is.
pub fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// The address's bits at the high end, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

impl Network {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width) = bits(address);
        (width == 32) == self.v4 && bits & mask(self.length) == self.bits
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{text:?} is no network"))?;
        let (bits, width) = bits(address);
        let length = match length {
            "" if text.contains('/') => None,
            "" => Some(width),
            digits => digits.parse().ok().filter(|length| *length <= width),
        };
        let length = length.ok_or_else(|| format!("{text:?} has no usable prefix length"))?;
        if bits & !mask(length) != 0 {
            return Err(format!("{text:?} has bits behind its prefix"));
        }
        Ok(Self {
            bits,
            length,
            v4: width == 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_networks_only() {
        let has = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("127.0.0.1", "127.0.0.1") && !has("127.0.0.1", "127.0.0.2"));
        assert!(has("0.0.0.0/0", "203.0.113.9") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:1::") && !has("2001:db8::/32", "2001:db9::"));
        assert!(has("::/0", "::1") && !has("::/0", "127.0.0.1") && !has("::1", "::2"));
        let mapped = "[::ffff:192.0.2.7]:80".parse().unwrap();
        assert_eq!(plain(mapped), "192.0.2.7".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn what_is_no_network_is_told() {
        for wrong in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
