//! What a gateway is seen to call, by strace, under traffic, rubbish and forged ICMP: it connects to nobody, and sends nobody
//! anything.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::fuse_harness::{is_root, no_mount};
use qrng_tests::helper::Helper;
use qrng_tests::icmp::Forger;
use qrng_tests::processes::{children, signal};
use qrng_tests::skip;

const SOURCE: &str = "[source]\nkind = \"simulator\"\nrate = \"usb-4m\"\n";

/// Calls by which something could go out, or in another way than as the gateway receives.
const NEVER: [&str; 13] = [
    "sendto",
    "sendmmsg",
    "accept",
    "accept4",
    "listen",
    "splice",
    "sendfile",
    "io_uring_setup",
    "ptrace",
    "execveat",
    "fork",
    "vfork",
    "bpf",
];

/// All that is done with the UDP socket.
const OF_SOCKET: [&str; 7] = [
    "socket",
    "bind",
    "setsockopt",
    "getsockopt",
    "recvmmsg",
    "fcntl",
    "close",
];

#[test]
fn the_gateway_connects_to_nobody_and_sends_nobody_anything() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        skip!("strace is not installed");
    }
    if !is_root() {
        skip!("not root, who alone can forge ICMP");
    }
    // Mounted for, and mounting by itself.
    for helped in [true, false] {
        traced(helped);
    }
}

fn traced(helped: bool) {
    let mut chain = Chain::new();
    let helper = helped.then(|| Helper::start(&chain));
    let setting = helper
        .as_ref()
        .map_or(String::new(), |_| Helper::setting(&chain));
    let plain = chain.gateway_command(&format!("accept-simulated = true\n{setting}"), "");
    let traces = chain.path("traces");
    fs::create_dir(&traces).unwrap();
    let manager = chain.path("notify");
    let heard = UnixDatagram::bind(&manager).unwrap();
    let mut command = Command::new("strace");
    command
        .args(["-ff", "-qq", "-yy", "-s", "32", "-o"])
        .arg(traces.join("of"))
        .arg(plain.get_program())
        .args(plain.get_args())
        .env("NOTIFY_SOCKET", &manager)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::null());
    chain.start_gateway_by(&mut command);
    chain.start_collector(None, SOURCE);
    assert_eq!(chain.read_raw(200_000, PATIENCE).len(), 200_000);
    disturb(chain.port);
    // What came later is served, too.
    assert_eq!(chain.read_raw(200_000, PATIENCE).len(), 200_000);
    wait_until("rubbish is counted", || {
        chain.count("/rejected/wrong-shape") >= 100
    });
    heard_alive(&heard);
    // Like the service manager it goes on listening: whoever tells it something waits for that.
    thread::spawn(move || while heard.recv(&mut [0; 4096]).is_ok() {});
    let gateway = chain.gateway.as_mut().unwrap();
    signal(children(gateway.id())[0], Signal::SIGTERM);
    wait_until("the end of strace", || {
        gateway.try_wait().unwrap().is_some()
    });
    chain.gateway = None;
    check(&traces, helped);
    helper.map(Helper::end);
}

/// Sends rubbish, and ICMP errors about datagrams that the gateway never sent.
fn disturb(port: u16) {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gateway = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let forger = Forger::open().unwrap();
    // That they are believed: a connected socket hears of it.
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(stranger.local_addr().unwrap()).unwrap();
    for _ in 0..100 {
        stranger.send_to(b"answer me", gateway).unwrap();
    }
    for (victim, other) in [(gateway, v4(&stranger)), (v4(&connected), v4(&stranger))] {
        forger.errors(victim, other).unwrap();
    }
    connected.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = connected.recv(&mut [0; 16]).unwrap_err();
    assert!(
        error.raw_os_error() != Some(nix::libc::EAGAIN),
        "forged errors do not arrive: {error}"
    );
    // Nor did the stranger hear anything.
    stranger
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    stranger.recv(&mut [0; 16]).unwrap_err();
}

fn v4(socket: &UdpSocket) -> SocketAddrV4 {
    match socket.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(_) => unreachable!("bound to 127.0.0.1"),
    }
}

/// The service manager is told that all is well, under the filter.
fn heard_alive(socket: &UnixDatagram) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut room = [0; 4096];
    loop {
        let length = socket.recv(&mut room).unwrap();
        if &room[..length] == b"WATCHDOG=1" {
            return;
        }
    }
}

/// Looks through what was seen of all threads.
fn check(traces: &Path, helped: bool) {
    let files = fs::read_dir(traces).unwrap();
    let traces: Vec<String> = files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let mut received = 0;
    let mut told = 0;
    for line in traces.iter().flat_map(|trace| trace.lines()) {
        let call = line.split('(').next().unwrap_or_default();
        assert!(!NEVER.contains(&call), "{line}");
        received += u32::from(call == "recvmmsg");
        if line.contains("<UDP") {
            assert!(OF_SOCKET.contains(&call), "{line}");
        }
        match call {
            "connect" => assert!(line.contains("AF_UNIX"), "{line}"),
            "write" => told += u32::from(line.contains("<UNIX")),
            // The connection, given to the service manager to keep.
            "sendmsg" => assert!(
                line.contains("msg_name=NULL") && line.contains("SCM_RIGHTS"),
                "{line}"
            ),
            "execve" => assert!(line.contains("qrng-gateway"), "{line}"),
            _ => {}
        }
    }
    assert!(received > 10 && told > 1, "{received} {told}");
    // The thread that confined the process neither connects nor opens anything afterwards, but its own files.
    let main = traces.iter().find(|trace| trace.contains("execve("));
    let (_, after) = main
        .unwrap()
        .split_once("SECCOMP_FILTER_FLAG_TSYNC")
        .expect("a list of calls");
    for line in after.lines() {
        assert!(!line.starts_with("connect("), "{line}");
        assert!(!(helped && line.starts_with("openat(")), "{line}");
    }
}
