//! RNDADDENTROPY (random(4)): bytes for the kernel's pool, and how much entropy it is told they have.
//!
//! ```text
//! offset  size  struct rand_pool_info (linux/random.h)
//!      0     4  entropy_count: bits, in the processor's byte order
//!      4     4  buf_size: bytes that follow
//!      8     n  the bytes
//! ```
//!
//! This file alone holds `unsafe`: ioctls have no safe form.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc::c_int;

/// The most bytes at a time.
pub const MOST: usize = 512;

/// The head of a `struct rand_pool_info`, which is what the ioctl's number has the size of.
type Head = [c_int; 2];

mod raw {
    nix::ioctl_write_ptr!(add_entropy, b'R', 0x03, super::Head);
}

/// Bytes with their head. They are wiped when dropped.
#[repr(C)]
pub(super) struct Packet {
    head: Head,
    bytes: [u8; MOST],
}

impl Packet {
    /// Room for so many bytes, at most [`MOST`].
    pub(super) fn new(bytes: usize) -> Box<Self> {
        Box::new(Self {
            head: [0, bytes.min(MOST) as c_int],
            bytes: [0; MOST],
        })
    }

    /// The bytes.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.head[1] as usize;
        &mut self.bytes[..len]
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        qrng::wipe(&mut self.bytes);
    }
}

/// Gives the kernel the bytes, and tells it that they have `credit` bits of entropy.
///
/// # Errors
/// The kernel's: without CAP_SYS_ADMIN it is EPERM.
pub(super) fn add_entropy(device: &File, packet: &mut Packet, credit: usize) -> io::Result<()> {
    let most = packet.bytes_mut().len() * 8;
    packet.head[0] = credit.min(most) as c_int;
    let whole: *const Packet = packet;
    // SAFETY: the descriptor is open as long as `device` is borrowed. The kernel reads a head and as many bytes behind it as the head
    // says: `Packet` is laid out so, the pointer is to all of it, and `new` has seen to it that there are so many. It writes nothing.
    unsafe { raw::add_entropy(device.as_raw_fd(), whole.cast::<Head>()) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_layout_are_the_kernels() {
        let number = nix::request_code_write!(b'R', 0x03, size_of::<Head>());
        assert_eq!(number, 0x4008_5203);
        assert_eq!(std::mem::offset_of!(Packet, bytes), 8);
        assert_eq!(size_of::<Packet>(), 8 + MOST);
        assert_eq!(Packet::new(MOST + 1).bytes_mut().len(), MOST);
        assert_eq!(Packet::new(32).bytes_mut().len(), 32);
    }

    #[test]
    fn what_is_no_pool_refuses() {
        let other = File::options().write(true).open("/dev/null").unwrap();
        let error = add_entropy(&other, &mut Packet::new(32), 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY));
    }
}
