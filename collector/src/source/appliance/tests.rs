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

mod faults;
mod trust;

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
