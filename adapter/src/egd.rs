//! The form `egd`: the protocol of the entropy gathering daemon, at a Unix socket and, where it is wanted, at a TCP address of this host's own.
//!
//! ```text
//! client ── command ──> session ── take, for this client ──> gateway
//!        <── answer ────    │  one thread and one connection to the gateway each
//!                         seats: who is connected, since when idle
//! ```
//!
//! `command` knows the bytes of the protocol, `session` answers one client, `seats` decides who is let in, `client` is a
//! socket.

mod client;
mod command;
mod seats;
mod session;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qrng_daemon::{Manager, Place, PlaceError, SocketFile, Supervisor, listen};

use self::client::Client;
use self::seats::Seats;
use self::session::Session;
use crate::books::Books;
use crate::config::EgdConfig;
use crate::gateway::Gateway;

/// For how long nobody is let in after the kernel has given no descriptor or thread for a client.
const PAUSE: Duration = Duration::from_secs(1);

/// What clients connect to. Dropping it removes the socket file.
pub struct Listening {
    _file: SocketFile,
}

/// The sockets that listen.
struct Doors {
    unix: UnixListener,
    tcp: Option<TcpListener>,
}

/// Begins to listen and to serve.
///
/// # Errors
/// It can't listen: the text says what and how to mend it.
pub fn start(
    mut gateway: Gateway,
    config: &EgdConfig,
    books: &Arc<Books>,
    supervisor: &Supervisor,
    manager: &Manager,
) -> anyhow::Result<Listening> {
    let place = Place {
        path: &config.socket,
        mode: config.mode,
        group: config.group,
    };
    let (unix, inode) = listen(place).map_err(|e| refused(&config.socket, e))?;
    let file = SocketFile::new(&config.socket, inode);
    let tcp = config.listen.map(loopback).transpose()?;
    crate::keep(0)?;
    if let Err(e) = gateway.told() {
        log::warn!("clients have to wait: {e}");
    }
    let doors = Doors { unix, tcp };
    let seats = Arc::new(Seats::new(config.connections));
    let books = Arc::clone(books);
    supervisor.spawn("egd", move || doors.serve(&gateway, &seats, &books))?;
    let mut places = config.socket.display().to_string();
    if let Some(address) = config.listen {
        places = format!("{places} and {address}");
    }
    log::info!("clients of the old protocol are served at {places}");
    manager.ready(&format!("serving at {places}"));
    Ok(Listening { _file: file })
}

fn refused(path: &Path, why: PlaceError) -> anyhow::Error {
    let path = path.display();
    let (what, remedy) = match why {
        PlaceError::Alive => (
            format!("somebody listens at {path} already: another adapter runs here"),
            "stop it, or set `egd.socket` to another path",
        ),
        PlaceError::NotASocket => (
            format!("{path} is there and is no socket"),
            "remove it, or set `egd.socket` to another path",
        ),
        PlaceError::Group(e) => (
            format!("{path} cannot be given to its group: {e}"),
            "make the adapter's user a member of it, or leave `egd.group` out",
        ),
        PlaceError::Refused(e) => (
            format!("cannot listen at {path}: {e}"),
            "make its directory so that the adapter may write there, or set `egd.socket` to another path",
        ),
    };
    anyhow::anyhow!("{what}; {remedy}")
}

fn loopback(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    socket.with_context(|| {
        format!(
            "cannot listen at {address}; set `egd.listen` to an address and a port that are free"
        )
    })
}

impl Doors {
    /// Lets clients in for ever.
    fn serve(
        &self,
        gateway: &Gateway,
        seats: &Arc<Seats>,
        books: &Arc<Books>,
    ) -> anyhow::Result<()> {
        loop {
            let mut events = vec![PollFd::new(self.unix.as_fd(), PollFlags::POLLIN)];
            events.extend(
                self.tcp
                    .iter()
                    .map(|tcp| PollFd::new(tcp.as_fd(), PollFlags::POLLIN)),
            );
            match poll(&mut events, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            let unix = self.unix.accept().map(|(s, _)| (OwnedFd::from(s), false));
            let tcp = self.tcp.iter();
            let tcp = tcp.map(|tcp| tcp.accept().map(|(s, _)| (OwnedFd::from(s), true)));
            for accepted in std::iter::once(unix).chain(tcp) {
                let begun = match accepted {
                    Ok((socket, tcp)) => begin(Client::new(socket, tcp), gateway, seats, books),
                    Err(e) if is_none(&e) => Ok(()),
                    Err(e) => Err(e),
                };
                if let Err(e) = begun {
                    log::warn!("a client could not be let in: {e}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// Gives a client a seat and a thread, if there is one.
fn begin(
    client: Client,
    gateway: &Gateway,
    seats: &Arc<Seats>,
    books: &Arc<Books>,
) -> io::Result<()> {
    let client = Arc::new(client);
    let Some(seat) = Seats::take(seats, &client) else {
        log::debug!(
            "a client was refused: there are as many as there may be, and none of them is idle"
        );
        return Ok(());
    };
    let mut session = Session::new(client, seat, gateway.another(), Arc::clone(books));
    thread::Builder::new()
        .name("egd-client".into())
        .spawn(move || {
            let ended = session.run();
            log::debug!("a client has gone: {ended}");
        })?;
    Ok(())
}

/// Nobody is at the door, or has gone from it again.
fn is_none(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}
