//! A collector that is broken: it holds the key, and seals what it is told to.

use std::fs::{self, File};
use std::io::Read;
use std::net::UdpSocket;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::keys::CollectorKey;
use qrng::packet::{ANNOUNCEMENT_LEN, Content};
use qrng::report::{Kind, Kinds, Report};
use qrng::session::Sealer;

use crate::chain::{Chain, now_us};

/// Random bytes in a packet, and bytes of a report with what fills it up.
const PIECE: usize = 1355;

/// The collector, or what is left of it.
pub struct Broken {
    socket: UdpSocket,
    sealer: Sealer,
}

impl Broken {
    /// Announces a session to the chain's gateway.
    ///
    /// # Panics
    /// There is no key or no socket.
    pub fn new(chain: &Chain) -> Self {
        let key = fs::read_to_string(chain.path("collector.key")).expect("a key file");
        let key = CollectorKey::parse(&key).expect("a key");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket
            .connect(("127.0.0.1", chain.port))
            .expect("a loopback socket");
        let sealer =
            Sealer::start(&key, 0, now_us(), &mut UnwrapErr(SysRng)).expect("a new session");
        let mut announcement = [0; ANNOUNCEMENT_LEN];
        sealer.announce(now_us(), &mut announcement);
        let broken = Self { socket, sealer };
        broken.socket.send(&announcement).expect("a datagram");
        broken
    }

    /// Sends `bytes` as those of a card.
    ///
    /// # Panics
    /// The session is at its end, or nobody listens.
    pub fn send(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(PIECE) {
            self.seal(Content::Bytes(Kinds::of(Kind::PcieModule)), part);
        }
    }

    /// Sends so many good bytes.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn good(&mut self, len: usize) {
        self.send(&good(len));
    }

    /// Sends a report.
    ///
    /// # Panics
    /// As [`Self::send`], or the report is too long.
    pub fn report(&mut self, report: &Report) {
        let mut body = [0; PIECE];
        report.encode(&mut body).expect("a report that fits");
        self.seal(Content::Report, &body);
    }

    fn seal(&mut self, content: Content, body: &[u8]) {
        let mut out = [0; 2048];
        let sealed = self.sealer.seal(now_us(), content, body, &mut out);
        let len = sealed.expect("a sealed packet");
        self.socket.send(&out[..len]).expect("a datagram");
    }
}

/// So many good bytes.
///
/// # Panics
/// The kernel gives none.
pub fn good(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open("/dev/urandom")
        .and_then(|mut kernel| kernel.read_exact(&mut bytes))
        .expect("bytes of the kernel");
    bytes
}
