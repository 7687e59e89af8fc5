//! Where keys and random bytes are, and are not, in the memory of running daemons, in core dumps and in logs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::fuse_harness::{is_root, no_mount};
use qrng_tests::memory::{Found, Needles, search};
use qrng_tests::processes::{sender_of, signal};
use qrng_tests::skip;

const SOURCE: &str = "[source]\nkind = \"simulator\"\nrate = \"2 MB/s\"\n";

/// A field of a key file, in hexadecimal digits.
fn field(chain: &Chain, file: &str, name: &str) -> String {
    let text = fs::read_to_string(chain.path(file)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {file}"))
        .trim()
        .to_owned()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// A running chain that has served bytes in every form.
struct Served {
    chain: Chain,
    /// As they were handed out.
    raw: Vec<u8>,
    /// As lines of digits.
    hex: String,
    base64: String,
}

impl Served {
    fn new(log: &str) -> Self {
        let mut chain = Chain::new();
        let mut gateway = chain.gateway_command("accept-simulated = true", "");
        let at = chain.path("at-gateway");
        fs::create_dir(&at).unwrap();
        with_cores(&mut gateway, &at);
        chain.start_gateway_by(gateway.env("QRNG_LOG", log));
        chain.start_collector_with(None, SOURCE, &[("QRNG_LOG", log)]);
        let raw = chain.read_raw(300_000, PATIENCE);
        let line = |name: &str| fs::read_to_string(chain.file(name)).unwrap();
        let lines = |name: &str| (0..200).map(|_| line(name)).collect::<String>();
        let (hex, base64) = (lines("hex"), lines("base64"));
        // The reply to the next request comes after the last claim was wiped, on each thread.
        wait_until("all is settled", || chain.count("/bytes/in_flight") == 0);
        Self {
            chain,
            raw,
            hex,
            base64,
        }
    }

    /// Bytes that were handed out, and texts of them.
    fn bytes(&self) -> Needles {
        let mut needles = Needles::default();
        needles.add("raw", &self.raw);
        needles.add("text of hex", self.hex.replace('\n', "").as_bytes());
        for line in self.hex.lines() {
            needles.add("bytes of hex", &unhex(line));
        }
        needles.add("text of base64", self.base64.replace('\n', "").as_bytes());
        assert!(needles.len() > 37_500);
        needles
    }
}

/// Lets a program dump core into a directory, as far as it does not forbid that itself.
fn with_cores(command: &mut Command, directory: &Path) {
    let mut shell = Command::new("bash");
    shell
        .args(["-c", "ulimit -c unlimited && exec \"$@\"", "-"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(directory);
    *command = shell;
}

fn keys(chain: &Chain, file: &str, names: &[&str]) -> Needles {
    let mut needles = Needles::default();
    for name in names {
        let text = field(chain, file, name);
        needles.add(&format!("{name} as text"), text.as_bytes());
        needles.add(name, &unhex(&text));
    }
    needles
}

fn told(found: &[Found]) -> String {
    let lines = found.iter().take(20).map(|it| {
        format!(
            "{} at {:x} in {:?} {:x}-{:x} {:?}\n",
            it.name,
            it.address,
            it.mapping.name,
            it.mapping.start,
            it.mapping.end,
            it.mapping.flags
        )
    });
    format!("{} places\n{}", found.len(), lines.collect::<String>())
}

/// Bytes that were handed out are nowhere; keys are where nothing is swapped or dumped, and their texts nowhere.
fn check(pid: u32, bytes: &Needles, keys: &Needles) {
    let (found, looked) = search(pid, bytes).unwrap();
    assert!(looked > 1 << 20, "{looked} bytes were looked at");
    assert!(found.is_empty(), "bytes of the past: {}", told(&found));
    let (found, _) = search(pid, keys).unwrap();
    // The search finds what is there.
    assert!(!found.is_empty(), "no key in use was found");
    let left: Vec<_> = found
        .iter()
        .filter(|it| it.mapping.name == "[stack]")
        .map(|it| &it.name)
        .collect();
    assert!(left.is_empty(), "copies of keys on the stack: {left:?}");
    let text: Vec<_> = found
        .into_iter()
        .filter(|it| it.name.contains("as text") || !it.mapping.flags.iter().any(|f| f == "lo"))
        .collect();
    assert!(
        text.is_empty(),
        "keys that could be swapped: {}",
        told(&text)
    );
    let filter = fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
    assert_eq!(filter.trim(), "00000000");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = limits.lines().find(|l| l.starts_with("Max core")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
}

#[test]
fn keys_are_locked_and_bytes_that_were_handed_out_are_nowhere() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if !is_root() {
        skip!("not root, who alone can look into the daemons' memory");
    }
    let served = Served::new("info");
    let bytes = served.bytes();
    let chain = &served.chain;
    let gateway = chain.gateway.as_ref().unwrap().id();
    check(
        gateway,
        &bytes,
        &keys(chain, "gateway.key", &["private-key", "psk"]),
    );
    let collector = chain.collector.as_ref().unwrap().id();
    let sender = sender_of(collector).unwrap();
    check(sender, &bytes, &keys(chain, "collector.key", &["psk"]));
    // The reader never has a key.
    let none = keys(chain, "collector.key", &["public-key", "psk"]);
    let (found, _) = search(collector, &none).unwrap();
    assert!(found.is_empty(), "keys in the reader: {}", told(&found));
}

#[test]
fn the_http_service_locks_its_memory_and_keeps_it_out_of_cores() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if !is_root() {
        skip!("not root, whose limit on locked memory can be lifted");
    }
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, SOURCE);
    let shim = qrng_tests::shim::Shim::start(&chain, "", "");
    shim.wait_for_bytes();
    assert_eq!(shim.local.get("/api/random?bytes=4096").status, 200);
    let pid = shim.child.id();
    let field = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.unwrap().trim().split(' ').next().unwrap();
        number.parse::<u64>().unwrap()
    };
    // In kB: the kernel's own pages, such as vdso, are locked by nobody.
    let (locked, all) = (field("VmLck:"), field("VmSize:"));
    assert!(locked > 1000 && locked > all / 2, "{locked} of {all} kB");
    let filter = fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
    assert_eq!(filter.trim(), "00000000");
}

#[test]
fn an_aborted_daemon_leaves_no_core() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut served = Served::new("info");
    let at = served.chain.path("at-gateway");
    // A process that does not mind leaves one, else this would show nothing.
    let mut other = Command::new("sleep");
    other.arg("1000");
    let beside = served.chain.path("beside");
    fs::create_dir(&beside).unwrap();
    with_cores(&mut other, &beside);
    let mut other = other.stdin(Stdio::null()).spawn().unwrap();
    wait_until("the shell has become sleep", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", other.id()));
        name.is_ok_and(|name| name.trim() == "sleep")
    });
    signal(other.id(), Signal::SIGABRT);
    other.wait().unwrap();
    let cores = |at: &Path| fs::read_dir(at).unwrap().count();
    if cores(&beside) == 0 {
        skip!("this machine leaves no core files in the directory of the process (core_pattern)");
    }
    let mut gateway = served.chain.gateway.take().unwrap();
    signal(gateway.id(), Signal::SIGABRT);
    gateway.wait().unwrap();
    assert_eq!(cores(&at), 0);
}

#[test]
fn logs_at_the_lowest_level_hold_no_secret() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let served = Served::new("trace");
    let chain = &served.chain;
    let mut needles: Vec<String> = Vec::new();
    for (file, names) in [
        ("gateway.key", &["private-key", "psk"][..]),
        ("collector.key", &["psk"]),
    ] {
        for name in names {
            let text = field(chain, file, name);
            needles.extend(forms(&unhex(&text)[..32]));
        }
    }
    for part in served.raw.chunks_exact(32).take(2000) {
        needles.extend(forms(part));
    }
    needles.extend(served.hex.lines().map(|line| line[..16].to_owned()));
    needles.extend(served.base64.lines().map(|line| line[..16].to_owned()));
    for process in ["gateway", "collector"] {
        let log = chain.log(process);
        assert!(log.contains("DEBUG") || log.contains("INFO"), "{log}");
        let lower = log.to_lowercase();
        for needle in &needles {
            assert!(
                !log.contains(needle) && !lower.contains(needle),
                "{process}: {needle} is in the log:\n{log}"
            );
        }
    }
}

/// How the first bytes would look in a log: digits, and lists as `Debug` writes them.
fn forms(bytes: &[u8]) -> [String; 3] {
    let hex: String = bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
    let list = format!("{:?}", &bytes[..4]);
    let spaced: Vec<String> = bytes[..4].iter().map(|b| format!("{b:02x}")).collect();
    [
        hex,
        list.trim_matches(['[', ']']).to_owned(),
        spaced.join(", 0x"),
    ]
}
