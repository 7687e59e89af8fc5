//! A collector in a network namespace, and all that is seen of it at the other end of the line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng_tests::chain::{Chain, program, wait_until};
use qrng_tests::frames::{Datagram, Wire};
use qrng_tests::netns::{FAR, FAR_DEVICE, Line, NEAR_DEVICE, ip, is_v6};
use qrng_tests::processes::{sender_of, udp_sockets};

/// Bytes of a full datagram, and of a report.
const FULL: usize = 1452;
/// Bytes of an announcement.
const NOTICE: usize = 1214;

/// What was seen on the wire.
#[derive(Default)]
struct Seen {
    /// Datagrams of the collector; those of trains, too, each.
    datagrams: u64,
    /// What is to be the same for all: IPv6, port, length modulo a full one, fragment, to the gateway.
    shapes: BTreeSet<(bool, u16, usize, bool, bool)>,
    /// The last single datagram from each port of each family.
    samples: BTreeMap<(bool, u16), Datagram>,
}

/// The collector and its line.
pub struct Host {
    /// The line.
    pub line: Line,
    chain: Chain,
    sender: u32,
    wire: Wire,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
    /// The sender's ports, of IPv4 and IPv6.
    ports: [u16; 2],
}

impl Host {
    /// Starts a collector that sends to all addresses at the far end, and waits until it does.
    pub fn start() -> Result<Self, String> {
        let line = Line::new()?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let open = || Wire::open(FAR_DEVICE).map_err(|e| format!("packet socket: {e}"));
        let (wire, ears) = (line.far(open)?, line.far(open)?);
        let (own, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let watcher = thread::spawn(move || watch(&ears, &own, &ended));
        let mut chain = Chain::new();
        chain.collector = Some(start_collector(&chain, &line));
        let mut host = Self {
            line,
            chain,
            sender: 0,
            wire,
            seen,
            stop,
            watcher: Some(watcher),
            ports: [0; 2],
        };
        wait_until("datagrams of both families", || {
            host.chain.assert_alive();
            host.seen().samples.len() == 2
        });
        let collector = host.chain.collector.as_ref().map(|child| child.id());
        host.sender = collector.and_then(sender_of).expect("a sender");
        host.ports = host.samples().map(|sample| sample.port);
        Ok(host)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while it is held")
    }

    /// Datagrams seen so far.
    pub fn datagrams(&self) -> u64 {
        self.seen().datagrams
    }

    /// Datagrams that the collector says it has sent, or tried to.
    pub fn counted(&self) -> u64 {
        let mut count = 0;
        wait_until("counters", || {
            let Some(status) = self.chain.collector_status() else {
                return false;
            };
            let gateways = status["gateways"].as_array().cloned().unwrap_or_default();
            let sum =
                |name: &str| -> u64 { gateways.iter().filter_map(|g| g[name].as_u64()).sum() };
            count = sum("sent_datagrams") + sum("failed_datagrams");
            count > 0
        });
        count
    }

    /// Datagrams that the kernel did not take.
    pub fn failures(&self) -> u64 {
        let status = self.chain.collector_status().expect("a status file");
        let gateways = status["gateways"].as_array().expect("gateways");
        gateways
            .iter()
            .filter_map(|g| g["failed_datagrams"].as_u64())
            .sum()
    }

    /// The last datagram of each family, of the sender.
    pub fn samples(&self) -> [Datagram; 2] {
        let seen = self.seen();
        [false, true].map(|v6| {
            let mut of_family = seen.samples.values().filter(|sample| sample.v6 == v6);
            of_family.next().expect("a datagram of each family").clone()
        })
    }

    /// The last datagram from a port, once there is one.
    pub fn sample_of(&self, v6: bool, port: u16) -> Datagram {
        let mut sample = None;
        wait_until("a datagram on the wire", || {
            sample = self.seen().samples.remove(&(v6, port));
            sample.is_some()
        });
        sample.expect("just seen")
    }

    /// Sends frames made of the last datagrams; says how many.
    pub fn inject(&self, forge: impl Fn(&Datagram) -> Vec<Vec<u8>>) -> u64 {
        let frames: Vec<_> = self.samples().iter().flat_map(forge).collect();
        for frame in &frames {
            self.send(frame);
        }
        frames.len() as u64
    }

    /// Sends a frame from the far end.
    pub fn send(&self, frame: &[u8]) {
        self.wire.send(frame).expect("the line takes a frame");
    }

    /// Datagrams that came to the sender's sockets and were dropped there.
    pub fn drops(&self) -> u64 {
        udp_sockets(self.sender)
            .iter()
            .map(|socket| socket.drops)
            .sum()
    }

    /// No datagram of another length, from another port, in pieces, or to somebody else.
    pub fn sees_only_what_is_meant(&self, when: &str) {
        let shapes = self.seen().shapes.clone();
        for &(v6, port, rest, fragment, to_gateway) in &shapes {
            let right = port == self.ports[usize::from(v6)]
                && matches!(rest, 0 | NOTICE)
                && !fragment
                && to_gateway;
            assert!(right, "{when}: {shapes:?}");
        }
    }

    /// The sender is the process it was, and nothing waits in its sockets.
    pub fn has_heard_nothing(&self, when: &str) {
        let collector = self.chain.collector.as_ref().map(|child| child.id());
        assert_eq!(collector.and_then(sender_of), Some(self.sender), "{when}");
        let sockets = udp_sockets(self.sender);
        assert_eq!(sockets.len(), 2, "{when}: {sockets:?}");
        assert!(
            sockets.iter().all(|socket| socket.queued == 0),
            "{when}: {sockets:?}"
        );
    }

    /// Nothing was worth a warning.
    pub fn log_is_quiet(&self) {
        let log = self.chain.log("collector");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }

    /// How the kernel would send to each of the far addresses.
    pub fn routes(&self) -> [String; FAR.len()] {
        FAR.map(|far| ip(&format!("-n {} route get {far}", self.line.near)).expect("a route"))
    }

    /// The far end answers no question for its Ethernet address, and the near end does not know it.
    pub fn forget_neighbours(&self) {
        let Line { near, far } = &self.line;
        ip(&format!("-n {far} link set {FAR_DEVICE} arp off")).expect("a link");
        for address in FAR {
            ip(&format!("-n {near} neigh del {address} dev {NEAR_DEVICE}")).expect("a neighbour");
        }
    }

    /// As it was.
    pub fn know_neighbours(&self) {
        ip(&format!(
            "-n {} link set {FAR_DEVICE} arp on",
            self.line.far
        ))
        .expect("a link");
        self.line.know_neighbours().expect("neighbours");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            // It may have failed, which the test has told.
            let _ = watcher.join();
        }
    }
}

fn watch(ears: &Wire, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut buffer = vec![0; 1 << 17];
    while !stop.load(Ordering::Relaxed) {
        let frame = ears.next(&mut buffer).expect("the line can be listened to");
        let Some(datagram) = frame.and_then(Datagram::read) else {
            continue;
        };
        let mut seen = seen.lock().expect("no panic while it is held");
        seen.datagrams += datagram.length.div_ceil(FULL) as u64;
        let Datagram {
            v6,
            port,
            length,
            fragment,
            ..
        } = datagram;
        // An ordinary socket's are no concern.
        if length >= NOTICE && length != 1400 {
            seen.shapes.insert((
                v6,
                port,
                length % FULL,
                fragment,
                datagram.goes_to_gateway(),
            ));
        }
        if length <= FULL {
            seen.samples.insert((v6, port), datagram);
        }
    }
}

fn start_collector(chain: &Chain, line: &Line) -> std::process::Child {
    let mut gateways = String::new();
    for (number, far) in FAR.into_iter().enumerate() {
        let key = chain.path(&format!("{number}.key"));
        let (_, text, _) = qrng::keys::generate(&mut UnwrapErr(SysRng));
        fs::write(&key, text.as_bytes()).expect("a key file");
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("chmod");
        let address = if is_v6(far) {
            format!("[{far}]:4790")
        } else {
            format!("{far}:4790")
        };
        gateways += &format!("[[gateway]]\naddress = \"{address}\"\nkey = {key:?}\n");
    }
    let directory = chain.path("collector");
    let config = chain.path("collector.toml");
    let text = format!(
        "state-directory = {directory:?}\nruntime-directory = {directory:?}\n\
         [source]\nkind = \"simulator\"\nrate = \"unlimited\"\n\
         [send]\nrate = \"1 MB/s\"\nburst = \"64 KiB\"\n{gateways}"
    );
    fs::write(&config, text).expect("a configuration");
    let log = fs::File::create(chain.path("collector.log")).expect("a log");
    Command::new("ip")
        .args(["netns", "exec", &line.near])
        .arg(program("qrng-collector"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("ip is there, it made the line")
}
