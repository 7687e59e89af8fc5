//! Takes quantum random bytes from a gateway's stream socket, where there is no mount to read from.
//!
//! ```no_run
//! # fn main() -> Result<(), qrng_consumer::ConsumerError> {
//! use std::time::Duration;
//!
//! let mut gateway = qrng_consumer::Consumer::connect("/run/qrng-gateway/stream.socket")?;
//! let mut key = [0; 32];
//! gateway.take(&mut key, Some(Duration::from_secs(5)))?;
//! # Ok(())
//! # }
//! ```
//!
//! Calls block; one [`Consumer`] is one connection. A connection that has ended, because the gateway was restarted or the
//! connection was idle for long, is made anew by the next call. The frames are those of [`qrng::stream`].
#![forbid(unsafe_code)]

mod client;
mod error;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qrng::stream::{
    ANSWER_LEN, Answer, Code, MAX_PATIENT_LEAST, MAX_TAKE, Malformed, Request, Wait,
};
use qrng::wipe;

pub use crate::client::{Client, SILENCE};
pub use crate::error::ConsumerError;

/// The most bytes that one answer brings.
pub const MAX_ANSWER: usize = MAX_TAKE as usize;

/// How long a gateway may take beyond the wait that was asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A connection to a gateway.
#[derive(Debug)]
pub struct Consumer {
    path: PathBuf,
    stream: Option<UnixStream>,
}

/// What came of one request.
enum Came {
    /// So many bytes.
    Bytes(usize),
    /// No bytes in the time allowed.
    Nothing,
}

/// Why one exchange failed.
enum Fault {
    /// The connection had ended before any of the answer came.
    Ended,
    /// Whom the bytes were for has gone.
    Unwanted,
    /// It failed otherwise.
    Io(io::Error),
    /// What came is no answer.
    Answer(Malformed),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Consumer {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or it is not allowed.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConsumerError> {
        let path = path.as_ref().to_path_buf();
        let stream = connect(&path)?;
        Ok(Self {
            path,
            stream: Some(stream),
        })
    }

    /// Where the gateway listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `out` whole, however long it is. Waits up to `wait` for bytes; `None` is without limit, and zero takes what is
    /// there or fails at once.
    ///
    /// # Errors
    /// See [`ConsumerError`]. `out` is zero then, whatever had come.
    pub fn take(&mut self, out: &mut [u8], wait: Option<Duration>) -> Result<(), ConsumerError> {
        let until = Deadline::after(wait);
        let mut had = 0;
        while had < out.len() {
            match self.take_part(&mut out[had..], until, had) {
                Ok(more) => had += more,
                Err(e) => {
                    wipe(out);
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// The next bytes of a whole. If they are there all at once, they are taken as one, or none of them: a failed call should
    /// use up as little as possible.
    fn take_part(
        &mut self,
        rest: &mut [u8],
        until: Deadline,
        had: usize,
    ) -> Result<usize, ConsumerError> {
        let most = size(rest.len());
        match self.ask(rest, most, Wait::UpTo(0), None)? {
            Came::Bytes(more) => return Ok(more),
            Came::Nothing if until.is_over() => {
                return Err(ConsumerError::Empty {
                    path: self.path.clone(),
                    had,
                });
            }
            Came::Nothing => {}
        }
        match self.ask(rest, most.min(MAX_PATIENT_LEAST), until.wait(), None)? {
            Came::Bytes(more) => Ok(more),
            Came::Nothing => Err(ConsumerError::Empty {
                path: self.path.clone(),
                had,
            }),
        }
    }

    /// Puts what there is into `out`, at least one byte and up to [`MAX_ANSWER`], and says how many: as read(2) does. Waits
    /// as [`Consumer::take`] does. No room in `out` gives 0.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn take_some(
        &mut self,
        out: &mut [u8],
        wait: Option<Duration>,
    ) -> Result<usize, ConsumerError> {
        self.some(out, wait, None)
    }

    /// As [`Consumer::take_some`], for a `client` of the caller's own: the wait ends when that has gone, and the gateway
    /// then gives its place in the queue, and bytes, to others.
    ///
    /// # Errors
    /// See [`ConsumerError`]; [`ConsumerError::Unwanted`] if the client has gone.
    pub fn take_some_for(
        &mut self,
        client: Client<'_>,
        out: &mut [u8],
        wait: Option<Duration>,
    ) -> Result<usize, ConsumerError> {
        self.some(out, wait, Some(client))
    }

    fn some(
        &mut self,
        out: &mut [u8],
        wait: Option<Duration>,
        client: Option<Client<'_>>,
    ) -> Result<usize, ConsumerError> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.ask(out, 1, Wait::from(wait), client)? {
            Came::Bytes(len) => Ok(len),
            Came::Nothing => Err(ConsumerError::Empty {
                path: self.path.clone(),
                had: 0,
            }),
        }
    }

    /// The gateway's status document: JSON, as the file `status` of a mount has it.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn status(&mut self) -> Result<Vec<u8>, ConsumerError> {
        let mut document = Vec::new();
        let code = self.exchange(Request::Status, ANSWER_LIMIT.into(), None, |len, stream| {
            document.resize(len, 0);
            stream.read_exact(&mut document)
        })?;
        match code {
            Code::Document => Ok(document),
            code => Err(self.refused(code)),
        }
    }

    fn ask(
        &mut self,
        out: &mut [u8],
        least: u32,
        wait: Wait,
        client: Option<Client<'_>>,
    ) -> Result<Came, ConsumerError> {
        let most = size(out.len());
        let limit = match wait {
            Wait::UpTo(ms) => Some(ANSWER_LIMIT + Duration::from_millis(ms.into())),
            Wait::ForEver => None,
        };
        let mut came = 0;
        let request = Request::Take { least, most, wait };
        let code = self.exchange(request, limit, client, |len, stream| {
            let room = out.get_mut(..len).ok_or(ErrorKind::InvalidData)?;
            came = len;
            stream.read_exact(room)
        })?;
        match code {
            // Fewer than were insisted on would be taken for the whole.
            Code::Bytes if came >= least as usize => Ok(Came::Bytes(came)),
            Code::Empty => Ok(Came::Nothing),
            code => Err(self.refused(code)),
        }
    }

    /// One request and its answer, whose body `read` takes. A connection that had ended is made anew, once: nothing of an
    /// answer has come then, so no byte can come twice.
    fn exchange(
        &mut self,
        request: Request,
        limit: Option<Duration>,
        client: Option<Client<'_>>,
        mut read: impl FnMut(usize, &mut UnixStream) -> io::Result<()>,
    ) -> Result<Code, ConsumerError> {
        loop {
            let anew = self.stream.is_none();
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => connect(&self.path)?,
            };
            match exchange(&mut stream, request, limit, client, &mut read) {
                Ok(code) => {
                    // What these say ends the connection, too.
                    if !matches!(code, Code::Malformed | Code::Busy | Code::Forbidden) {
                        self.stream = Some(stream);
                    }
                    return Ok(code);
                }
                Err(Fault::Ended) if !anew => {}
                Err(fault) => return Err(self.broken(fault)),
            }
        }
    }

    fn broken(&self, fault: Fault) -> ConsumerError {
        let path = self.path.clone();
        match fault {
            Fault::Ended => ConsumerError::Ended { path },
            Fault::Unwanted => ConsumerError::Unwanted { path },
            Fault::Io(e) if is_timeout(&e) => ConsumerError::Silent { path },
            Fault::Io(error) => ConsumerError::Broken { path, error },
            Fault::Answer(malformed) => ConsumerError::Foreign { path, malformed },
        }
    }

    fn refused(&self, code: Code) -> ConsumerError {
        let path = self.path.clone();
        match code {
            Code::Latched => ConsumerError::Latched { path },
            Code::Stalled => ConsumerError::Stalled { path },
            Code::Quota => ConsumerError::Quota { path },
            Code::Busy => ConsumerError::Busy { path },
            Code::Forbidden => ConsumerError::Forbidden { path },
            Code::Malformed | Code::Bytes | Code::Document | Code::Empty => {
                ConsumerError::Unfit { path, code }
            }
        }
    }
}

fn exchange(
    stream: &mut UnixStream,
    request: Request,
    limit: Option<Duration>,
    client: Option<Client<'_>>,
    read: &mut impl FnMut(usize, &mut UnixStream) -> io::Result<()>,
) -> Result<Code, Fault> {
    stream.set_read_timeout(limit)?;
    // A gateway that refuses the connection says so before it ends it, and does not read.
    let sent = stream.write_all(&request.frame());
    if let Some(client) = client
        && !client.stays_until_readable(stream, limit)?
    {
        return Err(Fault::Unwanted);
    }
    let mut head = [0; ANSWER_LEN];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(e) if is_end(&e) => return Err(Fault::Ended),
        Err(e) => return Err(sent.err().unwrap_or(e).into()),
    }
    let answer = Answer::new_checked(&head).map_err(Fault::Answer)?;
    read(answer.len as usize, stream)?;
    Ok(answer.code)
}

fn connect(path: &Path) -> Result<UnixStream, ConsumerError> {
    let stream = UnixStream::connect(path).and_then(|stream| {
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(stream)
    });
    stream.map_err(|error| {
        let path = path.to_path_buf();
        match error.kind() {
            ErrorKind::PermissionDenied => ConsumerError::Forbidden { path },
            _ => ConsumerError::Absent { path, error },
        }
    })
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What one request asks for of `len` bytes.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(MAX_TAKE).min(MAX_TAKE)
}

/// When a call is no longer patient.
#[derive(Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    /// A wait that reaches beyond what the clock can say is one without limit.
    fn after(wait: Option<Duration>) -> Self {
        Self(wait.and_then(|wait| Instant::now().checked_add(wait)))
    }

    fn is_over(self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    fn wait(self) -> Wait {
        self.0
            .map(|at| at.saturating_duration_since(Instant::now()))
            .into()
    }
}
