//! A mount and devices that somebody else makes: a small privileged helper does it, and hands the connections over to a
//! gateway that has no privileges at all.
//!
//! ```text
//! qrng-gateway ── "mount" or "device NAME" ──> qrng-mount: is it the right user? is the place, is the name free?
//!              <── "mounted" or "made", and the descriptor of /dev/fuse or /dev/cuse; or why not ──
//! ```
//!
//! One connection is one wish. The descriptor of /dev/cuse comes when its device has been made: before, whoever holds it could
//! make any device; afterwards, it serves this one and no other.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::socket::{getsockopt, sockopt};
use qrng_daemon::descriptors::{receive, send};
use qrng_daemon::mounts::{Mounted, detach, is_dead, mounted_at};
use thiserror::Error;

use crate::kernel::{MountError, fit_to_mount_on, make_device};

/// What the helper says when it hands the mount over.
const MOUNTED: &[u8] = b"mounted";

/// What it says when it hands a device over.
const MADE: &[u8] = b"made";

/// How a wish for the mount reads.
const MOUNT: &str = "mount";

/// How a wish for a device begins.
const DEVICE: &str = "device ";

/// The longest wish, in bytes.
const LONGEST_WISH: u64 = 64;

/// The longest answer, in bytes.
const LONGEST: usize = 4096;

/// How long either side waits for the other. Longer than the helper waits for a file system that may be dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a file system of ours may take to answer before it is taken for one that nobody serves any more.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no mount from the helper.
#[derive(Debug, Error)]
pub enum HandoverError {
    /// Nobody listens.
    #[error(
        "the mount helper does not listen at {0}: {1}; start it (systemctl start qrng-mount.socket), \
         or leave `mount-helper` out and start the gateway as root"
    )]
    Absent(PathBuf, #[source] io::Error),
    /// It listens and does not answer.
    #[error("the mount helper at {0} gave no descriptor: {1}")]
    Silent(PathBuf, #[source] io::Error),
    /// It says why not.
    #[error("the mount helper refused: {0}")]
    Refused(String),
}

/// What the helper can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// The mount: the connection, of which nothing has been read yet.
    Mount,
    /// The device of this name: the connection, whose first request has been answered.
    Device(&'a str),
}

/// Asks the helper that listens at `socket`.
///
/// # Errors
/// See [`HandoverError`].
pub fn ask(socket: &Path, wish: Wish<'_>) -> Result<OwnedFd, HandoverError> {
    let absent = |e| HandoverError::Absent(socket.to_owned(), e);
    let silent = |e| HandoverError::Silent(socket.to_owned(), e);
    let stream = UnixStream::connect(socket).map_err(absent)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    let (line, done) = match wish {
        Wish::Mount => (format!("{MOUNT}\n"), MOUNTED),
        Wish::Device(name) => (format!("{DEVICE}{name}\n"), MADE),
    };
    // Whoever refuses may have hung up already, and has said why. By write(2): the gateway makes no call that could send to an address.
    let asked = nix::unistd::write(&stream, line.as_bytes());
    let mut room = [0; LONGEST];
    let (len, fd) = receive(&stream, &mut room).map_err(silent)?;
    match (fd, &room[..len]) {
        (Some(fd), words) if words == done => Ok(fd),
        (_, b"") => Err(silent(
            asked
                .err()
                .map_or(io::ErrorKind::UnexpectedEof.into(), io::Error::from),
        )),
        (_, words) => {
            let words = String::from_utf8_lossy(words);
            Err(HandoverError::Refused(words.into_owned()))
        }
    }
}

/// The helper's side.
#[derive(Debug)]
pub struct Helper {
    /// Where to mount.
    pub point: PathBuf,
    /// The devices that may be asked for, by their names below /dev.
    pub devices: Vec<String>,
    /// Whether users other than the gateway's may read.
    pub allow_other: bool,
    /// The user who may ask, beside root.
    pub user: u32,
    /// The group of the files.
    pub group: u32,
}

impl Helper {
    /// Answers all who ask, for ever.
    ///
    /// # Errors
    /// The listening socket fails.
    pub fn serve(&self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept()?;
            match self.answer(&stream) {
                Ok(what) => log::info!("{what} and handed over"),
                Err(e) => {
                    log::error!("{e:#}");
                    if let Err(e) = send(&stream, format!("{e:#}").as_bytes(), None) {
                        log::warn!("whoever asked was not told: {e}");
                    }
                }
            }
        }
    }

    /// Does what is asked, and says what that was.
    fn answer(&self, stream: &UnixStream) -> anyhow::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let peer = getsockopt(stream, sockopt::PeerCredentials)?;
        if peer.uid() != self.user && peer.uid() != 0 {
            anyhow::bail!(
                "user {} may not ask for anything: only {} and root may",
                peer.uid(),
                self.user
            );
        }
        let line = wish(stream).context("no wish was heard")?;
        match line.strip_prefix(DEVICE) {
            Some(name) => self.hand_device_over(stream, name),
            None if line == MOUNT => self.hand_mount_over(stream),
            None => anyhow::bail!("{line:?} is no wish: \"{MOUNT}\" or \"{DEVICE}NAME\" is"),
        }
    }

    fn hand_mount_over(&self, stream: &UnixStream) -> anyhow::Result<String> {
        let device = self.mount()?;
        let handed = send(stream, MOUNTED, Some(device.as_fd()));
        if handed.is_err() {
            self.unmount()?;
        }
        handed?;
        Ok(format!("mounted at {}", self.point.display()))
    }

    fn hand_device_over(&self, stream: &UnixStream, name: &str) -> anyhow::Result<String> {
        if self.devices.iter().all(|device| device != name) {
            anyhow::bail!(
                "the mount helper was not told to make /dev/{name}: give it --device {name} (in qrng-mount.service)"
            );
        }
        // If it cannot be handed over it is closed, and the device is gone.
        let connection = make_device(name)?;
        send(stream, MADE, Some(connection.as_fd()))?;
        Ok(format!("made /dev/{name}"))
    }

    fn mount(&self) -> anyhow::Result<File> {
        self.remove_abandoned()?;
        let point = fit_to_mount_on(&self.point)?;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => MountError::NoDevice,
            io::ErrorKind::PermissionDenied => MountError::DeviceDenied,
            _ => MountError::Refused(point.clone(), e),
        })?;
        let mut data = format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
            device.as_raw_fd(),
            self.user,
            self.group
        );
        if self.allow_other {
            data.push_str(",allow_other");
        }
        let flags = MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC
            | MsFlags::MS_NOATIME;
        let kind = "fuse.qrng";
        nix::mount::mount(Some("qrng"), &point, Some(kind), flags, Some(&*data)).map_err(|e| {
            match e {
                Errno::EPERM => anyhow::anyhow!(
                    "mounting at {} is not permitted: the helper needs CAP_SYS_ADMIN",
                    point.display()
                ),
                e => MountError::Refused(point.clone(), e.into()).into(),
            }
        })?;
        Ok(device)
    }

    /// Takes a file system of ours away for which nobody answers, though somebody keeps it open: a gateway that could not
    /// go on with what it was given to keep. Asking it might take for ever.
    fn remove_abandoned(&self) -> io::Result<()> {
        let point = std::path::absolute(&self.point)?;
        if !is_ours(&point)? {
            return Ok(());
        }
        let (tell, told) = std::sync::mpsc::channel();
        let asked = point.clone();
        std::thread::spawn(move || {
            is_dead(&asked);
            let _ = tell.send(());
        });
        if told.recv_timeout(ALIVE_WITHIN).is_ok() {
            return Ok(());
        }
        log::warn!("nobody answers at {}: taking it away", point.display());
        detach(&point, true)
    }

    /// Takes away what is mounted, if it is a file system of ours: all its readers get an error then.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmount(&self) -> io::Result<()> {
        let point = std::path::absolute(&self.point)?;
        if is_ours(&point)? {
            detach(&point, true)
        } else {
            Ok(())
        }
    }
}

/// The line that the other side says.
fn wish(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_WISH)).read_line(&mut line)?;
    Ok(line.trim_end_matches('\n').to_owned())
}

fn is_ours(point: &Path) -> io::Result<bool> {
    Ok(mounted_at(point)?.is_some_and(|mounted: Mounted| mounted.is_qrng()))
}
