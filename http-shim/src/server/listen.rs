//! The sockets that are listened on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::UnixSocket;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A process of this host.
    Local {
        /// Its user, as the kernel says.
        uid: u32,
    },
    /// A host.
    Remote {
        /// Its address and port.
        address: SocketAddr,
        /// The name of the certificate that it has shown and that was verified.
        certificate: Option<String>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "user {uid}"),
            Self::Remote { address, .. } => address.fmt(f),
        }
    }
}

/// A socket that is listened on.
pub enum Listener {
    /// At a path.
    Unix(UnixListener, PathBuf),
    /// At an address.
    Tcp(TcpListener, SocketAddr),
}

/// A new connection.
pub enum Accepted {
    /// From this host.
    Unix(UnixStream, Peer),
    /// From anywhere.
    Tcp(TcpStream, SocketAddr),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_, path) => path.display().fmt(f),
            Self::Tcp(_, address) => address.fmt(f),
        }
    }
}

impl Listener {
    /// Listens at a path. What an earlier run left there is replaced; what is in use, or no socket, is not.
    ///
    /// # Errors
    /// It cannot: the text says what to do. Call it in a runtime, before other threads make files.
    pub fn unix(socket: &UnixSocket) -> anyhow::Result<Self> {
        let path = &socket.path;
        clear(path).with_context(|| format!("socket {}", path.display()))?;
        // Nobody may connect before the mode is right.
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener.with_context(|| {
            format!(
                "socket {} cannot be made; make its directory, or name another with `socket`",
                path.display()
            )
        })?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(socket.mode))
            .with_context(|| format!("socket {} cannot be given its mode", path.display()))?;
        Ok(Self::Unix(listener, path.clone()))
    }

    /// Listens at an address.
    ///
    /// # Errors
    /// It cannot.
    pub fn tcp(address: SocketAddr) -> anyhow::Result<Self> {
        let open = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok::<_, io::Error>(Self::Tcp(listener, address))
        };
        open().with_context(|| {
            format!(
                "{address} cannot be listened on; stop what uses it, or give another with `listen`"
            )
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok(Accepted::Unix(stream, Peer::Local { uid }))
            }
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e.into()),
        Ok(meta) if !meta.file_type().is_socket() => {
            anyhow::bail!("there is something else at this path; remove it, or name another")
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => anyhow::bail!("somebody listens there already; stop it, or name another"),
            Err(_) => Ok(std::fs::remove_file(path)?),
        },
    }
}
