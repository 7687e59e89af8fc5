//! The named pipe, with numbered bytes where it matters which.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc::O_NONBLOCK;
use qrng_tests::adapter::{Adapter, stream};
use qrng_tests::chain::{Chain, PATIENCE, program, wait_until};
use qrng_tests::container::is_there;
use qrng_tests::fuse_harness::{is_root, no_mount};
use qrng_tests::memory::{Needles, search};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::skip;

use super::{latch, left, of_a_card, of_a_simulator, words};

fn start(chain: &Chain, more: &str) -> (Adapter, PathBuf) {
    let path = chain.path("fifo");
    let tables = format!("[fifo]\npath = {path:?}\n{more}");
    let adapter = Adapter::start(chain, "fifo", &tables, "bytes lie ready");
    (adapter, path)
}

fn read(path: &Path, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    File::open(path).unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads what there is without waiting.
fn read_now(path: &Path) -> Option<usize> {
    let file = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    match file.unwrap().read(&mut [0; 65_536]) {
        Ok(len) => Some(len),
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn no_more_than_one_portion_is_in_flight_and_readers_come_and_go() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let (chain, _card) = of_a_card();
    let before = left(&chain);
    let (mut adapter, path) = start(&chain, "in-flight = 256\n");
    wait_until("a portion", || left(&chain) - before == 256);
    // Readers who take little, or nothing, or are killed.
    for _ in 0..100 {
        assert_eq!(read(&path, 16).len(), 16);
        drop(File::open(&path).unwrap());
    }
    let mut killed = Command::new("cat")
        .arg(&path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it has read all there is", || {
        chain.count("/buffer/fill_bytes") == 0
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(adapter.stop().success());
    assert!(!path.exists());
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!(taken, handed_on + destroyed);
    wait_until("all is counted", || left(&chain) - before == taken);
}

#[test]
fn what_nobody_has_read_at_the_end_is_destroyed() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let (chain, _card) = of_a_card();
    let before = left(&chain);
    let (mut adapter, path) = start(&chain, "");
    wait_until("a portion", || left(&chain) - before == 4096);
    let mut reader = File::open(&path).unwrap();
    reader.read_exact(&mut [0; 96]).unwrap();
    assert!(adapter.stop().success());
    assert_eq!(adapter.books(), [4096, 96, 4000]);
    // End of file, and no file.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert!(!path.exists());
}

#[test]
fn each_byte_goes_to_one_of_several_readers() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let mut chain = Chain::new();
    let numbering = Numbering::default();
    let blocks = (2 << 20) / BLOCK as u64;
    fs::write(chain.path("numbers"), numbering.bytes(blocks)).unwrap();
    let tables = format!("[health]\nenabled = false\n{}", stream(&chain));
    chain.start_gateway("", &tables);
    let (mut adapter, path) = start(&chain, "");
    let reader = |out: &Path| -> Child {
        let mut reader = Command::new(program("qrng-test-reader"));
        reader.arg(&path).arg(out).args(["4194304", "16"]);
        reader.stdin(Stdio::null()).spawn().unwrap()
    };
    let outs: Vec<PathBuf> = (0..4).map(|n| chain.path(&format!("out.{n}"))).collect();
    let mut readers: Vec<Child> = outs.iter().map(|out| reader(out)).collect();
    let source = format!(
        "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n[send]\ndata-size = 1345\nrate = \"1 MB/s\"\n",
        chain.path("numbers")
    );
    chain.start_collector(None, &source);
    let mut last = (0, 0);
    wait_until("the source ends", || {
        thread::sleep(Duration::from_millis(100));
        let served = chain.count("/bytes/served");
        last = if served == last.0 {
            (served, last.1 + 1)
        } else {
            (served, 0)
        };
        served > 0 && last.1 >= 15 && chain.count("/buffer/fill_bytes") == 0
    });
    assert!(adapter.stop().success());
    for reader in &mut readers {
        assert!(
            reader.wait().unwrap().success(),
            "the end of the pipe ends it"
        );
    }
    let mut seen = HashSet::new();
    for out in outs {
        let bytes = fs::read(out).unwrap();
        let (cells, _) = bytes.as_chunks::<BLOCK>();
        let numbers = cells.iter().map_while(|cell| numbering.number(*cell));
        for number in numbers {
            assert!(seen.insert(number), "{number} came twice");
        }
    }
    let [taken, handed_on, destroyed] = adapter.books();
    assert_eq!(taken, handed_on + destroyed);
    assert_eq!(seen.len() * BLOCK, handed_on as usize);
    assert!(seen.len() as u64 > blocks / 2, "{} of {blocks}", seen.len());
}

#[test]
fn a_latch_empties_the_pipe_and_readers_wait() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let (chain, mut card) = of_a_card();
    let (mut adapter, path) = start(&chain, "");
    read(&path, 5000);
    latch(&chain, &mut card);
    adapter.wait_for("bytes in the pipe were destroyed");
    adapter.wait_for("readers of the pipe have to wait");
    assert_eq!(read_now(&path), None);
    let mut waits = Command::new("head")
        .args(["-c", "1"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1500));
    assert!(
        waits.try_wait().unwrap().is_none(),
        "no byte, and no end of file"
    );
    assert_eq!(read_now(&path), None);
    // Cleared, it goes on.
    fs::write(chain.path("gateway/clear-latch"), "").unwrap();
    wait_until("it is cleared", || chain.status()["state"] != "latched");
    card.good(3 * qrng::health::BLOCK);
    assert_eq!(waits.wait_with_output().unwrap().stdout.len(), 1);
    read(&path, 5000);
    assert!(adapter.stop().success());
}

#[test]
fn a_second_one_is_refused_and_a_killed_one_is_followed() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let mut chain = of_a_simulator("500 kB/s");
    let (mut adapter, path) = start(&chain, "");
    read(&path, 100);
    let tables = format!("[fifo]\npath = {path:?}\n");
    let second = Adapter::command(&chain, "fifo", &tables).output().unwrap();
    assert!(!second.status.success());
    let said = words(&second);
    assert!(
        said.contains("another adapter runs here; stop it, or set `fifo.path`"),
        "{said}"
    );
    read(&path, 100);
    adapter.child.kill().unwrap();
    adapter.child.wait().unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    let (mut adapter, path) = start(&chain, "");
    read(&path, 10_000);
    // Without a gateway readers wait; with the next one they go on.
    chain.kill_gateway();
    let reader = thread::spawn({
        let path = path.clone();
        move || read(&path, 100_000).len()
    });
    adapter.wait_for("readers of the pipe have to wait");
    let gateway = stream(&chain);
    chain.start_gateway("accept-simulated = true", &gateway);
    assert_eq!(reader.join().unwrap(), 100_000);
    assert!(adapter.stop().success());
}

#[test]
fn programs_read_it_as_a_device() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    let chain = of_a_simulator("2 MB/s");
    let (mut adapter, path) = start(&chain, "");
    for (program, script, out) in [
        ("head", "head -c 10000 $0", 10_000),
        ("dd", "dd if=$0 bs=16 count=100 status=none", 1600),
        ("od", "od -An -v -N 32 -tx1 $0", 98),
        ("shuf", "seq 1000 | shuf --random-source=$0", 3893),
        ("openssl", "openssl rand -rand $0 -hex 32", 65),
        (
            "bash",
            "LC_ALL=C; for i in 1 2 3; do dd if=$0 bs=8 count=1 status=none; done",
            24,
        ),
    ] {
        if !is_there(program) {
            skip!("{program} is missing");
        }
        let output = Command::new("bash")
            .args(["-c", script])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", words(&output));
        assert_eq!(output.stdout.len(), out, "{script}");
    }
    assert!(adapter.stop().success());
}

#[test]
fn what_was_handed_on_is_nowhere_in_the_adapters_memory() {
    if let Some(why) = no_mount() {
        skip!("{why}");
    }
    if !is_root() {
        skip!("only root can look into memory that cannot be dumped");
    }
    let chain = of_a_simulator("2 MB/s");
    let (fifo, path) = start(&chain, "");
    let socket = chain.path("egd");
    let tables = format!("[egd]\nsocket = {socket:?}\n");
    let words = "clients of the old protocol are served";
    let egd = Adapter::start(&chain, "egd", &tables, words);
    let mut by_fifo = Needles::default();
    by_fifo.add("bytes of the FIFO", &read(&path, 200_000));
    let mut by_egd = Needles::default();
    let mut client = UnixStream::connect(&socket).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..300 {
        let (mut count, mut answer) = ([0], [0; 255]);
        client.write_all(&[1, 255]).unwrap();
        client.read_exact(&mut count).unwrap();
        let now = &mut answer[..usize::from(count[0])];
        client.read_exact(now).unwrap();
        by_egd.add("bytes by EGD, at once", now);
        client.write_all(&[2, 255]).unwrap();
        client.read_exact(&mut answer).unwrap();
        by_egd.add("bytes by EGD", &answer);
    }
    // The reply to one more comes after the last one was wiped.
    client.write_all(&[4]).unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    assert!(by_fifo.len() > 20_000 && by_egd.len() > 9_000);
    for (adapter, needles) in [(&fifo, by_fifo), (&egd, by_egd)] {
        let (found, size) = search(adapter.child.id(), &needles).unwrap();
        assert!(size > 1 << 16, "{size} bytes were looked at");
        let first = found
            .first()
            .map(|it| (&it.name, it.address, &it.mapping.name));
        assert!(found.is_empty(), "{} places: {first:x?}", found.len());
    }
}
