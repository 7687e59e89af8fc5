//! `qrng top`: the gateway, live in a terminal.
//!
//! ```text
//! thread: MOUNT/status or the stream socket, once a second ── look ──> history (history.rs) ─ draw.rs ─ terminal
//! q, Esc, Ctrl-C, SIGTERM, SIGHUP ──────────────────────────────────> the terminal as it was
//! ```

mod draw;
mod history;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use qrng_consumer::{Consumer, ConsumerError};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::history::History;
use crate::status::document::Gateway;
use crate::status::{Look, Trouble, look_at_gateway, render, understand};
use crate::text;

/// Time between two looks at the gateway.
const EVERY: Duration = Duration::from_secs(1);

/// How soon a key, a signal or a new look shows.
const TICK: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Directory where the gateway's files are mounted
    #[arg(long, value_name = "DIR", default_value = "/qrng")]
    mount: PathBuf,

    /// Ask at this stream socket instead
    #[arg(long, value_name = "SOCKET", conflicts_with = "mount")]
    stream: Option<PathBuf>,

    /// Print what there is to see after a second, as text, and end
    #[arg(long)]
    once: bool,
}

/// Where the gateway's status comes from.
enum Place {
    Mount(PathBuf),
    Socket(PathBuf, Option<Consumer>),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Mount(path) | Self::Socket(path, _) => path,
        }
    }

    fn look(&mut self) -> Look<Gateway> {
        match self {
            Self::Mount(mount) => look_at_gateway(mount),
            Self::Socket(path, held) => {
                let document = ask(path, held).map_err(|error| match error {
                    ConsumerError::Absent { .. } => Trouble::Absent(error.to_string()),
                    ConsumerError::Forbidden { .. } => Trouble::Forbidden(error.to_string()),
                    _ => Trouble::Broken(error.to_string()),
                })?;
                understand(path, &String::from_utf8_lossy(&document))
            }
        }
    }
}

fn ask(path: &Path, held: &mut Option<Consumer>) -> Result<Vec<u8>, ConsumerError> {
    let consumer = match held {
        Some(consumer) => consumer,
        none => none.insert(Consumer::connect(path)?),
    };
    consumer.status()
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut place = match &arguments.stream {
        Some(socket) => Place::Socket(socket.clone(), None),
        None => Place::Mount(arguments.mount.clone()),
    };
    if arguments.once {
        return once(&mut place);
    }
    if !io::stdout().is_terminal() {
        bail!("standard output is no terminal: use `qrng top --once`, or `qrng status`");
    }
    // Before any other thread is there, which would get the signals otherwise.
    let signals = Signals::take()?;
    let path = place.path().to_path_buf();
    let looks = look_again_and_again(place)?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be set up")?;
    let shown = show(&mut terminal, &path, &looks, &signals);
    let restored = ratatui::try_restore();
    let code = shown?;
    restored.context("the terminal could not be restored; run `reset`")?;
    Ok(code)
}

/// The text of one second; the exit code says what `qrng status` would.
fn once(place: &mut Place) -> anyhow::Result<ExitCode> {
    let before = place.look();
    if before.is_ok() {
        thread::sleep(EVERY);
    }
    let now = place.look();
    match &now {
        Ok(sample) => {
            text::say(&render::gateway(place.path(), sample, before.as_ref().ok()))?;
            Ok(ExitCode::from(u8::from(!sample.document.is_serving())))
        }
        Err(trouble) => {
            text::complain(trouble.words())?;
            Ok(ExitCode::from(2))
        }
    }
}

/// A thread of its own looks, because a daemon that hangs must not keep a key from being heard.
fn look_again_and_again(mut place: Place) -> io::Result<Receiver<Look<Gateway>>> {
    let (tell, looks) = sync_channel(1);
    thread::Builder::new().name("look".into()).spawn(move || {
        while tell.send(place.look()).is_ok() {
            thread::sleep(EVERY);
        }
    })?;
    Ok(looks)
}

fn show(
    terminal: &mut DefaultTerminal,
    path: &Path,
    looks: &Receiver<Look<Gateway>>,
    signals: &Signals,
) -> anyhow::Result<ExitCode> {
    let mut history = History::default();
    loop {
        terminal.draw(|frame| draw::draw(frame, path, &history))?;
        let mut changed = false;
        while !changed {
            if let Some(signal) = signals.came()? {
                return Ok(ExitCode::from(128 + signal as u8));
            }
            if event::poll(TICK)? {
                match event::read()? {
                    Event::Key(key) if is_end(key) => return Ok(ExitCode::SUCCESS),
                    Event::Resize(..) => changed = true,
                    _ => {}
                }
            }
            while let Ok(look) = looks.try_recv() {
                history.add(look);
                changed = true;
            }
        }
    }
}

/// Ctrl-C is a key here, as the terminal is raw.
fn is_end(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q') | KeyCode::Esc => true,
            KeyCode::Char('c') => control,
            _ => false,
        }
}

/// Signals that ask for an end, which must not leave a terminal as it is now.
struct Signals(SignalFd);

impl Signals {
    fn take() -> anyhow::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(
            &mask,
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?))
    }

    fn came(&self) -> io::Result<Option<u32>> {
        Ok(self.0.read_signal()?.map(|info| info.ssi_signo))
    }
}
