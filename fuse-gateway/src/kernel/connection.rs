//! The connection to the kernel: one request a read, one answer a write.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::abi::{self, OUT_HEADER};
use super::errno::Refusal;
use crate::buffer::MAX_PIECES;

/// The file system that fuser negotiates for. It never answers a request: our own loop does.
#[derive(Debug)]
pub(super) struct Negotiator;

impl fuser::Filesystem for Negotiator {
    fn init(
        &mut self,
        _: &fuser::Request,
        config: &mut fuser::KernelConfig,
    ) -> std::io::Result<()> {
        // Also the limit of a read, through max_pages.
        let _ = config.set_max_write(super::MAX_READ as u32);
        Ok(())
    }
}

/// An open connection. Dropping it closes the descriptor, which ends the file system if nobody else keeps it open.
#[derive(Debug)]
pub(super) struct Connection {
    fd: OwnedFd,
}

impl Connection {
    /// The connection of a file system that fuser has mounted.
    ///
    /// fuser's own end is never run: its check whether the mount is still there is inverted in 0.18, so after an unmount by
    /// somebody else it could unmount a stranger.
    pub(super) fn of_session(session: fuser::Session<Negotiator>) -> io::Result<Self> {
        let fd = session.as_fd().try_clone_to_owned();
        let number = session.as_fd().as_raw_fd();
        // Never dropped, so nobody else closes this number.
        std::mem::forget(session);
        let _ = nix::unistd::close(number);
        Ok(Self { fd: fd? })
    }

    /// The connection of a file system that somebody else has mounted a moment ago: negotiates with the kernel.
    pub(super) fn begin(fd: OwnedFd, acl: fuser::SessionACL) -> io::Result<Self> {
        let copy = fd.try_clone()?;
        // It has mounted nothing, so its end closes the copy and that is all.
        fuser::Session::from_fd(Negotiator, copy, acl, fuser::Config::default())?;
        Ok(Self { fd })
    }

    /// The connection of a file system for which another process has answered until now.
    pub(super) fn resume(fd: OwnedFd) -> Self {
        Self { fd }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Asks the kernel to send all requests again that wait for an answer: whoever had read them is gone. False: this
    /// kernel cannot (it came with Linux 6.9).
    pub(super) fn resend(&self) -> bool {
        nix::unistd::write(self.fd(), &abi::resend_notification()).is_ok()
    }

    /// Looks for a request for as long as `limit`, without sleeping. Whether there is one, or an end to be read.
    pub(super) fn look(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        loop {
            // An error ends the look as a request would: it is met again by reading.
            if poll(&mut fds, PollTimeout::ZERO) != Ok(0) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
        }
    }

    /// Waits for the next request and reads it to the front of `to`. Nothing is read if it is withdrawn meanwhile; `None` when the
    /// file system has ended.
    pub(super) fn receive<'b>(&self, to: &'b mut [u8]) -> Result<Option<&'b [u8]>, Errno> {
        loop {
            match nix::unistd::read(self.fd(), to) {
                Ok(len) => return Ok(Some(&to[..len])),
                Err(Errno::ENOENT) => return Ok(Some(&[])),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::ENODEV | Errno::ECONNABORTED) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers with data; false if the request is gone (its process was killed) or the connection is.
    pub(super) fn data(&self, unique: u64, pieces: &[IoSlice<'_>], len: usize) -> bool {
        let header = abi::out_header(unique, 0, len);
        let mut all = [IoSlice::new(&[]); MAX_PIECES + 1];
        all[0] = IoSlice::new(&header);
        all[1..=pieces.len()].copy_from_slice(pieces);
        let given = self.write(&all[..=pieces.len()]);
        if !given {
            // Should the request still wait, its process could not even be killed: any answer is better than none. Where
            // it is gone this answer is for nobody.
            let _ = nix::sys::uio::writev(
                self.fd(),
                &[IoSlice::new(&abi::out_header(unique, Errno::EIO as i32, 0))],
            );
        }
        given
    }

    /// Answers with one body, or with nothing but success.
    pub(super) fn body(&self, unique: u64, body: &[u8]) -> bool {
        self.data(unique, &[IoSlice::new(body)], body.len())
    }

    /// Answers with an error.
    pub(super) fn refuse(&self, unique: u64, refusal: Refusal) -> bool {
        self.write(&[IoSlice::new(&abi::out_header(unique, refusal.errno(), 0))])
    }

    /// Wakes those who poll the open file that the kernel calls `kernel_handle`.
    pub(super) fn notify_poll(&self, kernel_handle: u64) {
        self.write(&[IoSlice::new(&abi::poll_notification(kernel_handle))]);
    }

    /// One answer or notification; false if nobody got it.
    fn write(&self, pieces: &[IoSlice<'_>]) -> bool {
        debug_assert!(pieces[0].len() >= OUT_HEADER);
        match nix::sys::uio::writev(self.fd(), pieces) {
            Ok(_) => true,
            // Usual: the process was killed meanwhile, or the file system has ended.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::ECONNABORTED) => false,
            Err(error) => {
                log::warn!("an answer to the kernel failed: {error}");
                false
            }
        }
    }
}
