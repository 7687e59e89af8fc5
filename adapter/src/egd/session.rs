//! One client: its commands, one after the other.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qrng_consumer::ConsumerError;

use super::client::Client;
use super::command::{Command, MAX_LEN, Unknown};
use super::seats::Seat;
use crate::books::Books;
use crate::gateway::Gateway;

/// How long a client may take for a command, from its first byte to its last, and for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// From one try to the next while there is no gateway.
const RETRY: Duration = Duration::from_secs(1);

/// A client that is connected.
pub(super) struct Session {
    client: Arc<Client>,
    seat: Seat,
    gateway: Gateway,
    books: Arc<Books>,
    /// What the client has sent and nobody has looked at.
    ahead: Vec<u8>,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client left, or was cut.
    Left,
    /// It sent what is no command.
    Unknown(Unknown),
    /// It was too slow, or its socket failed.
    Io(io::Error),
    /// There will be no bytes; the protocol has no other word for that.
    NoBytes(ConsumerError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it left"),
            Self::Unknown(Unknown(byte)) => write!(f, "{byte} begins no command"),
            Self::Io(e) => e.fmt(f),
            Self::NoBytes(e) => e.fmt(f),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Session {
    pub(super) fn new(
        client: Arc<Client>,
        seat: Seat,
        gateway: Gateway,
        books: Arc<Books>,
    ) -> Self {
        Self {
            client,
            seat,
            gateway,
            books,
            ahead: Vec::with_capacity(MAX_LEN),
        }
    }

    /// Serves the client until it leaves.
    pub(super) fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.command().and_then(|command| self.answer(command)) {
                self.client.cut();
                return ended;
            }
        }
    }

    /// The next command. What it asks to take in is gone already.
    fn command(&mut self) -> Result<Command, Ended> {
        let mut until: Option<Instant> = None;
        if self.ahead.is_empty() {
            self.seat.is_idle();
        }
        loop {
            if let Some((command, len)) = Command::of(&self.ahead).map_err(Ended::Unknown)? {
                qrng::wipe(&mut self.ahead[..len]);
                self.ahead.drain(..len);
                self.seat.works();
                return Ok(command);
            }
            if !self.ahead.is_empty() && until.is_none() {
                until = Some(Instant::now() + LIMIT);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let mut room = [0; MAX_LEN];
            // No more than what is missing of the longest command is ever held.
            let most = MAX_LEN - self.ahead.len();
            let len = self.client.read(&mut room[..most], left)?;
            if len == 0 {
                return Err(Ended::Left);
            }
            self.ahead.extend_from_slice(&room[..len]);
        }
    }

    fn answer(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::Count => {
                let told = self.gateway.told().ok();
                let told = told.filter(|told| !told.is_latched());
                let bits = told.map_or(0, |told| told.fill.saturating_mul(8));
                // Clients take it for a signed number.
                let bits = i32::try_from(bits).unwrap_or(i32::MAX);
                self.say(&bits.to_be_bytes())
            }
            Command::ReadNow(most) => self.read_now(most.into()),
            Command::Read(count) => self.read(count.into()),
            // Nobody puts anything into a source of verified bytes.
            Command::Add(_) => Ok(()),
            Command::Pid => {
                let digits = std::process::id().to_string();
                self.say(&[&[digits.len() as u8], digits.as_bytes()].concat())
            }
        }
    }

    fn read_now(&mut self, most: usize) -> Result<(), Ended> {
        let mut room = [0; 1 + 255];
        let taken = self
            .gateway
            .take_some(&mut room[1..][..most], Duration::ZERO);
        let len = taken.unwrap_or(0);
        self.books.taken(len);
        room[0] = len as u8;
        self.deliver(&mut room[..=len], len)
    }

    fn read(&mut self, count: usize) -> Result<(), Ended> {
        let mut room = [0; 255];
        let mut had = 0;
        while had < count {
            let rest = &mut room[had..count];
            match self.gateway.take_some_for(self.client.watched(), rest) {
                Ok(len) => {
                    self.books.taken(len);
                    had += len;
                }
                Err(e) => {
                    if let Err(ended) = self.bear(e) {
                        self.books.destroyed(had);
                        qrng::wipe(&mut room);
                        return Err(ended);
                    }
                }
            }
        }
        self.deliver(&mut room[..count], count)
    }

    /// Whether a read goes on after this.
    fn bear(&self, error: ConsumerError) -> Result<(), Ended> {
        match error {
            ConsumerError::Unwanted { .. } => Err(Ended::Left),
            ConsumerError::Latched { .. }
            | ConsumerError::Stalled { .. }
            | ConsumerError::Quota { .. } => Err(Ended::NoBytes(error)),
            // A gateway that is started anew, or has many connections: the client may wait, as it has asked to.
            _ if self.client.stays(RETRY) => Ok(()),
            _ => Err(Ended::Left),
        }
    }

    /// Sends an answer with `random` bytes in it, and wipes it. What the client does not take is destroyed.
    fn deliver(&self, answer: &mut [u8], random: usize) -> Result<(), Ended> {
        // First, so that whoever has the bytes finds them counted.
        self.books.handed_on(random);
        let mut sent = 0;
        let written = self.client.write(answer, LIMIT, &mut sent);
        qrng::wipe(answer);
        self.books.got_back((answer.len() - sent).min(random));
        Ok(written?)
    }

    /// An answer without random bytes.
    fn say(&self, answer: &[u8]) -> Result<(), Ended> {
        Ok(self.client.write(answer, LIMIT, &mut 0)?)
    }
}
