//! A Unix stream socket for consumers where there is no mount: the same bytes, each once, and the status.
//!
//! ```text
//! program ── request (qrng::stream) ──> connection ── bytes there? ──> claim ──> answer
//!         <── bytes or why not ────────     │ no, and it waits                     ^
//!                                           └──> queue of all who wait ── its turn ┘
//! ```
//!
//! One thread serves all connections with poll(2) and never waits for one of them: what a slow program does not take is kept
//! for it outside the buffer, and destroyed when its time is over. So neither the receiving side nor a reader of a file waits for anybody
//! here, except for the turn of those who came before, as among files.
//!
//! `listen` makes the socket file and lets programs in, `connection` moves bytes, and what frames mean is decided in
//! [`qrng::stream`]. docs/stream.md says what programs may expect.

mod admission;
mod connection;
mod counters;
mod listen;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use qrng::stream::{ANSWER_LEN, Answer, Code, MAX_DOCUMENT, MAX_TAKE, Request, Wait};
use qrng_daemon::Pulse;
use serde_json::Value;

use self::admission::{Verdict, admit};
use self::connection::{Asked, Connection, Waiting};
pub use self::counters::StreamCounters;
pub use self::listen::{ListenError, Listener, StreamConfig};
use crate::buffer::{Lane, MAX_CLAIM, Memory, Space, Ticket, Turn};
use crate::shares::Supply;
use crate::tree::Tree;

/// For how long nobody is let in after the kernel has given no descriptor for a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// What the thread needs, all of it made before the process is confined.
pub struct Server {
    serving: Serving,
    desk: Desk,
}

/// What all connections share.
struct Serving {
    listener: Listener,
    tree: Arc<Tree>,
    counters: Arc<StreamCounters>,
    pulse: Pulse,
    /// Readable when the buffer has rung.
    chime: Arc<EventFd>,
}

/// What the thread needs to answer: memory for a claim, and for an answer on its way.
struct Desk {
    space: Space,
    room: Memory,
}

impl Server {
    /// A server of `tree`'s bytes and status at `listener`.
    ///
    /// # Errors
    /// There is no memory or descriptor to begin with.
    pub fn new(
        listener: Listener,
        tree: Arc<Tree>,
        counters: Arc<StreamCounters>,
        pulse: Pulse,
    ) -> io::Result<Self> {
        let desk = Desk {
            space: Space::new()?,
            room: Memory::new(ANSWER_LEN + MAX_TAKE as usize)?,
        };
        let serving = Serving {
            listener,
            chime: tree.buffer().chime()?,
            tree,
            counters,
            pulse,
        };
        Ok(Self { serving, desk })
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// The kernel refuses to wait for events.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.serving.run(&mut self.desk)
    }
}

impl Serving {
    fn run(&self, desk: &mut Desk) -> anyhow::Result<()> {
        let buffer = self.tree.buffer();
        let chime = &self.chime;
        let mut connections: Vec<Connection<'_>> = Vec::new();
        let mut closed_until: Option<Instant> = None;
        loop {
            self.pulse.works();
            // Emptied and armed before anything is looked at, so whatever comes later ends the wait below.
            let _ = chime.read();
            if connections.iter().any(Connection::is_waiting) {
                buffer.arm();
            }
            self.serve_waiting(&mut connections, desk);
            let now = Instant::now();
            self.cut_off(&mut connections, now);
            connections.retain(Connection::is_open);
            self.counters.connections.set(connections.len() as u64);
            closed_until = closed_until.filter(|&until| until > now);
            let until = connections
                .iter()
                .filter_map(Connection::deadline)
                .chain(closed_until)
                .chain(self.lapse(&connections, now))
                .min();

            let mut events = vec![PollFd::new(chime.as_fd(), PollFlags::POLLIN)];
            let listens = if closed_until.is_some() {
                PollFlags::empty()
            } else {
                PollFlags::POLLIN
            };
            events.push(PollFd::new(self.listener.as_fd(), listens));
            events.extend(connections.iter().map(Connection::interest));
            self.pulse.waits();
            wait(
                &mut events,
                until.map(|until| until.saturating_duration_since(now)),
            )?;
            self.pulse.works();

            let ready: Vec<bool> = events.iter().map(is_ready).collect();
            drop(events);
            for (connection, _) in connections
                .iter_mut()
                .zip(&ready[2..])
                .filter(|(_, ready)| **ready)
            {
                self.advance(connection, desk);
            }
            if ready[1] {
                closed_until = self
                    .let_in(&mut connections)
                    .err()
                    .map(|_| Instant::now() + PAUSE);
            }
        }
    }

    /// Lets in all who wait at the door.
    ///
    /// # Errors
    /// The kernel gives no descriptor for the next one.
    fn let_in<'b>(&'b self, connections: &mut Vec<Connection<'b>>) -> io::Result<()> {
        loop {
            let (stream, uid) = match self.listener.accept() {
                Ok(Some(new)) => new,
                Ok(None) => return Ok(()),
                Err(e) => {
                    log::warn!("a program could not connect to the stream socket: {e}");
                    return Err(e);
                }
            };
            let user = self.tree.buffer().queue().users().account(uid);
            let mut connection = Connection::new(stream, uid, user);
            let others: Vec<_> = connections
                .iter()
                .map(|other| (other.uid(), other.idle_since()))
                .collect();
            let verdict = if self.listener.allows(uid) {
                admit(uid, &others)
            } else {
                Verdict::Refuse(Code::Forbidden)
            };
            match verdict {
                Verdict::LetIn => {}
                Verdict::InsteadOf(other) => {
                    self.counters.cut_off.add(1);
                    connections.swap_remove(other);
                }
                Verdict::Refuse(code) => {
                    self.counters.refused.add(1);
                    // To a socket that is new the few bytes always go.
                    connection.send(&Answer { code, len: 0 }.frame(), None, true);
                    continue;
                }
            }
            self.counters.accepted.add(1);
            connections.push(connection);
        }
    }

    /// Does for a connection what its socket is ready for.
    fn advance<'b>(&'b self, connection: &mut Connection<'b>, desk: &mut Desk) {
        match connection.advance() {
            Asked::Nothing => {}
            Asked::Delivered(bytes) => self.counters.served_bytes.add(bytes as u64),
            Asked::LeftUnread => self.counters.left_unread.add(1),
            Asked::GaveUp(ticket) => self.leave_queue(ticket, 0),
            Asked::Malformed(malformed) => {
                log::debug!("a program at the stream socket was cut off: {malformed}");
                self.counters.malformed.add(1);
                self.say(connection, Code::Malformed);
            }
            Asked::For(request) => {
                self.counters.requests.add(1);
                match request {
                    Request::Status => self.send_status(connection),
                    Request::Take { least, most, wait } => {
                        self.take(connection, least as usize, most as usize, wait, desk);
                    }
                }
            }
        }
    }

    fn take<'b>(
        &'b self,
        connection: &mut Connection<'b>,
        least: usize,
        most: usize,
        wait: Wait,
        desk: &mut Desk,
    ) {
        let buffer = self.tree.buffer();
        let queue = buffer.queue();
        if buffer.latched() {
            return self.say(connection, Code::Latched);
        }
        if connection.user().lacks(least, || queue.users().today()) {
            return self.say(connection, Code::Quota);
        }
        let patient = wait != Wait::UpTo(0);
        let free = queue.is_free();
        let allowed = if free {
            MAX_CLAIM
        } else {
            queue.pass(connection.user(), least, !patient, self.supply())
        };
        if let Some(taken) = self.give(connection, least, most.min(allowed), desk) {
            // Others who wait are told.
            if !free && queue.took(connection.user(), taken) {
                buffer.notify();
            }
            return;
        }
        if self.tree.stalled() && buffer.fill() == 0 {
            return self.say(connection, Code::Stalled);
        }
        if !patient {
            return self.say(connection, Code::Empty);
        }
        let until = match wait {
            Wait::UpTo(ms) => Instant::now().checked_add(Duration::from_millis(ms.into())),
            Wait::ForEver => None,
        };
        let ticket = queue.join(connection.user(), Lane::Stream);
        connection.wait(
            Waiting {
                least,
                most,
                ticket,
            },
            until,
        );
    }

    /// Answers with bytes if there are `least` of them and `most` is no less, and says how many left the buffer.
    fn give<'b>(
        &'b self,
        connection: &mut Connection<'b>,
        least: usize,
        most: usize,
        desk: &mut Desk,
    ) -> Option<usize> {
        let (head, body) = desk.room.bytes_mut().split_at_mut(ANSWER_LEN);
        let buffer = self.tree.buffer();
        let user = Arc::clone(connection.user());
        let allowance = user.allow(|| buffer.queue().users().today());
        let most = most.min(allowance.left());
        let taken = buffer.take_out(least, &mut body[..most], &mut desk.space)?;
        let len = taken.len();
        let answer = Answer {
            code: Code::Bytes,
            len: len as u32,
        };
        head.copy_from_slice(&answer.frame());
        let answer = &mut desk.room.bytes_mut()[..ANSWER_LEN + len];
        if connection.send(answer, Some(taken), false) {
            self.counters.served_bytes.add(len as u64);
        }
        qrng::wipe(answer);
        allowance.took(len);
        Some(len)
    }

    /// Serves those who wait, as long as it is their turn and there are bytes, or tells them that there will be none.
    fn serve_waiting<'b>(&'b self, connections: &mut [Connection<'b>], desk: &mut Desk) {
        let buffer = self.tree.buffer();
        let waits = |c: &Connection<'_>| c.waiting().map(|waiting| waiting.ticket);
        if buffer.latched() {
            for connection in connections.iter_mut() {
                if let Some(ticket) = waits(connection) {
                    self.say(connection, Code::Latched);
                    self.leave_queue(ticket, 0);
                }
            }
        }
        loop {
            if !connections.iter().any(Connection::is_waiting) {
                return;
            }
            let turn = buffer.queue().turn(self.supply());
            let Some(Turn {
                ticket,
                most: allowed,
                ..
            }) = turn
            else {
                return;
            };
            let mut waiting = connections.iter_mut();
            let Some(connection) = waiting.find(|c| waits(c) == Some(ticket)) else {
                return;
            };
            let Some(Waiting { least, most, .. }) = connection.waiting() else {
                return;
            };
            let user = connection.user();
            let mut taken = 0;
            if user.lacks(least, || buffer.queue().users().today()) {
                self.say(connection, Code::Quota);
            } else if let Some(len) = self.give(connection, least, most.min(allowed), desk) {
                taken = len;
            } else if self.tree.stalled() {
                self.say(connection, Code::Stalled);
            } else {
                return;
            }
            self.leave_queue(ticket, taken);
        }
    }

    fn supply(&self) -> Supply {
        self.tree.buffer().supply(self.tree.failing())
    }

    /// When bytes that are kept for others become free for those who wait here.
    fn lapse(&self, connections: &[Connection<'_>], now: Instant) -> Option<Instant> {
        let waits = connections.iter().any(Connection::is_waiting);
        let lapse = self.tree.buffer().queue().lapse().filter(|_| waits)?;
        now.checked_add(lapse)
    }

    /// Ends waits and connections whose time is over.
    fn cut_off(&self, connections: &mut [Connection<'_>], now: Instant) {
        for connection in connections
            .iter_mut()
            .filter(|c| c.deadline().is_some_and(|at| at <= now))
        {
            if let Some(Waiting { ticket, .. }) = connection.waiting() {
                self.say(connection, Code::Empty);
                self.leave_queue(ticket, 0);
            } else {
                connection.close();
                self.counters.cut_off.add(1);
            }
        }
    }

    fn send_status(&self, connection: &mut Connection<'_>) {
        let mut document = self.tree.document();
        if !listen::is_operator(connection.uid()) {
            document = of_user(document, connection.uid());
        }
        match u32::try_from(document.len()) {
            Ok(len) if len <= MAX_DOCUMENT => {
                let head = Answer {
                    code: Code::Document,
                    len,
                };
                let answer = [&head.frame(), document.as_bytes()].concat();
                connection.send(&answer, None, false);
            }
            _ => {
                log::error!(
                    "the status document has {} bytes, which no answer can hold",
                    document.len()
                );
                connection.close();
            }
        }
    }

    /// An answer without bytes.
    fn say(&self, connection: &mut Connection<'_>, code: Code) {
        let last = matches!(code, Code::Malformed | Code::Busy | Code::Forbidden);
        connection.send(&Answer { code, len: 0 }.frame(), None, last);
    }

    /// Gives up a place after having taken `bytes`, and wakes the files' readers if one of them is the first now.
    fn leave_queue(&self, ticket: Ticket, bytes: usize) {
        let buffer = self.tree.buffer();
        if buffer.queue().leave(ticket, bytes) {
            buffer.alert();
        }
    }
}

/// The document as the user `uid` may have it: of users, it lists that one alone.
fn of_user(document: String, uid: u32) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(&document) else {
        return document;
    };
    let list = value.pointer_mut("/users/list");
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.retain(|user| user["uid"] == uid);
    }
    format!("{value:#}\n")
}

fn is_ready(event: &PollFd<'_>) -> bool {
    event.any().unwrap_or(false)
}

/// Waits for events, at most for `limit`.
fn wait(events: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let timeout = match limit {
        None => PollTimeout::NONE,
        // Rounded up, so that a deadline is over when the wait is.
        Some(limit) => {
            let ms = limit.as_millis().saturating_add(1);
            PollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
        }
    };
    match poll(events, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
