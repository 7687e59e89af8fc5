//! The status page in a real browser: what it shows, that it asks nobody else, and that its policy breaks nothing of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use qrng_tests::browser::{self, ALONE, Browser};
use qrng_tests::chain::Chain;
use qrng_tests::http::At;
use qrng_tests::shim::{Shim, write_keys};
use qrng_tests::skip;

/// What the browser made of the page, and what it said on its console.
struct Seen {
    document: String,
    console: String,
}

impl Seen {
    /// The text of the element with this id.
    fn text(&self, id: &str) -> &str {
        let begin = format!("id=\"{id}\"");
        let (_, rest) = self
            .document
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no {id} in {}", self.document));
        let (_, rest) = rest.split_once('>').unwrap();
        rest.split_once('<').unwrap().0
    }

    /// The browser's words of what it refused to load, ask or run; errors of scripts are among them.
    fn complaints(&self) -> Vec<&str> {
        let lines = self.console.lines();
        lines
            .filter(|line| line.contains("CONSOLE") && !line.contains("status of 401"))
            .collect()
    }
}

/// Opens the page in a window of `size`, lets it run, and keeps a picture of it at `picture`.
fn open(address: SocketAddr, size: &str, picture: &Path) -> Seen {
    let url = format!("http://{address}/");
    let profile = tempfile::tempdir().unwrap();
    let run = |what: &str| {
        let mut command = Command::new("chromium");
        command
            .args(ALONE)
            .args([
                "--enable-logging=stderr",
                // In time of the page, which stands still while it waits for an answer.
                "--virtual-time-budget=9000",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={size}"))
            .args([what, &url])
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}");
        (String::from_utf8(output.stdout).unwrap(), words)
    };
    let (document, console) = run("--dump-dom");
    let (_, more) = run(&format!("--screenshot={}", picture.display()));
    let png = std::fs::read(picture).unwrap();
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 5000,
        "no picture"
    );
    Seen {
        document,
        console: console + &more,
    }
}

fn address(shim: &Shim) -> SocketAddr {
    match shim.remote() {
        At::Address(address) => address,
        other => panic!("{other:?} is no address"),
    }
}

fn chain() -> Chain {
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    chain
}

#[test]
fn the_page_needs_no_key_loads_nothing_from_elsewhere_and_says_so() {
    let chain = Chain::new();
    let (path, _) = write_keys(&chain, &["one"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}");
    let shim = Shim::start(&chain, &more, "");
    let at = shim.remote();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = at.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, kind));
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
        ));
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let text = answer.text();
        assert!(!text.contains("://") && !text.contains(" style=") && !text.contains("innerHTML"));
    }
    assert_eq!(at.get("/api/specimen").status, 401);
    assert_eq!(shim.local.get("/api/specimen").status, 204);
}

#[test]
fn the_picture_is_of_tested_bytes_and_never_of_served_ones() {
    let chain = chain();
    let shim = Shim::start(&chain, "", "");
    shim.wait_for_bytes();
    let served: Vec<u8> = (0..8)
        .flat_map(|_| {
            shim.local
                .get("/api/random?bytes=4096&encoding=binary")
                .body
        })
        .collect();
    assert_eq!(shim.local.get("/api/specimen").status, 204);
    let tested = shim
        .local
        .get("/api/test/monte-carlo?bytes=4096&wait=10000");
    assert_eq!(tested.status, 200);
    let specimen = shim.local.get("/api/specimen");
    assert_eq!((specimen.status, specimen.body.len()), (200, 2048));
    let later = shim
        .local
        .get("/api/random?bytes=65536&encoding=binary&wait=10000")
        .body;
    let has = |bytes: &[u8]| bytes.windows(16).any(|w| w == &specimen.body[..16]);
    assert!(!has(&served) && !has(&later) && has(&specimen.body));
}

#[test]
fn a_browser_shows_the_state_and_asks_for_a_key_where_one_is_needed() {
    if !browser::is_there() {
        skip!("there is no chromium");
    }
    let chain = chain();
    let pictures = std::env::var_os("QRNG_PICTURES").map(std::path::PathBuf::from);
    let picture = |name: &str| match &pictures {
        Some(directory) => directory.join(name),
        None => chain.path(name),
    };
    let more = "listen = [\"127.0.0.1:0\"]\nopen-to = [\"127.0.0.1\"]";
    let mut shim = Shim::start(&chain, more, "");
    shim.wait_for_bytes();
    let tested = shim
        .local
        .get("/api/test/monte-carlo?bytes=65536&wait=10000");
    assert_eq!(tested.status, 200);
    for (size, name) in [("500,1600", "phone.png"), ("1280,900", "desk.png")] {
        let seen = open(address(&shim), size, &picture(name));
        assert_eq!(seen.text("state"), "serving");
        assert!(
            seen.text("fill-percent").ends_with(" %"),
            "{}",
            seen.text("fill-percent")
        );
        assert!(seen.text("admitted").ends_with("B/s"));
        assert_eq!(seen.text("health"), "passing");
        assert!(seen.document.contains("<td>simulator</td>"));
        assert!(
            seen.document.contains("data-shown=\"yes\""),
            "the picture of tested bytes"
        );
        let line = seen.document.split("id=\"line-in\"").nth(1).unwrap();
        let points = line.split('"').nth(1).unwrap();
        assert!(
            points.split(' ').count() > 1,
            "it asks again and again: {points}"
        );
        assert!(seen.document.contains("id=\"ask-key\" hidden"));
        assert_eq!(seen.complaints(), [""; 0]);
    }
    assert!(shim.stop().success());

    let (path, _) = write_keys(&chain, &["one"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}");
    let shim = Shim::start(&chain, &more, "");
    shim.wait_for_bytes();
    let seen = open(address(&shim), "500,900", &picture("key.png"));
    assert_eq!(seen.text("state"), "A key is needed");
    assert!(!seen.document.contains("id=\"ask-key\" hidden"));
    assert_eq!(seen.text("admitted"), "-");
    assert_eq!(seen.complaints(), [""; 0]);
}

#[test]
fn the_key_form_and_the_button_do_what_they_say() {
    if !browser::is_there() {
        skip!("there is no chromium");
    }
    let chain = chain();
    let (path, keys) = write_keys(&chain, &["one"]);
    let more = format!("listen = [\"127.0.0.1:0\"]\nkeys = {path:?}");
    let shim = Shim::start(&chain, &more, "");
    shim.wait_for_bytes();
    let tested = || {
        let status = shim.local.get("/api/status").json();
        status["http"]["bytes"]["tested"].as_u64().unwrap()
    };
    let mut page = Browser::open(&format!("http://{}/", address(&shim)));
    // Before: a form, and nothing of the state.
    page.wait_for("document.getElementById('state').textContent === 'A key is needed'");
    assert!(page.shows("#ask-key"));
    assert_eq!(page.text("admitted"), "-");
    // A wrong key changes nothing.
    page.click("#key");
    page.write("not-the-key-not-the-key");
    page.click("#ask-key button");
    page.wait_for("document.getElementById('reasons').textContent.includes('is not one of those')");
    assert!(page.shows("#ask-key"));
    assert_eq!(page.text("admitted"), "-");
    assert_eq!(page.value("document.getElementById('key').value"), "");
    // The right one.
    page.click("#key");
    page.write(&keys[0]);
    page.click("#ask-key button");
    page.wait_for("document.getElementById('state').textContent === 'serving'");
    assert!(!page.shows("#ask-key"));
    assert!(page.text("admitted").ends_with("B/s"));
    // It stays in the page: nothing is left in its address or in what it stores.
    let kept = page.value(
        "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}])",
    );
    assert!(!kept.as_str().unwrap().contains(&keys[0]), "{kept}");
    // The button uses up 64 KiB, and shows a picture of them and the verdict.
    assert_eq!(tested(), 0);
    let verdict = page.text("verdict");
    assert!(
        page.value("document.getElementById('specimen').dataset.shown")
            .is_null()
    );
    page.click("#test");
    page.wait_for(&format!(
        "document.getElementById('verdict').textContent !== {verdict:?} && !document.getElementById('test').disabled"
    ));
    assert_eq!(tested(), 65_536);
    page.wait_for("document.getElementById('specimen').dataset.shown === 'yes'");
    assert!(
        page.text("verdict").contains("pi as "),
        "{}",
        page.text("verdict")
    );
}
