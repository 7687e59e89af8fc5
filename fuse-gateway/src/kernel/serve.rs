//! The request loop: one request in, one answer out, by as many threads as there are CPUs.
//!
//! The threads take turns at the connection. Who has the turn keeps it over short requests, so that a process which reads
//! little and often always meets the same thread, awake and with its memory in the cache; for a long read it passes the
//! turn on first, so that nobody waits behind the copying.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc::{O_ACCMODE, O_NONBLOCK, O_RDONLY, O_SYNC, POLLERR, POLLIN, POLLRDNORM};

use qrng_daemon::Pulse;

use super::abi::{self, Opcode, Request};
use super::awake::Awake;
use super::connection::Connection;
use super::eager::{Eager, LOOK};
use super::errno::Refusal;
use super::waiting::{Ask, Parked, Polls, Waiting};
use crate::buffer::{Lane, MAX_CLAIM};
use crate::shares::Account;
use crate::tree::{Desk, NODES, Reading, Tree};

mod device;
mod directory;
mod parked;
mod parts;

/// Reads from this size on, in bytes, are answered without the turn: copying them takes longer than waking a thread.
const LONG_READ: usize = 256 * 1024;

/// Kernel handles before the latest that are taken for those of pollers of an earlier run: as many files may be open.
const EARLIER_FILES: u64 = 65_536;

/// Who has the connection when this process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Nobody: the file system was unmounted.
    Nobody,
    /// Others keep it open, but nobody can go on with it: whoever waits must be told.
    Others,
    /// The next run, which is asked again for all that was left unanswered.
    NextRun,
}

/// What the kernel shows to programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    /// All files, as a file system.
    Mount,
    /// The file with this inode, as a character device. The kernel names no inode then.
    Device(u64),
}

/// What the threads of one mount, or of one device, share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connection: Connection,
    pub(super) tree: Arc<Tree>,
    face: Face,
    pub(super) waiting: Waiting,
    /// Who holds it reads the next request.
    turn: Mutex<Awake>,
    /// Threads end when they see it, after the answer they are at.
    pub(super) stopping: AtomicBool,
    pub(super) after: After,
    /// Whether pollers may wait for an earlier run to wake them.
    owes_wakes: AtomicBool,
}

impl Shared {
    /// `resumed`: an earlier run has answered over the same connection.
    pub(super) fn new(
        connection: Connection,
        tree: Arc<Tree>,
        face: Face,
        after: After,
        resumed: bool,
        awake: Awake,
    ) -> Self {
        let lane = match face {
            Face::Mount => Lane::Files,
            Face::Device(inode) => Lane::Device(inode),
        };
        let waiting = Waiting::new(Arc::clone(tree.buffer().queue()), lane);
        Self {
            connection,
            tree,
            face,
            waiting,
            turn: Mutex::new(awake),
            stopping: AtomicBool::new(false),
            after,
            owes_wakes: AtomicBool::new(resumed),
        }
    }

    /// Has all who polled an open file of an earlier run ask again. The kernel counts a connection's open files upwards from 1.
    pub(super) fn wake_earlier(&self) {
        (1..=EARLIER_FILES).for_each(|file| self.connection.notify_poll(file));
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A loop thread: answers requests until the file system ends.
    ///
    /// # Errors
    /// The descriptor can't be read.
    pub(super) fn answer_all(&self, desk: &mut Desk, pulse: &Pulse) -> Result<(), Errno> {
        // The kernel insists on room for the largest write; only the pages that requests touch become memory.
        let mut room = vec![0; super::MAX_READ + 4096];
        let mut kept = None;
        let mut eager = Eager::default();
        loop {
            let looks = kept.is_some() && eager.looks();
            let found = looks && self.connection.look(LOOK);
            if looks {
                eager.looked(found);
            }
            // A panic elsewhere spoils neither the order of the readers nor what is asked of the kernel.
            let mut turn = kept
                .take()
                .unwrap_or_else(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
            if self.stopping() {
                return Ok(());
            }
            turn.meet(found);
            let Some(bytes) = self.connection.receive(&mut room)? else {
                return Ok(());
            };
            if bytes.is_empty() {
                // Looked out for anew, because what follows may not come at once.
                kept = Some(turn);
                continue;
            }
            pulse.works();
            kept = self.answer(bytes, desk, turn);
            pulse.waits();
        }
    }

    /// Answers one request. Gives the turn back if it was kept: giving it up wakes another thread.
    fn answer<'t>(
        &self,
        bytes: &[u8],
        desk: &mut Desk,
        turn: MutexGuard<'t, Awake>,
    ) -> Option<MutexGuard<'t, Awake>> {
        let request = match Request::new_checked(bytes) {
            Ok(request) => request,
            Err(malformed) => {
                log::warn!("{malformed}; it is left unanswered");
                return Some(turn);
            }
        };
        let kept = (!is_long(&request)).then_some(turn);
        if let Err(refusal) = self.dispatch(&request, desk) {
            self.connection.refuse(request.unique(), refusal);
        }
        kept
    }

    /// Answers one request, or says with what error it is to be answered.
    fn dispatch(&self, request: &Request<'_>, desk: &mut Desk) -> Result<(), Refusal> {
        let unique = request.unique();
        match request.opcode() {
            Opcode::Read => self.read(request, desk)?,
            Opcode::Interrupt => self.interrupt(request)?,
            Opcode::Poll => self.poll(request, desk)?,
            Opcode::Lookup => {
                let entry = self.tree.lookup(request.inode(), request.name()?)?;
                self.connection
                    .body(unique, &abi::entry_out(entry, &self.tree.attributes(entry)));
            }
            Opcode::Getattr => {
                let entry = self.tree.entry(request.inode())?;
                self.connection
                    .body(unique, &abi::attr_out(entry, &self.tree.attributes(entry)));
            }
            Opcode::Open => self.open(request)?,
            Opcode::Release => {
                self.tree.release(request.released()?);
                self.connection.body(unique, &[]);
            }
            Opcode::Opendir => {
                let directory = self.tree.entry(request.inode())?.is_directory();
                if !directory {
                    return Err(Refusal::NotADirectory);
                }
                self.connection.body(unique, &abi::opendir_out());
            }
            Opcode::Readdir => self.read_directory(request, false)?,
            Opcode::Readdirplus => self.read_directory(request, true)?,
            Opcode::Access => self.access(request)?,
            Opcode::Statfs => {
                self.connection
                    .body(unique, &abi::statfs_out(NODES.len() as u64));
            }
            Opcode::Flush | Opcode::Releasedir | Opcode::Destroy => {
                self.connection.body(unique, &[]);
            }
            // Inodes live as long as the tree; these two want no answer.
            Opcode::Forget | Opcode::BatchForget => {}
            Opcode::Readlink => return Err(Refusal::NotALink),
            Opcode::Ioctl => self.ioctl(request)?,
            Opcode::CuseInit | Opcode::Other(_) => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    fn read(&self, request: &Request<'_>, desk: &mut Desk) -> Result<(), Refusal> {
        let read = request.read()?;
        if !read.by_process {
            return Err(Refusal::PageCache);
        }
        let ask = Ask {
            unique: request.unique(),
            inode: self.inode(request),
            handle: read.handle,
            offset: read.offset,
            size: read.size,
        };
        let queue = self.tree.buffer().queue();
        let user = desk.known.account(queue.users(), request.who().0);
        let patient = read.open_flags & O_NONBLOCK == 0 && !self.goes_on(&read);
        let free = queue.is_free();
        let most = if free {
            Some(MAX_CLAIM)
        } else {
            self.most(&ask, &user, patient)?
        };
        if let Some(most) = most {
            match self.serve(&ask, &user, most, desk)? {
                Reading::Answered { taken } => {
                    self.count(&user, if free { 0 } else { taken });
                    return Ok(());
                }
                Reading::Empty if !patient => return Err(Refusal::WouldBlock),
                Reading::Empty => {}
            }
        } else if !patient {
            return Err(Refusal::WouldBlock);
        }
        self.park(Parked { ask, user })
    }

    /// Answers a read of `user` if there are bytes, with `most` of them at the most. If the answer reaches nobody its bytes
    /// are destroyed.
    fn serve(
        &self,
        ask: &Ask,
        user: &Account,
        most: usize,
        desk: &mut Desk,
    ) -> Result<Reading, Refusal> {
        let deliver =
            |pieces: &[std::io::IoSlice<'_>], len| self.connection.data(ask.unique, pieces, len);
        if !self.tree.entry(ask.inode)?.is_random() {
            // Nothing is taken, so nothing is held of the user's: a document may tell of it.
            let (inode, handle, size) = (ask.inode, ask.handle, (ask.size, MAX_CLAIM));
            return Ok(self
                .tree
                .read(inode, handle, ask.offset, size, desk, deliver)?);
        }
        let allowance = user.allow(|| self.today());
        let left = allowance.left();
        if allowance.is_limited() && self.tree.need(ask.inode, ask.handle)? > left {
            return Err(Refusal::QuotaSpent);
        }
        let reading = self.tree.read(
            ask.inode,
            ask.handle,
            ask.offset,
            (ask.size, most.min(left)),
            desk,
            deliver,
        )?;
        if let Reading::Answered { taken } = reading {
            allowance.took(taken);
        }
        Ok(reading)
    }

    fn park(&self, read: Parked) -> Result<(), Refusal> {
        let (inode, handle) = (read.ask.inode, read.ask.handle);
        if self.stopping() {
            return match self.after {
                After::NextRun => Ok(()),
                After::Nobody | After::Others => Err(Refusal::Ending),
            };
        }
        if !self.waiting.park(read) {
            return Err(Refusal::TooManyWaiting);
        }
        // From here on another thread may answer it. Armed first, looked then: bytes that come between are heard.
        self.tree.buffer().arm();
        if !matches!(self.tree.ready(inode, handle), Ok(false)) {
            self.tree.buffer().notify();
        }
        Ok(())
    }

    fn interrupt(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let unique = request.interrupted()?;
        let Some(others) = self.waiting.interrupt(unique) else {
            return Err(Refusal::InterruptLater);
        };
        self.connection.refuse(unique, Refusal::Interrupted);
        // It may have been the first, and wanted more than the next one does.
        self.tell(others || !self.waiting.is_empty());
        Ok(())
    }

    fn poll(&self, request: &Request<'_>, desk: &mut Desk) -> Result<(), Refusal> {
        let poll = request.poll()?;
        let inode = self.inode(request);
        if self.owes_wakes.swap(false, Ordering::SeqCst) {
            // The kernel counts open files upwards, and passes over handles that nobody polls.
            let first = poll.kernel_handle.saturating_sub(EARLIER_FILES);
            (first..poll.kernel_handle).for_each(|file| self.connection.notify_poll(file));
        }
        let users = self.tree.buffer().queue().users();
        let user = desk.known.account(users, request.who().0);
        let mut ready = self.ready(inode, poll.handle, &user)?;
        if !ready && poll.notify {
            self.wake(&self.waiting.watch(poll.kernel_handle, &user));
            self.tree.buffer().arm();
            ready = self.ready(inode, poll.handle, &user)?;
            if !ready && self.tree.ready(inode, poll.handle)? {
                // What there is is kept for others: that lapses, and `parked` must know that somebody waits for it.
                self.tree.buffer().notify();
            }
        }
        let spent = user.lacks(self.tree.need(inode, poll.handle)?, || self.today());
        let readable = if ready { POLLIN | POLLRDNORM } else { 0 };
        let failed = if spent || self.tree.fails(inode)? {
            POLLERR
        } else {
            0
        };
        self.connection
            .body(request.unique(), &abi::poll_out((readable | failed) as u32));
        Ok(())
    }

    /// Wakes pollers.
    fn wake(&self, polls: &Polls) {
        polls
            .keys()
            .for_each(|&file| self.connection.notify_poll(file));
    }

    fn open(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let flags = request.open_flags()?;
        if flags & O_ACCMODE != O_RDONLY {
            return Err(self.not_writable());
        }
        let handle = self
            .tree
            .open(self.inode(request), flags & O_SYNC == O_SYNC)?;
        if !self
            .connection
            .body(request.unique(), &abi::open_out(handle))
        {
            self.tree.release(handle);
        }
        Ok(())
    }
}

/// Whether answering means to copy so much that another thread should take the next request meanwhile.
fn is_long(request: &Request<'_>) -> bool {
    matches!(request.opcode(), Opcode::Read)
        && request.read().is_ok_and(|read| read.size >= LONG_READ)
}

#[cfg(test)]
mod tests;
