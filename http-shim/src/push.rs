//! Packets of collectors, handed over to the gateway as they are: sealed, and by the way that all packets come.
//!
//! Each packet of a body becomes a datagram to the gateway's UDP socket on this host. So the gateway checks, counts and refuses as
//! it does with any other, and what it makes of them cannot come back this way: a datagram has no answer, and the kernel takes it
//! whatever becomes of it. All that is seen is whether somebody listens there.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::keys::Keys;

/// Bodies that are taken at a time, each of at most [`qrng::push::BODY_MAX`] bytes.
const BODIES: usize = 16;

/// Who may push, and to whom packets go.
pub struct Push {
    /// Keys of collectors.
    pub keys: Keys,
    gateway: SocketAddr,
    /// Connected, once the first body has come. Held for one body at a time, so that an error is told to whom it belongs.
    socket: Mutex<Option<UdpSocket>>,
    room: Semaphore,
    packets: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl Push {
    /// Hands over to the gateway that listens at `gateway`.
    pub fn new(gateway: SocketAddr, keys: Keys) -> Self {
        Self {
            keys,
            gateway,
            socket: Mutex::new(None),
            room: Semaphore::new(BODIES),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Where packets go.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Packets handed over, and their bytes.
    pub fn handed_over(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.packets), read(&self.bytes))
    }

    /// Bodies that could not be handed over whole.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Room for a body; none if as many are taken as may be.
    pub fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire().ok()
    }

    /// Hands the packets over, in their order.
    ///
    /// # Errors
    /// Nobody listens, or the kernel refuses. What of them was handed over before is not known.
    pub async fn hand_over<'p>(&self, packets: impl Iterator<Item = &'p [u8]>) -> io::Result<()> {
        let mut held = self.socket.lock().await;
        let sent = async {
            let socket = match held.take() {
                Some(socket) => socket,
                None => connect(self.gateway).await?,
            };
            let (mut count, mut bytes) = (0, 0);
            for packet in packets {
                socket.send(packet).await?;
                count += 1;
                bytes += packet.len() as u64;
            }
            // That nobody listens is told after the fact.
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            self.packets.fetch_add(count, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            Ok(socket)
        };
        match sent.await {
            Ok(socket) => {
                *held = Some(socket);
                Ok(())
            }
            // Without the socket, and so without what else it would tell of these.
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn packets_arrive_as_they_are_and_in_order() {
        let gateway = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let push = Push::new(gateway.local_addr().unwrap(), Keys::default());
        let packets = [&b"one"[..], b"two", b"the third"];
        block_on(async {
            push.hand_over(packets.into_iter()).await.unwrap();
            push.hand_over([&b"more"[..]].into_iter()).await.unwrap();
        });
        let mut room = [0; 100];
        for packet in packets.into_iter().chain([&b"more"[..]]) {
            let length = gateway.recv(&mut room).unwrap();
            assert_eq!(&room[..length], packet);
        }
        assert_eq!((push.handed_over(), push.failures()), ((4, 19), 0));
    }

    #[test]
    fn that_nobody_listens_is_told_even_of_one_packet_and_ends_when_somebody_does() {
        let gateway = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = gateway.local_addr().unwrap();
        drop(gateway);
        let push = Push::new(address, Keys::default());
        block_on(async {
            let error = push.hand_over([&b"one"[..]].into_iter()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!((push.handed_over(), push.failures()), ((0, 0), 1));
            let _gateway = std::net::UdpSocket::bind(address).unwrap();
            push.hand_over([&b"two"[..]].into_iter()).await.unwrap();
        });
        assert_eq!(push.handed_over(), (1, 3));
    }

    #[test]
    fn there_is_room_for_so_many_bodies() {
        let push = Push::new("127.0.0.1:1".parse().unwrap(), Keys::default());
        let taken: Vec<_> = (0..BODIES).map(|_| push.room().unwrap()).collect();
        assert!(push.room().is_none());
        drop(taken);
        assert!(push.room().is_some());
    }
}
