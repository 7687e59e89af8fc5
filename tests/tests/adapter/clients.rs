//! Clients of the old protocol as Debian has them: QEMU is in the test `programs`.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use qrng_tests::adapter::Adapter;
use qrng_tests::container::is_there;
use qrng_tests::fuse_harness::no_mount;
use qrng_tests::skip;

use super::of_a_simulator;

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn neither_openssl_nor_gnupg_can_speak_it_any_more() {
    for program in ["python3", "gpgconf"] {
        if !is_there(program) {
            skip!("{program} is missing");
        }
    }
    let code = "import ctypes, ssl\nlibrary = ctypes.CDLL('libcrypto.so.3')\n\
        print(hasattr(library, 'RAND_bytes'), hasattr(library, 'RAND_egd'), hasattr(ssl, 'RAND_egd'))";
    // The system's own: another one may have another OpenSSL in it.
    let has = output("/usr/bin/python3", &["-c", code]);
    assert_eq!(has.trim(), "True False False");
    // The one module of libgcrypt that gathers randomness is the kernel's.
    let versions = output("gpgconf", &["--show-versions"]);
    let module = versions.lines().find(|line| line.starts_with("rnd-mod:"));
    assert_eq!(module, Some("rnd-mod:getentropy:"), "{versions}");
}

#[test]
fn ekeyd_egd_linux_connects_and_asks_for_nothing_because_the_kernel_wants_nothing() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    if !is_there("ekeyd-egd-linux") || !is_there("strace") {
        skip!("ekeyd-egd-linux or strace is missing");
    }
    let chain = of_a_simulator("500 kB/s");
    let port = qrng_tests::chain::free_port();
    let tables = format!(
        "[egd]\nsocket = {:?}\nlisten = \"127.0.0.1:{port}\"\n",
        chain.path("egd")
    );
    let words = "clients of the old protocol are served";
    let mut adapter = Adapter::start(&chain, "egd", &tables, words);
    let trace = chain.path("trace");
    let mut client = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=connect,poll", "-o"])
        .arg(&trace)
        .args([
            "ekeyd-egd-linux",
            "-H",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ])
        .arg("-D")
        .arg(chain.path("pid"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let traced = || std::fs::read_to_string(&trace).unwrap_or_default();
    qrng_tests::chain::wait_until("it waits until /dev/random can be written to", || {
        traced().contains("events=POLLOUT}")
    });
    thread::sleep(Duration::from_secs(1));
    assert!(adapter.stop().success());
    // The end of the connection ends it.
    client.wait().unwrap();
    let asked_in_vain = !traced().contains("revents=POLLOUT");
    let [taken, ..] = adapter.books();
    // Since Linux 5.18 a pool that is seeded never says that it wants more.
    assert!(asked_in_vain == (taken == 0), "{taken} bytes: {}", traced());
}
