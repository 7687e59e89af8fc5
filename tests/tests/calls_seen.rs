//! What the sender is seen to call, by strace; and what becomes of a collector whose kernel cannot confine.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use qrng_tests::chain::{Chain, peer, program, wait_until};
use qrng_tests::processes::{children, signal};
use qrng_tests::skip;

const SOURCE: &str = "[source]\nkind = \"simulator\"\nrate = \"usb-4m\"\n";

/// strace, with these arguments before the collector's.
fn strace(chain: &Chain, arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(arguments)
        .arg(program("qrng-collector"))
        .arg("--config")
        .arg(chain.path("collector.toml"))
        .stdin(Stdio::null());
    command
}

fn has_strace() -> bool {
    Command::new("strace").arg("-V").output().is_ok()
}

#[test]
fn without_a_kernel_that_confines_nothing_starts() {
    if !has_strace() {
        skip!("strace is not installed");
    }
    let mut chain = Chain::new();
    // Writes the configuration.
    chain.start_collector(Some(9), SOURCE);
    chain.stop_collector();
    for (call, error, words) in [
        (
            "landlock_create_ruleset",
            "ENOSYS",
            "Landlock is not available",
        ),
        (
            "landlock_create_ruleset",
            "EOPNOTSUPP",
            "boot parameter lsm=",
        ),
        ("landlock_restrict_self", "E2BIG", "Landlock:"),
        ("seccomp", "EINVAL", "CONFIG_SECCOMP_FILTER"),
        ("capset", "EPERM", "privileges:"),
    ] {
        let inject = format!("inject={call}:error={error}");
        let trace = format!("trace={call}");
        let arguments = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let output = strace(&chain, &arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call}: {text}");
        for word in [
            "cannot be confined",
            words,
            "\"off-insecure\" in [confinement]",
        ] {
            assert!(text.contains(word), "{call}: {word} is not in: {text}");
        }
    }
}

#[test]
fn the_sender_calls_nothing_that_hears() {
    if !has_strace() {
        skip!("strace is not installed");
    }
    let mut chain = Chain::new();
    let peer = peer();
    let port = peer.local_addr().unwrap().port();
    chain.start_collector(Some(port), SOURCE);
    chain.stop_collector();
    // A second gateway whose port is closed, so that every datagram to it is answered by ICMP.
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_, key, _) = qrng::keys::generate(&mut getrandom::rand_core::UnwrapErr(getrandom::SysRng));
    let file = chain.path("closed.key");
    fs::write(&file, key.as_bytes()).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let config = chain.path("collector.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    text += &format!("[[gateway]]\naddress = \"{closed}\"\nkey = {file:?}\n");
    fs::write(&config, text).unwrap();

    let traces = chain.path("traces");
    fs::create_dir(&traces).unwrap();
    let output = traces.join("of").display().to_string();
    let arguments = ["-ff", "-qq", "-yy", "-s", "32", "-o", &output];
    let log = fs::File::create(chain.path("collector.log")).unwrap();
    let mut tracer = strace(&chain, &arguments).stderr(log).spawn().unwrap();
    answer_everything(&peer, 300);
    end_traced(&mut tracer);

    let sender = sender_traces(&traces);
    let mut calls = 0;
    for line in sender.iter().flat_map(|trace| trace.lines()) {
        let call = line.split('(').next().unwrap_or_default();
        calls += u32::from(call == "sendmsg");
        assert!(!HEARS.contains(&call), "{line}");
        if line.contains("<UDP") || line.contains("<socket:") {
            assert!(SENDS.contains(&call), "{line}");
        }
        if call == "read" && line.contains("<pipe:") {
            continue;
        }
        // Before it is confined it reads its files.
        assert!(call != "read" || line.contains("</"), "{line}");
    }
    // Each call sends up to 45 datagrams.
    assert!(calls > 10, "{calls} calls of sendmsg");
}

/// Calls with which something could be heard of the network.
const HEARS: [&str; 14] = [
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "accept",
    "accept4",
    "listen",
    "bind",
    "connect",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "getsockopt",
    "io_uring_setup",
];

/// All that is done with a UDP socket.
const SENDS: [&str; 4] = ["socket", "setsockopt", "sendmsg", "close"];

/// Answers datagrams with datagrams.
fn answer_everything(peer: &UdpSocket, count: usize) {
    for _ in 0..count {
        let (length, from) = peer.recv_from(&mut [0; 2000]).expect("a datagram");
        assert!(length > 0);
        peer.send_to(b"do you hear me", from).unwrap();
    }
}

/// Ends the collector under strace, and so strace.
fn end_traced(tracer: &mut Child) {
    let collector = children(tracer.id());
    signal(collector[0], Signal::SIGTERM);
    wait_until("the end of strace", || tracer.try_wait().unwrap().is_some());
}

/// What was seen of the sender's threads: those of the process that was told to send.
fn sender_traces(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().flatten();
    let all: Vec<_> = files
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix("of.").unwrap().to_owned();
            (number, fs::read_to_string(file.path()).unwrap())
        })
        .collect();
    let is_main = |trace: &str| trace.contains("\"--sender\"") && trace.contains("landlock");
    let (_, main) = all.iter().find(|(_, trace)| is_main(trace)).unwrap();
    let threads = all.iter().filter(|(number, _)| {
        let started = format!("{{parent_tid=[{number}]}}");
        main.contains(&started) || main.contains(&format!(") = {number}\n"))
    });
    let threads: Vec<String> = threads.map(|(_, trace)| trace.clone()).collect();
    assert_eq!(threads.len(), 3, "threads of the sender");
    [vec![main.clone()], threads].concat()
}
