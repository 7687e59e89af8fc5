//! `qrng demo`: the whole chain on one machine, with nothing to configure and nothing left behind.
//!
//! ```text
//! world.rs     a private directory: keys, two configurations, the gateway's restart bound
//! mounts.rs    can this machine mount? what is mounted? take away what a dead gateway left
//! children.rs  qrng-gateway and qrng-collector as children: start, last words, end
//! watch.rs     signals, status documents and shown reads -> one queue of events
//! demo.rs      the one loop that takes them, prints, and decides when to end
//! ```
//!
//! The loop never touches the mount itself: a read there may wait for ever, and the loop must
//! stay able to end.

mod children;
mod mounts;
mod watch;
mod world;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::status::document::Gateway;
use crate::status::{Look, Sample, render};
use crate::text;
use children::Daemons;
use watch::Event;
use world::World;

/// Events that may wait for the loop; whoever has a further one waits.
const QUEUE: usize = 16;
/// How often the children are looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(100);
/// Bytes must flow within this time.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Time between two live lines on a terminal, where they overwrite each other.
const TERMINAL_PACE: Duration = Duration::from_millis(500);
/// Time between two live lines in a file or pipe.
const LINE_PACE: Duration = Duration::from_secs(2);

/// What `qrng demo` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// End after so many seconds of service; without it, Ctrl-C ends the demonstration
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Mount the files here (an empty directory, or one to be made and removed)
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// Rate of the simulated card: pcie-4m, pcie-16m, chip-40m, chip-240m, usb-4m, unlimited or e.g. "5 MB/s"
    #[arg(long, default_value = "pcie-16m")]
    rate: String,
}

/// Runs until the time is up, a signal comes, the reader of the output goes, or a daemon dies.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (events, queue) = mpsc::sync_channel(QUEUE);
    // First of all: from here on a signal is an event, so nothing below can be left half done.
    watch::signals(events.clone())?;
    mounts::check_this_machine()?;
    let world = World::create(arguments.mount.as_deref(), &arguments.rate)?;
    let daemons = Daemons::start(&world)?;
    let mut demo = Demo {
        daemons,
        world,
        show: Show::new(),
        started: Instant::now(),
        serving_since: None,
        trouble: None,
        last: None,
    };
    let outcome = demo.follow(&events, &queue, arguments.seconds.map(Duration::from_secs));
    let Demo {
        mut daemons, world, ..
    } = demo;
    daemons.end();
    let left = world.remove();
    drop(queue);
    farewell(outcome, &left)
}

/// Turns what happened into words and an exit code.
fn farewell(outcome: Result<&'static str>, left: &[String]) -> Result<ExitCode> {
    if !left.is_empty() {
        let _ = text::complain(&format!("qrng: left behind: {}", left.join("; ")));
    }
    let closed = |error: &anyhow::Error| {
        error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match outcome {
        Ok(why) if left.is_empty() => {
            let _ = text::say(&format!("ended ({why}): nothing is left behind"));
            Ok(ExitCode::SUCCESS)
        }
        // Whoever read our output has seen enough.
        Err(error) if closed(&error) && left.is_empty() => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// A running demonstration. Dropped in this order: children first, then their directory.
struct Demo {
    daemons: Daemons,
    world: World,
    show: Show,
    started: Instant,
    serving_since: Option<Instant>,
    /// Why the last look at the gateway gave nothing, to be told if it never does.
    trouble: Option<String>,
    last: Option<Sample<Gateway>>,
}

impl Demo {
    fn follow(
        &mut self,
        events: &SyncSender<Event>,
        queue: &Receiver<Event>,
        seconds: Option<Duration>,
    ) -> Result<&'static str> {
        text::say(&self.world.introduction())?;
        watch::gateway(events.clone(), self.world.mount())?;
        loop {
            match queue.recv_timeout(TICK) {
                Ok(Event::Signal(name)) => {
                    self.show.end_line()?;
                    return Ok(name);
                }
                Ok(Event::Gateway(look)) => self.looked(*look, events)?,
                Ok(Event::Reading(words)) => self.show.line(&words)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody watches any more"),
            }
            if let Some(words) = self.daemons.obituary() {
                self.show.end_line()?;
                bail!(words);
            }
            match (self.serving_since, seconds) {
                (None, _) if self.started.elapsed() > START_LIMIT => bail!(self.no_bytes()),
                (Some(since), Some(limit)) if since.elapsed() >= limit => {
                    self.show.end_line()?;
                    return Ok("time is up");
                }
                _ => {}
            }
        }
    }

    fn looked(&mut self, look: Look<Gateway>, events: &SyncSender<Event>) -> Result<()> {
        let sample = match look {
            Ok(sample) => sample,
            Err(trouble) => {
                self.trouble = Some(trouble.words().to_owned());
                return Ok(());
            }
        };
        if self.serving_since.is_none() && sample.document.buffer.fill_bytes > 0 {
            self.serving_since = Some(Instant::now());
            self.show
                .line(&format!("mounted: {}", self.world.mount().display()))?;
            watch::readings(events.clone(), self.world.mount())?;
        }
        if self.serving_since.is_none() {
            self.trouble = Some(format!(
                "the gateway is {}: {}",
                sample.document.state,
                sample.document.reasons.join("; ")
            ));
            return Ok(());
        }
        let due = self
            .last
            .as_ref()
            .is_none_or(|last| sample.taken - last.taken >= self.show.pace());
        if due {
            if let Some(last) = &self.last {
                self.show.live(&live_line(&sample, last))?;
            }
            self.last = Some(sample);
        }
        Ok(())
    }

    fn no_bytes(&self) -> String {
        format!(
            "no bytes within {} s: {}\n{}",
            START_LIMIT.as_secs(),
            self.trouble
                .as_deref()
                .unwrap_or("the gateway says nothing"),
            self.daemons.last_words()
        )
    }
}

fn live_line(now: &Sample<Gateway>, before: &Sample<Gateway>) -> String {
    let rate = |of| text::rate(render::per_second(now, Some(before), of).unwrap_or(0.0));
    let it = &now.document;
    let fill = it.buffer.fill_bytes as f64 / it.buffer.capacity_bytes.max(1) as f64;
    format!(
        "in {}  out {}  fill {} {:.0} %  packets {}  lost {}  rejects {}",
        rate(|it: &Gateway| it.bytes.admitted),
        rate(|it: &Gateway| it.bytes.served),
        text::bar(fill, 10),
        fill * 100.0,
        text::count(it.packets.admitted),
        text::count(it.packets.lost),
        text::count(render::rejected_total(it))
    )
}

/// Standard output: on a terminal the live line is rewritten in place.
struct Show {
    terminal: bool,
    /// A live line stands on the terminal without its end.
    open: bool,
}

impl Show {
    fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            open: false,
        }
    }

    fn pace(&self) -> Duration {
        if self.terminal {
            TERMINAL_PACE
        } else {
            LINE_PACE
        }
    }

    fn line(&mut self, words: &str) -> io::Result<()> {
        self.end_line()?;
        text::say(words)
    }

    fn live(&mut self, words: &str) -> io::Result<()> {
        if !self.terminal {
            return text::say(words);
        }
        self.open = true;
        let mut out = io::stdout().lock();
        // Back to the first column; erase what the previous line had more.
        write!(out, "\r{words}\x1b[K")?;
        out.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.open) {
            text::say("")?;
        }
        Ok(())
    }
}
