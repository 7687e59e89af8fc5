//! A client's socket, of either family: it only moves bytes, and never waits longer than it is told.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

/// A client's end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    tcp: bool,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, tcp: bool) -> Self {
        Self { socket, tcp }
    }

    /// As the gateway's consumer watches it.
    pub(super) fn watched(&self) -> qrng_consumer::Client<'_> {
        qrng_consumer::Client {
            fd: self.socket.as_fd(),
            gone_when_silent: self.tcp,
        }
    }

    /// Some bytes, at least one; 0: it will send no more. Waits at most for `limit`.
    ///
    /// # Errors
    /// The socket's; [`ErrorKind::TimedOut`].
    pub(super) fn read(&self, room: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            self.wait(PollFlags::POLLIN, until)?;
            match recv(self.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => return Ok(len),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// All of `bytes`, within `limit`.
    ///
    /// # Errors
    /// The socket's; [`ErrorKind::TimedOut`]. How many bytes it took is told by `taken`.
    pub(super) fn write(&self, bytes: &[u8], limit: Duration, taken: &mut usize) -> io::Result<()> {
        let until = Some(Instant::now() + limit);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while *taken < bytes.len() {
            match send(self.socket.as_raw_fd(), &bytes[*taken..], flags) {
                Ok(len) => *taken += len,
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, until)?,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Ends the connection under whoever uses it.
    pub(super) fn cut(&self) {
        // It has ended already, or ends now.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    /// Whether it is still there after `pause`.
    pub(super) fn stays(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let events = if self.tcp {
            qrng_consumer::SILENCE
        } else {
            PollFlags::empty()
        };
        matches!(self.wait(events, Some(until)), Err(e) if e.kind() == ErrorKind::TimedOut)
    }

    /// Waits for one of `events`, or its end.
    fn wait(&self, events: PollFlags, until: Option<Instant>) -> io::Result<()> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            let ms = left.map_or(60_000, |left| left.as_millis().saturating_add(1));
            let timeout = PollTimeout::from(u16::try_from(ms).unwrap_or(60_000));
            match poll(&mut [PollFd::new(self.socket.as_fd(), events)], timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
