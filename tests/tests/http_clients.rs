//! Clients of other services, unchanged, at the HTTP service: this project's own collector and a program in C as clients of an appliance,
//! PyPI's quantumrandom, Debian's pollinate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use qrng_card::certificates::write_set;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::http::At;
use qrng_tests::shim::Shim;
use qrng_tests::{python, skip};

fn chain() -> Chain {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    chain
}

/// Open to this host over TCP.
fn open(chain: &Chain) -> (Shim, String) {
    let shim = Shim::start(
        chain,
        "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.1\"]",
        "",
    );
    shim.wait_for_bytes();
    let At::Address(address) = shim.remote() else {
        panic!("an address");
    };
    (shim, format!("http://{address}"))
}

#[test]
fn the_shapes_are_those_of_the_services_whose_clients_ask() {
    let chain = chain();
    let (shim, _) = open(&chain);
    let get = |path: &str| {
        let answer = shim.local.get(path);
        assert_eq!(
            answer.status,
            200,
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        answer
    };
    assert_eq!(get("/api/2.0/streambytes?size=4096").body.len(), 4096);
    let hex = get("/api/2.0/hexbytes?quantity=4096&dataLength=1");
    let texts = hex.json();
    assert!(
        texts
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t.as_str().unwrap().len() == 2)
    );
    assert_eq!(texts.as_array().unwrap().len(), 4096);
    assert!(hex.text().ends_with("\"]") && !hex.text().contains('\n'));
    for (path, low, high) in [
        ("short?min=-3&max=3&quantity=100", -3.0, 3.0),
        ("int?min=1&max=6&quantity=100", 1.0, 6.0),
        ("int", f64::from(i32::MIN), f64::from(i32::MAX)),
        ("double?min=-1.5&max=-1.25&quantity=100", -1.5, -1.25),
        ("double?min=-1e308&max=1e308&quantity=100", -1e308, 1e308),
        ("float?min=0&max=1e-30&quantity=100", 0.0, 1.000_000_1e-30),
    ] {
        let answer = get(&format!("/api/2.0/{path}"));
        let values = answer.json();
        let values: Vec<_> = values
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_eq!(
            values.len(),
            if path.contains("quantity") { 100 } else { 1 }
        );
        assert!(
            values.iter().all(|v| (low..=high).contains(v)),
            "{path}: {values:?}"
        );
        assert!(answer.text().ends_with(']'));
    }
    assert_eq!(shim.local.get("/api/2.0/double?min=NaN").status, 400);
    assert_eq!(shim.local.get("/api/2.0/float?max=1e39").status, 400);

    let old = get("/API/jsonI.php?length=10&type=hex16&size=6").json();
    assert_eq!(
        (&old["length"], &old["type"]),
        (&10.into(), &"string".into())
    );
    assert!(
        old["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t.as_str().unwrap().len() == 12)
    );
    let new = get("/anu?length=10&type=hex16&size=6").json();
    assert_eq!(
        (&new["length"], &new["type"]),
        (&"10".into(), &"hex16".into())
    );
    assert!(
        new["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t.as_str().unwrap().len() == 24)
    );
    let words = get("/anu?length=1024&type=uint16").json();
    assert!(
        words["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|v| v.as_u64().unwrap() > 255)
    );
    assert_eq!(
        shim.local
            .get("/anu?length=1024&type=hex16&size=1024")
            .status,
        400
    );

    let verdict = get("/api/test/monte-carlo?bytes=131072&wait=10000").json();
    assert_eq!(verdict["passed"], true, "{verdict}");
    assert_eq!(verdict["points"], 16384);
    let posted = shim.local.ask("POST", "/api/test/monte-carlo", &[], b"");
    assert_eq!(posted.json()["bytes"], 65536);
    let bytes = shim.local.get("/api/status").json()["http"]["bytes"]["tested"].clone();
    assert_eq!(bytes, 131_072 + 65_536);
}

#[test]
fn the_collectors_own_appliance_source_is_served_over_tls() {
    let first = chain();
    write_set(&first.path("collector")).unwrap();
    let file = |name: &str| first.path("collector").join(name);
    for key in ["server.key", "client.key"] {
        fs::set_permissions(file(key), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let tls = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\nclient-authority = {:?}\n",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let shim = Shim::start(&first, "listen = [\"127.0.0.1:0\"]", &tls);
    shim.wait_for_bytes();
    let At::Address(address) = shim.remote() else {
        panic!("an address");
    };
    let mut second = Chain::new();
    second.start_gateway("", "");
    let source = format!(
        "[source]\nkind = \"appliance\"\n[source.appliance]\nurls = [\"https://localhost:{}\"]\nca-file = {:?}\n\
         client-certificate = {:?}\nclient-key = {:?}\nfetch-size = \"64 KiB\"\n",
        address.port(),
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    second.start_collector(None, &source);
    assert_eq!(second.read_raw(100_000, PATIENCE).len(), 100_000);
    assert_eq!(second.status()["kinds"], serde_json::json!(["appliance"]));
    wait_until("what was served", || {
        let status = shim.local.get("/api/status").json();
        status["http"]["bytes"]["served"].as_u64().unwrap() >= 100_000
    });
}

#[test]
fn quantumrandom_asks_unchanged() {
    let python = match python::program("python") {
        Ok(python) => python,
        Err(why) => skip!("quantumrandom: {why}"),
    };
    let chain = chain();
    let (_shim, url) = open(&chain);
    let script = format!(
        "import quantumrandom as q\nq.URL = '{url}/API/jsonI.php'\n\
         words = q.get_data('uint16', 100)\n\
         assert len(words) == 100 and all(0 <= w <= 65535 for w in words)\n\
         assert len(q.binary()) == 10000\nassert 0 <= q.randint(0, 20) <= 20\nprint('well')\n"
    );
    let output = Command::new(python).args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "well\n",
        "{output:?}"
    );
}

#[test]
fn pollinate_verifies_its_challenge_and_takes_a_seed() {
    let chain = chain();
    let (shim, url) = open(&chain);
    let server = format!("{url}/pollen");
    let arguments = ["-r", "-s", &server, "-d", "-", "-q"];
    let Ok(output) = Command::new("pollinate").args(arguments).output() else {
        skip!("pollinate is missing");
    };
    assert!(output.status.success(), "{output:?}");
    // It hashes what came to a seed of its own.
    assert_eq!(output.stdout.len(), 64);
    assert_eq!(
        shim.local.get("/api/status").json()["http"]["bytes"]["served"],
        64
    );
}

#[test]
fn a_program_in_c_asks_as_it_would_ask_an_appliance() {
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("appliance");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c/appliance.c");
    if Command::new("curl-config")
        .arg("--version")
        .output()
        .is_err()
    {
        skip!("libcurl's headers are missing (Debian: libcurl4-openssl-dev)");
    }
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .args([source, "-lcurl", "-lm"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{words}");
    let chain = chain();
    write_set(built.path()).unwrap();
    let file = |name: &str| built.path().join(name);
    fs::set_permissions(file("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let shim = Shim::start(
        &chain,
        "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.1\"]",
        &format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n",
            file("server.pem"),
            file("server.key")
        ),
    );
    wait_until("enough bytes at once", || {
        let status = shim.local.get("/api/status").json();
        status["gateway"]["buffer"]["fill_bytes"].as_u64() > Some(1 << 20)
    });
    let At::Address(address) = shim.remote() else {
        panic!("an address");
    };
    let output = Command::new(&program)
        .arg(format!("https://localhost:{}", address.port()))
        .arg(file("ca.pem"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "streambytes 65536\nhexbytes 1000\nshort 1000\nint 10000\nint 1\nfloat 1000\ndouble 1000\ndouble 1\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success());
}
