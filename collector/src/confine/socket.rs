//! Deaf sockets: UDP sockets that send and are never told anything.
//!
//! | A way back | What closes it |
//! |---|---|
//! | datagrams to the socket's port | a filter that drops all of them before they are queued, and cannot be taken off (SO_LOCK_FILTER). It is on before the socket has a port |
//! | ICMP errors, told by the next send | the socket is never connected, and IP_RECVERR is off |
//! | ICMP "fragmentation needed", which lowers the route's MTU | IP_PMTUDISC_INTERFACE: datagrams are as large as the interface takes, are never cut, and such messages are passed over |
//! | a neighbour that does not answer, whose queue holds the send buffer | a send buffer larger than the queues of all gateways |

use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

/// What the kernel queues at most for a neighbour whose Ethernet address it does not know, in bytes
/// (`net.ipv4.neigh.default.unres_qlen_bytes`). It drops the oldest when more comes.
const NEIGHBOUR_QUEUE: usize = 212_992;
/// For so many gateways at most, so that what waits for a slow line stays little.
const MOST_QUEUES: usize = 16;

/// A socket for datagrams to addresses of the family of `to`, of which there are so many `gateways`. It
/// has no port until it first sends.
///
/// # Errors
/// The kernel's.
pub fn deaf(to: &SocketAddr, gateways: usize) -> io::Result<UdpSocket> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    drop_all(&socket)?;
    match to {
        SocketAddr::V4(_) => {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &false)?;
            set(
                &socket,
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                &libc::IP_PMTUDISC_INTERFACE,
            )?;
        }
        SocketAddr::V6(_) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvErr, &false)?;
            set(
                &socket,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                &libc::IPV6_PMTUDISC_INTERFACE,
            )?;
        }
    }
    // As small as the kernel lets it be: nothing is ever in it.
    setsockopt(&socket, sockopt::RcvBuf, &0)?;
    widen(&socket, gateways)?;
    Ok(socket.into())
}

/// Makes the send buffer twice as large as the queues of all neighbours: the kernel doubles what it is
/// told. Who has not the privilege gets as much as `net.core.wmem_max` allows, by default enough for one
/// gateway that does not answer.
fn widen(socket: &impl AsFd, gateways: usize) -> io::Result<()> {
    let size = NEIGHBOUR_QUEUE * gateways.clamp(1, MOST_QUEUES);
    if setsockopt(socket, sockopt::SndBufForce, &size).is_err() {
        setsockopt(socket, sockopt::SndBuf, &size)?;
    }
    Ok(())
}

/// Drops everything that arrives, for good.
fn drop_all(socket: &impl AsFd) -> io::Result<()> {
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        // How many bytes of a datagram are kept.
        k: 0,
    }];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
    set(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1)
}

/// One setsockopt with an option that takes a value of type `T`.
fn set<T: Copy>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to `size` readable bytes for the whole call, and the kernel only reads them.
    // Of `sock_fprog` it also reads the program that it points to, which outlives the call in `drop_all`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// A deaf socket that has sent once, and so has a port, and a socket at the other end.
    fn pair(any: &str) -> (UdpSocket, UdpSocket, SocketAddr) {
        let peer = UdpSocket::bind(any).unwrap();
        let deaf = deaf(&peer.local_addr().unwrap(), 1).unwrap();
        deaf.send_to(b"x", peer.local_addr().unwrap()).unwrap();
        let (_, from) = peer.recv_from(&mut [0; 1]).unwrap();
        assert_eq!(from.port(), deaf.local_addr().unwrap().port());
        (deaf, peer, from)
    }

    #[test]
    fn what_arrives_is_dropped() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (deaf, peer, port) = pair(any);
            for _ in 0..3 {
                peer.send_to(b"answer", port).unwrap();
            }
            // On loopback a datagram is in its socket, or nowhere, when the send returns.
            deaf.set_nonblocking(true).unwrap();
            let error = deaf.recv(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn the_filter_stays() {
        let (deaf, peer, port) = pair("127.0.0.1:0");
        let detach = set(&deaf, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
        assert_eq!(detach.unwrap_err().raw_os_error(), Some(libc::EPERM));
        let unlock = set(&deaf, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &0);
        assert_eq!(unlock.unwrap_err().raw_os_error(), Some(libc::EPERM));
        let other = drop_all(&deaf);
        assert_eq!(other.unwrap_err().raw_os_error(), Some(libc::EPERM));
        peer.send_to(b"answer", port).unwrap();
        deaf.set_nonblocking(true).unwrap();
        assert!(deaf.recv(&mut [0; 10]).is_err());
    }

    #[test]
    fn a_closed_port_is_not_noticed() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (deaf, peer, _) = pair(any);
            let address = peer.local_addr().unwrap();
            drop(peer);
            for _ in 0..5 {
                assert_eq!(deaf.send_to(b"into the dark", address).unwrap(), 13);
            }
            assert!(deaf.take_error().unwrap().is_none());
        }
    }

    #[test]
    fn a_datagram_larger_than_the_interface_takes_is_not_cut() {
        // Loopback takes 65,536 bytes, more than any datagram; so look at what the kernel was told.
        for (any, level, name) in [
            ("127.0.0.1:0", libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            ("[::1]:0", libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        ] {
            let (deaf, _, _) = pair(any);
            let mut mode = 0_i32;
            let mut length = size_of::<i32>() as libc::socklen_t;
            // SAFETY: both pointers are to what their types say, for the whole call.
            let result = unsafe {
                let mode = std::ptr::from_mut(&mut mode).cast();
                libc::getsockopt(deaf.as_raw_fd(), level, name, mode, &mut length)
            };
            assert_eq!((result, mode), (0, libc::IP_PMTUDISC_INTERFACE));
        }
    }
}
