//! Numbered bytes through the whole chain, over a bad wire, read by many readers of which some
//! are killed: no number is seen twice, and every missing one is accounted for by a counter.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qrng_tests::chain::{Chain, program, wait_until};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::relay::{Faults, Relay};

/// What must be accounted for: 64 MiB.
const NUMBERED: u64 = (64 << 20) / BLOCK as u64;

/// Blocks after that, enough to push every packet before them out of the replay window of 8192
/// packets, so that the lost ones have been counted as lost.
const TAIL: u64 = 9000 * PACKET;

/// Blocks in a packet.
const PACKET: u64 = 1344 / BLOCK as u64;

/// Room for what one reader may get.
const CAPACITY: u64 = (NUMBERED + TAIL) * 4 * BLOCK as u64;

/// File, size of its reads, and whether it ends and is opened again.
const READERS: [(&str, usize, bool); 16] = [
    ("raw", 16, false),
    ("raw", 48, false),
    ("raw", 4096, false),
    ("raw", 4096, false),
    ("raw", 65_536, false),
    ("raw", 65_536, false),
    ("raw", 131_072, false),
    ("raw", 1_048_576, false),
    ("raw", 10_000 * 16, false),
    ("stream/hex", 65 * 100, false),
    ("stream/hex", 65, false),
    ("stream/base64", 45 * 500, false),
    ("stream/uuid", 37 * 200, false),
    ("hex", 65, true),
    ("base64", 45, true),
    ("uuid", 37, true),
];

struct Reader {
    name: &'static str,
    out: PathBuf,
    child: Child,
}

impl Reader {
    fn start(chain: &Chain, index: usize, generation: usize) -> Self {
        let (name, size, reopen) = READERS[index];
        let out = chain.path(&format!("out.{index}.{generation}"));
        let mut command = Command::new(program("qrng-test-reader"));
        command
            .arg(chain.file(name))
            .arg(&out)
            .args([CAPACITY.to_string(), size.to_string()])
            .stdin(Stdio::null());
        if reopen {
            command.arg("reopen");
        }
        let child = command.spawn().expect("a reader starts");
        Self { name, out, child }
    }

    fn kill(&mut self) {
        self.child.kill().expect("SIGKILL is sent");
        let status = self.child.wait().expect("a killed child can be waited for");
        assert!(
            status.signal().is_some() || status.success(),
            "a reader of {} failed by itself: {status}",
            self.name
        );
    }
}

#[test]
fn no_number_twice_and_every_missing_one_accounted_for() {
    let mut chain = Chain::new();
    let numbering = Numbering::default();
    fs::write(chain.path("numbers"), numbering.bytes(NUMBERED + TAIL)).unwrap();
    let mut readers: Vec<Reader> = Vec::new();
    chain.start_gateway(
        "",
        "[buffer]\nsize = \"2 MiB\"\n[socket]\nreceive-buffer = \"32 MiB\"\n[health]\nenabled = false",
    );
    let relay = Relay::start(
        chain.port,
        Faults {
            lose: 997,
            repeat: 501,
            reorder: 97,
            damage: 1499,
        },
    );
    for index in 0..READERS.len() {
        readers.push(Reader::start(&chain, index, 0));
    }
    chain.start_collector(
        Some(relay.port),
        &format!(
            "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n\n[send]\ndata-size = 1345\nrate = \"16 MB/s\"\n",
            chain.path("numbers")
        ),
    );

    let ended = kill_some_until_all_is_sent(&mut chain, &mut readers);
    // Readers that wait when the last byte has come are ended like any other.
    wait_until("the buffer is drained", || {
        chain.count("/buffer/fill_bytes") == 0
    });
    for reader in &mut readers {
        reader.kill();
    }
    wait_until("killed readers are let go", || {
        chain.count("/readers/waiting") == 0
    });

    let status = chain.status();
    eprintln!("gateway: {status:#}\nrelay: {:?}", relay.done);
    let n = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(|v| v.as_u64())
            .expect(pointer)
    };
    let [admitted, served, destroyed] =
        ["/bytes/admitted", "/bytes/served", "/bytes/destroyed"].map(n);
    let overflow = n("/bytes/overflow_discarded") + n("/bytes/overflow_replaced");
    assert_eq!(
        admitted,
        served + destroyed + overflow,
        "the buffer's books do not balance"
    );
    assert!(
        overflow > 0,
        "the buffer never overflowed, although all readers had stopped"
    );
    assert!(served > 0 && relay.done.lost.load(Ordering::Relaxed) > 0);

    let seen = collect(&numbering, readers.iter().chain(&ended));
    let twice: Vec<_> = seen
        .iter()
        .filter(|(_, times)| **times > 1)
        .take(5)
        .collect();
    assert!(twice.is_empty(), "numbers seen twice: {twice:?}");
    let seen_bytes = (seen.len() * BLOCK) as u64;
    assert_eq!(
        seen_bytes, served,
        "what was counted as served is not what readers got"
    );

    let missing = (0..NUMBERED + TAIL)
        .filter(|i| !seen.contains_key(i))
        .count() as u64;
    let lost_packets = n("/packets/lost");
    let on_the_wire =
        relay.done.lost.load(Ordering::Relaxed) + relay.done.damaged.load(Ordering::Relaxed);
    // Losses in the last window's worth of packets are not yet counted as lost: they lie in the tail.
    let tail_missing = (NUMBERED..NUMBERED + TAIL)
        .filter(|i| !seen.contains_key(i))
        .count() as u64;
    assert!(
        lost_packets <= on_the_wire + n("/packets/socket_drops"),
        "more lost than sent"
    );
    let accounted = lost_packets * PACKET + (destroyed + overflow) / BLOCK as u64;
    eprintln!("missing {missing} blocks ({tail_missing} in the tail), accounted {accounted}");
    assert!(
        missing >= accounted.saturating_sub(PACKET) && missing - tail_missing <= accounted,
        "missing {missing} blocks (of them {tail_missing} in the tail), counters account for {accounted}"
    );
    assert!(n("/rejected/duplicate") >= relay.done.repeated.load(Ordering::Relaxed));
    assert!(chain.stop_collector().is_some_and(|s| s.success()));
    assert!(chain.stop_gateway().is_some_and(|s| s.success()));
}

/// Kills a reader now and then and starts another in its place, until the collector's file has
/// ended and the gateway has all of it. Answers the readers that were killed.
fn kill_some_until_all_is_sent(chain: &mut Chain, readers: &mut [Reader]) -> Vec<Reader> {
    let mut ended = Vec::new();
    let mut generation = 0;
    let mut quiet = (0, 0);
    while quiet.1 < 20 {
        thread::sleep(Duration::from_millis(100));
        chain.assert_alive();
        let packets = chain.count("/packets/admitted");
        quiet = if packets == quiet.0 && packets > 0 {
            (packets, quiet.1 + 1)
        } else {
            (packets, 0)
        };
        if quiet.1 == 0 {
            generation += 1;
            let index = generation * 7 % readers.len();
            readers[index].kill();
            let fresh = Reader::start(chain, index, generation);
            ended.push(std::mem::replace(&mut readers[index], fresh));
        }
        // Once, everybody stops reading for so long that the buffer runs over.
        if generation == 10 {
            signal_all(readers, Signal::SIGSTOP);
            let overflow = chain.count("/bytes/overflow_discarded");
            wait_until("an overflow", || {
                chain.count("/bytes/overflow_discarded") > overflow
            });
            signal_all(readers, Signal::SIGCONT);
        }
    }
    ended
}

fn signal_all(readers: &[Reader], signal: Signal) {
    for reader in readers {
        kill(Pid::from_raw(reader.child.id() as i32), signal).expect("a signal is sent");
    }
}

/// How often each number is in the readers' files.
fn collect<'a>(
    numbering: &Numbering,
    readers: impl Iterator<Item = &'a Reader>,
) -> HashMap<u64, u32> {
    let mut seen = HashMap::new();
    for reader in readers {
        let bytes = sparse(&reader.out);
        match reader.name {
            "raw" => bytes.chunks_exact(BLOCK).for_each(|b| {
                note(&mut seen, numbering.number(b.try_into().unwrap()), b);
            }),
            "hex" | "stream/hex" => bytes.chunks_exact(65).for_each(|line| {
                let raw = unhex(&line[..64]);
                raw.chunks_exact(BLOCK)
                    .for_each(|b| note(&mut seen, numbering.number(b.try_into().unwrap()), b));
            }),
            "base64" | "stream/base64" => bytes.chunks_exact(45).for_each(|line| {
                unbase64(&line[..44])
                    .chunks_exact(BLOCK)
                    .for_each(|b| note(&mut seen, numbering.number(b.try_into().unwrap()), b));
            }),
            _ => bytes.chunks_exact(37).for_each(|line| {
                let digits: Vec<u8> = line.iter().copied().filter(u8::is_ascii_hexdigit).collect();
                let uuid: [u8; BLOCK] = unhex(&digits).try_into().unwrap();
                note(&mut seen, numbering.number_of_uuid(uuid), &uuid);
            }),
        }
    }
    seen
}

fn note(seen: &mut HashMap<u64, u32>, number: Option<u64>, block: &[u8]) {
    let number =
        number.unwrap_or_else(|| panic!("served bytes that the source never made: {block:02x?}"));
    *seen.entry(number).or_default() += 1;
}

/// The bytes that were written to a reader's file: all up to the first page of zeros, as readers
/// fill it from the front.
fn sparse(path: &std::path::Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    let mut file = fs::File::open(path).unwrap();
    loop {
        let n = file.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        if n == 0 || chunk[..n].iter().rev().take(4096).all(|b| *b == 0) {
            break;
        }
    }
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    // A block may end in zero bytes; behind a text they are no whole line and are passed over.
    bytes.truncate(end.next_multiple_of(BLOCK).min(bytes.len()));
    bytes
}

fn unhex(digits: &[u8]) -> Vec<u8> {
    digits
        .chunks_exact(2)
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn unbase64(text: &[u8]) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 0,
        _ => panic!("no base64: {c}"),
    };
    let mut out: Vec<u8> = text
        .chunks_exact(4)
        .flat_map(|c| {
            let v = c.iter().fold(0u32, |v, c| v << 6 | u32::from(value(*c)));
            [(v >> 16) as u8, (v >> 8) as u8, v as u8]
        })
        .collect();
    out.truncate(out.len() - text.iter().filter(|c| **c == b'=').count());
    out
}
