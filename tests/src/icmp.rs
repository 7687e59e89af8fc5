//! Forged ICMP errors on the loopback interface: "your datagram did not arrive", for one that was never sent.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use crate::frames::{UDP, checksum, ipv4};

/// Destination unreachable with all codes, source quench, time exceeded, parameter problem (RFC 792, RFC 1812).
const KINDS: [(u8, std::ops::RangeInclusive<u8>); 4] =
    [(3, 0..=15), (4, 0..=0), (11, 0..=1), (12, 0..=2)];

/// A raw socket, for root.
pub struct Forger(OwnedFd);

impl Forger {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's: only root may.
    pub fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Icmp,
        )?;
        Ok(Self(fd))
    }

    /// Sends every error there is about a datagram from `from` to `to`, to `from`'s host.
    ///
    /// # Errors
    /// The kernel's.
    pub fn errors(&self, from: SocketAddrV4, to: SocketAddrV4) -> io::Result<()> {
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        let udp = [&ports[..], &[0, 16, 0, 0], &[7; 8]].concat();
        let quoted = ipv4(&from.ip().octets(), &to.ip().octets(), UDP, &udp);
        let target = SockaddrIn::from(SocketAddrV4::new(*from.ip(), 0));
        for (kind, codes) in KINDS {
            for code in codes {
                // The next hop's MTU, where there is one.
                let head = [kind, code, 0, 0, 0, 0, 2, 0x40];
                let mut message = [&head, &quoted[..]].concat();
                let sum = checksum(&[&message]);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                sendto(self.0.as_raw_fd(), &message, &target, MsgFlags::empty())?;
            }
        }
        Ok(())
    }
}
