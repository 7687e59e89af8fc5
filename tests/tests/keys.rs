//! Keys as the processes handle them: pairs changed without a gap, and keys of past days that are nowhere any more.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use nix::sys::signal::Signal;
use qrng::keys::{Day, GatewayKeys, KeyId, generate, generate_calendar};
use qrng_tests::chain::{Chain, PATIENCE, now_us, program, spawn, wait_until};
use qrng_tests::helper::Helper;
use qrng_tests::processes::signal;
use qrng_tests::skip;

const SIMULATOR: &str = "[source]\nkind = \"simulator\"\nrate = \"2 MB/s\"\n";
const ACCEPT: &str = "accept-simulated = true";

/// Puts a secret in the place of another one, or of none.
fn install(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// How many datagrams the gateway has refused, whatever for.
fn refused(chain: &Chain) -> u64 {
    let status = chain.status();
    let counts = status["rejected"].as_object().unwrap().values();
    counts.map(|count| count.as_u64().unwrap()).sum()
}

/// Waits until more bytes are admitted than now.
fn flows(chain: &Chain) {
    let before = chain.count("/bytes/admitted");
    wait_until("bytes", || {
        chain.count("/bytes/admitted") > before + 200_000
    });
}

fn key_in_use(chain: &Chain) -> String {
    chain.status()["session"]["key_id"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn pairs_are_changed_and_no_datagram_is_refused() {
    let mut chain = Chain::new();
    let new_pair = || generate(&mut UnwrapErr(SysRng));
    let (gateway, collector, first) = new_pair();
    install(&chain.path("gateway.key"), &gateway);
    install(&chain.path("collector.key"), &collector);
    chain.start_gateway(ACCEPT, "");
    chain.start_collector(None, SIMULATOR);
    flows(&chain);
    assert_eq!(key_in_use(&chain), first.to_string());
    let gateway_pid = chain.gateway.as_ref().unwrap().id();
    let config = chain.path("gateway.toml");
    let directory = chain.path("");
    // Writes the configuration with these key files.
    let name_keys = |names: &[&str]| {
        let names = names
            .iter()
            .map(|name| format!("{:?}", directory.join(name)));
        let keys = format!("keys = [{}]", names.collect::<Vec<_>>().join(", "));
        let text = fs::read_to_string(&config).unwrap();
        let lines = text.lines().map(|line| match line.starts_with("keys") {
            true => keys.as_str(),
            false => line,
        });
        fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    };

    // 1: the new pair beside the old one at the gateway.
    let (gateway, collector, second) = new_pair();
    install(&chain.path("gateway-2.key"), &gateway);
    name_keys(&["gateway.key", "gateway-2.key"]);
    signal(gateway_pid, Signal::SIGHUP);
    wait_until("both keys", || {
        chain.status()["keys"].as_array().unwrap().len() == 2
    });
    flows(&chain);
    assert_eq!(key_in_use(&chain), first.to_string());

    // A configuration that is wrong changes nothing.
    name_keys(&["nonexistent.key"]);
    signal(gateway_pid, Signal::SIGHUP);
    wait_until("the refusal", || {
        chain.log("gateway").contains("the keys stay as they were")
    });
    assert_eq!(chain.status()["keys"].as_array().unwrap().len(), 2);
    flows(&chain);

    // 2: at the collector, which reads keys at its start, and says so to whoever expects otherwise.
    signal(chain.collector.as_ref().unwrap().id(), Signal::SIGHUP);
    wait_until("the collector's word", || {
        chain.log("collector").contains("restart the collector")
    });
    flows(&chain);
    install(&chain.path("collector.key"), &collector);
    assert!(chain.stop_collector().unwrap().success());
    chain.start_collector(None, SIMULATOR);
    wait_until("the new session", || {
        key_in_use(&chain) == second.to_string()
    });
    flows(&chain);

    // 3: the old pair goes.
    fs::remove_file(chain.path("gateway.key")).unwrap();
    name_keys(&["gateway-2.key"]);
    signal(gateway_pid, Signal::SIGHUP);
    wait_until("one key", || {
        chain.status()["keys"].as_array().unwrap().len() == 1
    });
    // The old key's collector is forgotten with it.
    wait_until("one collector", || {
        chain.status()["sources"].as_array().unwrap().len() == 1
    });
    flows(&chain);
    assert_eq!(refused(&chain), 0, "{}", chain.status()["rejected"]);
    assert_eq!(chain.gateway.as_ref().unwrap().id(), gateway_pid);
    chain.assert_alive();
}

/// A calendar that began three days ago, installed at both ends; gives the lines of the gateway's file, and its keys' ids.
fn calendar(chain: &Chain, days: u32) -> (Vec<String>, Vec<KeyId>) {
    let today = Day::of_us(now_us()).number();
    let from = Day::from_number(today - 3).unwrap();
    let files = generate_calendar(from, days, &mut UnwrapErr(SysRng)).unwrap();
    install(&chain.path("gateway.key"), &files.gateway);
    install(&chain.path("collector.key"), &files.collector);
    let lines = files
        .gateway
        .lines()
        .filter(|line| line.starts_with("day "));
    let keys = GatewayKeys::parse(&files.gateway).unwrap().keys;
    let ids = keys.iter().map(|key| key.key_id()).collect();
    (lines.map(str::to_owned).collect(), ids)
}

/// The private key of a calendar's line, as it is in memory.
fn private(line: &str) -> Vec<u8> {
    let digits = line.split(' ').nth(3).unwrap().as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// Whether the memory of a process holds `wanted` anywhere.
fn memory_holds(pid: u32, wanted: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (range, mode) = (fields.next().unwrap(), fields.next().unwrap());
        if !mode.starts_with("rw") || line.contains("/dev/") {
            return false;
        }
        let (from, to) = range.split_once('-').unwrap();
        let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; (at(to) - at(from)) as usize];
        memory.seek(SeekFrom::Start(at(from))).unwrap();
        // What cannot be read holds nothing: the process has given it back meanwhile.
        memory.read_exact(&mut bytes).is_ok()
            && bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[test]
fn keys_of_past_days_are_neither_in_memory_nor_on_file() {
    if !nix::unistd::geteuid().is_root() {
        skip!("not root: another process's memory cannot be searched");
    }
    let mut chain = Chain::new();
    let (lines, ids) = calendar(&chain, 30);
    chain.start_gateway(ACCEPT, "");
    let pid = chain.gateway.as_ref().unwrap().id();
    // Before the collector is heard nobody knows whether the clock is right: all keys are there, and the search finds them.
    for line in [&lines[0], &lines[3], &lines[29]] {
        assert!(memory_holds(pid, &private(line)));
    }
    chain.start_collector(None, SIMULATOR);
    // Of yesterday's key it depends on the time of day.
    wait_until("the past keys' end", || {
        chain.count("/keys/0/destroyed") >= 2
    });
    flows(&chain);
    let file = fs::read_to_string(chain.path("gateway.key")).unwrap();
    for line in &lines[..2] {
        let digits = line.split(' ').nth(3).unwrap();
        assert!(!file.contains(digits), "still on file: {line:.24}");
        assert!(
            !memory_holds(pid, &private(line)),
            "still in memory: {line:.24}"
        );
        assert!(
            !memory_holds(pid, digits.as_bytes()),
            "still in memory as text"
        );
        let erased = format!("{} {} {}", &line[..23], "x".repeat(64), "x".repeat(64));
        assert!(file.contains(&erased), "no {erased} in the file");
    }
    for line in &lines[3..] {
        assert!(file.contains(line.as_str()));
    }
    assert!(memory_holds(pid, &private(&lines[29])));
    assert!(
        chain
            .log("gateway")
            .contains(&format!("the key {} of", ids[0]))
    );
    // The next run knows what it has not.
    chain.kill_gateway();
    chain.start_gateway(ACCEPT, "");
    flows(&chain);
    assert!(chain.count("/keys/0/destroyed") >= 2);
    chain.assert_alive();
}

#[test]
fn a_gateway_that_is_confined_whole_erases_keys_and_reads_new_ones() {
    if !nix::unistd::geteuid().is_root() {
        skip!("not root: nobody mounts for the gateway");
    }
    let mut chain = Chain::new();
    let (lines, _) = calendar(&chain, 30);
    let helper = Helper::start(&chain);
    let state = chain.path("state");
    let more = format!(
        "{ACCEPT}\n{}\nstate-directory = {state:?}",
        Helper::setting(&chain)
    );
    // A user is looked up at the start, and cannot be any more when keys are read anew.
    chain.start_gateway(&more, "[shares.users]\nnobody = { weight = 2 }\n");
    chain.start_collector(None, SIMULATOR);
    wait_until("the past keys' end", || {
        chain.count("/keys/0/destroyed") >= 2
    });
    assert!(chain.log("gateway").contains("of Landlock"));
    let file = fs::read_to_string(chain.path("gateway.key")).unwrap();
    assert!(!file.contains(lines[1].as_str()) && file.contains(lines[29].as_str()));
    assert_eq!(fs::read(state.join("bound")).unwrap().len(), 8);
    // A file that was not there at the start.
    let (gateway, _, id) = generate(&mut UnwrapErr(SysRng));
    install(&chain.path("gateway-2.key"), &gateway);
    let config = chain.path("gateway.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "keys = [",
        &format!("keys = [{:?}, ", chain.path("gateway-2.key")),
    );
    fs::write(&config, text).unwrap();
    signal(chain.gateway.as_ref().unwrap().id(), Signal::SIGHUP);
    wait_until("the new key", || {
        chain.status()["keys"][0]["key_id"] == id.to_string()
    });
    flows(&chain);
    assert!(chain.stop_gateway().unwrap().success());
    helper.end();
}

#[test]
fn both_ends_tell_the_day_and_warn_of_the_end() {
    let mut chain = Chain::new();
    let (_, ids) = calendar(&chain, 9);
    chain.start_gateway(ACCEPT, "");
    chain.start_collector(None, SIMULATOR);
    flows(&chain);
    wait_until("the collector's status", || {
        chain
            .collector_status()
            .is_some_and(|status| status["gateways"][0]["key_day"].is_string())
    });
    let (status, collector) = (chain.status(), chain.collector_status().unwrap());
    let (file, peer) = (&status["keys"][0], &collector["gateways"][0]);
    assert_eq!(file["key_id"], peer["key_id"]);
    assert_eq!(file["key_id"], status["session"]["key_id"]);
    assert_eq!(file["last_day"], peer["last_key_day"]);
    assert_eq!(file["days_left"], peer["key_days_left"]);
    assert!(ids.iter().any(|id| file["key_id"] == id.to_string()));
    // 5, or 4 if a day has begun meanwhile.
    for status in [&status, &collector] {
        let reasons = status["reasons"].to_string();
        assert!(
            reasons.contains("days, on") && reasons.contains("qrng keygen"),
            "{reasons}"
        );
    }
    for log in ["gateway", "collector"] {
        wait_until("the warning", || {
            chain.log(log).contains("make a new calendar")
        });
    }
    // Another calendar at the collector: the gateway says what that looks like.
    assert!(chain.stop_collector().unwrap().success());
    let today = Day::of_us(now_us());
    let other = generate_calendar(today, 9, &mut UnwrapErr(SysRng)).unwrap();
    install(&chain.path("collector.key"), &other.collector);
    chain.start_collector(None, SIMULATOR);
    wait_until("the reason", || {
        chain.status()["reasons"]
            .to_string()
            .contains("refused for their key")
    });
    // A calendar that has ended does not start.
    assert!(chain.stop_collector().unwrap().success());
    let past = Day::from_number(today.number() - 30).unwrap();
    let over = generate_calendar(past, 9, &mut UnwrapErr(SysRng)).unwrap();
    install(&chain.path("collector.key"), &over.collector);
    let mut command = std::process::Command::new(program("qrng-collector"));
    command.arg("--config").arg(chain.path("collector.toml"));
    let mut child = spawn(&mut command, &chain.path("collector.log"));
    let deadline = std::time::Instant::now() + PATIENCE;
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if std::time::Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20))
            }
            None => {
                let _ = child.kill();
                panic!("it starts");
            }
        }
    };
    assert!(!ended.success());
    assert!(chain.log("collector").contains("its keys ended on"));
}
