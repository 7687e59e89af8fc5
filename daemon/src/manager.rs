//! The service manager: what it is told (sd_notify(3)), and the descriptors that it keeps for the next run.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// How long a message waits for room at a service manager that does not read.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// The service manager that has started this process, if one has. Its socket is connected from the start, so that a
/// process that may no longer connect can still tell it.
#[derive(Debug)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds the service manager by the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`). Without one
    /// everything here does nothing.
    ///
    /// # Errors
    /// There is an address, but nobody to talk to.
    pub fn from_environment() -> io::Result<Self> {
        let get = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let socket = get("NOTIFY_SOCKET").map(|at| connect(&at)).transpose()?;
        let ours = get("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = get("WATCHDOG_USEC").and_then(|time| time.parse().ok());
        let watchdog = watchdog.filter(|&us: &u64| ours && us > 0 && socket.is_some());
        Ok(Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        })
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// The time within which it wants to hear [`Manager::alive`] again and again, if it does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service has started, and does as `status` says.
    pub fn ready(&self, status: &str) {
        // A line break would begin another message.
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// The service is ending.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The service gets on.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Gives it `fd` to keep, which the next run of the service gets under this name. It forgets the descriptor when the
    /// other end of it is gone.
    ///
    /// # Errors
    /// There is no service manager, or it does not listen.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let message = format!("FDSTORE=1\nFDNAME={name}");
        let (bytes, fds) = ([IoSlice::new(message.as_bytes())], [fd.as_raw_fd()]);
        let control = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(
            socket.as_raw_fd(),
            &bytes,
            &control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        Ok(())
    }

    /// Has it forget the descriptors of this name.
    pub fn forget(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Nothing can be done where nobody listens any more, and the daemon goes on.
    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(e) = socket.send(message.as_bytes())
        {
            log::debug!("the service manager was not told {message:?}: {e}");
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    // A manager that has stopped reading must not stop the service, too.
    socket.set_write_timeout(Some(TELL_LIMIT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn manager() -> (Manager, UnixDatagram) {
        let (socket, other) = UnixDatagram::pair().unwrap();
        let manager = Manager {
            socket: Some(socket),
            watchdog: None,
        };
        (manager, other)
    }

    fn heard(by: &UnixDatagram) -> String {
        let mut room = [0; 256];
        let len = by.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..len]).into_owned()
    }

    #[test]
    fn it_hears_what_it_is_told() {
        let (manager, other) = manager();
        manager.ready("serving at\n/qrng");
        assert_eq!(heard(&other), "READY=1\nSTATUS=serving at /qrng");
        manager.alive();
        assert_eq!(heard(&other), "WATCHDOG=1");
        manager.keep("mount", other.as_fd()).unwrap();
        assert_eq!(heard(&other), "FDSTORE=1\nFDNAME=mount");
        drop(other);
        manager.stopping();
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deaf");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let socket = connect(path.to_str().unwrap()).unwrap();
        // The kernel keeps a few messages, then there is no room.
        let error = (0..100_000).find_map(|_| socket.send(b"WATCHDOG=1").err());
        assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn both_kinds_of_address_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        connect(path.to_str().unwrap()).unwrap().send(b"a").unwrap();
        assert_eq!(heard(&by_path), "a");
        let name = format!("qrng-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        connect(&format!("@{name}")).unwrap().send(b"b").unwrap();
        assert_eq!(heard(&by_name), "b");
        assert!(connect("/nonexistent/socket").is_err());
    }
}
