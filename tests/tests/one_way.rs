//! One way, on the wire: whatever the gateway's side sends, the collector's process hears nothing of it
//! and sends as before.
//!
//! Two collectors run in network namespaces of their own, each at a veth line. One is attacked, the other
//! is left alone: what the machine does to the pace of one it does to that of both. A phase takes
//! `QRNG_TEST_PHASE_SECONDS` (2).

mod lines;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use qrng_tests::chain::wait_until;
use qrng_tests::frames::Datagram;
use qrng_tests::netns::{FAR, FAR_DEVICE, ip, is_v6};
use qrng_tests::skip;

use lines::Host;

/// Between two bursts of forged frames.
const PAUSE: Duration = Duration::from_millis(5);

fn phase_length() -> Duration {
    let given = std::env::var("QRNG_TEST_PHASE_SECONDS").ok();
    let seconds = given.map_or(2, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// The attacked collector and the one that is left alone.
struct Pair {
    attacked: Host,
    control: Host,
}

impl Pair {
    /// Attacks for one phase, and sees that both send as much as the other.
    fn phase(&self, name: &str, mut attack: impl FnMut(&Host)) {
        let before = self.both(Host::datagrams);
        let end = Instant::now() + phase_length();
        while Instant::now() < end {
            attack(&self.attacked);
            thread::sleep(PAUSE);
        }
        let after = self.both(Host::datagrams);
        self.compare(name, before, after);
        self.attacked.sees_only_what_is_meant(name);
        self.attacked.has_heard_nothing(name);
    }

    /// The same where nothing can arrive: by what the collectors count themselves, which is a second or
    /// two old.
    fn dark_phase(&self, name: &str) {
        let before = self.both(Host::counted);
        thread::sleep(2 * phase_length());
        let after = self.both(Host::counted);
        self.compare(name, before, after);
        self.attacked.has_heard_nothing(name);
    }

    fn both(&self, what: impl Fn(&Host) -> u64) -> [u64; 2] {
        [what(&self.attacked), what(&self.control)]
    }

    fn compare(&self, name: &str, before: [u64; 2], after: [u64; 2]) {
        let [attacked, control] = [0, 1].map(|i| after[i] - before[i]);
        eprintln!("{name}: {attacked} datagrams under attack, {control} left alone");
        assert!(
            control > 0,
            "{name}: the collector left alone sends nothing"
        );
        // Half as many would be a way back; the rest is when the one and the other are looked at.
        let range = control * 2 / 3..=control * 3 / 2;
        assert!(range.contains(&attacked), "{name}: {attacked} of {control}");
    }
}

#[test]
fn nothing_from_the_gateways_side_is_heard_or_changes_what_is_sent() {
    let pair = match (Host::start(), Host::start()) {
        (Ok(attacked), Ok(control)) => Pair { attacked, control },
        (Err(why), _) | (_, Err(why)) => skip!("no network namespaces here: {why}"),
    };
    let attacked = &pair.attacked;
    let routes = attacked.routes();

    pair.phase("quiet, with a closed port", |_| {});
    let port = attacked.samples().map(|sample| sample.port);
    pair.phase("forged ICMP of every kind", |host| {
        host.inject(|sample| sample.errors());
    });
    pair.phase("ARP, neighbour and router advertisements", |host| {
        host.inject(Datagram::poison);
    });
    let mut answers = 0;
    pair.phase("datagrams to the collector's port", |host| {
        answers += host.inject(|sample| vec![sample.answer(&[7; 100]); 4]);
    });
    // All of them came to the socket, and all were dropped there.
    wait_until("the kernel's count of dropped datagrams", || {
        attacked.drops() == answers
    });
    pair.phase("everything at once", |host| {
        host.inject(|sample| {
            let answer = vec![sample.answer(b"?")];
            [sample.errors(), sample.poison(), answer].concat()
        });
    });

    assert_eq!(attacked.samples().map(|sample| sample.port), port);
    assert_eq!(attacked.routes(), routes, "a route has changed");
    assert_eq!(attacked.failures(), 0, "a send has failed");
    attacked.log_is_quiet();

    // A gateway that is off the wire in every way. Its neighbour entry is there: frames go out.
    ip(&format!(
        "-n {} link set {FAR_DEVICE} down",
        attacked.line.far
    ))
    .unwrap();
    pair.dark_phase("no carrier");
    ip(&format!(
        "-n {} link set {FAR_DEVICE} up",
        attacked.line.far
    ))
    .unwrap();
    // And one whose Ethernet address nobody tells.
    attacked.forget_neighbours();
    pair.dark_phase("no answer to ARP and neighbour solicitation");
    attacked.know_neighbours();
    let seen = attacked.datagrams();
    wait_until("datagrams after all this", || {
        attacked.datagrams() > seen + 100
    });
    attacked.sees_only_what_is_meant("afterwards");

    // Without this the forger might have forged badly.
    an_ordinary_socket_hears_the_same_frames(&pair.control);
    drop(pair);
}

/// The frames that the collector does not hear are right: ordinary sockets in the same place do.
fn an_ordinary_socket_hears_the_same_frames(host: &Host) {
    for (index, far) in FAR.into_iter().enumerate() {
        let v6 = is_v6(far);
        let any = if v6 { "::" } else { "0.0.0.0" };
        let open = move || {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect((far, 9)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let socket = host.line.near(open);
        let port = socket.local_addr().unwrap().port();
        let send = |length: usize| {
            // An error of an earlier datagram is told by the next.
            let _ = socket.send(&vec![7; length]);
            host.sample_of(v6, port)
        };
        // Nobody sends these but the forger: an unknown protocol, and a prohibition.
        let (kind, code, expected) = if v6 {
            (1, 1, Errno::EACCES)
        } else {
            (3, 2, Errno::ENOPROTOOPT)
        };
        let sample = send(100);
        wait_until("an ICMP error at an ordinary socket", || {
            host.send(&sample.icmp(kind, code, [0; 4]));
            let error = socket.take_error().unwrap();
            error.is_some_and(|e| e.raw_os_error() == Some(expected as i32))
        });
        host.send(&sample.answer(b"heard"));
        wait_until("a datagram at an ordinary socket", || {
            let mut buffer = [0; 10];
            match socket.recv(&mut buffer) {
                Ok(length) => &buffer[..length] == b"heard",
                Err(e) => {
                    assert!(e.kind() == ErrorKind::WouldBlock || e.raw_os_error().is_some());
                    false
                }
            }
        });
        let sample = send(1400);
        let too_big = if v6 {
            sample.icmp(2, 0, [0, 0, 5, 0])
        } else {
            sample.icmp(3, 4, [0, 0, 5, 0])
        };
        host.send(&too_big);
        wait_until("an MTU of 1280 in an ordinary route", || {
            host.routes()[index].contains("mtu 1280")
        });
    }
}
