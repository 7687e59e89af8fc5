//! The pusher: the process that brings sealed packets to gateways by HTTPS, where no datagram gets through.
//!
//! ```text
//!  pipe of the sender -> take -> queue, one for ── push-N ──> POST /push
//!                                each gateway      what fails is tried again
//!                                │ count
//!  pipe to the reader <── counters 1/s
//! ```
//!
//! It is there only if a gateway has a section `push`. Its connections are a way back: so it has neither a device nor random bytes nor a
//! key of the link, but sealed packets, which it cannot open, and a key that lets it push. Whoever takes it over can drop packets, and see how
//! many there are; nothing goes from here to the sender, and to the reader only counters. What it is kept from is in [`crate::confine`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use qrng::packet::MAX_DATAGRAM;
use qrng_daemon::{Supervisor, follow, protect_memory, read_secret};

use crate::config::Confinement;
use crate::confine;
use crate::handoff::{self, HandoffError};
use crate::messages::{Answer, PushOrder, PushTo};
use crate::pipe;
use crate::sender::file;
use crate::source::appliance::pause::Pauses;
use crate::source::appliance::trust::Authorities;

mod lane;
mod post;
mod queue;
mod trouble;

pub use lane::PushCounters;
pub use post::check_key;

use lane::{Lane, Pushing};
use post::Post;

/// The argument after which the number of the reader's process follows. Nobody else gives it.
pub const ARGUMENT: &str = "--pusher";

/// How often the reader is told the counters.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Bytes that are read from the pipe at once.
const AT_ONCE: usize = 64 * 1024;

/// Runs the pusher for the reader of this process number.
pub fn run(reader: i32) -> ExitCode {
    match serve(reader) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("pusher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(reader: i32) -> anyhow::Result<()> {
    follow(Some(reader), Signal::SIGKILL).context("this is for qrng-collector itself to start")?;
    protect_memory().context("cannot keep the memory out of core dumps")?;
    prctl::set_name(c"qrng-pusher")?;
    let mut input = file(io::stdin())?;
    let mut output = file(io::stdout())?;
    let order: PushOrder = pipe::message(&mut input)?.context("the reader has ended")?;
    match start(&order, input, &mut output) {
        Ok(supervisor) => bail!("{}", supervisor.wait()),
        Err(error) => {
            let refused = Answer::Refused(format!("{error:#}"));
            pipe::send_message(&mut output, &refused).context("the reader has ended")
        }
    }
}

/// Reads keys and certificates, confines the process, starts the threads, and tells the reader.
fn start(order: &PushOrder, input: File, output: &mut File) -> anyhow::Result<Supervisor> {
    let supervisor = Supervisor::without_signals()?;
    let mut posts = Vec::new();
    for to in &order.gateways {
        let post = post(to).map_err(|e| anyhow::anyhow!("gateway {}: push: {e}", to.name))?;
        posts.push((post, to));
    }
    let hosts: Vec<_> = order
        .gateways
        .iter()
        .map(|to| (&*to.host, to.port))
        .collect();
    let confined = order.confinement == Confinement::Enforced;
    // Before the threads, which inherit it.
    let landlock = confined
        .then(|| confine::pusher(&ports(&hosts), hosts.iter().any(|(host, _)| is_name(host))))
        .transpose()?;
    let mut lanes = Vec::new();
    for (number, (post, to)) in (1..).zip(posts) {
        let lane = Lane::new(to.queue);
        let pushing = Pushing {
            name: to.name.clone(),
            lane: Arc::clone(&lane),
            post,
            interval: to.interval,
            pauses: Pauses::default(),
            dropped_before: 0,
            told_of_drops: false,
        };
        supervisor.spawn(&format!("push-{number}"), move || pushing.run())?;
        lanes.push(lane);
    }
    pipe::send_message(output, &Answer::Ready { landlock })?;
    let (counted, output) = (lanes.clone(), file(&*output)?);
    supervisor.spawn("count", move || count(output, &counted))?;
    supervisor.spawn("take", move || take(input, &lanes))?;
    Ok(supervisor)
}

/// What a gateway is pushed to by.
fn post(to: &PushTo) -> Result<Post, String> {
    let pem = std::fs::read(Path::new(&to.ca_file));
    let named = |path: &OsString| Path::new(path).display().to_string();
    let pem = pem.map_err(|e| format!("{}: {e}", named(&to.ca_file)))?;
    let authorities = Authorities::parse(&pem).map_err(|e| e.to_string())?;
    let key = read_secret(Path::new(&to.api_key)).map_err(|e| e.to_string())?;
    let post = Post::new(&to.url, key.trim(), authorities);
    post.map_err(|e| format!("{}: {e}", named(&to.api_key)))
}

/// The ports that are connected to. Names may be looked up by TCP.
fn ports(hosts: &[(&str, u16)]) -> Vec<u16> {
    let mut ports: Vec<_> = hosts.iter().map(|(_, port)| *port).collect();
    if hosts.iter().any(|(host, _)| is_name(host)) {
        ports.push(53);
    }
    ports
}

fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// Takes packets from the sender, as fast as they come.
fn take(input: File, lanes: &[Arc<Lane>]) -> anyhow::Result<()> {
    let mut input = BufReader::with_capacity(AT_ONCE, input);
    let mut room = [0; MAX_DATAGRAM];
    loop {
        let (gateway, packet) = match handoff::next(&mut input, &mut room) {
            Ok(next) => next,
            // The reader sees that too, says why, and ends this process.
            Err(HandoffError::Ended) => loop {
                thread::park();
            },
            Err(e) => return Err(e).context("the sender"),
        };
        let lane = lanes.get(usize::from(gateway));
        let lane = lane.with_context(|| format!("there is no gateway {gateway} to push to"))?;
        lane.queue.push(Instant::now(), packet);
    }
}

/// Tells the reader the counters, once a second.
fn count(mut output: File, lanes: &[Arc<Lane>]) -> anyhow::Result<()> {
    loop {
        let counters = lanes.iter().map(|lane| lane.now()).collect();
        let told = pipe::send_message(&mut output, &Answer::Pushed(counters));
        told.context("the reader has ended")?;
        thread::sleep(COUNT_EVERY);
    }
}
