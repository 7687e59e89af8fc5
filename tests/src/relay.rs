//! A bad wire: forwards datagrams between two loopback ports, and loses, repeats, reorders and
//! damages some of them, counting each.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the wire does: every so-manieth datagram, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Lost.
    pub lose: u64,
    /// Sent twice.
    pub repeat: u64,
    /// Kept back and sent after the next one.
    pub reorder: u64,
    /// Sent with one byte changed.
    pub damage: u64,
}

/// How often the wire did it.
#[derive(Debug, Default)]
pub struct Done {
    /// Datagrams that came in.
    pub received: AtomicU64,
    /// Lost ones.
    pub lost: AtomicU64,
    /// Repeated ones.
    pub repeated: AtomicU64,
    /// Damaged ones, which are lost too.
    pub damaged: AtomicU64,
}

/// A running wire; it ends when dropped.
pub struct Relay {
    /// The port to send to.
    pub port: u16,
    /// What was done so far.
    pub done: Arc<Done>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// A wire to `to` on 127.0.0.1. Only datagrams as large as data packets (over 1250 bytes) are
    /// lost, repeated, reordered or damaged: the announcements between them always arrive.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(to: u16, faults: Faults) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(32 << 20))
            .or_else(|_| {
                nix::sys::socket::setsockopt(
                    &socket,
                    nix::sys::socket::sockopt::RcvBuf,
                    &(32 << 20),
                )
            })
            .expect("a receive buffer");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a time-out");
        let port = socket.local_addr().expect("an address").port();
        let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
        let (done_too, stop_too) = (Arc::clone(&done), Arc::clone(&stop));
        let thread = thread::spawn(move || forward(&socket, to, faults, &done_too, &stop_too));
        Self {
            port,
            done,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn forward(socket: &UdpSocket, to: u16, faults: Faults, done: &Done, stop: &AtomicBool) {
    let to = ("127.0.0.1", to);
    let send = |datagram: &[u8]| {
        // Errors are part of a bad wire: a gateway that is down refuses, and later it does not.
        let _ = socket.send_to(datagram, to);
    };
    let every = |n: u64, period: u64| period > 0 && n.is_multiple_of(period);
    let mut memory = [0; 2048];
    let mut kept: Option<Vec<u8>> = None;
    let mut data = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut memory) else {
            if let Some(datagram) = kept.take() {
                send(&datagram);
            }
            continue;
        };
        let datagram = &mut memory[..length];
        if length <= 1250 {
            send(datagram);
            continue;
        }
        data += 1;
        done.received.fetch_add(1, Ordering::Relaxed);
        if every(data, faults.lose) {
            done.lost.fetch_add(1, Ordering::Relaxed);
        } else if every(data, faults.damage) {
            done.damaged.fetch_add(1, Ordering::Relaxed);
            let at = (data as usize * 31) % length;
            datagram[at] ^= 1 << (data % 8);
            send(datagram);
        } else if every(data, faults.reorder) && kept.is_none() {
            kept = Some(datagram.to_vec());
        } else {
            send(datagram);
            if every(data, faults.repeat) {
                done.repeated.fetch_add(1, Ordering::Relaxed);
                send(datagram);
            }
            if let Some(datagram) = kept.take() {
                send(&datagram);
            }
        }
    }
}
