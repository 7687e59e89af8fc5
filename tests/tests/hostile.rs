//! Hostile traffic: each kind is counted under its own reason, a flood of all kinds at full speed
//! neither stops the gateway from serving nor makes it grow.

use std::fs::{self, File};
use std::io::Read;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::keys::CollectorKey;
use qrng::packet::{ANNOUNCEMENT_LEN, Content};
use qrng::report::{Kind, Kinds};
use qrng::session::Sealer;
use qrng_tests::chain::{Chain, now_us, wait_until};
use qrng_tests::tap::Tap;

/// A sender that holds the right key, and so can make every kind of packet.
struct Attacker {
    socket: UdpSocket,
    sealer: Sealer,
    random: u64,
}

const SECOND: u64 = 1_000_000;

impl Attacker {
    fn new(chain: &Chain) -> Self {
        let key =
            CollectorKey::parse(&fs::read_to_string(chain.path("collector.key")).unwrap()).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", chain.port)).unwrap();
        Self {
            socket,
            sealer: Sealer::start(&key, 0, now_us(), &mut UnwrapErr(SysRng)).unwrap(),
            random: 1,
        }
    }

    fn send(&self, datagram: &[u8]) {
        // A refused send is the gateway's socket being full for a moment; the counts tell.
        let _ = self.socket.send(datagram);
    }

    fn announce(&self, at_us: u64) -> Vec<u8> {
        let mut out = [0; ANNOUNCEMENT_LEN];
        self.sealer.announce(at_us, &mut out);
        out.to_vec()
    }

    fn packet(&mut self, at_us: u64, kind: Kind) -> Vec<u8> {
        let mut out = vec![0; 2048];
        let content = Content::Bytes(Kinds::of(kind));
        let n = self.sealer.seal(at_us, content, &[0x5a; 1355], &mut out);
        out.truncate(n.unwrap());
        out
    }

    /// Cheap noise; nothing here needs good randomness.
    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.random as u8
            })
            .collect()
    }
}

fn rejected(chain: &Chain, reason: &str) -> u64 {
    chain.count(&format!("/rejected/{reason}"))
}

/// Sends `datagrams` and waits until exactly that many more are counted under `reason`.
fn refused(chain: &Chain, attacker: &Attacker, reason: &str, datagrams: &[Vec<u8>]) {
    let before = rejected(chain, reason);
    let admitted = chain.count("/bytes/admitted");
    for datagram in datagrams {
        attacker.send(datagram);
    }
    let expected = before + datagrams.len() as u64;
    wait_until(
        &format!("{} datagrams refused as {reason}", datagrams.len()),
        || rejected(chain, reason) >= expected,
    );
    assert_eq!(rejected(chain, reason), expected, "{reason}");
    assert_eq!(
        chain.count("/bytes/admitted"),
        admitted,
        "{reason}: something was admitted"
    );
}

#[test]
fn each_kind_of_hostile_datagram_is_counted_under_its_reason() {
    let mut chain = Chain::new();
    // All genuine packets of this test are the same byte over and over.
    chain.start_gateway("", "[health]\nenabled = false");
    let mut a = Attacker::new(&chain);
    let stranger = Attacker::new(&Chain::new());

    // Before any session: a genuine packet that nobody has announced.
    let early = a.packet(now_us(), Kind::PcieModule);
    refused(&chain, &a, "unknown-session", &[early]);
    a.send(&a.announce(now_us()));
    wait_until("the session", || chain.count("/packets/announcements") == 1);
    let good = a.packet(now_us(), Kind::PcieModule);
    a.send(&good);
    wait_until("a genuine packet", || chain.count("/packets/admitted") == 1);

    let short = good[..good.len() - 5].to_vec();
    let mut noise = a.noise(9000);
    noise[..2].copy_from_slice(&[0x97, 2]);
    refused(
        &chain,
        &a,
        "wrong-length",
        &[vec![], vec![0x97, 2, 0xc4], short, noise],
    );
    let mut version = good.clone();
    version[1] = 3;
    refused(&chain, &a, "unknown-version", &[version]);
    let mut noise = a.noise(good.len());
    noise[..2].copy_from_slice(&[0x97, 2]);
    let mut shape = good.clone();
    shape[20] = 0xce;
    refused(&chain, &a, "wrong-shape", &[noise, shape]);
    let mut contradiction = good.clone();
    contradiction[28] ^= 1;
    refused(&chain, &a, "wrong-id", &[contradiction]);
    refused(&chain, &a, "duplicate", &[good.clone(), good.clone()]);
    let old = a.packet(now_us() - 301 * SECOND, Kind::PcieModule);
    // The bound of this start is younger than the oldest age allowed, and is checked as well.
    let before = a.packet(now_us() - 200 * SECOND, Kind::PcieModule);
    refused(&chain, &a, "expired", &[old]);
    refused(&chain, &a, "before-restart", &[before]);
    let future = a.packet(now_us() + 60 * SECOND, Kind::PcieModule);
    refused(&chain, &a, "from-the-future", &[future]);
    let mut damaged = a.packet(now_us(), Kind::PcieModule);
    damaged[100] ^= 1;
    refused(&chain, &a, "wrong-crc", &[damaged]);
    let forged: Vec<_> = (0..8)
        .map(|bit| {
            let mut forged = a.packet(now_us(), Kind::PcieModule);
            let last = forged.len() - 1;
            forged[last] ^= 1 << bit;
            forged
        })
        .collect();
    refused(&chain, &a, "wrong-hmac", &forged);
    let simulated = a.packet(now_us(), Kind::Simulator);
    refused(&chain, &a, "source-refused", &[simulated]);
    refused(&chain, &a, "unknown-key", &[stranger.announce(now_us())]);
    let mut announcement = a.announce(now_us());
    let last = announcement.len() - 1;
    announcement[last] ^= 1;
    refused(&chain, &a, "wrong-hmac", &[announcement]);

    // Nothing of that hurt the session.
    let good = a.packet(now_us(), Kind::PcieModule);
    a.send(&good);
    wait_until("another genuine packet", || {
        chain.count("/packets/admitted") == 2
    });
    assert_eq!(chain.count("/bytes/admitted"), 2 * 1355);
}

#[test]
fn a_flood_neither_stops_the_gateway_nor_makes_it_grow() {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    let tap = Tap::start(chain.port);
    chain.start_collector(
        Some(tap.port),
        "[source]\nkind = \"simulator\"\nrate = \"pcie-16m\"\n",
    );
    let mut raw = File::open(chain.file("raw")).unwrap();
    let mut memory = [0; 65_536];
    raw.read_exact(&mut memory).unwrap();
    let pid = chain.gateway.as_ref().unwrap().id();
    let before = resident_kib(pid);
    let admitted = chain.count("/bytes/admitted");

    let genuine: Vec<_> = tap
        .kept()
        .into_iter()
        .filter(|d| d.len() > 1250)
        .take(256)
        .collect();
    assert!(genuine.len() > 30, "too few packets to forge");
    let floods: Vec<_> = KINDS
        .map(|kind| {
            let datagrams = datagrams(&chain, kind, &genuine);
            let port = chain.port;
            thread::spawn(move || flood(port, &datagrams))
        })
        .into_iter()
        .collect();
    // Readers go on getting bytes while it lasts.
    let end = Instant::now() + FLOOD;
    let mut reads = 0;
    while Instant::now() < end {
        raw.read_exact(&mut memory[..4096]).unwrap();
        reads += 1;
    }
    let sent: u64 = floods.into_iter().map(|f| f.join().unwrap()).sum();
    let after = resident_kib(pid);
    let status = chain.status();
    eprintln!(
        "{sent} hostile datagrams, {reads} reads of 4 KiB meanwhile, resident {before} -> {after} KiB\n{:#}",
        status["rejected"]
    );
    assert!(reads > 0 && chain.count("/bytes/admitted") > admitted);
    assert!(
        after < before + 4096,
        "the gateway grew from {before} to {after} KiB"
    );
    for reason in [
        "unknown-version",
        "unknown-session",
        "duplicate",
        "wrong-hmac",
        "expired",
        "from-the-future",
    ] {
        assert!(rejected(&chain, reason) > 0, "nothing counted as {reason}");
    }
    // And the books balance: every datagram was admitted, an announcement, a report, or refused.
    let (received, known) = wait_for_balance(&chain);
    assert_eq!(received, known);
    assert!(chain.stop_collector().is_some_and(|s| s.success()));
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}

const FLOOD: Duration = Duration::from_secs(4);

/// Kinds of hostile datagram that somebody on the wire can make without a key.
#[derive(Debug, Clone, Copy)]
enum Hostile {
    Noise,
    Unannounced,
    Replayed,
    Forged,
    Old,
    Future,
}

const KINDS: [Hostile; 6] = [
    Hostile::Noise,
    Hostile::Unannounced,
    Hostile::Replayed,
    Hostile::Forged,
    Hostile::Old,
    Hostile::Future,
];

fn datagrams(chain: &Chain, kind: Hostile, genuine: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut a = Attacker::new(chain);
    let restamped = |datagram: &Vec<u8>, at_us: u64| {
        let mut datagram = ahead(datagram);
        datagram[30..38].copy_from_slice(&at_us.to_be_bytes());
        datagram
    };
    genuine
        .iter()
        .map(|datagram| match kind {
            Hostile::Noise => a.noise(datagram.len()),
            Hostile::Unannounced => a.packet(now_us(), Kind::PcieModule),
            Hostile::Replayed => datagram.clone(),
            Hostile::Forged => ahead(datagram),
            Hostile::Old => restamped(datagram, now_us() - 400 * SECOND),
            Hostile::Future => restamped(datagram, now_us() + 400 * SECOND),
        })
        .collect()
}

/// A genuine packet with a sequence number 50,000 further on, which only the HMAC gives away.
fn ahead(datagram: &[u8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    for range in [12..20, 21..29] {
        let number = u64::from_be_bytes(datagram[range.clone()].try_into().unwrap());
        datagram[range].copy_from_slice(&(number + 50_000).to_be_bytes());
    }
    datagram
}

/// Sends `datagrams` again and again as fast as it can; answers how many. Bounded by time.
fn flood(port: u16, datagrams: &[Vec<u8>]) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let end = Instant::now() + FLOOD;
    let mut sent = 0;
    while Instant::now() < end {
        for datagram in datagrams {
            let _ = socket.send_to(datagram, ("127.0.0.1", port));
            sent += 1;
        }
    }
    sent
}

fn wait_for_balance(chain: &Chain) -> (u64, u64) {
    let deadline = Instant::now() + qrng_tests::chain::PATIENCE;
    loop {
        let status = chain.status();
        let n = |p: &str| status.pointer(p).and_then(|v| v.as_u64()).unwrap();
        let refused: u64 = status["rejected"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(|v| v.as_u64())
            .sum();
        let known =
            refused + n("/packets/admitted") + n("/packets/announcements") + n("/packets/reports");
        let received = n("/packets/datagrams");
        if received == known || Instant::now() > deadline {
            return (received, known);
        }
    }
}

fn resident_kib(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap()
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok())
        .expect("VmRSS")
}
