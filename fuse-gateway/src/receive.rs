//! UDP socket -> datagrams -> admit -> health -> buffer: one thread, and the only one that touches the link.
//!
//! The socket is read in batches: one system call takes up to [`BATCH`] messages, each of which
//! may be a train of equal datagrams that the kernel joined (UDP_GRO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{info, warn};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};

use qrng::session::ROW;
use qrng_daemon::Pulse;

use crate::admit::{Admit, Admitted, Reject};
use crate::bound::BoundFile;
use crate::buffer::Buffer;
use crate::health::Health;
use crate::keyring::Keyring;
use crate::link::Link;

/// Messages taken by one system call.
const BATCH: usize = 8;

/// Room for one message: the largest UDP payload, or a train of datagrams.
const MESSAGE: usize = 65_536;

/// How often the keys are looked at: new ones, and those of days that are over.
const KEYS_EVERY: Duration = Duration::from_millis(500);

/// The gateway's one socket.
pub struct Inlet {
    socket: UdpSocket,
    /// The address of this host that is listened on, if it is one.
    address: Option<IpAddr>,
}

impl AsRawFd for Inlet {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Opens the gateway's one socket.
///
/// # Errors
/// The address is taken, is not this host's, or the kernel refuses the socket; the text says what
/// to do.
pub fn open(listen: SocketAddr, receive_buffer: usize) -> anyhow::Result<Inlet> {
    let socket = UdpSocket::bind(listen).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "UDP port {} is already in use: another gateway runs here; stop it, or set `listen` to another port",
            listen
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{} is no address of this host; set `listen` to one that is (see `ip address`), or to 0.0.0.0",
            listen.ip()
        ),
        _ => anyhow::anyhow!("cannot listen on UDP {listen}: {e}"),
    })?;
    size_receive_buffer(&socket, receive_buffer)?;
    if let Err(e) = setsockopt(&socket, sockopt::UdpGroSegment, &true) {
        warn!("the kernel does not join datagrams (UDP_GRO: {e}): receiving costs more CPU time");
    }
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    socket.set_read_timeout(Some(KEYS_EVERY))?;
    let address = listen.ip().to_canonical();
    Ok(Inlet {
        socket,
        address: (!address.is_unspecified()).then_some(address),
    })
}

fn size_receive_buffer(socket: &UdpSocket, bytes: usize) -> anyhow::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_ok() {
        return Ok(());
    }
    setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    // The kernel doubles the value that it is given, for its own bookkeeping.
    let granted = nix::sys::socket::getsockopt(socket, sockopt::RcvBuf)? / 2;
    if granted < bytes {
        warn!(
            "the socket's receive buffer is {granted} bytes instead of {bytes}, so bursts may be lost; \
             run `sysctl -w net.core.rmem_max={bytes}` or give the gateway CAP_NET_ADMIN"
        );
    }
    Ok(())
}

/// Where verified bytes go: through the tests, to the buffer.
pub struct Output {
    /// The tests, which pass them on.
    pub health: Arc<Health>,
    /// The buffer behind the tests, whose readers are woken after each batch.
    pub buffer: Arc<Buffer>,
}

/// What one message is.
#[derive(Debug, Clone, Copy, Default)]
struct Train {
    /// Its bytes.
    length: usize,
    /// The length of the datagrams that it is made of; 0 where there is no message.
    segment: usize,
    /// Whether this host has sent it.
    local: bool,
}

/// The receiving thread's state.
pub struct Receiver {
    inlet: Inlet,
    admit: Admit,
    bound: BoundFile,
    output: Output,
    link: Arc<Link>,
    keyring: Arc<Keyring>,
    /// When the keys were looked at.
    looked: Option<Instant>,
    pulse: Pulse,
    /// The kernel's drop counter at the last look: it counts from the socket's start and wraps.
    dropped: u32,
}

impl Receiver {
    /// A receiver that feeds `output` with what `admit` accepts from `inlet`.
    pub fn new(
        inlet: Inlet,
        admit: Admit,
        bound: BoundFile,
        output: Output,
        link: Arc<Link>,
        keyring: Arc<Keyring>,
        pulse: Pulse,
    ) -> Self {
        Self {
            inlet,
            admit,
            bound,
            output,
            link,
            keyring,
            looked: None,
            pulse,
            dropped: 0,
        }
    }

    /// Receives for ever.
    ///
    /// # Errors
    /// The socket fails in a way that receiving again will not mend.
    pub fn run(mut self) -> anyhow::Result<()> {
        let mut memory = vec![0; BATCH * MESSAGE];
        loop {
            self.look_at_keys();
            let trains = match self.receive(&mut memory) {
                Ok(trains) => trains,
                Err(Errno::EINTR | Errno::EAGAIN) => continue,
                Err(e) => anyhow::bail!("receiving from the UDP socket: {e}"),
            };
            self.pulse.works();
            let (now_us, now) = (now_us(), Instant::now());
            for (message, train) in memory.chunks_mut(MESSAGE).zip(trains) {
                let Train {
                    length, segment, ..
                } = train;
                if segment == 0 {
                    continue;
                }
                if train.local {
                    let datagrams = length.div_ceil(segment).max(1) as u64;
                    self.link.counters.from_this_host.add(datagrams);
                }
                for row in message[..length].chunks_mut(ROW * segment) {
                    let row = self.admit.look_at(row.chunks_mut(segment), now_us);
                    for looked in row.into_iter().flatten() {
                        let verdict = self.admit.judge(looked, now_us, &mut self.bound);
                        self.take(verdict, now_us, now);
                    }
                }
            }
            self.link.counters.lost.set(self.admit.counts().lost);
            self.output.buffer.notify();
            self.pulse.waits();
        }
    }

    /// Installs new keys, and destroys those of days that are over.
    fn look_at_keys(&mut self) {
        let now = Instant::now();
        if self
            .looked
            .is_some_and(|at| now.duration_since(at) < KEYS_EVERY)
        {
            return;
        }
        self.looked = Some(now);
        if let Some((keys, past)) = self.keyring.take_new() {
            let series = keys.iter().map(|key| key.series()).collect();
            self.admit.install(keys, past);
            self.link.keep_reports_of(&series);
            self.tell_session();
        }
        let destroyed = self.admit.destroy_past(now_us(), now);
        if !destroyed.is_empty() {
            self.keyring.destroyed(destroyed);
        }
    }

    /// Waits for messages, for a while.
    fn receive(&mut self, memory: &mut [u8]) -> Result<[Train; BATCH], Errno> {
        // The headers are made anew each time: nix does not restore the room for control
        // messages that the kernel shortened in the last call.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(
            BATCH,
            Some(nix::cmsg_space!([u32; 1], [i32; 1])),
        );
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = memory
            .chunks_mut(MESSAGE)
            .map(|m| [IoSliceMut::new(m)])
            .collect();
        let mut trains = [Train::default(); BATCH];
        let mut dropped = self.dropped;
        let received = recvmmsg(
            self.inlet.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        for (train, message) in trains.iter_mut().zip(received) {
            let mut segment = message.bytes;
            // Control messages that found no room are done without: the datagrams then fail the
            // first check, and are counted there.
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::UdpGroSegments(size) => {
                        segment = usize::try_from(size).unwrap_or(message.bytes);
                    }
                    ControlMessageOwned::RxqOvfl(count) => dropped = count,
                    _ => {}
                }
            }
            // An empty datagram is a datagram too, and is counted as one that is too short.
            *train = Train {
                length: message.bytes,
                segment: if segment == 0 {
                    message.bytes.max(1)
                } else {
                    segment
                },
                local: message
                    .address
                    .is_some_and(|from| is_local(&from, self.inlet.address)),
            };
            if message.bytes == 0 {
                self.link.counters.datagrams.add(1);
                self.link.counters.reject(Reject::Length);
            }
        }
        self.link
            .counters
            .socket_drops
            .add(u64::from(dropped.wrapping_sub(self.dropped)));
        self.dropped = dropped;
        Ok(trains)
    }

    /// Acts on the verdict on one datagram.
    fn take(&self, verdict: Result<Admitted<'_>, Reject>, now_us: u64, now: Instant) {
        let counters = &self.link.counters;
        counters.datagrams.add(1);
        match verdict {
            Ok(Admitted::Bytes { kinds, bytes }) => {
                // First, so that whoever got a byte finds its kind in the status.
                self.link.verified(now, kinds);
                self.output.health.push(bytes, now_us);
                qrng::wipe(bytes);
            }
            Ok(Admitted::Report { series, report }) => {
                counters.reports.add(1);
                self.link.set_report(series, report, now);
            }
            Ok(Admitted::Announced) => {
                counters.announcements.add(1);
                self.tell_session();
            }
            Ok(Admitted::SessionStarted {
                key_id,
                epoch,
                slot,
            }) => {
                counters.announcements.add(1);
                info!(key_id:%, epoch, slot; "a session begins: key {key_id}, epoch {epoch}, slot {slot}");
                self.tell_session();
            }
            Err(reason) => counters.reject(reason),
        }
    }

    fn tell_session(&self) {
        self.link
            .set_session(self.admit.session(), self.admit.skew_us());
    }
}

/// Whether this host has sent what comes from `from`: its own addresses are not routed to it from elsewhere.
fn is_local(from: &SockaddrStorage, own: Option<IpAddr>) -> bool {
    let v4 = from.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()));
    let v6 = from.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip()));
    let from = v4.or(v6).map(|from| from.to_canonical());
    from.is_some_and(|from| from.is_loopback() || Some(from) == own)
}

/// Microseconds since the Unix epoch; 0 for a clock before it.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_sends_is_told_from_what_others_send() {
        let storage = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().unwrap());
        let own = "192.0.2.7".parse().ok();
        for (from, own, local) in [
            ("127.0.0.1:9", None, true),
            ("127.1.2.3:9", own, true),
            ("[::1]:9", None, true),
            ("[::ffff:127.0.0.1]:9", None, true),
            ("192.0.2.7:9", own, true),
            ("192.0.2.7:9", None, false),
            ("192.0.2.8:9", own, false),
            ("[2001:db8::1]:9", own, false),
        ] {
            assert_eq!(is_local(&storage(from), own), local, "{from}");
        }
    }
}
