//! What is different where the kernel shows one file as a character device: its one inode, reads that go on, ioctls.

use super::{Face, Shared};
use crate::kernel::abi::{self, Read, Request};
use crate::kernel::errno::Refusal;

/// The ioctls of /dev/random (linux/random.h): type `R`, number, and how long the argument is and which way it goes.
mod command {
    /// How many bits there are: an `int` is read.
    pub(super) const RNDGETENTCNT: u32 = 0x8004_5200;
    /// Credit bits that were written before.
    pub(super) const RNDADDTOENTCNT: u32 = 0x4004_5201;
    /// Mix bytes in, and credit them.
    pub(super) const RNDADDENTROPY: u32 = 0x4008_5203;
    /// Forget all credit.
    pub(super) const RNDZAPENTCNT: u32 = 0x5204;
    /// The same.
    pub(super) const RNDCLEARPOOL: u32 = 0x5206;
    /// Seed the generator anew, at once.
    pub(super) const RNDRESEEDCRNG: u32 = 0x5207;
}

impl Shared {
    /// The file that a request is about.
    pub(super) fn inode(&self, request: &Request<'_>) -> u64 {
        match self.face {
            Face::Mount => request.inode(),
            Face::Device(inode) => inode,
        }
    }

    /// Whether the same read(2) has got bytes already: the kernel cuts a long one into several, and counts the offset of a
    /// device from the beginning of each read(2). Its caller then goes away with what it has rather than wait for more.
    pub(super) fn goes_on(&self, read: &Read) -> bool {
        matches!(self.face, Face::Device(_)) && read.offset > 0
    }

    /// Why it may not be opened to be written.
    pub(super) fn not_writable(&self) -> Refusal {
        match self.face {
            Face::Mount => Refusal::ReadOnly,
            Face::Device(_) => Refusal::NotPermitted,
        }
    }

    /// ioctl(2). A device counts its bits as /dev/random does, and takes nothing from anybody.
    pub(super) fn ioctl(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let Face::Device(inode) = self.face else {
            return Err(Refusal::NoIoctl);
        };
        match request.ioctl_command()? {
            command::RNDGETENTCNT => {
                let bits = self.tree.bits(inode)?;
                self.connection
                    .body(request.unique(), &abi::ioctl_out(bits));
                Ok(())
            }
            command::RNDADDTOENTCNT
            | command::RNDADDENTROPY
            | command::RNDZAPENTCNT
            | command::RNDCLEARPOOL
            | command::RNDRESEEDCRNG => Err(Refusal::NotPermitted),
            _ => Err(Refusal::NoIoctl),
        }
    }
}
