//! QEMU's two backends for the generator of a guest: what the guest reads is compared with the numbered bytes that the gateway has.

use std::fs;

use qrng_tests::adapter::{Adapter, stream};
use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::vm::{Bench, Part, Plan};

use crate::case::Case;

/// What the guest reads, in bytes.
const READ: usize = 4096;

/// Numbered bytes that the gateway has when the guest starts.
const NUMBERED: usize = 1 << 20;

/// The backend that reads a file.
pub fn random(case: &Case) -> Result<(), String> {
    let bench = Bench::new(Part::Base)?;
    let chain = numbered();
    let file = chain.file("raw");
    let backend = format!("rng-random,filename={},id=rng", file.display());
    read(
        case,
        &bench,
        &chain,
        bench.guest().option("-object", backend),
    );
    Ok(())
}

/// The backend that speaks the protocol of the entropy gathering daemon.
pub fn egd(case: &Case) -> Result<(), String> {
    let bench = Bench::new(Part::Base)?;
    let chain = numbered();
    let socket = chain.path("egd");
    let tables = format!("[egd]\nsocket = {socket:?}\n");
    let words = "clients of the old protocol are served";
    let mut adapter = Adapter::start(&chain, "egd", &tables, words);
    let plan = bench
        .guest()
        .option(
            "-chardev",
            format!("socket,id=egd,path={}", socket.display()),
        )
        .option("-object", "rng-egd,chardev=egd,id=rng");
    read(case, &bench, &chain, plan);
    assert!(adapter.stop().success());
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!(taken, handed_on + destroyed);
    Ok(())
}

/// A gateway with numbered bytes, which no test of theirs would pass.
fn numbered() -> Chain {
    let mut chain = Chain::new();
    let bytes = Numbering::default().bytes((NUMBERED / BLOCK) as u64);
    fs::write(chain.path("numbers"), bytes).expect("a file of numbers");
    let tables = format!("[health]\nenabled = false\n{}", stream(&chain));
    chain.start_gateway("", &tables);
    let source = format!(
        "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n[send]\ndata-size = 1345\nrate = \"2 MB/s\"\n",
        chain.path("numbers")
    );
    chain.start_collector(None, &source);
    wait_until("the numbered bytes", || {
        chain.count("/buffer/fill_bytes") > NUMBERED as u64 / 2
    });
    chain
}

/// Boots the guest, and compares what it reads.
fn read(case: &Case, bench: &Bench, chain: &Chain, plan: Plan<'_>) {
    let plan = plan.module("virtio_rng");
    let mut guest = plan.device("virtio-rng-pci,rng=rng").start();
    let current = guest.succeed("cat /sys/class/misc/hw_random/rng_current");
    assert!(current.starts_with("virtio_rng"), "{current}");
    let digits = guest.succeed(&format!("head -c {READ} /dev/hwrng | xxd -p | tr -d '\\n'"));
    drop(guest);
    let bytes = of_digits(digits.trim());
    let (cells, rest) = bytes.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "{} bytes", bytes.len());
    let numbering = Numbering::default();
    let numbers = cells.iter().map(|cell| numbering.number(*cell));
    let numbers: Vec<u64> = numbers
        .map(|n| n.expect("a byte of the gateway's"))
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let mut taken = 0;
    wait_until("all is counted", || {
        taken = chain.count("/bytes/served") + chain.count("/bytes/destroyed");
        chain.count("/bytes/in_flight") == 0
    });
    case.came_to(&bench.version(), bytes.len() as u64, taken);
}

fn of_digits(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
    pairs.map(|pair| byte(pair).expect("digits")).collect()
}
