//! Whom bytes are for, where the caller passes them on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The other end will send no more (POLLRDHUP, poll(2)).
pub const SILENCE: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);

/// A connection of somebody who waits for the caller.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The caller's end of it.
    pub fd: BorrowedFd<'a>,
    /// Whether it counts as gone when it will send no more. Of a TCP connection nothing else is seen before something is
    /// written to it; who waits at a Unix socket may have said all it has to say.
    pub gone_when_silent: bool,
}

impl Client<'_> {
    /// Waits until `answer` can be read, at most for `limit`, and says whether the client is still there. When the time is over it is:
    /// the read that follows says so.
    pub(crate) fn stays_until_readable(
        self,
        answer: &impl AsFd,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        // Its end (POLLHUP) is told unasked.
        let silence = match self.gone_when_silent {
            true => SILENCE,
            false => PollFlags::empty(),
        };
        loop {
            let mut events = [
                PollFd::new(answer.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.fd, silence),
            ];
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match poll(&mut events, timeout(left)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            // Flags that nix does not know are flags.
            let [answered, gone] = events.map(|event| event.any().unwrap_or(true));
            if gone {
                return Ok(false);
            }
            if answered || left.is_some_and(|left| left.is_zero()) {
                return Ok(true);
            }
        }
    }
}

/// At most a minute, after which it is asked again.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let ms = left.map_or(60_000, |left| left.as_millis().saturating_add(1));
    PollTimeout::from(u16::try_from(ms).unwrap_or(60_000))
}
