//! What happens during a demonstration, as events in one queue.
//!
//! Each watcher is a thread, because each of them may wait for ever: for a signal, or for a read of
//! the mount. They end with the process, or when the queue's other end is gone.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::status::document::Gateway;
use crate::status::{Look, look_at_gateway};

/// Time between two looks at the gateway.
const LOOK_PACE: Duration = Duration::from_millis(200);

/// What the loop is told.
pub enum Event {
    /// A signal asks for the end; its name.
    Signal(&'static str),
    /// What the gateway says of itself.
    Gateway(Box<Look<Gateway>>),
    /// A read that was made, and what came of it, ready to be printed.
    Reading(String),
}

/// Turns the signals that mean "end" into events, from this moment on for every thread.
///
/// Call it before any other thread exists: threads inherit the blocked signals.
pub fn signals(events: SyncSender<Event>) -> Result<()> {
    let mut ending = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        ending.add(signal);
    }
    ending.thread_block().context("cannot block signals")?;
    spawn("signals", move || {
        while let Ok(signal) = ending.wait() {
            if events.send(Event::Signal(signal.as_str())).is_err() {
                return;
            }
        }
    })
}

/// Looks at the gateway's status again and again.
pub fn gateway(events: SyncSender<Event>, mount: &Path) -> Result<()> {
    let mount = mount.to_path_buf();
    spawn("watch", move || {
        while events
            .send(Event::Gateway(Box::new(look_at_gateway(&mount))))
            .is_ok()
        {
            thread::sleep(LOOK_PACE);
        }
    })
}

/// Makes a few reads, as a shell would, and shows them.
pub fn readings(events: SyncSender<Event>, mount: &Path) -> Result<()> {
    let mount = mount.to_path_buf();
    spawn("readings", move || {
        let readings: [(String, io::Result<String>); 4] = [
            whole(&mount, "hex"),
            whole(&mount, "base64"),
            whole(&mount, "uuid"),
            beginning(&mount),
        ];
        for (command, outcome) in readings {
            let words = match outcome {
                Ok(output) => format!("  $ {command}\n  {}", output.trim_end()),
                Err(error) => format!("  $ {command}\n  failed: {error}"),
            };
            if events.send(Event::Reading(words)).is_err() {
                return;
            }
        }
    })
}

fn whole(mount: &Path, name: &str) -> (String, io::Result<String>) {
    let path = mount.join(name);
    (format!("cat {}", path.display()), fs::read_to_string(&path))
}

fn beginning(mount: &Path) -> (String, io::Result<String>) {
    let path = mount.join("raw");
    let mut bytes = [0; 16];
    let outcome = File::open(&path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map(|()| dump(&bytes));
    (format!("head -c 16 {} | xxd", path.display()), outcome)
}

/// One line as `xxd` prints it.
fn dump(bytes: &[u8; 16]) -> String {
    let mut line = "00000000:".to_owned();
    for pair in bytes.chunks(2) {
        let _ = write!(line, " {:02x}{:02x}", pair[0], pair[1]);
    }
    line.push_str("  ");
    line.extend(bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    }));
    line
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .with_context(|| format!("cannot start the thread {name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_as_xxd_does() {
        assert_eq!(
            dump(b"quantum\0\xff~ 01234"),
            "00000000: 7175 616e 7475 6d00 ff7e 2030 3132 3334  quantum..~ 01234"
        );
    }
}
