//! Appliances in the real collector: what leaves it is compared with what they gave.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use qrng::health::BLOCK;
use qrng::report::{Kind, Kinds, State};
use qrng_card::appliance::{Appliance, ApplianceConfig};
use qrng_card::certificates::Authority;
use qrng_card::https::{HttpsServer, Tls};
use qrng_card::{Device as _, Fault, Rate, Shared};
use serde_json::Value;

use crate::harness::{Collector, Gateway, Got, Site, run};
use crate::{SLOW, refused};

/// A large answer as often as it may be had: the tests are quicker then.
const FAST: &str =
    "ca-file = \"ca.pem\"\nfetch-size = \"64 KiB\"\ninterval = \"100 ms\"\ntimeout = \"20 s\"\n";

/// Servers that the site trusts, at 127.0.0.1 and so on.
fn servers<const N: usize>(site: &Site) -> [HttpsServer; N] {
    let authority = Authority::new("the lab").unwrap();
    fs::write(site.path("ca.pem"), authority.certificate()).unwrap();
    std::array::from_fn(|index| {
        let host = u8::try_from(index + 1).unwrap();
        let tls = Tls {
            server: authority.server(&[&format!("127.0.0.{host}")]).unwrap(),
            client_authority: None,
        };
        let card = Appliance::new(ApplianceConfig {
            rate: Rate::Unlimited,
            seed: host.into(),
            ..ApplianceConfig::default()
        });
        let address = ([127, 0, 0, host], 0).into();
        HttpsServer::start(&Shared::real_time(card), address, &tls).unwrap()
    })
}

fn url(server: &HttpsServer) -> String {
    format!("https://{}", server.address())
}

/// A configuration that asks `urls`.
fn configure(site: &Site, urls: &[String], settings: &str) -> PathBuf {
    let source = format!(
        "kind = \"appliance\"\nname = \"rack\"\n[source.appliance]\nurls = {urls:?}\n{settings}"
    );
    site.configure(&source, SLOW)
}

fn status(site: &Site) -> Value {
    serde_json::from_slice(&fs::read(site.path("run/status.json")).unwrap()).unwrap()
}

/// Waits until the status fits, and gives it. Packets on the way are read, and their bytes kept.
fn status_when(
    site: &Site,
    gateway: &mut Gateway,
    bytes: &mut Vec<u8>,
    fits: impl Fn(&Value) -> bool,
) -> Value {
    // Each of them takes a second; nothing here takes nearly as many.
    for _ in 0..60 {
        loop {
            match gateway.next() {
                Got::Bytes(_, more) => bytes.extend(more),
                Got::Report(_) => break,
                Got::Announcement(_) => {}
            }
        }
        let status = status(site);
        if fits(&status) {
            return status;
        }
    }
    panic!("the status is still {}", status(site));
}

#[test]
fn what_an_appliance_gives_leaves_complete_in_order_and_once() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let [server] = servers(&site);
    let config = configure(&site, &[url(&server)], FAST);
    let log = site.path("log");
    // Proxies that the environment names are not for us.
    let proxy = ("https_proxy", "http://127.0.0.1:1");
    // However much is logged, it is nothing of what comes.
    let all = ("QRNG_LOG", "trace");
    let collector = Collector::start_logged_with(&config, &log, &[proxy, all]);
    let mut bytes = Vec::new();
    while bytes.len() < 3 * BLOCK {
        if let Got::Bytes(kinds, more) = gateway.next() {
            assert_eq!(kinds, Kinds::of(Kind::Appliance));
            bytes.extend(more);
        }
    }
    // Start-up tests use up the first block.
    {
        let card = server.card();
        let given = card.ledger().good(card.stream());
        assert!(given[BLOCK..].starts_with(&bytes), "{} bytes", bytes.len());
        card.violations().assert_none();
    }
    let told = status_when(&site, &mut gateway, &mut bytes, |s| {
        s["state"] == "running" && s["sources"][0]["parts"][0]["bytes"].as_u64() > Some(0)
    });
    let source = &told["sources"][0];
    assert_eq!(
        (&source["kind"], &source["name"]),
        (&"appliance".into(), &"rack".into())
    );
    assert_eq!(source["parts"][0]["name"], url(&server));
    assert_eq!(told["warnings"], Value::Array(vec![]));
    assert!(collector.end(Signal::SIGTERM).success());

    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    assert!(log.contains("DEBUG"), "{log}");
    let hex = format!(
        "{:02x} {:02x} {:02x} {:02x}",
        bytes[0], bytes[1], bytes[2], bytes[3]
    );
    assert!(
        !log.contains("TRACE") && !log.contains(&hex),
        "bytes are in the log"
    );
}

#[test]
fn an_appliance_that_fails_is_told_once_and_comes_back_without_a_restart() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let [server] = servers(&site);
    let config = configure(&site, &[url(&server)], FAST);
    let log = site.path("log");
    let collector = Collector::start_logged_with(&config, &log, &[]);
    let mut bytes = gateway.bytes(BLOCK);
    server.card().inject(Fault::Html).unwrap();
    let told = status_when(&site, &mut gateway, &mut bytes, |s| s["state"] == "failed");
    let error = told["sources"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("text in place of random bytes"), "{error}");
    let reason = format!("source rack: {error}");
    assert_eq!(told["reasons"][0], reason.as_str());
    assert_eq!(told["sources"][0]["faults"]["nonsense"], 1);
    // Tried again and again, and told once.
    status_when(&site, &mut gateway, &mut bytes, |s| {
        s["sources"][0]["parts"][0]["faults"]["nonsense"].as_u64() >= Some(3)
    });
    server.card().clear();
    let before = bytes.len();
    bytes.extend(gateway.bytes(BLOCK));
    let told = status_when(&site, &mut gateway, &mut bytes, |s| s["state"] == "running");
    assert_eq!(told["sources"][0]["parts"][0]["error"], Value::Null);
    assert!(collector.end(Signal::SIGTERM).success());
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches(&error).count(), 1, "{log}");
    assert_eq!(log.matches("it gives bytes again").count(), 1, "{log}");

    // What left is what it gave, less what start-up tests used up: the first block, and as much after the failure with
    // the part of a block that was not judged before.
    let card = server.card();
    let given = card.ledger().good(card.stream());
    let before_failure = common(&bytes, &given[BLOCK..]);
    assert!(
        before_failure >= before.min(BLOCK),
        "{before_failure} of {before}"
    );
    let rest = &bytes[before_failure..];
    let place = given.windows(32).rposition(|window| window == &rest[..32]);
    assert!(
        given[place.unwrap()..].starts_with(rest),
        "bytes are missing or came twice"
    );
}

/// How many bytes both begin with alike.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[test]
fn one_of_several_that_fails_degrades_the_source() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let servers: [HttpsServer; 2] = servers(&site);
    servers[1].card().inject(Fault::Status(503)).unwrap();
    let urls = servers.each_ref().map(url);
    // The file names one of them; the environment both.
    let config = configure(&site, &urls[..1], FAST);
    let log = site.path("log");
    let variable = ("QRNG_APPLIANCE_URLS", &*urls.join(","));
    let collector = Collector::start_logged_with(&config, &log, &[variable]);
    let mut bytes = gateway.bytes(BLOCK);
    let told = status_when(&site, &mut gateway, &mut bytes, |s| {
        s["state"] == "degraded"
    });
    let reason = told["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains(&urls[1]) && reason.contains("503"),
        "{reason}"
    );
    let part = &told["sources"][0]["parts"][1];
    assert_eq!(part["name"], &*urls[1]);
    assert!(part["faults"]["unhealthy"].as_u64() > Some(0), "{part}");
    servers[1].card().clear();
    status_when(&site, &mut gateway, &mut bytes, |s| {
        s["state"] == "running" && s["sources"][0]["parts"][1]["bytes"].as_u64() > Some(0)
    });
    assert!(collector.end(Signal::SIGTERM).success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("the other appliances go on"), "{log}");
    assert!(log.contains(&format!("{} answers again", urls[1])), "{log}");
    assert!(log.contains("QRNG_APPLIANCE_URLS replaces"), "{log}");
}

#[test]
fn what_is_insecure_is_said_loudly() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let [server] = servers(&site);
    let skip = FAST.replace("ca-file = \"ca.pem\"", "insecure-skip-verification = true");
    let config = configure(&site, &[url(&server)], &skip);
    let log = site.path("log");
    let collector = Collector::start_logged_with(&config, &log, &[]);
    let mut bytes = gateway.bytes(BLOCK);
    let told = status_when(&site, &mut gateway, &mut bytes, |_| true);
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("source rack: APPLIANCES ARE NOT VERIFIED"),
        "{warning}"
    );
    assert!(collector.end(Signal::SIGTERM).success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("rack: APPLIANCES ARE NOT VERIFIED"), "{log}");
}

#[test]
fn a_collector_waits_for_appliances_but_not_with_wrong_settings() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let [server] = servers(&site);
    server.card().inject(Fault::Gone).unwrap();
    let config = configure(&site, &[url(&server)], FAST);
    let collector = Collector::start(&config);
    while gateway.report().sources[0].state != State::Failed {}
    server.card().clear();
    gateway.bytes(BLOCK);
    assert!(collector.end(Signal::SIGTERM).success());

    fs::remove_file(site.path("ca.pem")).unwrap();
    for arguments in [&["--check"][..], &[]] {
        let (status, text) = run(&config, arguments);
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(
            text.contains("source.appliance.ca-file") && text.contains("ca.pem"),
            "{text}"
        );
    }
    let config = configure(&site, &["http://127.0.0.1".into()], "fetch-size = 1\n");
    refused(
        Path::new(&config),
        &[
            "source.appliance.urls",
            "insecure-http",
            "source.appliance.fetch-size",
        ],
    );
}

#[test]
fn an_appliance_is_found_by_its_name() {
    let mut site = Site::new();
    let mut gateway = site.gateway("one");
    let authority = Authority::new("the lab").unwrap();
    fs::write(site.path("ca.pem"), authority.certificate()).unwrap();
    let tls = Tls {
        server: authority.server(&["localhost"]).unwrap(),
        client_authority: None,
    };
    let card = Appliance::new(ApplianceConfig {
        rate: Rate::Unlimited,
        ..ApplianceConfig::default()
    });
    let address = ([127, 0, 0, 1], 0).into();
    let server = HttpsServer::start(&Shared::real_time(card), address, &tls).unwrap();
    let urls = [format!("https://localhost:{}", server.address().port())];
    let collector = Collector::start(&configure(&site, &urls, FAST));
    gateway.bytes(1000);
    assert!(collector.end(Signal::SIGTERM).success());
}
