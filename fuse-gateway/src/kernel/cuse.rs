//! Makes a character device: /dev/cuse, opened and answered once, is the connection of one device that has a name from then on.
//!
//! Whoever can open /dev/cuse can make any device, with any number. So this is for root or the mount helper; what it gives
//! away can do nothing but serve the device that was made (linux/fs/fuse/cuse.c: the one CUSE_INIT of a connection is answered).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

use super::MAX_READ;
use super::abi::{self, CUSE_MAJOR, Malformed, Opcode, Request};

/// Where devices are made.
const CUSE: &str = "/dev/cuse";
/// Where the kernel lists the devices that were.
const CLASS: &str = "/sys/class/cuse";
/// The newest minor number of the protocol that is spoken here.
const MINOR: u32 = 40;
/// The oldest one that the kernel takes.
const OLDEST_MINOR: u32 = 11;
/// Room for a request: the kernel wants twice a page.
const ROOM: usize = 8192;
/// How long is waited for the kernel: its one request is there when the file has been opened.
const PATIENCE: u16 = 10_000;
/// How long a device of that name may still be there: its gateway has just ended, or its descriptor is just being let go.
const LET_GO: Duration = Duration::from_secs(3);

/// Why there is no device. Each says how to mend it.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No CUSE in the kernel, or not in this container.
    #[error(
        "the kernel has no CUSE (/dev/cuse): load the module cuse (modprobe cuse); where there is none install the package \
         that has it (Debian: linux-image-amd64 or linux-image-cloud-amd64; Ubuntu: linux-modules-extra-$(uname -r)), or pass \
         the device into the container"
    )]
    NoCuse,
    /// The permissions of /dev/cuse.
    #[error(
        "/dev/cuse may not be opened by this user: whoever can open it can make any device, so only root and the mount helper's \
         user may; set `mount-helper` and have qrng-mount make the device, or run as root. If the module was loaded after the helper was \
         started: systemctl restart qrng-mount"
    )]
    Denied,
    /// Something of that name is there.
    #[error(
        "/dev/{0} is there already: stop what has made it (another gateway, or a driver), or give another name in the \
         section [device]"
    )]
    Taken(String),
    /// The kernel did not say why.
    #[error("the kernel has refused the device {0}; its log may say why (dmesg)")]
    Refused(String),
    /// A protocol that is not spoken here.
    #[error("the kernel speaks CUSE {0}.{1}, which this program does not")]
    Protocol(u32, u32),
    /// It sent something else than it should.
    #[error("/dev/cuse: {0}")]
    Malformed(String),
    /// Anything else.
    #[error("/dev/cuse: {0}")]
    Failed(#[source] io::Error),
    /// No memory or no threads.
    #[error("the request loop of the device could not be started: {0}")]
    Start(#[source] io::Error),
    /// A connection kept from an earlier run cannot be used.
    #[error(
        "the kernel cannot send again what the last run has left of /dev/{0} unanswered (Linux 6.9 can): its readers end, \
         and the device is made anew"
    )]
    NotKept(String),
}

impl From<Malformed> for DeviceError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// Makes the device /dev/`name`, which lives as long as the connection that is given. Nobody answers its requests yet.
///
/// # Errors
/// See [`DeviceError`].
pub fn make(name: &str) -> Result<OwnedFd, DeviceError> {
    let opened = OpenOptions::new().read(true).write(true).open(CUSE);
    let connection = OwnedFd::from(opened.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => DeviceError::Denied,
        io::ErrorKind::NotFound => DeviceError::NoCuse,
        _ => match error.raw_os_error().map(Errno::from_raw) {
            // The node is there (a static one) and its module is not.
            Some(Errno::ENODEV | Errno::ENXIO) => DeviceError::NoCuse,
            _ => DeviceError::Failed(error),
        },
    })?);
    wait_until_free(name)?;
    begin(connection, name)
}

/// The kernel answers with nothing but an end when a name is taken, so it is looked at before.
fn wait_until_free(name: &str) -> Result<(), DeviceError> {
    let limit = Instant::now() + LET_GO;
    let node = Path::new("/dev").join(name);
    let listed = Path::new(CLASS).join(name);
    while listed.exists() || node.symlink_metadata().is_ok() {
        // Only a device of this kind is one that may just be ending.
        if !listed.exists() || Instant::now() >= limit {
            return Err(DeviceError::Taken(name.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Answers the kernel's one question, by which the device gets its name.
pub(super) fn begin(connection: OwnedFd, name: &str) -> Result<OwnedFd, DeviceError> {
    let failed = |errno: Errno| DeviceError::Failed(errno.into());
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::from(PATIENCE)).map_err(failed)? == 0 {
        return Err(failed(Errno::ETIMEDOUT));
    }
    let mut room = [0; ROOM];
    let len = nix::unistd::read(&connection, &mut room).map_err(failed)?;
    let request = Request::new_checked(&room[..len])?;
    if request.opcode() != Opcode::CuseInit {
        return Err(DeviceError::Malformed(format!(
            "its first request is {:?}",
            request.opcode()
        )));
    }
    let (major, minor) = request.cuse_init()?;
    if major != CUSE_MAJOR || minor < OLDEST_MINOR {
        return Err(DeviceError::Protocol(major, minor));
    }
    let body = abi::cuse_init_out(minor.min(MINOR), MAX_READ as u32, name);
    let header = abi::out_header(request.unique(), 0, body.len());
    nix::unistd::write(&connection, &[&header[..], &body].concat()).map_err(failed)?;
    // The device is there, or the connection at its end, when the answer has been written.
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).map_err(failed)?;
    let ended = PollFlags::POLLERR | PollFlags::POLLHUP;
    if fds[0].revents().is_some_and(|seen| seen.intersects(ended)) {
        return Err(DeviceError::Refused(name.to_owned()));
    }
    Ok(connection)
}
