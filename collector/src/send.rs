//! Send: moves batches of datagrams to the sockets, at the configured pace.
//!
//! One unconnected, deaf UDP socket for each address family ([`crate::confine::socket`]). Nothing is ever
//! received, and an error of a send is counted and changes nothing: otherwise it would be a way back.
//!
//! A batch goes in one call with UDP segmentation offload (GSO). Where the kernel or the device
//! refuses that, the datagrams go one by one, and a minute later offload is tried again. Nothing that
//! arrives here can bring that about: the kernel refuses for what the device is or for its own MTU.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

use crate::block::{Batch, User};
use crate::confine::socket::deaf;
use crate::counters::Counting;
use crate::handoff::Handoff;
use crate::messages::Way;
use crate::pace::Pace;

/// The longest run of datagrams that the kernel takes at once, in bytes (the UDP maximum).
pub const LONGEST_BATCH: usize = 65_507;
/// The most datagrams that the kernel takes at once (UDP_MAX_SEGMENTS of older kernels).
pub const MOST_SEGMENTS: usize = 64;

/// How long offload is not tried after a refusal.
const OFFLOAD_PAUSE: Duration = Duration::from_secs(60);

/// Bytes of the IP and UDP headers of a datagram to `address`.
pub fn headers(address: &SocketAddr) -> usize {
    match address {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

/// The sockets and where they send to, and the pipe to the pusher, if there is one.
pub struct Outlet {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    pusher: Option<Handoff>,
    targets: Vec<Target>,
    pace: Option<(Instant, Pace)>,
}

enum Target {
    Udp(UdpTarget),
    Pusher(u16),
}

struct UdpTarget {
    address: SocketAddr,
    storage: SockaddrStorage,
    /// Until when segmentation offload is not tried, if it was refused the last time.
    refused_until: Option<Instant>,
}

impl Target {
    fn of(way: &Way) -> Self {
        match *way {
            Way::Udp(address) => Self::Udp(UdpTarget {
                address,
                storage: address.into(),
                refused_until: None,
            }),
            Way::Pusher(number) => Self::Pusher(number),
        }
    }

    /// Bytes of the headers of a packet.
    fn headers(&self) -> usize {
        match self {
            Self::Udp(target) => headers(&target.address),
            Self::Pusher(_) => qrng::push::HEADER,
        }
    }
}

impl UdpTarget {
    /// Whether segmentation offload is worth a try at the time `now`.
    fn may_offload(&self, now: impl FnOnce() -> Instant) -> bool {
        self.refused_until.is_none_or(|until| until <= now())
    }
}

impl Outlet {
    /// Opens the sockets that `gateways` need. `pace` counts bytes with IP and UDP headers. Those that are pushed to need the pipe to
    /// the `pusher`.
    ///
    /// # Errors
    /// The kernel refuses a socket.
    pub fn open(gateways: &[Way], pace: Option<Pace>, pusher: Option<Handoff>) -> io::Result<Self> {
        let addresses = gateways.iter().filter_map(|way| match way {
            Way::Udp(address) => Some(address),
            Way::Pusher(_) => None,
        });
        let open = |wanted: fn(&SocketAddr) -> bool| {
            let family = addresses.clone().filter(|address| wanted(address));
            let (count, first) = (family.clone().count(), family.clone().next());
            first.map(|address| deaf(address, count)).transpose()
        };
        Ok(Self {
            v4: open(SocketAddr::is_ipv4)?,
            v6: open(SocketAddr::is_ipv6)?,
            pusher,
            targets: gateways.iter().map(Target::of).collect(),
            pace: pace.map(|pace| (Instant::now(), pace)),
        })
    }

    /// The sockets' descriptors.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let sockets = [&self.v4, &self.v6].into_iter().flatten();
        sockets.map(AsRawFd::as_raw_fd).collect()
    }

    /// The pipe to the pusher.
    pub fn pusher(&self) -> Option<RawFd> {
        self.pusher.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Runs the stage.
    ///
    /// # Errors
    /// Another stage has ended. Never because of the network.
    pub fn run(mut self, batches: &User<Batch>, counting: &Counting) -> anyhow::Result<()> {
        loop {
            let batch = batches.full.recv().context("the seal stage has ended")?;
            self.wait(&batch);
            self.send(&batch, counting);
            batches
                .empty
                .send(batch)
                .context("the seal stage has ended")?;
        }
    }

    /// Waits until the pace allows `batch`.
    fn wait(&mut self, batch: &Batch) {
        let Some((start, pace)) = &mut self.pace else {
            return;
        };
        let headers = self.targets[batch.gateway()].headers() * batch.count();
        let bytes = (batch.bytes().len() + headers) as u64;
        let wait = pace.spend(bytes, start.elapsed());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
    }

    /// Sends `batch` and counts what became of it.
    fn send(&mut self, batch: &Batch, counting: &Counting) {
        let target = match &mut self.targets[batch.gateway()] {
            Target::Udp(target) => target,
            Target::Pusher(number) => {
                let number = *number;
                return self.hand_over(number, batch, counting);
            }
        };
        let socket = match target.address {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        };
        // `open` made a socket for every family among the targets.
        let Some(fd) = socket.as_ref().map(AsRawFd::as_raw_fd) else {
            return;
        };
        if batch.count() > 1 && target.may_offload(Instant::now) {
            match send_to(fd, target, batch.bytes(), Some(batch.segment())) {
                Ok(()) => {
                    if target.refused_until.take().is_some() {
                        counting.offload(batch.gateway(), true);
                        log::info!("{}: segmentation offload works again", target.address);
                    }
                    counting.sent(batch.gateway(), batch.count(), batch.bytes().len());
                    return;
                }
                Err(e) if refuses_offload(e) => {
                    let until = Instant::now() + OFFLOAD_PAUSE;
                    // Told once, however often it is refused again.
                    if target.refused_until.replace(until).is_none() {
                        counting.offload(batch.gateway(), false);
                        let address = target.address;
                        log::warn!("{address}: no segmentation offload ({e}); sending is slower");
                    }
                }
                Err(e) => return counting.failed(batch.gateway(), batch.count(), e),
            }
        }
        for datagram in batch.datagrams() {
            match send_to(fd, target, datagram, None) {
                Ok(()) => counting.sent(batch.gateway(), 1, datagram.len()),
                Err(e) => counting.failed(batch.gateway(), 1, e),
            }
        }
    }

    /// Hands `batch` over to the pusher. What finds no room is lost, as it would be on a line that is full.
    fn hand_over(&mut self, number: u16, batch: &Batch, counting: &Counting) {
        // There is one for every such target.
        let Some(pusher) = &mut self.pusher else {
            return;
        };
        for packet in batch.datagrams() {
            match pusher.send(number, packet) {
                Ok(()) => counting.sent(batch.gateway(), 1, packet.len()),
                Err(e) => counting.failed(batch.gateway(), 1, e),
            }
        }
    }
}

/// One sendmsg, with segmentation offload if a segment length is given.
fn send_to(fd: RawFd, to: &UdpTarget, bytes: &[u8], segment: Option<usize>) -> Result<(), Errno> {
    // No segment is longer than a datagram.
    let length = segment.map(|s| s as u16);
    let control: Vec<_> = length.iter().map(ControlMessage::UdpGsoSegments).collect();
    let bytes = [IoSlice::new(bytes)];
    loop {
        match sendmsg(fd, &bytes, &control, MsgFlags::empty(), Some(&to.storage)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether an error of a segmented send says that the kernel (EINVAL, ENOPROTOOPT, EOPNOTSUPP) or
/// the device (EIO: it computes no checksums) cannot do it.
fn refuses_offload(error: Errno) -> bool {
    matches!(
        error,
        Errno::EINVAL | Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn receiver() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn batch() -> Batch {
        let mut batch = Batch::new(100);
        batch.begin(0, 30);
        batch.room()[..80].fill(7);
        batch.room()[79] = 9;
        batch.advance(80);
        batch
    }

    fn refused_until(outlet: &mut Outlet) -> &mut Option<Instant> {
        match &mut outlet.targets[0] {
            Target::Udp(target) => &mut target.refused_until,
            Target::Pusher(_) => panic!("it is pushed to"),
        }
    }

    fn lengths(socket: &UdpSocket) -> Vec<usize> {
        let mut buffer = [0; 100];
        (0..3).map(|_| socket.recv(&mut buffer).unwrap()).collect()
    }

    #[test]
    fn a_batch_arrives_as_its_datagrams() {
        let (socket, address) = receiver();
        let counting = Counting::new(1);
        let mut outlet = Outlet::open(&[Way::Udp(address)], None, None).unwrap();
        outlet.send(&batch(), &counting);
        assert_eq!(lengths(&socket), [30, 30, 20]);
        assert_eq!(counting.now().gateways[0].datagrams, 3);
    }

    #[test]
    fn without_offload_the_same_datagrams_arrive() {
        let (socket, address) = receiver();
        let counting = Counting::new(1);
        let mut outlet = Outlet::open(&[Way::Udp(address)], None, None).unwrap();
        let later = Instant::now() + OFFLOAD_PAUSE;
        *refused_until(&mut outlet) = Some(later);
        outlet.send(&batch(), &counting);
        assert_eq!(lengths(&socket), [30, 30, 20]);
        assert_eq!(counting.now().gateways[0].datagrams, 3);
        assert_eq!(*refused_until(&mut outlet), Some(later));
    }

    #[test]
    fn offload_is_tried_again_after_a_pause() {
        let (socket, address) = receiver();
        let counting = Counting::new(1);
        counting.offload(0, false);
        let mut outlet = Outlet::open(&[Way::Udp(address)], None, None).unwrap();
        *refused_until(&mut outlet) = Some(Instant::now());
        outlet.send(&batch(), &counting);
        assert_eq!(lengths(&socket), [30, 30, 20]);
        // Either it works, or it was refused again for as long.
        match *refused_until(&mut outlet) {
            None => assert!(counting.now().gateways[0].offloads),
            Some(until) => assert!(until > Instant::now()),
        }
    }

    #[test]
    fn errors_are_counted_by_name_and_nothing_else_happens() {
        // A port where nobody listens answers with ICMP, which must not be seen.
        let (socket, address) = receiver();
        drop(socket);
        // Class E addresses have no route anywhere.
        let nowhere = "240.0.0.1:9".parse().unwrap();
        let counting = Counting::new(2);
        let mut outlet = Outlet::open(&[Way::Udp(address), Way::Udp(nowhere)], None, None).unwrap();
        let mut batch = batch();
        for _ in 0..3 {
            outlet.send(&batch, &counting);
        }
        assert_eq!(counting.now().gateways[0].datagrams, 9);
        assert!(counting.now().errors.is_empty());
        let bytes = vec![0; 60];
        batch.begin(1, 30);
        batch.room()[..60].copy_from_slice(&bytes);
        batch.advance(60);
        outlet.send(&batch, &counting);
        let failed: u64 = counting.now().errors.values().sum();
        assert_eq!(failed + counting.now().gateways[1].datagrams, 2);
    }

    #[test]
    fn what_the_pusher_has_no_room_for_is_counted() {
        let (input, output) = nix::unistd::pipe().unwrap();
        let handoff = Handoff::of(output.into()).unwrap();
        let counting = Counting::new(1);
        let mut outlet = Outlet::open(&[Way::Pusher(5)], None, Some(handoff)).unwrap();
        assert!(outlet.descriptors().is_empty() && outlet.pusher().is_some());
        outlet.send(&batch(), &counting);
        assert_eq!(counting.now().gateways[0].datagrams, 3);
        let (mut input, mut room) = (std::fs::File::from(input), [0; qrng::packet::MAX_DATAGRAM]);
        for length in [30, 30, 20] {
            let (number, packet) = crate::handoff::next(&mut input, &mut room).unwrap();
            assert_eq!((number, packet.len()), (5, length));
        }
        while counting.now().errors.is_empty() {
            outlet.send(&batch(), &counting);
        }
        assert_eq!(counting.now().errors.keys().next().unwrap(), "EAGAIN");
    }

    #[test]
    fn only_refusals_end_the_use_of_offload() {
        assert!(refuses_offload(Errno::EIO) && refuses_offload(Errno::EINVAL));
        assert!(!refuses_offload(Errno::ENETUNREACH) && !refuses_offload(Errno::EPERM));
        assert!(!refuses_offload(Errno::EMSGSIZE) && !refuses_offload(Errno::ENOBUFS));
    }
}
