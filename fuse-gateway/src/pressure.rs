//! Memory pressure: when the service manager or the kernel says that memory is short, the buffer gives up half of itself, step
//! by step down to its floor, and takes it back when there has been no word of it for a while.
//!
//! The protocol is systemd's ("Memory Pressure Handling"): the environment variable `MEMORY_PRESSURE_WATCH` names what to
//! watch, `MEMORY_PRESSURE_WRITE` holds in base64 what to write there first.
//!
//! | What is named | Watched for |
//! |---|---|
//! | a file of the kernel (`memory.pressure` of a control group, `/proc/pressure/memory`) | POLLPRI |
//! | a named pipe, a Unix stream socket | POLLIN; what comes is read and forgotten |
//! | `/dev/null` | nothing |

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use log::{info, warn};
use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::buffer::Buffer;

/// Steps down come no faster than this: what one has given back must be seen first.
const PAUSE: Duration = Duration::from_secs(1);

/// How the buffer gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Giving {
    /// The capacity that is never given up, in bytes.
    pub floor: usize,
    /// Without word of pressure for so long it takes a step back up.
    pub calm: Duration,
}

impl Giving {
    /// A step down from this capacity.
    fn less(self, capacity: usize) -> usize {
        (capacity / 2).max(self.floor).min(capacity)
    }

    /// A step up, to what it was made with at the most.
    fn more(self, capacity: usize, set: usize) -> usize {
        capacity.saturating_mul(2).min(set)
    }
}

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    file: File,
    events: PollFlags,
}

impl Watch {
    /// What the environment names, open; none if it names nothing.
    ///
    /// # Errors
    /// It names what cannot be watched.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        let named = env::var_os("MEMORY_PRESSURE_WATCH");
        let write = env::var_os("MEMORY_PRESSURE_WRITE");
        Self::named(named, write)
    }

    fn named(path: Option<OsString>, write: Option<OsString>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path.filter(|path| !path.is_empty() && path != "/dev/null") else {
            return Ok(None);
        };
        let write = write.filter(|text| !text.is_empty());
        let write = write.map(|text| {
            let bytes = text.to_str().and_then(from_base64);
            bytes.context("MEMORY_PRESSURE_WRITE is no base64")
        });
        let write = write.transpose()?.unwrap_or_default();
        let path = Path::new(&path);
        let watch = Self::open(path, &write);
        watch
            .with_context(|| {
                format!(
                    "MEMORY_PRESSURE_WATCH: {} cannot be watched",
                    path.display()
                )
            })
            .map(Some)
    }

    fn open(path: &Path, write: &[u8]) -> io::Result<Self> {
        let kind = std::fs::metadata(path)?.file_type();
        let (file, events) = if kind.is_socket() {
            let mut socket = UnixStream::connect(path)?;
            socket.write_all(write)?;
            socket.set_nonblocking(true)?;
            (File::from(OwnedFd::from(socket)), PollFlags::POLLIN)
        } else {
            let mut options = OpenOptions::new();
            // A pipe that is open for both never has an end, whoever else closes it.
            let writes = kind.is_fifo() || !write.is_empty();
            options.read(true).write(writes).custom_flags(O_NONBLOCK);
            let mut file = options.open(path)?;
            if !write.is_empty() {
                file.write_all(write)?;
            }
            let events = if kind.is_fifo() {
                PollFlags::POLLIN
            } else {
                PollFlags::POLLPRI
            };
            (file, events)
        };
        Ok(Self { file, events })
    }

    /// Waits for word of pressure; whether it came within `limit`.
    ///
    /// # Errors
    /// There will be none any more.
    fn wait(&self, limit: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.file.as_fd(), self.events)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let happened = fds[0].revents().unwrap_or(PollFlags::empty());
        if !happened.intersects(self.events) {
            return Err(io::Error::other("it was closed at the other end"));
        }
        if self.events == PollFlags::POLLIN {
            self.drain()?;
        }
        Ok(true)
    }

    fn drain(&self) -> io::Result<()> {
        let mut room = [0; 512];
        loop {
            match (&self.file).read(&mut room) {
                Ok(0) => return Err(io::Error::other("it was closed at the other end")),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// Gives way, for ever.
///
/// # Errors
/// None: where there is nothing left to watch it says so and waits for the end.
pub fn run(watch: &Watch, giving: Giving, buffer: &Arc<Buffer>) -> anyhow::Result<()> {
    let mut heard = Instant::now();
    loop {
        match watch.wait(giving.calm.saturating_sub(heard.elapsed())) {
            Ok(true) => {
                heard = Instant::now();
                give(giving, buffer);
                thread::sleep(PAUSE);
            }
            Ok(false) if heard.elapsed() >= giving.calm => {
                heard = Instant::now();
                take_back(giving, buffer);
            }
            Ok(false) => {}
            Err(e) => {
                warn!("memory pressure is not watched any more: {e}");
                // The buffer comes back to what was set.
                loop {
                    thread::sleep(giving.calm);
                    take_back(giving, buffer);
                }
            }
        }
    }
}

fn give(giving: Giving, buffer: &Buffer) {
    let before = buffer.capacity();
    let to = giving.less(before);
    if to == before {
        return;
    }
    match buffer.resize(to) {
        Ok(released) => warn!(
            "memory is short: the buffer gives way from {before} to {to} bytes, {released} bytes that waited were destroyed"
        ),
        Err(e) => warn!("memory is short, and the buffer cannot give way: {e}"),
    }
}

fn take_back(giving: Giving, buffer: &Buffer) {
    let before = buffer.capacity();
    let to = giving.more(before, buffer.set_capacity());
    if to == before {
        return;
    }
    match buffer.resize(to) {
        Ok(_) => {
            info!(capacity_bytes = to; "memory is no longer short: the buffer takes back from {before} to {to} bytes")
        }
        Err(e) => warn!("the buffer stays at {before} bytes: {e}"),
    }
}

/// The bytes of base64 text (RFC 4648 section 4), padded or not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let (mut bits, mut have, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn steps_go_to_the_floor_and_back_to_what_was_set() {
        let giving = Giving {
            floor: 100,
            calm: SOON,
        };
        let down: Vec<_> = std::iter::successors(Some(1000), |&at| Some(giving.less(at)))
            .take(6)
            .collect();
        assert_eq!(down, [1000, 500, 250, 125, 100, 100]);
        let up: Vec<_> = std::iter::successors(Some(100), |&at| Some(giving.more(at, 1000)))
            .take(6)
            .collect();
        assert_eq!(up, [100, 200, 400, 800, 1000, 1000]);
        // A buffer that is smaller than the floor stays.
        assert_eq!(giving.less(50), 50);
    }

    #[test]
    fn base64_is_read() {
        // RFC 4648 section 10.
        assert_eq!(from_base64("Zm9vYg==").unwrap(), b"foob");
        assert_eq!(from_base64("Zm9vYmFy").unwrap(), b"foobar");
        assert_eq!(
            from_base64("c29tZSAyMDAwMDAgMjAwMDAwMAA=").unwrap(),
            b"some 200000 2000000\0"
        );
        assert_eq!(from_base64("Zm9v!"), None);
    }

    #[test]
    fn nothing_named_is_nothing_watched() {
        for path in [None, Some(""), Some("/dev/null")] {
            assert!(
                Watch::named(path.map(OsString::from), None)
                    .unwrap()
                    .is_none()
            );
        }
        let missing = Watch::named(Some("/nonexistent/x".into()), None).unwrap_err();
        assert!(format!("{missing:#}").contains("MEMORY_PRESSURE_WATCH: /nonexistent/x"));
        let wrong = Watch::named(Some("/dev/zero".into()), Some("!".into())).unwrap_err();
        assert!(format!("{wrong:#}").contains("MEMORY_PRESSURE_WRITE"));
    }

    #[test]
    fn a_pipe_tells_and_what_it_holds_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pressure");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let watch = Watch::named(Some(path.clone().into()), None)
            .unwrap()
            .unwrap();
        assert!(!watch.wait(Duration::ZERO).unwrap());
        std::fs::write(&path, b"pressure").unwrap();
        assert!(watch.wait(SOON).unwrap());
        assert!(!watch.wait(Duration::ZERO).unwrap(), "it was read");
    }

    #[test]
    fn a_socket_hears_what_is_to_be_written_and_tells() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pressure");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let watch = Watch::named(Some(path.into()), Some("Zm9v".into()))
            .unwrap()
            .unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let mut heard = [0; 3];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"foo");
        other.write_all(b"x").unwrap();
        assert!(watch.wait(SOON).unwrap());
        drop(other);
        watch.wait(SOON).unwrap_err();
    }

    #[test]
    fn the_kernels_file_takes_a_trigger() {
        // Root may, or the owner of the control group.
        let path = "/proc/pressure/memory";
        let trigger = Some("c29tZSAyMDAwMDAgMjAwMDAwMAA=".into());
        match Watch::named(Some(path.into()), trigger) {
            Ok(watch) => assert_eq!(watch.unwrap().events, PollFlags::POLLPRI),
            Err(e) => assert!(format!("{e:#}").contains(path)),
        }
    }
}
