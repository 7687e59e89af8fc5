//! Where programs connect, and who may.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Uid, geteuid};
use qrng_daemon::{Place, PlaceError, SocketFile, listen};
use thiserror::Error;

/// Where programs connect, and who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Path of the socket.
    pub listen: PathBuf,
    /// Permissions of the socket file; who may write to it may connect.
    pub mode: u32,
    /// Group of the socket file; none: the gateway's.
    pub group: Option<Gid>,
    /// Users who may connect, beside root and the gateway's own; none: all whom the file lets in.
    pub users: Option<Vec<Uid>>,
}

/// Why the gateway can't listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error(
        "somebody listens at {0} already: another gateway runs here; stop it, or set `stream.listen` to another path"
    )]
    Alive(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no socket: remove it, or set `stream.listen` to another path")]
    NotASocket(PathBuf),
    /// The kernel refuses.
    #[error(
        "cannot listen at {0}: {1}; make its directory so that the gateway may write there, or set `stream.listen` to another path"
    )]
    Refused(PathBuf, #[source] io::Error),
    /// The group can't be set.
    #[error(
        "{0} cannot be given to its group: {1}; make the gateway's user a member of it, or leave `stream.group` out"
    )]
    Group(PathBuf, #[source] io::Error),
}

impl ListenError {
    fn at(path: &Path, why: PlaceError) -> Self {
        let path = path.to_path_buf();
        match why {
            PlaceError::Alive => Self::Alive(path),
            PlaceError::NotASocket => Self::NotASocket(path),
            PlaceError::Group(e) => Self::Group(path, e),
            PlaceError::Refused(e) => Self::Refused(path, e),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
    users: Option<Vec<Uid>>,
}

impl Listener {
    /// Listens where `config` says. A file that nobody listens at any more is replaced, without a moment in which there is none.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(config: &StreamConfig) -> Result<Self, ListenError> {
        let place = Place {
            path: &config.listen,
            mode: config.mode,
            group: config.group,
        };
        let (socket, inode) = listen(place).map_err(|e| ListenError::at(&config.listen, e))?;
        Ok(Self {
            socket,
            path: config.listen.clone(),
            inode,
            users: config.users.clone(),
        })
    }

    /// The file, for whoever is to remove it at the end: this listener may belong to a thread by then.
    pub fn file(&self) -> SocketFile {
        SocketFile::new(&self.path, self.inode)
    }

    /// The next connection and its user's number; `None` if there is none now.
    pub(super) fn accept(&self) -> io::Result<Option<(UnixStream, u32)>> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
                    return Ok(Some((stream, peer.uid())));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                // It has gone again.
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether this user may ask.
    pub(super) fn allows(&self, uid: u32) -> bool {
        let listed = |users: &Vec<Uid>| users.contains(&Uid::from_raw(uid));
        is_operator(uid) || self.users.as_ref().is_none_or(listed)
    }
}

/// Whether this user is root or the gateway's own.
pub(super) fn is_operator(uid: u32) -> bool {
    let uid = Uid::from_raw(uid);
    uid.is_root() || uid == geteuid()
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
