//! The HTTP service over TLS: what it speaks, a certificate that is renewed while it runs, and clients that have one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use qrng_card::certificates::{Authority, Identity};
use qrng_tests::chain::{Chain, wait_until};
use qrng_tests::http::{At, client_config};
use qrng_tests::shim::{Shim, write_keys};
use qrng_tests::skip;

struct World {
    chain: Chain,
    authority: Authority,
    shim: Shim,
    key: String,
}

fn write(chain: &Chain, server: &Identity) {
    fs::write(chain.path("http.pem"), &server.certificate).unwrap();
    fs::write(chain.path("http.key"), &server.key).unwrap();
    fs::set_permissions(chain.path("http.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn world() -> World {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    let authority = Authority::new("tests").unwrap();
    write(&chain, &authority.server(&["localhost"]).unwrap());
    fs::write(chain.path("clients.pem"), authority.certificate()).unwrap();
    let (path, mut keys) = write_keys(&chain, &["one"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}\nlog-requests = \"all\"");
    let tls = "[tls]\ncertificate = \"http.pem\"\nkey = \"http.key\"\nclient-authority = \"clients.pem\"\n";
    let shim = Shim::start(&chain, &more, tls);
    shim.wait_for_bytes();
    World {
        key: keys.remove(0),
        chain,
        authority,
        shim,
    }
}

impl World {
    fn at(&self, authority: &Authority, identity: Option<&Identity>) -> At {
        let At::Address(address) = self.shim.remote() else {
            panic!("an address");
        };
        let identity = identity.map(|identity| (&*identity.certificate, &*identity.key));
        At::Secret(address, client_config(&authority.certificate(), identity))
    }
}

#[test]
fn a_client_needs_a_key_or_a_certificate_of_the_right_authority() {
    let world = world();
    let at = world.at(&world.authority, None);
    // 503 while the buffer fills, but never for want of a key.
    assert!(matches!(at.get("/health").status, 200 | 503));
    assert_eq!(at.get("/api/random").status, 401);
    let bearer = format!("Bearer {}", world.key);
    assert_eq!(
        at.get_with("/api/random?bytes=200000", &[("authorization", &bearer)])
            .body
            .len(),
        400_001
    );
    let client = world.authority.client("someone").unwrap();
    assert_eq!(
        world
            .at(&world.authority, Some(&client))
            .get("/api/random")
            .status,
        200
    );
    assert!(world.shim.log().contains("certificate "));
    let other = Authority::new("others").unwrap();
    let stranger = other.client("someone").unwrap();
    let strangers = world.at(&world.authority, Some(&stranger));
    let answer = strangers.try_ask("GET", "/api/random", &[], b"");
    assert!(
        answer.is_err(),
        "a certificate of another authority was answered"
    );
    // Without TLS there is nothing.
    let refused = world.shim.remote().try_ask("GET", "/health", &[], b"");
    assert!(refused.is_err(), "an answer in clear");
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let world = world();
    let next = Authority::new("next").unwrap();
    let (old, new) = (world.at(&world.authority, None), world.at(&next, None));
    let works = |at: &At| at.try_ask("GET", "/health", &[], b"").is_ok();
    assert!(works(&old) && !works(&new));
    fs::write(world.chain.path("http.key"), "no key at all").unwrap();
    wait_until("the complaint", || {
        world.shim.log().contains("the certificate is not renewed")
    });
    assert!(works(&old));
    write(&world.chain, &next.server(&["localhost"]).unwrap());
    wait_until("the new certificate", || works(&new));
    // A client of before would resume its session and not ask for a certificate.
    assert!(!works(&world.at(&world.authority, None)));
    assert!(!world.shim.log().contains("PRIVATE"));
}

#[test]
fn older_versions_are_refused_and_the_key_exchange_is_post_quantum() {
    let world = world();
    let At::Secret(address, config) = world.at(&world.authority, None) else {
        panic!("TLS");
    };
    let mut older = Arc::unwrap_or_clone(config);
    older.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut session =
        rustls::ClientConnection::new(Arc::new(older), "localhost".try_into().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    session.complete_io(&mut stream).unwrap();
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    // Two clients that are not ours: an older version, and the newer HTTP.
    let run = |arguments: &[&str]| Command::new("curl").args(arguments).output();
    let authority = world.chain.path("clients.pem");
    let common = [
        "--silent",
        "--show-error",
        "--cacert",
        authority.to_str().unwrap(),
    ];
    let url = format!("https://localhost:{}/health", address.port());
    let Ok(second) = run(&[
        &common[..],
        &[
            "--http2",
            "--write-out",
            "%{http_version}",
            "--output",
            "/dev/null",
            &url,
        ],
    ]
    .concat()) else {
        skip!("curl is missing");
    };
    assert_eq!(String::from_utf8_lossy(&second.stdout), "2", "{second:?}");
    let older = run(&[&common[..], &["--tls-max", "1.2", &url]].concat()).unwrap();
    assert!(!older.status.success());
}
