//! The collector in a guest without systemd.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guest::{Guest, PATIENCE};

/// Its configuration.
pub(super) const CONFIG: &str = "/etc/qrng/collector.toml";
/// What it says on standard error.
const LOG: &str = "/run/collector.log";
/// The number of its process.
const PID: &str = "/run/collector.pid";
/// Its exit code, when it has ended.
const ENDED: &str = "/run/collector.ended";

impl Guest {
    /// Starts the collector that the plan gave the guest. Its log goes to a file, and to the console for the case of a failure.
    ///
    /// # Panics
    /// The guest is gone.
    pub fn start_collector(&mut self) {
        self.succeed(&format!(
            "rm -f {ENDED}; {{ sh -c 'echo $$ >{PID}; exec qrng-collector --config {CONFIG}' 2>&1; echo $? >{ENDED}; }} \
             </dev/null | tee {LOG} >/dev/console 2>&1 &"
        ));
    }

    /// Starts the collector, which must end by itself with an error; gives what it says.
    ///
    /// # Panics
    /// It goes on running, or it succeeds.
    pub fn refused_collector(&mut self) -> String {
        let run = self.run(&format!("timeout 120 qrng-collector --config {CONFIG}"));
        assert_eq!(run.code, 1, "the collector says {}", run.text);
        run.text
    }

    /// Ends the collector by SIGTERM; it must succeed.
    ///
    /// # Panics
    /// It does not end, or fails.
    pub fn stop_collector(&mut self) {
        self.succeed(&format!("kill $(cat {PID})"));
        let code = self.wait_until("the collector's end", &format!("cat {ENDED}"));
        assert_eq!(code, "0\n", "{}", self.collector_log());
    }

    /// What the collector has said.
    ///
    /// # Panics
    /// It was never started.
    pub fn collector_log(&mut self) -> String {
        self.succeed(&format!("cat {LOG}"))
    }

    /// The collector's only source as its status document has it; null until there is one.
    ///
    /// # Panics
    /// The document is no JSON.
    pub fn source(&mut self) -> Value {
        let status = self.run("cat /run/qrng-collector/status.json");
        if status.code != 0 {
            return Value::Null;
        }
        let mut status: Value = serde_json::from_str(&status.text)
            .unwrap_or_else(|e| panic!("the collector's status: {e}\n{}", status.text));
        status["sources"][0].take()
    }

    /// Waits until the collector's source is as `condition` wants it.
    ///
    /// # Panics
    /// It does not become so; `what` says what was awaited.
    pub fn wait_for_source(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let source = self.source();
            if condition(&source) {
                return source;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain: {what}; the source is {source:#}"
            );
            thread::sleep(Duration::from_millis(300));
        }
    }
}

/// What stands between `before` and `after` in the collector's words, such as the command of a remedy.
///
/// # Panics
/// There is no such place.
pub fn between(words: &str, before: &str, after: &str) -> String {
    let rest = words.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(after));
    let (found, _) = found.unwrap_or_else(|| panic!("no `{before}` ... `{after}` in: {words}"));
    found.to_owned()
}
