use super::*;
use crate::Device;
use crate::appliance::ApplianceConfig;
use crate::certificates::Authority;
use crate::fault::Fault;
use crate::pace::Rate;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::Ipv4Addr;

const PATIENCE: Duration = Duration::from_secs(60);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Bench {
    card: Shared<Appliance>,
    authority: Authority,
    server: HttpsServer,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Bench {
    fn new(with_clients: bool) -> Self {
        let authority = Authority::new("test").unwrap();
        let tls = Tls {
            server: authority.server(&["localhost"]).unwrap(),
            client_authority: with_clients.then(|| authority.certificate()),
        };
        let rate = Rate::Unlimited;
        let card = Appliance::new(ApplianceConfig {
            rate,
            ..Default::default()
        });
        let card = Shared::real_time(card);
        let server = HttpsServer::start(&card, ANY, &tls).unwrap();
        Self {
            card,
            authority,
            server,
        }
    }

    fn connect(&self, client: Option<&Identity>) -> io::Result<Stream> {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(&self.authority.certificate())?)
            .unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
                let chain = vec![certificate(&client.certificate)?];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.server.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap());
        Ok(StreamOwned::new(tls.unwrap(), stream))
    }
}

fn ask(stream: &mut Stream, target: &str) -> io::Result<()> {
    let request = format!("GET /api/2.0/{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes())
}

/// The head of an answer, and the length that it tells.
fn head(stream: &mut Stream) -> io::Result<(String, usize)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("Content-Length: "));
    let length = length.unwrap().parse().unwrap();
    Ok((head, length))
}

fn get(stream: &mut Stream, target: &str) -> io::Result<(String, Vec<u8>)> {
    ask(stream, target)?;
    let (head, length) = head(stream)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

#[test]
fn requests_on_one_connection_and_on_several_give_the_stream() {
    let bench = Bench::new(false);
    let mut stream = bench.connect(None).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(get(&mut stream, "streambytes?size=4096").unwrap().1);
        let mut other = bench.connect(None).unwrap();
        let (head, body) = get(&mut other, "streambytes?size=4096").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"));
        bytes.extend(body);
    }
    let card = bench.card.lock();
    assert_eq!(bytes, card.stream().bytes(0, 6 * 4096));
    card.violations().assert_none();
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_asked_for() {
    let bench = Bench::new(true);
    let refused = get(&mut bench.connect(None).unwrap(), "systeminfo");
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("CertificateRequired")
    );
    let foreign = Authority::new("other").unwrap().client("c").unwrap();
    get(&mut bench.connect(Some(&foreign)).unwrap(), "systeminfo").unwrap_err();
    let client = bench.authority.client("c").unwrap();
    let (_, body) = get(&mut bench.connect(Some(&client)).unwrap(), "systeminfo").unwrap();
    assert!(body.starts_with(b"{"));
}

#[test]
fn requests_of_a_wrong_kind_are_violations() {
    for (request, text) in [
        (
            "POST /api/2.0/systeminfo HTTP/1.1\r\nHost: a\r\n\r\n",
            "only GET",
        ),
        ("GET /api/2.0/systeminfo HTTP/1.1\r\n\r\n", "no host"),
        (
            "GET /api/2.0/systeminfo HTTP/1.0\r\nHost: a\r\n\r\n",
            "HTTP/1.1",
        ),
    ] {
        let bench = Bench::new(false);
        let mut stream = bench.connect(None).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        assert!(head(&mut stream).unwrap().0.starts_with("HTTP/1.1 405 "));
        let card = bench.card.lock();
        assert!(card.violations().texts()[0].contains(text));
    }
}

#[test]
fn an_answer_that_is_broken_or_drips_is_not_whole() {
    let bench = Bench::new(false);
    bench.card.lock().inject(Fault::Short).unwrap();
    let mut stream = bench.connect(None).unwrap();
    get(&mut stream, "streambytes?size=4096").unwrap_err();
    bench.card.lock().clear();
    bench.card.lock().inject(Fault::Drip).unwrap();
    let mut stream = bench.connect(None).unwrap();
    ask(&mut stream, "streambytes?size=1000000").unwrap();
    assert_eq!(head(&mut stream).unwrap().1, 1_000_000);
    stream.read_exact(&mut [0; 3]).unwrap();
}

#[test]
fn a_request_that_hangs_goes_on_when_the_fault_ends() {
    let bench = Bench::new(false);
    bench.card.lock().inject(Fault::Hang).unwrap();
    let mut left = bench.connect(None).unwrap();
    ask(&mut left, "systeminfo").unwrap();
    left.sock
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let error = head(&mut left).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(left);
    let mut waits = bench.connect(None).unwrap();
    ask(&mut waits, "systeminfo").unwrap();
    bench.card.lock().clear();
    assert!(head(&mut waits).unwrap().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_appliance_that_is_gone_refuses_connections_until_it_is_back() {
    let bench = Bench::new(false);
    let mut stream = bench.connect(None).unwrap();
    get(&mut stream, "systeminfo").unwrap();
    bench.card.lock().inject(Fault::Gone).unwrap();
    assert_eq!(stream.sock.read(&mut [0; 1]).unwrap(), 0, "it was cut off");
    let start = std::time::Instant::now();
    let after = |refused: bool| {
        while TcpStream::connect(bench.server.address()).is_err() != refused {
            assert!(start.elapsed() < PATIENCE);
            thread::sleep(LOOK);
        }
    };
    after(true);
    bench.card.lock().clear();
    after(false);
    get(&mut bench.connect(None).unwrap(), "systeminfo").unwrap();
}
