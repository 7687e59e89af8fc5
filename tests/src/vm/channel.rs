//! A conversation over a Unix socket: lines, and counted bytes, each with a deadline.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

/// One end of a connected socket.
pub struct Channel {
    stream: UnixStream,
    /// Read from the socket and not yet asked for.
    ahead: Vec<u8>,
}

impl Channel {
    /// Waits for somebody to connect to `listener`.
    ///
    /// # Errors
    /// Nobody does before `deadline`.
    pub fn accept(listener: &UnixListener, deadline: Instant) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Self::over(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => pause(deadline)?,
                Err(e) => return Err(e),
            }
        }
    }

    fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self {
            stream,
            ahead: Vec::new(),
        })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// It does not come before `deadline` (and can be asked for again), or the other end is gone.
    pub fn line(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more(deadline)?;
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// As for [`Self::line`].
    pub fn bytes(&mut self, count: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.more(deadline)?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn more(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
        }
    }
}

fn pause(deadline: Instant) -> io::Result<()> {
    if Instant::now() > deadline {
        return Err(io::ErrorKind::TimedOut.into());
    }
    thread::sleep(Duration::from_millis(20));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::over(one).unwrap(), other)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn lines_and_counted_bytes_come_in_order_however_they_were_cut() {
        let (mut channel, mut other) = pair();
        other.write_all(b"0 5\nhel").unwrap();
        assert_eq!(channel.line(soon()).unwrap(), "0 5");
        other.write_all(b"lo1 0\n").unwrap();
        assert_eq!(channel.bytes(5, soon()).unwrap(), b"hello");
        assert_eq!(channel.line(soon()).unwrap(), "1 0");
    }

    #[test]
    fn a_line_that_came_late_is_not_lost_and_an_end_is_an_error() {
        let (mut channel, mut other) = pair();
        other.write_all(b"half").unwrap();
        let in_vain = channel.line(Instant::now() + Duration::from_millis(10));
        assert_eq!(in_vain.unwrap_err().kind(), io::ErrorKind::TimedOut);
        other.write_all(b" a line\n").unwrap();
        assert_eq!(channel.line(soon()).unwrap(), "half a line");
        drop(other);
        let end = channel.line(soon()).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
