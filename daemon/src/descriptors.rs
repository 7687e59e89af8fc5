//! Descriptors that others hand to this process: the service manager at its start (sd_listen_fds(3)), or a process at the
//! other end of a Unix socket (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The first descriptor that the service manager hands over.
const FIRST: RawFd = 3;

/// The most descriptors that are taken from it.
const MOST: i32 = 64;

/// A descriptor that was handed over, with the name that it was given.
#[derive(Debug)]
pub struct Handed {
    /// `FDNAME` of the unit, or `FileDescriptorName` of a socket.
    pub name: String,
    /// The descriptor, closed in programs that this one starts.
    pub fd: OwnedFd,
}

/// Takes the descriptors of `LISTEN_FDS`, if they are for this process. The second call gives none.
///
/// # Errors
/// A number in the environment that cannot be right, or a descriptor that is not open.
pub fn handed_over() -> io::Result<Vec<Handed>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let get = |name| std::env::var(name).ok();
    let ours = get("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    if !ours || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let count = get("LISTEN_FDS").and_then(|count| count.parse().ok());
    let count: i32 = count
        .filter(|count| (0..=MOST).contains(count))
        .ok_or_else(|| io::Error::other("LISTEN_FDS is no number of descriptors"))?;
    let names = get("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(std::iter::repeat(""));
    let numbers = FIRST..FIRST + count;
    let handed = numbers.zip(names).map(|(number, name)| {
        Ok(Handed {
            name: name.to_owned(),
            fd: own(number)?,
        })
    });
    handed.collect()
}

/// Takes a descriptor that the process which has started this one left open for it, by the number that it has told.
///
/// # Errors
/// There is none, or it is one of standard input, output and error.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    own(number)
}

/// Sends `bytes`, and `fd` with them.
///
/// # Errors
/// The socket's.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let fds: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    let to = socket.as_fd().as_raw_fd();
    let sent = sendmsg::<()>(
        to,
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives what one [`send`] of at most `room.len()` bytes has sent: how many bytes, and the descriptor.
///
/// # Errors
/// The socket's.
pub fn receive(socket: impl AsFd, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(room)];
    let (from, flags) = (socket.as_fd().as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
    let message = recvmsg::<()>(from, &mut slices, Some(&mut control), flags)?;
    let mut fd = None;
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = item {
            // There is room for one, and the kernel closes those that find none.
            for number in numbers {
                fd = Some(own(number)?);
            }
        }
    }
    Ok((message.bytes, fd))
}

/// Makes a descriptor that was handed over this process's own.
fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) of a number that is no descriptor is an error and nothing else.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, as fcntl(2) has shown, and it was handed to this process as a whole: by the kernel a moment ago
    // (SCM_RIGHTS), by the service manager for this process id, of whose descriptors `handed_over` makes owners once, or by the
    // process that has started this one, which tells the number once, before anything else is opened.
    // Nothing else in the process knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_crosses_a_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut end, other) = UnixStream::pair().unwrap();
        send(&here, b"take it", Some(other.as_fd())).unwrap();
        drop(other);
        let mut room = [0; 32];
        let (len, fd) = receive(&there, &mut room).unwrap();
        assert_eq!(&room[..len], b"take it");
        File::from(fd.unwrap()).write_all(b"through it").unwrap();
        let mut got = String::new();
        end.read_to_string(&mut got).unwrap();
        assert_eq!(got, "through it");
        send(&here, b"none", None).unwrap();
        let (len, fd) = receive(&there, &mut room).unwrap();
        assert!(len == 4 && fd.is_none());
        drop(here);
        assert_eq!(receive(&there, &mut room).unwrap().0, 0);
    }

    #[test]
    fn a_descriptor_that_was_left_open_is_taken_by_its_number() {
        use std::os::fd::IntoRawFd;
        let (mut here, there) = UnixStream::pair().unwrap();
        let number = there.into_raw_fd();
        File::from(inherited(number).unwrap())
            .write_all(b"x")
            .unwrap();
        let mut got = [0];
        here.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
        assert!(inherited(1).is_err() && inherited(1_000_000).is_err());
    }

    #[test]
    fn what_is_for_another_process_is_not_taken() {
        // The environment of a test has no LISTEN_PID of its own process.
        assert!(handed_over().unwrap().is_empty());
    }
}
