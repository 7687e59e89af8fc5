//! QEMU's monitor (QMP): one JSON document a line; commands are answered in order, with events in between.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::channel::Channel;

/// How long QEMU may take for an answer. It does nothing else meanwhile, but the machine may be busy.
const ANSWER: Duration = Duration::from_secs(120);

/// A monitor that takes commands.
pub struct Monitor {
    channel: Channel,
    /// Events that nobody has asked for yet.
    events: Vec<Value>,
}

impl Monitor {
    /// Waits until QEMU has connected to `listener` and takes commands.
    ///
    /// # Errors
    /// It does not, or says something else than it should.
    pub fn accept(listener: &UnixListener) -> io::Result<Self> {
        let deadline = Instant::now() + ANSWER;
        let mut monitor = Self {
            channel: Channel::accept(listener, deadline)?,
            events: Vec::new(),
        };
        let greeting = monitor.document(deadline)?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other(format!("no monitor greets: {greeting}")));
        }
        monitor.command("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs a command and gives what it returns.
    ///
    /// # Errors
    /// QEMU refuses it (with its words), or is gone.
    pub fn command(&mut self, name: &str, arguments: Value) -> io::Result<Value> {
        let command = json!({ "execute": name, "arguments": arguments });
        self.channel.send(&command.to_string())?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let mut document = self.document(deadline)?;
            if document.get("event").is_some() {
                self.events.push(document);
            } else if let Some(returned) = document.get_mut("return") {
                return Ok(returned.take());
            } else {
                return Err(io::Error::other(format!("{name}: {document}")));
            }
        }
    }

    /// Waits for an event of this name whose data has `value` under `key`; those before it are kept.
    ///
    /// # Errors
    /// It does not come before `deadline`, or QEMU is gone.
    pub fn event(
        &mut self,
        name: &str,
        key: &str,
        value: &str,
        deadline: Instant,
    ) -> io::Result<()> {
        let is_it = |event: &Value| {
            event["event"] == name && event["data"].get(key).is_some_and(|v| v == value)
        };
        loop {
            if let Some(index) = self.events.iter().position(is_it) {
                self.events.remove(index);
                return Ok(());
            }
            let document = self.document(deadline)?;
            self.events.push(document);
        }
    }

    fn document(&mut self, deadline: Instant) -> io::Result<Value> {
        let line = self.channel.line(deadline)?;
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{line}: {e}")))
    }
}
