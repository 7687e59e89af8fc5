//! The one place where errors become numbers.

use nix::errno::Errno;

use super::abi::Malformed;
use crate::tree::TreeError;

/// Why a request is refused, beyond what the tree says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Tree(TreeError),
    /// The request could not be parsed.
    Malformed,
    /// A page-cache read: two readers would get the same bytes.
    PageCache,
    /// A file was opened to be written, or access to write was asked about.
    ReadOnly,
    /// access(2) for what the permissions don't give.
    NoPermission,
    /// No bytes now, and the reader doesn't want to wait.
    WouldBlock,
    /// The reader's user has had all bytes that it may have today.
    QuotaSpent,
    /// The waiting reader got a signal.
    Interrupted,
    /// An INTERRUPT for a request that isn't waiting (yet): the kernel sends it again while that request lives.
    InterruptLater,
    /// As many readers wait as may wait.
    TooManyWaiting,
    /// The gateway is going away.
    Ending,
    /// readlink(2) of what is no link.
    NotALink,
    /// opendir(3) of what is no directory.
    NotADirectory,
    /// A device was opened to be written, or is to take, lose or mix its bytes: nobody may do that, root neither.
    NotPermitted,
    /// ioctl(2): there is no such one.
    NoIoctl,
    /// A kind of request that this file system doesn't know.
    Unknown,
}

impl From<TreeError> for Refusal {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

impl From<Malformed> for Refusal {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Refusal {
    /// The number for the answer's header, positive.
    pub(super) fn errno(self) -> i32 {
        let errno = match self {
            Self::Tree(TreeError::NotFound) => Errno::ENOENT,
            Self::Tree(TreeError::IsDirectory) => Errno::EISDIR,
            Self::Tree(TreeError::BadHandle) => Errno::EBADF,
            Self::Tree(TreeError::TooManyOpen) => Errno::ENFILE,
            Self::Tree(TreeError::NoMemory) => Errno::ENOMEM,
            Self::Tree(
                TreeError::Stalled
                | TreeError::Latched
                | TreeError::LeftOver
                | TreeError::NoGenerator,
            ) => Errno::EIO,
            Self::Malformed | Self::PageCache | Self::NotALink => Errno::EINVAL,
            Self::ReadOnly => Errno::EROFS,
            Self::NoPermission => Errno::EACCES,
            Self::WouldBlock | Self::InterruptLater => Errno::EAGAIN,
            Self::QuotaSpent => Errno::EDQUOT,
            Self::Interrupted => Errno::EINTR,
            Self::TooManyWaiting => Errno::ENOBUFS,
            Self::Ending => Errno::ECONNABORTED,
            Self::NotADirectory => Errno::ENOTDIR,
            Self::NotPermitted => Errno::EPERM,
            Self::NoIoctl => Errno::ENOTTY,
            Self::Unknown => Errno::ENOSYS,
        };
        errno as i32
    }
}
