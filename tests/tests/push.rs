//! A collector that pushes packets by HTTPS, through the HTTP service, to a gateway: what arrives, and what becomes of it when a part of
//! the way fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use qrng_tests::chain::wait_until;
use qrng_tests::fuse_harness::{is_root, no_mount};
use qrng_tests::memory::{Needles, search};
use qrng_tests::numbered::{BLOCK, Numbering};
use qrng_tests::processes::{children, sender_of, status_field};
use qrng_tests::pushed::{UNTESTED, World};
use qrng_tests::skip;

/// Numbers read, each behind the one before: in order, and none twice.
struct Reader {
    numbering: Numbering,
    last: Option<u64>,
}

impl Reader {
    fn new() -> Self {
        Self {
            numbering: Numbering::default(),
            last: None,
        }
    }

    /// Reads `bytes`, and says how many numbers are missing between them.
    fn read(&mut self, world: &World, bytes: usize) -> u64 {
        let mut file = File::open(world.chain.file("raw")).unwrap();
        let mut memory = vec![0; bytes];
        file.read_exact(&mut memory).unwrap();
        let mut missing = 0;
        for block in memory.as_chunks::<BLOCK>().0 {
            let number = self.numbering.number(*block).expect("a byte of the source");
            if let Some(last) = self.last {
                assert!(number > last, "{number} after {last}");
                missing += number - last - 1;
            }
            self.last = Some(number);
        }
        missing
    }
}

fn count(world: &World, name: &str) -> u64 {
    let pushing = world.pushing().unwrap_or_default();
    pushing[name].as_u64().unwrap_or(0)
}

fn trouble(world: &World) -> String {
    let pushing = world.pushing().unwrap_or_default();
    pushing["trouble"].as_str().unwrap_or_default().to_owned()
}

/// The pusher of the running collector.
fn pusher(world: &World) -> Option<u32> {
    let collector = world.chain.collector.as_ref()?.id();
    let mut all = children(collector).into_iter();
    all.find(|&pid| status_field(pid, "Name").as_deref() == Some("qrng-pusher"))
}

#[test]
fn pushed_packets_are_served_in_order_and_none_twice() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(64);
    world.start_shim("", "");
    let config = world.config(&world.url(), &world.ca_file());
    world.start_collector(&config, &[]);
    let mut reader = Reader::new();
    reader.read(&world, 4 << 20);
    world.chain.assert_alive();
    let packets = world.chain.status()["packets"].clone();
    assert!(packets["admitted"].as_u64().unwrap() > 3000, "{packets}");
    // Nothing has come any other way.
    assert_eq!(packets["datagrams"], packets["from_this_host"], "{packets}");
    wait_until("the collector's word", || count(&world, "packets") > 3000);
    assert_eq!(count(&world, "failures"), 0);
    let status = world.chain.collector_status().unwrap();
    assert!(
        status["warnings"].to_string().contains("a way back"),
        "{status}"
    );
    assert_eq!(status["confinement"]["pusher"], "enforced");
    let log = world.chain.log("collector");
    assert!(log.contains("PACKETS ARE PUSHED TO"), "{log}");
    let shim = world.shim.as_ref().unwrap();
    let told = shim.local.get("/api/status").json()["http"]["push"].clone();
    assert!(told["packets"].as_u64().unwrap() > 3000 && told["failures"] == 0);
    let metrics = shim.local.get("/metrics");
    assert!(metrics.text().contains("qrng_http_pushed_packets_total"));
    // Three processes: the one with connections holds no key, and the one with keys no connection.
    let collector = world.chain.collector.as_ref().unwrap().id();
    let (sender, pusher) = (sender_of(collector).unwrap(), pusher(&world).unwrap());
    for process in [sender, pusher] {
        assert_eq!(status_field(process, "Seccomp").as_deref(), Some("2"));
        assert_eq!(status_field(process, "NoNewPrivs").as_deref(), Some("1"));
        let capabilities = status_field(process, "CapPrm").unwrap();
        let kept = u64::from_str_radix(&capabilities, 16).unwrap();
        assert_eq!(kept & !qrng_tests::processes::of_locking(), 0);
    }
    let sockets = |pid: u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    };
    assert_eq!(sockets(sender), 0, "no gateway is sent datagrams");
    assert!(sockets(pusher) > 0);
}

#[test]
fn packets_wait_while_the_service_or_the_gateway_is_away() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(128);
    world.start_shim("", "");
    // Room for what comes while something is away: nothing need be lost then.
    let more = format!("{}\nqueue = \"256 MiB\"", world.ca_file());
    let config = world.config(&world.url(), &more);
    world.start_collector(&config, &[]);
    let mut reader = Reader::new();
    let mut missing = reader.read(&world, 1 << 20);
    for how in ["terminated", "killed"] {
        let mut shim = world.shim.take().unwrap();
        if how == "terminated" {
            assert!(shim.stop().success());
        }
        drop(shim);
        wait_until("the collector's complaint", || {
            trouble(&world).contains("nothing listens there")
        });
        let reasons = world.chain.collector_status().unwrap()["reasons"].clone();
        assert!(
            reasons[0]
                .as_str()
                .unwrap()
                .starts_with("gateway far refuses"),
            "{reasons}"
        );
        world.start_shim("", "");
        let before = count(&world, "packets");
        wait_until("packets again", || {
            trouble(&world).is_empty() && count(&world, "packets") > before
        });
        missing += reader.read(&world, 1 << 20);
    }
    // What did not come found no room at one of the ends, which say so.
    let discarded = world.chain.count("/bytes/overflow_discarded");
    let no_room = world.chain.collector_status().unwrap()["send_errors"]["EAGAIN"].as_u64();
    let room = discarded + no_room.unwrap_or(0) * qrng::packet::MAX_DATAGRAM as u64;
    assert!(
        missing * BLOCK as u64 <= room,
        "{missing} of {BLOCK} bytes, {room}"
    );
    // The service is there, and nobody behind it: it says so, and packets wait as well.
    world.chain.kill_gateway();
    wait_until("the collector's complaint", || {
        trouble(&world).contains("503")
    });
    world.chain.start_gateway("", UNTESTED);
    reader.read(&world, 1 << 20);
    wait_until("packets again", || trouble(&world).is_empty());
    assert_eq!(count(&world, "dropped"), 0);
    let log = world.chain.log("collector");
    assert!(log.contains("gateway far takes packets again"), "{log}");
    world.chain.assert_alive();
}

#[test]
fn gateways_of_both_kinds_get_bytes_of_their_own_and_one_that_is_away_holds_up_no_other() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(64);
    world.start_shim("", "");
    let near = qrng_tests::chain::peer();
    let (_, collector, _) = qrng::keys::generate(&mut UnwrapErr(SysRng));
    let key = world.chain.path("near.key");
    std::fs::write(&key, collector).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!(
        "{}\n[[gateway]]\nname = \"near\"\naddress = \"{}\"\nkey = {key:?}\n",
        world.ca_file(),
        near.local_addr().unwrap()
    );
    let config = world.config(&world.url(), &more);
    world.start_collector(&config, &[]);
    let mut room = [0; 2048];
    let mut hear = |count: usize| {
        for _ in 0..count {
            near.recv(&mut room).unwrap();
        }
    };
    hear(100);
    // A half of the source, in whole packets; the other half is near.
    let missing = Reader::new().read(&world, 2 << 20);
    let packets = missing / (1344 / BLOCK as u64);
    assert!(missing.is_multiple_of(1344 / BLOCK as u64) && packets > 1000);
    world.shim = None;
    wait_until("the collector's complaint", || !trouble(&world).is_empty());
    // What had come before the complaint, and a good deal more.
    hear(5000);
    world.chain.assert_alive();
}

#[test]
fn what_finds_no_room_is_dropped_and_told() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(64);
    let more = format!("{}\nqueue = \"256 KiB\"", world.ca_file());
    let config = world.config(&world.url(), &more);
    world.start_collector(&config, &[]);
    wait_until("packets that are dropped", || {
        count(&world, "dropped") > 100
    });
    let queued = count(&world, "queued");
    assert!(queued > 0 && queued <= 256 * 1024, "{queued}");
    wait_until("the log's word", || {
        world
            .chain
            .log("collector")
            .contains("the oldest are dropped")
    });
    world.start_shim("", "");
    // What was dropped is lost, and what comes after it is served.
    let missing = Reader::new().read(&world, 1 << 20);
    assert_eq!(missing % (1344 / BLOCK as u64), 0);
    wait_until("the log's word", || {
        world.chain.log("collector").contains("takes packets again")
    });
    world.chain.assert_alive();
}

#[test]
fn what_keeps_the_collector_out_is_said_in_words_and_can_be_mended() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(16);
    std::fs::write(world.chain.path("push.key"), "not-the-right-key-at-all\n").unwrap();
    world.start_shim("", "");
    let other = format!("ca-file = {:?}", world.chain.path("tls/other-ca.pem"));
    let (url, right) = (world.url(), world.ca_file());
    let wrong_path = url.replace("https", "http");
    for (config, words) in [
        (world.config(&url, &other), "nobody in ca-file has issued"),
        (
            world.config(&url.replace("127.0.0.1", "127.0.0.2"), &right),
            "nothing listens there",
        ),
        (world.config(&url, &right), "does not know the key (401)"),
    ] {
        world.start_collector(&config, &[]);
        wait_until(words, || trouble(&world).contains(words));
        let log = world.chain.log("collector");
        assert!(log.contains(words), "{log}");
        world.chain.stop_collector();
    }
    // A key that reads.
    std::fs::write(world.chain.path("push.key"), &world.read_key).unwrap();
    let config = world.config(&url, &right);
    world.start_collector(&config, &[]);
    wait_until("403", || {
        trouble(&world).contains("for something else (403)")
    });
    world.chain.stop_collector();
    // What can be seen before anything starts is refused then.
    let check = |config: &str| {
        let mut command = world.collector_command(config);
        let output = command.arg("--check").output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(check(&world.config(&wrong_path, &right)).contains("not encrypted"));
    std::fs::remove_file(world.chain.path("push.key")).unwrap();
    assert!(check(&config).contains("gateway 1: push.api-key"));
    let log = world.chain.log("collector");
    for secret in ["not-the-right-key-at-all", &world.read_key, &world.push_key] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn the_environment_says_where_to_push() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(16);
    world.start_shim("", "");
    let config = world.config("https://192.0.2.1", &world.ca_file());
    // By a name, which the confined pusher has to look up.
    let url = format!("https://localhost:{}/push", world.address.port());
    world.start_collector(&config, &[("QRNG_GATEWAY_PUSH_URL", &url)]);
    Reader::new().read(&world, 100_000);
    let log = world.chain.log("collector");
    assert!(
        log.contains("QRNG_GATEWAY_PUSH_URL replaces the url"),
        "{log}"
    );
}

#[test]
fn one_process_does_not_outlive_the_others() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(16);
    world.start_shim("", "");
    let config = world.config(&world.url(), &world.ca_file());
    world.start_collector(&config, &[]);
    wait_until("the pusher", || count(&world, "packets") > 0);
    let killed = pusher(&world).unwrap();
    qrng_tests::processes::signal(killed, nix::sys::signal::Signal::SIGKILL);
    let mut collector = world.chain.collector.take().unwrap();
    let status = collector.wait().unwrap();
    assert!(!status.success());
    let log = world.chain.log("collector");
    assert!(log.contains("the pusher was killed by SIGKILL"), "{log}");
    world.start_collector(&config, &[]);
    wait_until("the pusher", || {
        pusher(&world).is_some() && world.pushing().is_some()
    });
    let (pusher, mut collector) = (
        pusher(&world).unwrap(),
        world.chain.collector.take().unwrap(),
    );
    collector.kill().unwrap();
    collector.wait().unwrap();
    wait_until("the pusher's end", || {
        !qrng_tests::processes::is_alive(pusher)
    });
}

#[test]
fn the_key_is_in_the_pushers_memory_alone_and_random_bytes_are_not() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if !is_root() {
        skip!("not root, who alone can look into the processes' memory");
    }
    let mut world = World::new(4);
    world.start_shim("", "");
    let config = world.config(&world.url(), &world.ca_file());
    world.start_collector(&config, &[]);
    Reader::new().read(&world, 1 << 20);
    let mut key = Needles::default();
    key.add("the key", world.push_key.as_bytes());
    let collector = world.chain.collector.as_ref().unwrap().id();
    let (sender, pusher) = (sender_of(collector).unwrap(), pusher(&world).unwrap());
    for process in [collector, sender] {
        let (found, looked) = search(process, &key).unwrap();
        assert!(looked > 1 << 20, "{looked} bytes were looked at");
        assert!(found.is_empty(), "{} places of {process}", found.len());
    }
    let (found, _) = search(pusher, &key).unwrap();
    assert!(!found.is_empty(), "the key in use was not found");
    let locked = found
        .iter()
        .all(|it| it.mapping.flags.iter().any(|flag| flag == "lo"));
    assert!(locked, "the key could be swapped");
    // What was served has gone through the pusher sealed, and in no other way.
    let numbers = Numbering::default().bytes((1 << 20) / BLOCK as u64);
    let mut bytes = Needles::default();
    bytes.add("random bytes", &numbers);
    let (found, _) = search(pusher, &bytes).unwrap();
    assert!(found.is_empty(), "{} places", found.len());
    assert!(bytes.find(&numbers).next().is_some(), "they would be found");
}

#[test]
fn no_log_has_a_key_or_a_packet_at_any_level() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut world = World::new(16);
    let mut command = world.shim_command("", "");
    command.env("QRNG_LOG", "trace");
    world.shim = Some(qrng_tests::shim::Shim::start_by(&world.chain, command));
    let config = world.config(&world.url(), &world.ca_file());
    world.start_collector(&config, &[("QRNG_LOG", "trace")]);
    Reader::new().read(&world, 1 << 20);
    // All requests go over one connection, as long as nothing ends it.
    wait_until("several requests", || count(&world, "requests") >= 6);
    let connected = |log: &str| log.matches("Connected TcpStream").count();
    assert_eq!(connected(&world.chain.log("collector")), 1);
    let (at, read_key) = (world.at(), world.read_key.clone());
    let bearer = format!("Bearer {read_key}");
    let answer = at.get_with("/api/random", &[("authorization", &bearer)]);
    assert_eq!(answer.status, 200);
    let served = answer.text().trim().to_owned();
    let key_files = ["collector.key", "gateway.key"].map(|name| {
        let text = std::fs::read_to_string(world.chain.path(name)).unwrap();
        let fields = text.lines().filter_map(|line| line.split_once(' '));
        let secrets = fields.filter(|(_, value)| value.trim().len() >= 64);
        secrets
            .map(|(_, value)| value.trim().to_owned())
            .collect::<Vec<_>>()
    });
    let digests = ["push.keys", "http.keys"].map(|name| {
        let text = std::fs::read_to_string(world.chain.path(name)).unwrap();
        text.split(' ').nth(1).unwrap().trim().to_owned()
    });
    let secrets: Vec<_> = key_files
        .into_iter()
        .flatten()
        .chain(digests)
        .chain([world.push_key.clone(), read_key, served])
        .collect();
    assert!(secrets.len() >= 7, "{} secrets", secrets.len());
    let shim = world.shim.as_ref().unwrap();
    for (process, log) in [
        ("collector", world.chain.log("collector")),
        ("gateway", world.chain.log("gateway")),
        ("HTTP service", shim.log()),
    ] {
        assert!(!log.is_empty());
        for secret in &secrets {
            assert!(
                !log.contains(&secret[..16]),
                "the {process}'s log has {secret}:\n{log}"
            );
        }
    }
    assert!(shim.log().contains("/push") && world.chain.log("collector").contains("DEBUG"));
}
