//! The kernel's pool before it is ready: a guest whose processor has no generator, and whose kernel believes no boot loader.
//!
//! ```text
//! gateway's stream socket ── a thread of the test ── TCP ── 10.0.2.2 │ socat ── Unix socket ── qrng-adapter pool ── kernel
//! ```

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use qrng::health::BLOCK;
use qrng_tests::adapter::stream;
use qrng_tests::bench;
use qrng_tests::broken::Broken;
use qrng_tests::chain::{Chain, program, wait_until};
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::skip;
use qrng_tests::vm::{Guest, HOST, Part};

/// What moves the guest's bytes between its socket and this machine.
const SOCAT: &str = "/usr/bin/socat";

const CONFIG: &str = "gateway-socket = \"/run/s\"\n[pool]\nbytes = 64\ncredit = ";

/// A TCP port that leads to the Unix socket at `path`.
fn lead(path: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for guest in listener.incoming().map_while(Result::ok) {
            if let Ok(gateway) = UnixStream::connect(&path) {
                relay(guest, gateway);
            }
        }
    });
    port
}

/// Until either end has gone.
fn relay(guest: TcpStream, gateway: UnixStream) {
    let (mut from, mut to) = (guest.try_clone().unwrap(), gateway.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (gateway, guest);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Whether the kernel's generator has had enough entropy, by its own word.
fn is_ready(guest: &mut Guest) -> bool {
    guest.run("dmesg | grep 'crng init done'").code == 0
}

fn entropy(guest: &mut Guest) -> u32 {
    let bits = guest.succeed("cat /proc/sys/kernel/random/entropy_avail");
    bits.trim().parse().expect("a number")
}

#[test]
fn a_kernel_without_entropy_becomes_ready_by_bytes_that_count_and_by_no_others() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    if !Path::new(SOCAT).exists() {
        skip!("socat is missing");
    }
    let bench = bench!(Part::Base);
    let mut chain = Chain::new();
    let tables = stream(&chain);
    chain.start_gateway("", &tables);
    let mut card = Broken::new(&chain);
    card.good(2 * BLOCK);
    wait_until("bytes of the card", || {
        chain.count("/buffer/fill_bytes") >= BLOCK as u64
    });
    let port = lead(chain.path("gateway/s"));
    let plan = bench
        .guest()
        .processor("max,rdrand=off,rdseed=off")
        .boot("random.trust_cpu=off")
        .boot("random.trust_bootloader=off")
        .foreign(Path::new(SOCAT), "socat")
        .foreign(&program("qrng-adapter"), "qrng-adapter")
        .file("/none.toml", 0o644, format!("{CONFIG}0\n"))
        .file("/full.toml", 0o644, format!("{CONFIG}8\n"));
    let mut guest = plan.start();
    guest.succeed(&format!(
        "socat UNIX-LISTEN:/run/s,fork TCP:{HOST}:{port} >/dev/null 2>&1 &"
    ));
    guest.wait_until("socat", "test -S /run/s");
    assert!(!is_ready(&mut guest), "{}", guest.console());
    let before = entropy(&mut guest);

    let said = guest.succeed("qrng-adapter pool --once --config /none.toml");
    assert!(said.contains("64 bytes, which count as 0 bits"), "{said}");
    let after = entropy(&mut guest);
    assert!(!is_ready(&mut guest), "64 bytes that do not count");
    // The rest is what interrupts bring.
    assert!(after < before + 128, "{before} bits before, {after} after");

    let said = guest.succeed("qrng-adapter pool --once --config /full.toml");
    assert!(said.contains("64 bytes, which count as 512 bits"), "{said}");
    assert!(is_ready(&mut guest), "{}", guest.console());
    assert_eq!(entropy(&mut guest), 256);
    wait_until("the gateway has so much less", || {
        chain.count("/bytes/served") == 2 * 64
    });
}
