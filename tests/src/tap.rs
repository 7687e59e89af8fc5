//! A listener on the wire: it forwards every datagram and keeps a copy.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How many datagrams are kept at the most.
const KEPT: usize = 20_000;

/// The running listener; it ends when dropped.
pub struct Tap {
    /// The port to send to.
    pub port: u16,
    to: u16,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Tap {
    /// Listens between the port it opens and `to`, both on 127.0.0.1.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(to: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a loopback socket");
        let port = socket.local_addr().expect("a loopback socket").port();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (kept_too, stop_too) = (Arc::clone(&kept), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut memory = [0; 2048];
            while !stop_too.load(Ordering::Relaxed) {
                if let Ok(n) = socket.recv(&mut memory) {
                    let _ = socket.send_to(&memory[..n], ("127.0.0.1", to));
                    let mut kept = kept_too.lock().expect("no panic while it is held");
                    if kept.len() < KEPT {
                        kept.push(memory[..n].to_vec());
                    }
                }
            }
        });
        Self {
            port,
            to,
            kept,
            stop,
            thread: Some(thread),
        }
    }

    /// What was kept, oldest first.
    pub fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().expect("no panic while it is held").clone()
    }

    /// Plays everything back; answers how many datagrams that were.
    ///
    /// # Panics
    /// There is no port to send from.
    pub fn play_back(&self) -> usize {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        let kept = self.kept();
        for (i, datagram) in kept.iter().enumerate() {
            let _ = socket.send_to(datagram, ("127.0.0.1", self.to));
            if i % 64 == 63 {
                thread::sleep(Duration::from_micros(500));
            }
        }
        kept.len()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
