//! Wrong clocks: what the processes do, and what they say. The time of day is shifted by libfaketime.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng::keys::{Day, generate_calendar};
use qrng_tests::chain::{Chain, now_us, program, spawn, wait_until};
use qrng_tests::shifted::{self, Clock};
use qrng_tests::skip;
use qrng_tests::tap::Tap;

const SIMULATOR: &str = "[source]\nkind = \"simulator\"\nrate = \"2 MB/s\"\n";
const ACCEPT: &str = "accept-simulated = true";

macro_rules! clock {
    ($chain:expr) => {
        match Clock::new(&$chain.path("")) {
            Some(clock) => clock,
            None => skip!("libfaketime is not installed (Debian package faketime)"),
        }
    };
}

fn flows(chain: &Chain) {
    let before = chain.count("/bytes/admitted");
    wait_until("bytes", || {
        chain.count("/bytes/admitted") > before + 200_000
    });
}

fn reason(chain: &Chain, words: &str) {
    wait_until(words, || {
        chain.status()["reasons"].to_string().contains(words)
    });
}

fn start_gateway(chain: &mut Chain, clock: &Clock, more: &str) {
    let mut command = chain.gateway_command(&format!("{ACCEPT}\n{more}"), "");
    clock.give_to(&mut command);
    chain.start_gateway_by(&mut command);
}

#[test]
fn a_gateway_whose_clock_jumps_says_so_and_flows_when_it_is_right_again() {
    let mut chain = Chain::new();
    let clock = clock!(chain);
    start_gateway(&mut chain, &clock, "");
    chain.start_collector(None, SIMULATOR);
    flows(&chain);
    // By some seconds: that is told, and nothing else.
    clock.set(40);
    reason(&chain, "this host's clock is 40 s ahead of the collector's");
    flows(&chain);
    for (seconds, counter) in [
        (400, "expired"),
        (-400, "from-the-future"),
        (90_000, "expired"),
    ] {
        clock.set(seconds);
        reason(&chain, "refused for their time");
        assert!(
            chain.count(&format!("/rejected/{counter}")) > 0,
            "{counter}"
        );
        // The announcements, too.
        let announced = chain.count("/packets/announcements");
        thread::sleep(Duration::from_secs(3));
        assert_eq!(chain.count("/packets/announcements"), announced);
        clock.set(0);
        flows(&chain);
    }
    assert!(
        chain
            .log("gateway")
            .contains("compare the clocks of both hosts")
    );
    // Back by seconds, and a restart: its own bound keeps out what it may have accepted, until the clock has passed it.
    clock.set(-4);
    flows(&chain);
    chain.kill_gateway();
    start_gateway(&mut chain, &clock, "");
    flows(&chain);
    chain.assert_alive();
}

/// How far behind the clock is after a reboot, in seconds: more than the start takes.
const BEHIND_S: i64 = 20;

/// Runs a link, reboots the gateway's host with a clock that is behind, and plays back what was recorded. Gives how many of the
/// old packets were admitted.
fn played_back_after_a_reboot(chain: &mut Chain, clock: &Clock, more: &str) -> u64 {
    let tap = Tap::start(chain.port);
    start_gateway(chain, clock, more);
    chain.start_collector(Some(tap.port), SIMULATOR);
    flows(chain);
    assert!(chain.stop_collector().unwrap().success());
    // A crash of the host: no orderly end, and what was in memory is gone.
    chain.kill_gateway();
    qrng_tests::chain::unmount(&chain.path("mnt"));
    fs::remove_dir_all(chain.path("gateway")).unwrap();
    fs::create_dir(chain.path("gateway")).unwrap();
    let end_us = now_us();
    clock.set(-BEHIND_S);
    start_gateway(chain, clock, more);
    // Until its clock shows again the time at which they were recorded, so that none is one of the future.
    wait_until("that time", || {
        now_us() > end_us + (BEHIND_S as u64 - 1) * 1_000_000
    });
    let to = ("127.0.0.1", chain.port);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (number, datagram) in tap.kept().iter().enumerate() {
        socket.send_to(datagram, to).unwrap();
        if number % 64 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    wait_until("all of them", || chain.count("/packets/datagrams") >= 200);
    thread::sleep(Duration::from_secs(1));
    chain.count("/packets/admitted")
}

#[test]
fn after_a_reboot_with_a_slow_clock_nothing_recorded_is_admitted_again() {
    let mut chain = Chain::new();
    let clock = clock!(chain);
    let more = format!("state-directory = {:?}", chain.path("state"));
    assert_eq!(played_back_after_a_reboot(&mut chain, &clock, &more), 0);
    assert!(chain.count("/rejected/before-restart") + chain.count("/rejected/from-the-future") > 0);
    assert!(
        chain
            .log("gateway")
            .contains("packets are refused until the clock has gone on")
    );
    // Set right, and past the minute that the bound lies ahead, it flows.
    clock.set(0);
    let file = chain.path("state/bound");
    let bound = || {
        let bound = fs::read(&file).unwrap();
        u64::from_be_bytes(bound.try_into().unwrap())
    };
    let first = bound();
    assert!(first < now_us() + 65_000_000, "{first}");
    wait_until("the bound's time", || now_us() > first);
    chain.start_collector(None, SIMULATOR);
    flows(&chain);
    assert!(chain.stop_gateway().unwrap().success());
    // An orderly end takes the minute back: the next start without a runtime directory flows at once.
    let last = bound();
    assert!(last > first && last < now_us() + 5_000_000, "{last}");
}

#[test]
fn without_a_state_directory_the_same_reboot_lets_them_in() {
    let mut chain = Chain::new();
    let clock = clock!(chain);
    assert!(played_back_after_a_reboot(&mut chain, &clock, "") > 0);
    assert!(chain.log("gateway").contains("no state-directory"));
}

/// Starts the collector with a clock that is wrong for both of its processes: in a mount namespace in which every program
/// loads the library. What it reads of that clock forbids confinement.
fn start_shifted_collector(chain: &mut Chain, seconds: i64) {
    let config = chain.path("collector.toml");
    let text = format!(
        "state-directory = {state:?}\nruntime-directory = {state:?}\n[[gateway]]\nname = \"test\"\n\
         address = \"127.0.0.1:{port}\"\nkey = {key:?}\n{SIMULATOR}\n\
         [confinement]\nsender = \"off-insecure\"\nreader = \"off-insecure\"\n",
        state = chain.path("collector"),
        port = chain.port,
        key = chain.path("collector.key"),
    );
    fs::write(&config, text).unwrap();
    let library = shifted::library().unwrap();
    let over = chain.path("over");
    fs::create_dir(&over).unwrap();
    let script = format!(
        "set -e; mount -t tmpfs over {over}; mkdir {over}/upper {over}/work; \
         mount -t overlay over -o lowerdir=/etc,upperdir={over}/upper,workdir={over}/work /etc; \
         echo {seconds:+} >/etc/faketimerc; echo {library} >/etc/ld.so.preload; \
         exec {collector} --config {config}",
        over = over.display(),
        library = library.display(),
        collector = program("qrng-collector").display(),
        config = config.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    chain.collector = Some(spawn(&mut command, &chain.path("collector.log")));
}

#[test]
fn over_midnight_no_datagram_is_refused_and_none_is_lost() {
    if !nix::unistd::geteuid().is_root() {
        skip!("not root: the clock of both of the collector's processes cannot be shifted");
    }
    let mut chain = Chain::new();
    let clock = clock!(chain);
    // Half a minute before the end of some day.
    let day = Day::of_us(now_us()).later(1).unwrap();
    let ahead = (day.end_us() - now_us()) / 1_000_000 - 30;
    let ahead = i64::try_from(ahead).unwrap();
    let files = generate_calendar(day, 20, &mut UnwrapErr(SysRng)).unwrap();
    fs::write(chain.path("gateway.key"), &*files.gateway).unwrap();
    fs::write(chain.path("collector.key"), &*files.collector).unwrap();
    clock.set(ahead);
    start_gateway(&mut chain, &clock, "");
    start_shifted_collector(&mut chain, ahead);
    flows(&chain);
    let day_in_use = |chain: &Chain| chain.status()["session"]["day"].clone();
    let (day, next) = (day.to_string(), day.later(1).unwrap().to_string());
    if day_in_use(&chain) != day {
        skip!("this machine is so slow that half a minute has passed");
    }
    wait_until("midnight", || day_in_use(&chain) == next);
    flows(&chain);
    let status = chain.status();
    let rejected = status["rejected"].as_object().unwrap().values();
    let refused: u64 = rejected.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(
        (refused, &status["packets"]["lost"]),
        (0, &0.into()),
        "{status}"
    );
    // Two sessions, each announced and used: the status shows the new key at both ends.
    wait_until("the collector's word", || {
        chain
            .collector_status()
            .is_some_and(|status| status["gateways"][0]["key_day"] == *next)
    });
    assert!(
        !fs::read_to_string(chain.path("gateway.key"))
            .unwrap()
            .contains("xx")
    );
    // Five minutes later, by the gateway's clock alone: packets of the collector's are still young enough, and the old key goes.
    clock.set(ahead + 280);
    wait_until("the end of yesterday's key", || {
        chain.count("/keys/0/destroyed") == 1
    });
    flows(&chain);
    let file = fs::read_to_string(chain.path("gateway.key")).unwrap();
    let erased = file.lines().filter(|line| line.contains("xx"));
    let erased: Vec<_> = erased.map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(erased, [day]);
    chain.assert_alive();
}
