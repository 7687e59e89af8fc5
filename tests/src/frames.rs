//! Ethernet frames, as they are on the wire: sent, seen, and forged.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::netns::{FAR_MAC, NEAR_MAC};

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
pub(crate) const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// The address that the kernel gives the far end by its Ethernet address (RFC 4291 appendix A).
const FAR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 2);

/// A packet socket on an interface of the present namespace: it sees and sends whole frames.
pub struct Wire(OwnedFd);

impl Wire {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's; or there is no such interface.
    pub fn open(device: &str) -> io::Result<Self> {
        let all = getifaddrs()?;
        let address = all
            .filter(|one| one.interface_name == device)
            .find_map(|one| one.address?.as_link_addr().copied())
            .ok_or(io::ErrorKind::NotFound)?;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
        setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20))?;
        bind(fd.as_raw_fd(), &address)?;
        Ok(Self(fd))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }

    /// The next frame, if one comes soon. Frames of up to 64 KiB: the kernel has not cut trains apart.
    ///
    /// # Errors
    /// The kernel's.
    pub fn next<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            // The interface is down for now.
            Err(Errno::ENETDOWN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// A datagram from the collector, as far as a forger needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The whole frame.
    pub frame: Vec<u8>,
    /// Whether it is IPv6.
    pub v6: bool,
    /// Bytes that UDP carries; those of a whole train if it was not cut apart.
    pub length: usize,
    /// The collector's port.
    pub port: u16,
    /// Whether it is a fragment.
    pub fragment: bool,
}

impl Datagram {
    /// Reads a frame from the collector; none if it is something else.
    pub fn read(frame: &[u8]) -> Option<Self> {
        if frame.get(6..12)? != NEAR_MAC {
            return None;
        }
        let kind = u16::from_be_bytes([frame[12], frame[13]]);
        let packet = &frame[ETHERNET..];
        let (v6, udp, fragment) = match kind {
            IPV4 => {
                let offset = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
                let of_udp = *packet.get(9)? == UDP;
                // More fragments, or not the first.
                (
                    false,
                    of_udp.then(|| packet.get(20..))?,
                    offset & 0x3fff != 0,
                )
            }
            IPV6 => match *packet.get(6)? {
                UDP => (true, packet.get(40..), false),
                // A fragment header.
                44 => (true, packet.get(48..), true),
                _ => return None,
            },
            _ => return None,
        };
        let udp = udp?;
        Some(Self {
            v6,
            length: udp.len().checked_sub(8)?,
            port: u16::from_be_bytes([udp[0], udp[1]]),
            fragment,
            frame: frame.to_vec(),
        })
    }

    /// Whether it goes to the gateway's Ethernet address.
    pub fn goes_to_gateway(&self) -> bool {
        self.frame[..6] == FAR_MAC
    }

    fn packet(&self) -> &[u8] {
        &self.frame[ETHERNET..]
    }

    /// Sender and receiver of the packet.
    fn addresses(&self) -> (&[u8], &[u8]) {
        let packet = self.packet();
        if self.v6 {
            (&packet[8..24], &packet[24..40])
        } else {
            (&packet[12..16], &packet[16..20])
        }
    }

    /// An ICMP or ICMPv6 message from the gateway about this datagram, with as much of it as fits.
    pub fn icmp(&self, kind: u8, code: u8, rest: [u8; 4]) -> Vec<u8> {
        let packet = self.packet();
        let quoted = &packet[..packet.len().min(520)];
        self.message(kind, code, [&rest, quoted].concat())
    }

    /// A message of the same protocol with any body.
    fn message(&self, kind: u8, code: u8, body: Vec<u8>) -> Vec<u8> {
        let (near, far) = self.addresses();
        if self.v6 {
            icmpv6(far, near, kind, code, &body)
        } else {
            let mut message = [&[kind, code, 0, 0][..], &body].concat();
            let sum = checksum(&[&message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            ethernet(IPV4, &ipv4(far, near, ICMP, &message))
        }
    }

    /// A datagram back to the port that this one came from.
    pub fn answer(&self, payload: &[u8]) -> Vec<u8> {
        let (near, far) = self.addresses();
        let header = if self.v6 { 40 } else { 20 };
        let ports = &self.packet()[header..header + 4];
        let length = (8 + payload.len()) as u16;
        let head = [&ports[2..], &ports[..2], &length.to_be_bytes(), &[0, 0]].concat();
        let mut udp = [&head, payload].concat();
        let sum = pseudo_checksum(far, near, UDP, &udp);
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        if self.v6 {
            ethernet(IPV6, &ipv6(far, near, UDP, 64, &udp))
        } else {
            ethernet(IPV4, &ipv4(far, near, UDP, &udp))
        }
    }

    /// "Use another host for this": ICMP redirects of all codes, or the one of ICMPv6 (RFC 4861).
    pub fn redirects(&self) -> Vec<Vec<u8>> {
        let (near, far) = self.addresses();
        if !self.v6 {
            let other = Ipv4Addr::new(192, 0, 2, 4).octets();
            return (0..4).map(|code| self.icmp(5, code, other)).collect();
        }
        let other: Ipv6Addr = "fe80::3".parse().unwrap_or(FAR_LINK_LOCAL);
        let option = [2, 1, 2, 0, 0, 0, 0, 3];
        let body = [&[0; 4], &other.octets()[..], far, &option].concat();
        vec![icmpv6(&FAR_LINK_LOCAL.octets(), near, 137, 0, &body)]
    }

    /// "The gateway has another Ethernet address": ARP replies and requests, or advertisements.
    pub fn poison(&self) -> Vec<Vec<u8>> {
        let (near, far) = self.addresses();
        let other = [2, 0, 0, 0, 0, 3];
        if !self.v6 {
            let arp = |operation: u8| {
                let head = [0, 1, 8, 0, 6, 4, 0, operation];
                ethernet(ARP, &[&head, &other[..], far, &NEAR_MAC, near].concat())
            };
            return vec![arp(1), arp(2)];
        }
        let flags = [0xe0, 0, 0, 0];
        let advertisement = [&flags, far, &[2, 1], &other].concat();
        // A router with another MTU for all.
        let router = [64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        let mtu = [5, 1, 0, 0, 0, 0, 5, 0];
        let router = [&router[..], &mtu].concat();
        vec![
            icmpv6(far, near, 136, 0, &advertisement),
            icmpv6(&FAR_LINK_LOCAL.octets(), near, 134, 0, &router),
        ]
    }

    /// Every error message there is about this datagram.
    pub fn errors(&self) -> Vec<Vec<u8>> {
        let small = |mtu: u16| [0, 0, (mtu >> 8) as u8, mtu as u8];
        let mut all = Vec::new();
        if self.v6 {
            all.extend((0..=7).map(|code| self.icmp(1, code, [0; 4])));
            all.extend([0, 576, 1280, 1400].map(|mtu| self.icmp(2, 0, small(mtu))));
            all.extend(
                [(3, 0), (3, 1), (4, 0), (4, 1), (4, 2)].map(|(k, c)| self.icmp(k, c, [0; 4])),
            );
        } else {
            all.extend((0..=15).map(|code| self.icmp(3, code, [0; 4])));
            all.extend([68, 552, 600, 1280, 1400].map(|mtu| self.icmp(3, 4, small(mtu))));
            // Source quench, time exceeded, parameter problem.
            all.extend(
                [(4, 0), (11, 0), (11, 1), (12, 0), (12, 1), (12, 2)]
                    .map(|(k, c)| self.icmp(k, c, [0; 4])),
            );
        }
        all.extend(self.redirects());
        all
    }
}

fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&NEAR_MAC[..], &FAR_MAC, &kind.to_be_bytes(), packet].concat()
}

pub(crate) fn ipv4(from: &[u8], to: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = ((20 + payload.len()) as u16).to_be_bytes();
    let head = [
        0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0,
    ];
    let mut packet = [&head, from, to].concat();
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [&packet, payload].concat()
}

fn ipv6(from: &[u8], to: &[u8], next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, hops];
    [&head, from, to, payload].concat()
}

fn icmpv6(from: &[u8], to: &[u8], kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], body].concat();
    let sum = pseudo_checksum(from, to, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    // Neighbour discovery is believed only if no router can have passed it on.
    ethernet(IPV6, &ipv6(from, to, ICMPV6, 255, &message))
}

/// The checksum over a pseudo-header, too (RFC 768, RFC 8200 section 8.1).
fn pseudo_checksum(from: &[u8], to: &[u8], protocol: u8, payload: &[u8]) -> u16 {
    let length = (payload.len() as u32).to_be_bytes();
    match checksum(&[from, to, &length, &[0, 0, 0, protocol], payload]) {
        0 => 0xffff,
        sum => sum,
    }
}

/// The internet checksum (RFC 1071) of parts of even length, the last of any.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 1071 section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
        assert_eq!(checksum(&[&[0xff]]), 0x00ff);
    }
}
