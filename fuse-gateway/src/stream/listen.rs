//! The socket file: made with the right owner and mode before anybody can connect, in place of one that a dead gateway left.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Uid, chown, geteuid};
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
        let path = &config.listen;
        let refused = |e| ListenError::Refused(path.clone(), e);
        check_free(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
        // Of an earlier process with this number.
        let _ = fs::remove_file(&fresh);
        let socket = UnixListener::bind(&fresh).map_err(refused)?;
        let made = prepare(&socket, &fresh, config).and_then(|inode| {
            fs::rename(&fresh, path).map_err(refused)?;
            Ok(inode)
        });
        match made {
            Ok(inode) => Ok(Self {
                socket,
                path: path.clone(),
                inode,
                users: config.users.clone(),
            }),
            Err(e) => {
                let _ = fs::remove_file(&fresh);
                Err(e)
            }
        }
    }

    /// The file, for whoever is to remove it at the end: this listener may belong to a thread by then.
    pub fn file(&self) -> SocketFile {
        SocketFile {
            path: self.path.clone(),
            inode: self.inode,
        }
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
        let uid = Uid::from_raw(uid);
        let listed = |users: &Vec<Uid>| users.contains(&uid);
        uid.is_root() || uid == geteuid() || self.users.as_ref().is_none_or(listed)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket's file. Dropping it removes the file, if it is still that socket's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(e) = fs::remove_file(&self.path) {
            log::warn!("{} is left behind: {e}", self.path.display());
        }
    }
}

/// Whether the path is free, or holds what a dead gateway left.
fn check_free(path: &Path) -> Result<(), ListenError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(ListenError::Refused(path.to_path_buf(), e)),
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_path_buf()));
    }
    match UnixStream::connect(path) {
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Ok(_) => Err(ListenError::Alive(path.to_path_buf())),
        // Full, or not for us: somebody listens, or it can't be known.
        Err(e) if e.kind() == ErrorKind::WouldBlock => Err(ListenError::Alive(path.to_path_buf())),
        Err(e) => Err(ListenError::Refused(path.to_path_buf(), e)),
    }
}

/// Gives the file its group and mode; its inode.
fn prepare(socket: &UnixListener, file: &Path, config: &StreamConfig) -> Result<u64, ListenError> {
    let refused = |e| ListenError::Refused(config.listen.clone(), e);
    if let Some(group) = config.group {
        chown(file, None, Some(group))
            .map_err(|e| ListenError::Group(config.listen.clone(), e.into()))?;
    }
    fs::set_permissions(file, fs::Permissions::from_mode(config.mode)).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    Ok(fs::symlink_metadata(file).map_err(refused)?.ino())
}
