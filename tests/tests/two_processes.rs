//! The collector as two processes: what lives and dies with what, and what each may do.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use qrng_tests::chain::{Chain, peer, program, wait_until};
use qrng_tests::processes::{is_alive, of_locking, sender_of, signal, status_field, udp_sockets};
use qrng_tests::skip;

const SOURCE: &str = "[source]\nkind = \"simulator\"\nrate = \"usb-4m\"\n";

/// A collector that sends to a socket here.
struct Running {
    chain: Chain,
    peer: UdpSocket,
    collector: u32,
    sender: u32,
}

impl Running {
    /// Starts one and waits until it sends.
    fn start(tables: &str) -> Self {
        let mut chain = Chain::new();
        let peer = peer();
        let port = peer.local_addr().unwrap().port();
        chain.start_collector(Some(port), &format!("{SOURCE}{tables}"));
        Self::wait(chain, peer)
    }

    fn wait(mut chain: Chain, peer: UdpSocket) -> Self {
        let collector = chain.collector.as_ref().unwrap().id();
        peer.recv(&mut [0; 2000]).expect("datagrams");
        chain.assert_alive();
        let sender = sender_of(collector).expect("a sender");
        Self {
            chain,
            peer,
            collector,
            sender,
        }
    }

    /// Waits for the collector's end.
    fn ended(&mut self) -> ExitStatus {
        let mut child = self.chain.collector.take().unwrap();
        let mut status = None;
        wait_until("the collector's end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    fn nothing_is_left(&self) {
        wait_until("the end of both processes", || {
            !is_alive(self.collector) && !is_alive(self.sender)
        });
    }
}

#[test]
fn a_collector_whose_sender_is_killed_ends_and_says_so() {
    let mut running = Running::start("");
    signal(running.sender, Signal::SIGKILL);
    assert_eq!(running.ended().code(), Some(1));
    running.nothing_is_left();
    let log = running.chain.log("collector");
    assert!(log.contains("the sender was killed by SIGKILL"), "{log}");
    // Its status is not left behind as if it were news.
    assert!(!running.chain.path("collector/status.json").exists());
}

#[test]
fn a_sender_does_not_outlive_a_killed_reader() {
    let mut running = Running::start("");
    signal(running.collector, Signal::SIGKILL);
    assert_eq!(running.ended().signal(), Some(Signal::SIGKILL as i32));
    running.nothing_is_left();
}

#[test]
fn a_killed_collector_can_be_started_again_at_once() {
    let mut running = Running::start("");
    for _ in 0..3 {
        signal(running.collector, Signal::SIGKILL);
        running.ended();
        let Running { mut chain, .. } = running;
        let peer = peer();
        let port = peer.local_addr().unwrap().port();
        chain.start_collector(Some(port), SOURCE);
        running = Running::wait(chain, peer);
    }
    assert!(running.chain.stop_collector().unwrap().success());
}

#[test]
fn signals_to_the_reader_end_both_in_order() {
    for asked in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = Running::start("");
        signal(running.collector, asked);
        assert_eq!(running.ended().code(), Some(0), "{asked}");
        running.nothing_is_left();
        let log = running.chain.log("collector");
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn signals_to_the_sender_are_the_readers_business() {
    let mut running = Running::start("");
    // As a terminal and a service manager do: to both, the sender first.
    for asked in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGTERM] {
        signal(running.sender, asked);
    }
    for _ in 0..200 {
        running.peer.recv(&mut [0; 2000]).expect("more datagrams");
    }
    assert!(is_alive(running.sender));
    // Even one that does nothing any more.
    signal(running.sender, Signal::SIGSTOP);
    signal(running.collector, Signal::SIGTERM);
    assert_eq!(running.ended().code(), Some(0));
    running.nothing_is_left();
}

#[test]
fn both_are_confined_and_status_says_so() {
    let running = Running::start("");
    for (pid, capabilities) in [
        (running.sender, of_locking()),
        (running.collector, 1 << 1 | of_locking()),
    ] {
        let field = |name: &str| status_field(pid, name).unwrap();
        assert_eq!(field("Seccomp"), "2");
        assert_eq!(field("NoNewPrivs"), "1");
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let has = u64::from_str_radix(&field(set), 16).unwrap();
            assert_eq!(has & !capabilities, 0, "{set} of {}", field("Name"));
        }
    }
    assert_eq!(status_field(running.sender, "Groups").as_deref(), Some(""));
    let mut status = None;
    wait_until("the status file", || {
        status = running.chain.collector_status();
        status.is_some()
    });
    let status = status.unwrap();
    assert_eq!(status["confinement"]["sender"], "enforced");
    assert_eq!(status["confinement"]["reader"], "enforced");
    assert!(status["confinement"]["landlock_version"].as_u64() >= Some(1));
}

#[test]
fn confinement_is_turned_off_by_name_and_loudly() {
    let running =
        Running::start("[confinement]\nsender = \"off-insecure\"\nreader = \"off-insecure\"\n");
    for pid in [running.sender, running.collector] {
        assert_eq!(status_field(pid, "Seccomp").as_deref(), Some("0"));
    }
    let log = running.chain.log("collector");
    for process in ["SENDER", "READER"] {
        assert!(
            log.contains(&format!("THE {process} IS NOT CONFINED")),
            "{log}"
        );
    }
    wait_until("the status file", || {
        let status = running.chain.collector_status();
        status.is_some_and(|status| status["confinement"]["sender"] == "off-insecure")
    });
    // Its socket is deaf even so.
    deaf(&running);
}

/// Sends to the collector's port, and sees that all of it is dropped.
fn deaf(running: &Running) {
    let (_, port) = running.peer.recv_from(&mut [0; 2000]).unwrap();
    let before = udp_sockets(running.sender);
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0].port, port.port());
    for _ in 0..100 {
        running.peer.send_to(&[7; 1000], port).unwrap();
    }
    // On loopback a datagram is in its socket, or nowhere, when the send returns.
    let after = udp_sockets(running.sender);
    assert_eq!((after[0].queued, after[0].port), (0, port.port()));
    assert_eq!(after[0].drops, before[0].drops + 100);
}

#[test]
fn what_is_sent_to_the_collectors_port_is_dropped() {
    let mut running = Running::start("");
    deaf(&running);
    running.peer.recv(&mut [0; 2000]).expect("it goes on");
    assert!(running.chain.stop_collector().unwrap().success());
}

#[test]
fn an_ordinary_user_is_confined_as_well() {
    if !nix::unistd::geteuid().is_root() {
        skip!("not root: the other tests run as an ordinary user already");
    }
    let user = 65_534;
    let chain = Chain::new();
    let peer = peer();
    let port = peer.local_addr().unwrap().port();
    let home = chain.path("");
    fs::set_permissions(&home, PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["collector", "collector.key"] {
        std::os::unix::fs::chown(chain.path(name), Some(user), Some(user)).unwrap();
    }
    let config = chain.path("collector.toml");
    let text = format!(
        "state-directory = \"collector\"\nruntime-directory = \"collector\"\n\
         [[gateway]]\naddress = \"127.0.0.1:{port}\"\nkey = \"collector.key\"\n{SOURCE}"
    );
    fs::write(&config, text).unwrap();
    // The build directory may be closed to others.
    let collector = chain.path("qrng-collector");
    fs::copy(program("qrng-collector"), &collector).unwrap();
    let log = fs::File::create(chain.path("collector.log")).unwrap();
    let child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&collector)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn();
    let Ok(child) = child else {
        skip!("setpriv is not installed");
    };
    let mut chain = chain;
    chain.collector = Some(child);
    let mut running = Running::wait(chain, peer);
    for pid in [running.sender, running.collector] {
        assert_eq!(status_field(pid, "Seccomp").as_deref(), Some("2"));
        assert!(status_field(pid, "Uid").unwrap().starts_with("65534"));
    }
    assert!(running.chain.stop_collector().unwrap().success());
    running.nothing_is_left();
}
