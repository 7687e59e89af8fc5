//! A headless browser that a test works by hand: clicks and types, and looks at what the page has become.
//!
//! It is spoken to by the DevTools protocol over two pipes (`--remote-debugging-pipe`): JSON messages, each with a zero behind it, on the
//! browser's descriptors 3 and 4.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::chain::{PATIENCE, wait_until};

/// Whether there is a browser.
pub fn is_there() -> bool {
    let version = Command::new("chromium")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    version.is_ok_and(|output| output.status.success())
}

/// A browser with one page. It ends when it is dropped.
pub struct Browser {
    child: Child,
    orders: File,
    answers: Receiver<Value>,
    session: String,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens `url`.
    ///
    /// # Panics
    /// There is no browser, or it does not do as it is told.
    pub fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let (to, from) = (profile.path().join("to"), profile.path().join("from"));
        for pipe in [&to, &from] {
            mkfifo(pipe, Mode::S_IRWXU).expect("a named pipe");
        }
        let child = start(profile.path(), &to, &from).expect("a shell");
        // In the order in which the shell opens them.
        let orders = File::options().write(true).open(&to).expect("a pipe");
        let answers = BufReader::new(File::open(&from).expect("a pipe"));
        let (tell, told) = channel();
        thread::spawn(move || {
            for message in answers.split(0) {
                let message = message.ok().and_then(|m| serde_json::from_slice(&m).ok());
                let Some(message) = message else { return };
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            orders,
            answers: told,
            session: String::new(),
            next: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").into();
        browser.call("Page.navigate", json!({ "url": url }));
        browser.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
        browser
    }

    /// What the page makes of an expression.
    ///
    /// # Panics
    /// It throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let order = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", order);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// The text of the element with this id.
    ///
    /// # Panics
    /// There is none.
    pub fn text(&mut self, id: &str) -> String {
        let value = self.value(&format!("document.getElementById('{id}').textContent"));
        value.as_str().expect("a text").to_owned()
    }

    /// Whether the element that a selector finds can be seen.
    ///
    /// # Panics
    /// There is none.
    pub fn shows(&mut self, selector: &str) -> bool {
        self.value(&format!(
            "document.querySelector('{selector}').checkVisibility()"
        )) == true
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// It does not become so.
    pub fn wait_for(&mut self, expression: &str) {
        wait_until(expression, || self.value(expression) == true);
    }

    /// Clicks with the mouse into the middle of what a selector finds.
    ///
    /// # Panics
    /// There is nothing, or something else lies over it.
    pub fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const it = document.querySelector('{selector}'); it.scrollIntoView({{ block: 'center' }}); \
             const box = it.getBoundingClientRect(); const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
             return document.elementFromPoint(x, y) === it ? [x, y] : null; }})()"
        ));
        let (x, y) = (&place[0], &place[1]);
        assert!(x.is_number(), "{selector} cannot be clicked");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has been clicked.
    ///
    /// # Panics
    /// The browser does not do it.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut order = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.clone().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).expect("the browser listens");
        loop {
            // Events come between answers.
            let message = match self.answers.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
            };
            if message["id"] == self.next {
                let error = &message["error"];
                assert!(error.is_null(), "{method}: {error}");
                return message["result"].clone();
            }
        }
    }
}

/// What Chromium is told so that it shows one page and talks to nobody else.
pub const ALONE: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Through a shell, which puts the pipes where the browser looks for them.
fn start(profile: &Path, to: &Path, from: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args([
            "-c",
            "exec 3<\"$1\" 4>\"$2\" && shift 2 && exec chromium \"$@\"",
            "-",
        ])
        .args([to, from])
        .args(ALONE)
        .args(["--window-size=500,1600", "--remote-debugging-pipe"])
        .arg(format!(
            "--user-data-dir={}",
            profile.join("profile").display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All its processes end with it; it may have ended already.
        let order = json!({ "id": u64::MAX >> 12, "method": "Browser.close" }).to_string() + "\0";
        let _ = self.orders.write_all(order.as_bytes());
        let ended = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if std::time::Instant::now() > ended {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
