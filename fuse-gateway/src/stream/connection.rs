//! One connection: a request comes in, its answer goes out, and nothing of it ever blocks.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd;
use qrng::stream::{Malformed, REQUEST_LEN, Request};

use crate::buffer::{Memory, Taken, Ticket};
use crate::shares::Account;

/// How long a program may say nothing between an answer and its next request.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// How long a request may take from its first byte to its last, and how long an answer may lie before it is taken whole.
const SLOW_LIMIT: Duration = Duration::from_secs(10);

/// A request that waits for bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// Bytes that must be there.
    pub(super) least: usize,
    /// Bytes that are wanted.
    pub(super) most: usize,
    /// Its place among all who wait.
    pub(super) ticket: Ticket,
}

/// What a program was too slow to take at once.
struct Rest<'b> {
    memory: Memory,
    from: usize,
    taken: Option<Taken<'b>>,
    last: bool,
}

enum State<'b> {
    /// A request is awaited.
    Reading,
    /// A request waits for bytes.
    Waiting(Waiting),
    /// An answer is on its way.
    Writing(Rest<'b>),
    /// It has ended.
    Closed,
}

/// What a step has brought.
pub(super) enum Asked {
    /// Nothing to do.
    Nothing,
    /// A whole request.
    For(Request),
    /// What is none.
    Malformed(Malformed),
    /// The rest of an answer is out: so many random bytes are delivered.
    Delivered(usize),
    /// The program has gone without reading all that the kernel had for it.
    LeftUnread,
    /// The program has gone while its request waited: this place is free.
    GaveUp(Ticket),
}

/// One program's connection.
pub(super) struct Connection<'b> {
    stream: UnixStream,
    uid: u32,
    user: Arc<Account>,
    request: [u8; REQUEST_LEN],
    have: usize,
    state: State<'b>,
    since: Instant,
    deadline: Option<Instant>,
}

impl<'b> Connection<'b> {
    /// A connection over `stream`, which does not block, of the user `uid` with the account `user`.
    pub(super) fn new(stream: UnixStream, uid: u32, user: Arc<Account>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            uid,
            user,
            request: [0; REQUEST_LEN],
            have: 0,
            state: State::Reading,
            since: now,
            deadline: Some(now + IDLE_LIMIT),
        }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn user(&self) -> &Arc<Account> {
        &self.user
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// The request that waits, if one does.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        match self.state {
            State::Waiting(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// Since when nothing is going on; `None` if something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (matches!(self.state, State::Reading) && self.have == 0).then_some(self.since)
    }

    /// When what goes on now must be over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What to ask the kernel about it. A program that has gone is always told of.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let flags = match self.state {
            State::Reading => PollFlags::POLLIN,
            State::Waiting(_) | State::Closed => PollFlags::empty(),
            State::Writing(_) => PollFlags::POLLOUT,
        };
        PollFd::new(self.stream.as_fd(), flags)
    }

    /// Ends it; bytes that were on their way are destroyed.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.deadline = None;
    }

    /// The request waits, at the most until `until`.
    pub(super) fn wait(&mut self, waiting: Waiting, until: Option<Instant>) {
        self.state = State::Waiting(waiting);
        self.deadline = until;
    }

    /// Does what its socket is ready for.
    pub(super) fn advance(&mut self) -> Asked {
        match self.state {
            State::Reading => self.read(),
            State::Writing(_) => self.write_rest(),
            // Nothing but its end was asked for.
            State::Waiting(Waiting { ticket, .. }) => {
                self.close();
                Asked::GaveUp(ticket)
            }
            State::Closed => Asked::Nothing,
        }
    }

    fn read(&mut self) -> Asked {
        match self.stream.read(&mut self.request[self.have..]) {
            Ok(0) => {}
            Ok(more) => {
                if self.have == 0 {
                    self.deadline = Some(Instant::now() + SLOW_LIMIT);
                }
                self.have += more;
                if self.have < REQUEST_LEN {
                    return Asked::Nothing;
                }
                self.have = 0;
                return match Request::new_checked(&self.request) {
                    Ok(request) => Asked::For(request),
                    Err(malformed) => Asked::Malformed(malformed),
                };
            }
            Err(e) if is_for_later(e.kind()) => return Asked::Nothing,
            Err(e) => {
                self.close();
                // So says the kernel (unix(7)) of a peer that closed its socket with data in it.
                return match e.kind() {
                    ErrorKind::ConnectionReset => Asked::LeftUnread,
                    _ => Asked::Nothing,
                };
            }
        }
        self.close();
        Asked::Nothing
    }

    /// Sends an answer whose random bytes, if it has any, are `taken`; true if they are delivered at once. What the program
    /// does not take now is kept for it; if it is `last`, the connection then ends.
    pub(super) fn send(&mut self, answer: &[u8], taken: Option<Taken<'b>>, last: bool) -> bool {
        let Some(sent) = self.write(answer) else {
            return false;
        };
        if sent == answer.len() {
            if let Some(taken) = taken {
                taken.delivered();
            }
            self.sent(last);
            return true;
        }
        let rest = &answer[sent..];
        match Memory::new(rest.len()) {
            Ok(mut memory) => {
                memory.bytes_mut().copy_from_slice(rest);
                self.state = State::Writing(Rest {
                    memory,
                    from: 0,
                    taken,
                    last,
                });
                self.deadline = Some(Instant::now() + SLOW_LIMIT);
            }
            Err(e) => {
                log::warn!(
                    "an answer at the stream socket is destroyed: no memory to keep it ({e})"
                );
                self.close();
            }
        }
        false
    }

    fn write_rest(&mut self) -> Asked {
        let State::Writing(mut rest) = std::mem::replace(&mut self.state, State::Closed) else {
            return Asked::Nothing;
        };
        let Some(sent) = self.write(&rest.memory.bytes()[rest.from..]) else {
            return Asked::Nothing;
        };
        rest.from += sent;
        if rest.from < rest.memory.bytes().len() {
            self.state = State::Writing(rest);
            return Asked::Nothing;
        }
        self.sent(rest.last);
        let Some(taken) = rest.taken else {
            return Asked::Nothing;
        };
        let bytes = taken.len();
        taken.delivered();
        Asked::Delivered(bytes)
    }

    /// The answer is out.
    fn sent(&mut self, last: bool) {
        if last {
            return self.close();
        }
        let now = Instant::now();
        self.state = State::Reading;
        self.since = now;
        self.deadline = Some(now + IDLE_LIMIT);
    }

    /// Writes as much as the kernel takes, and says how much that was; `None` if the program has gone. By write(2) itself: the
    /// library would send with a flag, and the gateway is confined to calls that can send nothing to an address.
    fn write(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let all = bytes.len();
        while !bytes.is_empty() {
            match unistd::write(&self.stream, bytes) {
                Ok(sent) if sent > 0 => bytes = &bytes[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                _ => {
                    self.close();
                    return None;
                }
            }
        }
        Some(all - bytes.len())
    }
}

fn is_for_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
