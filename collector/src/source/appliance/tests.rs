use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use qrng_card::appliance::{Appliance, ApplianceConfig};
use qrng_card::certificates::{Authority, Identity, self_signed};
use qrng_card::fault::Fault as Wrong;
use qrng_card::https::{HttpsServer, Tls};
use qrng_card::stream::BLOCK;
use qrng_card::{Device as _, Rate, Shared, Stream as Numbered};

use super::trust::{Authorities, Client, Verification};
use super::*;
use crate::source::Fault;

/// Nothing here takes nearly as long: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const SIZE: usize = 4096;

/// What is needed to trust servers at 127.0.0.1 to 127.0.0.3.
struct Site {
    authority: Authority,
}

/// TLS 1.3 with this certificate, for everybody.
fn speaks(server: Identity) -> Tls {
    Tls {
        server,
        client_authority: None,
    }
}

/// Serves an appliance at 127.0.0.`host`, whose stream has this number too.
fn serve(host: u8, tls: &Tls, json: bool) -> HttpsServer {
    let card = Appliance::new(ApplianceConfig {
        rate: Rate::Unlimited,
        seed: host.into(),
        json,
        ..ApplianceConfig::default()
    });
    let address = ([127, 0, 0, host], 0).into();
    HttpsServer::start(&Shared::real_time(card), address, tls).unwrap()
}

impl Site {
    fn new() -> Self {
        Self {
            authority: Authority::new("the lab").unwrap(),
        }
    }

    /// A certificate for all these servers.
    fn tls(&self) -> Tls {
        let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        speaks(self.authority.server(&hosts).unwrap())
    }

    fn server(&self) -> HttpsServer {
        serve(1, &self.tls(), false)
    }

    fn trust(&self) -> Trust {
        let pem = self.authority.certificate();
        Trust {
            verification: Verification::By(Authorities::parse(pem.as_bytes()).unwrap()),
            client: None,
        }
    }

    fn settings(&self, servers: &[&HttpsServer]) -> Settings {
        let address = |server: &&HttpsServer| {
            Address::parse(&format!("https://{}", server.address())).unwrap()
        };
        Settings {
            addresses: servers.iter().map(address).collect(),
            trust: self.trust(),
            size: SIZE,
            interval: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
        }
    }

    fn source(&self, servers: &[&HttpsServer]) -> Appliances {
        start(&self.settings(servers))
    }
}

fn start(settings: &Settings) -> Appliances {
    Appliances::start("rack", settings).unwrap()
}

/// Ends a test that has waited too long.
struct Watch(Instant);

impl Watch {
    fn new() -> Self {
        Self(Instant::now())
    }

    /// To be called in each round of a loop.
    fn check(&self) {
        assert!(self.0.elapsed() < PATIENCE, "it does not come to an end");
    }
}

/// What the next reads give until there are bytes or a failure.
fn next(source: &mut Appliances, buffer: &mut [u8]) -> Result<usize, Failure> {
    let watch = Watch::new();
    loop {
        watch.check();
        match source.read(buffer, Instant::now() + Duration::from_secs(1)) {
            Ok(0) => {}
            Ok(count) => return Ok(count),
            Err(SourceError::Retry(failure)) => return Err(failure),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Reads `count` bytes; there may be failures before and in between.
fn bytes(source: &mut Appliances, count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    let mut done = 0;
    let watch = Watch::new();
    while done < count {
        watch.check();
        done += next(source, &mut all[done..]).unwrap_or(0);
    }
    all
}

/// Reads until there is a failure, and gives it with the bytes before it.
fn failure(source: &mut Appliances) -> (Vec<u8>, Failure) {
    let (mut all, mut buffer) = (Vec::new(), [0; SIZE]);
    let watch = Watch::new();
    loop {
        watch.check();
        match next(source, &mut buffer) {
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(failure) => return (all, failure),
        }
    }
}

fn told(failure: &Failure, fault: Fault, words: &[&str]) {
    assert_eq!(failure.fault, fault, "{failure}");
    for word in words {
        assert!(failure.text.contains(word), "{word} is not in: {failure}");
    }
}

#[test]
fn bytes_come_in_order_over_one_connection_of_tls_1_3() {
    let site = Site::new();
    for json in [false, true] {
        let server = serve(1, &site.tls(), json);
        let mut source = site.source(&[&server]);
        assert_eq!(source.identity().kind, Kind::Appliance);
        let got = bytes(&mut source, 4 * SIZE + 100);
        assert!(got == Numbered::new(1).bytes(0, got.len()), "json: {json}");
        assert_eq!(server.accepted(), 1);
        let session = server.session();
        assert!(session.contains("TLSv1_3"), "{session}");
        assert!(session.contains("X25519MLKEM768"), "{session}");
        assert!(source.parts()[0].bytes >= got.len() as u64);
        server.card().violations().assert_none();
    }
}

#[test]
fn several_are_asked_in_parallel_and_each_byte_comes_once() {
    let site = Site::new();
    let servers = [1, 2, 3].map(|n| serve(n, &site.tls(), false));
    let mut source = site.source(&servers.each_ref());
    let streams = [1, 2, 3].map(Numbered::new);
    let mut seen = [const { BTreeSet::new() }; 3];
    let watch = Watch::new();
    while seen.iter().any(|offsets| offsets.len() < 2 * SIZE / BLOCK) {
        watch.check();
        let got = bytes(&mut source, SIZE);
        for block in got.as_chunks().0 {
            let owner = streams.iter().zip(&mut seen);
            let mut owner = owner.filter_map(|(s, seen)| Some((s.offset_of(*block)?, seen)));
            let (offset, seen) = owner.next().expect("a block of a stream");
            assert!(seen.last() < Some(&offset), "out of order or again");
            seen.insert(offset);
        }
    }
    for (server, seen) in servers.iter().zip(&seen) {
        // None is missing in between.
        assert_eq!(seen.last(), Some(&(((seen.len() - 1) * BLOCK) as u64)));
        server.card().violations().assert_none();
    }
}

#[test]
fn whatever_is_wrong_is_told_and_bytes_come_again_when_it_ends() {
    let site = Site::new();
    let server = site.server();
    let mut settings = site.settings(&[&server]);
    settings.timeout = Duration::from_secs(3);
    let mut source = start(&settings);
    let name = format!("https://{}", server.address());
    let mut got = bytes(&mut source, SIZE);
    let mut failures = 0;
    for (wrong, fault, words) in [
        (Wrong::Html, Fault::Nonsense, ["text", "<!DOCTYPE html>"]),
        (Wrong::WrongLength, Fault::Short, ["2048", "fetch-size"]),
        (Wrong::TooLong, Fault::Nonsense, ["4097", "4096"]),
        (Wrong::Zeros, Fault::Nonsense, ["all 0x00", "generator"]),
        (Wrong::Stuck, Fault::Nonsense, ["all 0xa5", "generator"]),
        (Wrong::Repeat, Fault::Nonsense, ["same bytes", "cache"]),
        (Wrong::Status(500), Fault::Unhealthy, ["500", "status page"]),
        (Wrong::Status(404), Fault::Unavailable, ["404", "urls"]),
        (
            Wrong::Status(301),
            Fault::Unavailable,
            ["https://elsewhere.example/", "not followed"],
        ),
        (Wrong::Short, Fault::Io, ["ended the connection", "log"]),
        (Wrong::Drip, Fault::Silent, ["in time", "network"]),
        (Wrong::Hang, Fault::Silent, ["in time", "network"]),
        (Wrong::Gone, Fault::Unavailable, ["nothing listens", "port"]),
    ] {
        server.card().inject(wrong).unwrap();
        let watch = Watch::new();
        let failure = loop {
            watch.check();
            let (before, failure) = failure(&mut source);
            got.extend(before);
            failures += 1;
            // A connection that is closed when its appliance goes can be seen before that it is gone.
            if !(wrong == Wrong::Gone && failure.fault == Fault::Io) {
                break failure;
            }
        };
        told(&failure, fault, &words);
        assert!(failure.text.starts_with(&name), "{failure}");
        let part = &source.parts()[0];
        assert!(part.faults[&fault] > 0 && part.error.is_some(), "{part:?}");
        assert!(part.faults.values().sum::<u64>() >= failures);
        server.card().clear();
        got.extend(bytes(&mut source, SIZE));
        assert_eq!(source.parts()[0].error, None);
    }
    let model = server.card();
    let good = model.ledger().good(model.stream());
    assert!(good.starts_with(&got), "{} of {}", got.len(), good.len());
    model.violations().assert_none();
}

#[test]
fn whoever_is_not_the_appliance_is_told_and_gets_no_request() {
    let site = Site::new();
    let server = site.server();
    let mut source = site.source(&[&server]);
    let own = &site.authority;
    let host = ["127.0.0.1"];
    let good = own.server(&host).unwrap();
    let stranger = Authority::new("x").unwrap().server(&host).unwrap();
    let elsewhere = own.server(&["qrng-1.example", "127.0.0.9"]).unwrap();
    let mut mutual = speaks(good);
    mutual.client_authority = Some(own.certificate());
    let mut refuses = |speaks: &dyn Fn(), words: &[&str]| {
        // A connection that is kept would go on as it is.
        server.card().inject(Wrong::Gone).unwrap();
        failure(&mut source);
        speaks();
        let before = server.card().requests();
        server.card().clear();
        let watch = Watch::new();
        let failure = loop {
            watch.check();
            let (none, failure) = failure(&mut source);
            assert!(none.is_empty());
            if failure.fault == Fault::Unavailable && !failure.text.contains("nothing listens") {
                break failure;
            }
        };
        told(&failure, Fault::Unavailable, words);
        assert_eq!(server.card().requests(), before);
        server.speak(&site.tls()).unwrap();
        bytes(&mut source, SIZE);
    };
    refuses(
        &|| server.speak_old(&site.tls()).unwrap(),
        &["does not speak TLS 1.3", "update"],
    );
    for (tls, words) in [
        (speaks(stranger), ["nobody in ca-file", "put"]),
        (
            speaks(self_signed(&host, false).unwrap()),
            ["nobody in ca-file", "put"],
        ),
        (
            speaks(own.expired_server(&host).unwrap()),
            ["has expired", "clock"],
        ),
        (
            speaks(own.future_server(&host).unwrap()),
            ["not valid yet", "clock"],
        ),
        (
            speaks(elsewhere),
            ["for qrng-1.example, 127.0.0.9;", "urls"],
        ),
        (
            speaks(own.server(&[]).unwrap()),
            ["subject alternative name", "urls"],
        ),
        (mutual, ["wants a client certificate", "client-key"]),
    ] {
        refuses(&|| server.speak(&tls).unwrap(), &words);
    }
}

#[test]
fn an_appliance_may_want_to_know_us() {
    let site = Site::new();
    let mut tls = site.tls();
    tls.client_authority = Some(site.authority.certificate());
    let server = serve(1, &tls, false);
    let client = |authority: &Authority| {
        let issued = authority.client("collector").unwrap();
        Client::parse(issued.certificate.as_bytes(), &issued.key).unwrap()
    };
    let mut settings = site.settings(&[&server]);
    settings.trust.client = Some(client(&Authority::new("a stranger").unwrap()));
    let (_, refused) = failure(&mut start(&settings));
    let words = ["does not accept who we are", "client-certificate"];
    told(&refused, Fault::Unavailable, &words);
    assert_eq!(server.card().requests(), 0);
    settings.trust.client = Some(client(&site.authority));
    let got = bytes(&mut start(&settings), SIZE);
    assert!(got == Numbered::new(1).bytes(0, SIZE));
}

#[test]
fn a_certificate_of_its_own_may_be_the_authority() {
    let site = Site::new();
    let server = site.server();
    let mut settings = site.settings(&[&server]);
    let mut believe = |own: Identity| {
        let authorities = Authorities::parse(own.certificate.as_bytes()).unwrap();
        settings.trust.verification = Verification::By(authorities);
        server.speak(&speaks(own)).unwrap();
        start(&settings)
    };
    let host = ["127.0.0.1"];
    let mut source = believe(self_signed(&host, false).unwrap());
    bytes(&mut source, SIZE);
    // Not if it says that it may sign others, too.
    let mut source = believe(self_signed(&host, true).unwrap());
    let (_, refused) = failure(&mut source);
    told(&refused, Fault::Unavailable, &["CA:FALSE"]);
}

/// A server that answers anything with `answer`, at one connection after the other.
fn answers(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What is asked comes in one piece.
            let asked = stream.read(&mut [0; 4096]);
            let _ = asked.and_then(|_| stream.write_all(&answer));
        }
    });
    address
}

#[test]
fn only_what_is_named_insecure_takes_anybody() {
    let site = Site::new();
    let stranger = Authority::new("x").unwrap();
    let stranger = stranger.expired_server(&["qrng-1.example"]).unwrap();
    let server = serve(1, &speaks(stranger.clone()), false);
    let mut settings = site.settings(&[&server]);
    settings.trust.verification = Verification::Skipped;
    bytes(&mut start(&settings), SIZE);
    // TLS 1.3 all the same.
    server.speak_old(&speaks(stranger)).unwrap();
    let (_, old) = failure(&mut start(&settings));
    told(&old, Fault::Unavailable, &["does not speak TLS 1.3"]);

    let body = Numbered::new(9).bytes(0, SIZE);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
    let plain = answers([head.as_bytes(), &body].concat());
    let mut with = |url: String| {
        settings.addresses = vec![Address::parse(&url).unwrap()];
        start(&settings)
    };
    assert!(bytes(&mut with(format!("http://{plain}")), SIZE) == body);
    let (_, plain) = failure(&mut with(format!("https://{plain}")));
    told(
        &plain,
        Fault::Unavailable,
        &["does not speak TLS on this port", "urls"],
    );
}

#[test]
fn what_is_no_http_is_told() {
    let site = Site::new();
    let mut settings = site.settings(&[]);
    let address = answers(b"220 mail.example ESMTP\r\n\r\n".to_vec());
    settings.addresses = vec![Address::parse(&format!("http://{address}")).unwrap()];
    let (_, other) = failure(&mut start(&settings));
    told(&other, Fault::Nonsense, &["no answer of HTTP", "urls"]);
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let site = Site::new();
    let servers = [1, 2].map(|n| serve(n, &site.tls(), false));
    servers[1].card().inject(Wrong::Html).unwrap();
    let mut source = site.source(&servers.each_ref());
    let mut buffer = [0; SIZE];
    let fails = |source: &Appliances| source.parts()[1].faults.get(&Fault::Nonsense) >= Some(&2);
    // The first question of the second may come before the first has answered.
    let watch = Watch::new();
    while !fails(&source) || source.parts()[0].bytes == 0 {
        watch.check();
        let got = source.read(&mut buffer, Instant::now() + Duration::from_secs(1));
        assert!(!matches!(got, Err(SourceError::Broken(_))), "{got:?}");
    }
    for _ in 0..3 {
        assert!(next(&mut source, &mut buffer).is_ok(), "the other stopped");
    }
    let parts = source.parts();
    assert_eq!(parts[0].error, None);
    assert!(
        parts[1]
            .error
            .as_ref()
            .unwrap()
            .contains("answers with text")
    );
    assert_eq!(parts[1].bytes, 0);

    servers[0].card().inject(Wrong::Status(503)).unwrap();
    let (_, all) = failure(&mut source);
    told(
        &all,
        Fault::Unhealthy,
        &["all 2 appliances fail", "503", "answers with text"],
    );
    servers[1].card().clear();
    let watch = Watch::new();
    while source.parts()[1].bytes == 0 {
        watch.check();
        let _ = next(&mut source, &mut buffer);
    }
}

#[test]
fn nothing_is_asked_for_that_has_no_room() {
    let site = Site::new();
    let server = site.server();
    let mut settings = site.settings(&[&server]);
    settings.size = super::super::ahead::LONGEST_READ;
    let mut source = start(&settings);
    // Four in the backlog, one that is to be put there, one that waits to be taken.
    const MOST: u64 = 6;
    let watch = Watch::new();
    while server.card().requests() < MOST {
        watch.check();
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(5 * settings.interval);
    assert_eq!(server.card().requests(), MOST);
    let got = bytes(&mut source, 8 * settings.size);
    assert!(got == Numbered::new(1).bytes(0, got.len()));
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let site = Site::new();
    let mut settings = site.settings(&[]);
    // Too long a label for any name, so that nobody need be asked.
    let host = "x".repeat(64);
    settings.addresses = vec![Address::parse(&format!("https://{host}")).unwrap()];
    let (_, unknown) = failure(&mut start(&settings));
    assert!(unknown.text.contains("cannot be looked up"), "{unknown}");
    assert!(unknown.text.contains("IP address"), "{unknown}");
}

#[test]
fn dropping_the_source_ends_its_threads() {
    let site = Site::new();
    let server = site.server();
    let mut source = site.source(&[&server]);
    bytes(&mut source, SIZE);
    let parts = Arc::downgrade(&source.parts);
    drop(source);
    let watch = Watch::new();
    while parts.strong_count() > 0 {
        watch.check();
        thread::sleep(Duration::from_millis(1));
    }
}
