//! The old protocol, spoken by the test itself.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use qrng_tests::adapter::{Adapter, stream};
use qrng_tests::broken::good;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::skip;

use super::{latch, left, of_a_card, of_a_simulator, words};

/// The adapter at a socket in the chain's directory, with `more` of its section.
fn start(chain: &Chain, more: &str) -> (Adapter, PathBuf) {
    let socket = chain.path("egd");
    let tables = format!("[egd]\nsocket = {socket:?}\n{more}");
    let adapter = Adapter::start(
        chain,
        "egd",
        &tables,
        "clients of the old protocol are served",
    );
    (adapter, socket)
}

fn connect(socket: &PathBuf) -> UnixStream {
    let client = UnixStream::connect(socket).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(client: &mut (impl Read + Write), command: &[u8], answer: usize) -> Vec<u8> {
    client.write_all(command).unwrap();
    let mut room = vec![0; answer];
    client.read_exact(&mut room).unwrap();
    room
}

/// Whether the connection has ended.
fn is_ended(client: &mut impl Read) -> bool {
    match client.read(&mut [0]) {
        Ok(len) => len == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn every_command_over_a_unix_socket_and_over_tcp() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let (chain, _card) = of_a_card();
    let address = free_port();
    let (mut adapter, socket) = start(
        &chain,
        &format!("mode = \"0600\"\nlisten = \"{address}\"\n"),
    );
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = left(&chain);
    let mut unix = connect(&socket);
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let fill = |chain: &Chain| chain.count("/buffer/fill_bytes");
    for _ in 0..2 {
        assert_eq!(
            ask(&mut unix, &[0], 4),
            (fill(&chain) as u32 * 8).to_be_bytes()
        );
        assert_eq!(
            ask(&mut tcp, &[0], 4),
            (fill(&chain) as u32 * 8).to_be_bytes()
        );
        let now = ask(&mut unix, &[1, 40], 41);
        assert_eq!(now[0], 40);
        let blocking = ask(&mut tcp, &[2, 255], 255);
        assert_ne!(now[1..33], blocking[..32]);
        let digits = adapter.child.id().to_string();
        let pid = ask(&mut unix, &[4], 1 + digits.len());
        assert_eq!(
            (usize::from(pid[0]), &pid[1..]),
            (digits.len(), digits.as_bytes())
        );
    }
    wait_until("all is counted", || left(&chain) - before == 2 * (40 + 255));
    // What clients put in goes nowhere.
    let books = chain.status()["bytes"].to_string();
    let mut add = vec![3, 7, 255, 255];
    add.extend(good(255));
    for _ in 0..10 {
        unix.write_all(&add).unwrap();
    }
    assert_eq!(ask(&mut unix, &[1, 0], 1), [0]);
    assert_eq!(chain.status()["bytes"].to_string(), books);
    assert!(adapter.stop().success());
    assert!(!socket.exists());
    assert_eq!(adapter.books(), [2 * (40 + 255), 2 * (40 + 255), 0]);
}

#[test]
fn a_wait_ends_with_its_client_and_goes_on_over_a_new_gateway() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let mut chain = Chain::new();
    let gateway = stream(&chain);
    chain.start_gateway("accept-simulated = true", &gateway);
    let address = free_port();
    let (mut adapter, socket) = start(&chain, &format!("listen = \"{address}\"\n"));
    let waiting = |chain: &Chain| chain.count("/readers/waiting");
    let mut unix = connect(&socket);
    unix.write_all(&[2, 9]).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(&[2, 9]).unwrap();
    let mut stays = connect(&socket);
    stays.write_all(&[2, 9]).unwrap();
    wait_until("all wait", || waiting(&chain) == 3);
    // Who doesn't wait is told at once.
    assert_eq!(ask(&mut connect(&socket), &[1, 9], 1), [0]);
    drop(unix);
    drop(tcp);
    wait_until("those who have gone wait no more", || waiting(&chain) == 1);
    chain.kill_gateway();
    chain.start_gateway("accept-simulated = true", &gateway);
    chain.start_collector(
        None,
        "[source]\nkind = \"simulator\"\nrate = \"500 kB/s\"\n",
    );
    stays.read_exact(&mut [0; 9]).unwrap();
    drop(stays);
    assert!(adapter.stop().success());
    assert_eq!(adapter.books(), [9, 9, 0]);
}

#[test]
fn a_latch_ends_the_connections_that_read() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let (chain, mut card) = of_a_card();
    let (mut adapter, socket) = start(&chain, "");
    let mut client = connect(&socket);
    ask(&mut client, &[2, 9], 9);
    latch(&chain, &mut card);
    assert_eq!(ask(&mut client, &[0], 4), [0; 4]);
    assert_eq!(ask(&mut client, &[1, 9], 1), [0]);
    client.write_all(&[2, 9]).unwrap();
    assert!(is_ended(&mut client));
    assert!(adapter.stop().success());
    assert_eq!(adapter.books(), [9, 9, 0]);
}

#[test]
fn connections_are_bounded_and_the_idle_give_way() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let mut chain = Chain::new();
    let gateway = stream(&chain);
    chain.start_gateway("accept-simulated = true", &gateway);
    let (_adapter, socket) = start(&chain, "connections = 2\n");
    let mut first = connect(&socket);
    ask(&mut first, &[0], 4);
    let mut second = connect(&socket);
    ask(&mut second, &[0], 4);
    let mut third = connect(&socket);
    ask(&mut third, &[0], 4);
    assert!(is_ended(&mut first), "the longest idle one");
    for client in [&mut second, &mut third] {
        client.write_all(&[2, 9]).unwrap();
    }
    wait_until("both wait", || chain.count("/readers/waiting") == 2);
    assert!(is_ended(&mut connect(&socket)), "nobody is idle");
    drop(second);
    wait_until("there is room", || chain.count("/readers/waiting") == 1);
    wait_until("a new one is let in", || {
        let mut next = connect(&socket);
        next.write_all(&[0]).is_ok() && next.read_exact(&mut [0; 4]).is_ok()
    });
}

#[test]
fn a_slow_client_is_cut_and_what_it_did_not_take_is_destroyed() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let chain = of_a_simulator("2 MB/s");
    let (mut adapter, socket) = start(&chain, "");
    let mut slow = UnixStream::connect(&socket).unwrap();
    slow.set_nonblocking(true).unwrap();
    // More than its socket takes, and none of it read; beside it one that doesn't end its command.
    let mut half = connect(&socket);
    half.write_all(&[3, 0]).unwrap();
    let requests = [2, 255].repeat(20_000);
    let mut at = 0;
    wait_until("it is cut off", || match slow.write(&requests[at..]) {
        Ok(len) => {
            at += len;
            false
        }
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    });
    // Nobody else waits for it.
    ask(&mut connect(&socket), &[2, 99], 99);
    assert!(is_ended(&mut half));
    assert!(adapter.stop().success());
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!(taken, handed_on + destroyed);
    assert!((1..=255).contains(&destroyed), "{destroyed}");
    left(&chain);
}

#[test]
fn noise_of_many_clients_stops_nothing() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let chain = of_a_simulator("2 MB/s");
    let (mut adapter, socket) = start(&chain, "connections = 8\n");
    thread::scope(|scope| {
        for worker in 0..4_usize {
            let socket = &socket;
            scope.spawn(move || {
                for round in 0..60 {
                    let mut client = connect(socket);
                    // Commands rather often, so that it gets somewhere.
                    let mut noise = good(1 + 37 * round % 900);
                    for byte in noise.iter_mut().step_by(2 + worker) {
                        *byte %= 5;
                    }
                    // It may be ended in the middle, or leave at any time.
                    let _ = client.write_all(&noise);
                    if round % 2 == 0 {
                        let _ = client.shutdown(std::net::Shutdown::Write);
                        let _ = client.read_to_end(&mut Vec::new());
                    }
                }
            });
        }
    });
    wait_until("those who left wait no more", || {
        chain.count("/readers/waiting") == 0
    });
    wait_until("there is room", || {
        let mut client = connect(&socket);
        client.write_all(&[2, 32]).is_ok() && client.read_exact(&mut [0; 32]).is_ok()
    });
    assert!(adapter.stop().success());
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!(taken, handed_on + destroyed);
    left(&chain);
}

#[test]
fn a_second_one_is_refused_and_what_a_killed_one_left_is_replaced() {
    let chain = Chain::new();
    let (mut adapter, socket) = start(&chain, "");
    let tables = format!("[egd]\nsocket = {socket:?}\n");
    let second = Adapter::command(&chain, "egd", &tables).output().unwrap();
    assert!(!second.status.success());
    let said = words(&second);
    assert!(
        said.contains("another adapter runs here; stop it, or set `egd.socket`"),
        "{said}"
    );
    adapter.child.kill().unwrap();
    adapter.child.wait().unwrap();
    assert!(socket.exists());
    let (_adapter, socket) = start(&chain, "");
    // There is no gateway: nothing at once, and who waits waits.
    assert_eq!(ask(&mut connect(&socket), &[1, 9], 1), [0]);
    assert_eq!(ask(&mut connect(&socket), &[0], 4), [0; 4]);
}
