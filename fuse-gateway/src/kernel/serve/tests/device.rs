//! A character device against a kernel played by the test.

use super::*;
use crate::kernel::cuse::{DeviceError, begin};

const URANDOM: u64 = 12;

/// A device that is the file `inode`, made as the kernel has it made.
fn device(inode: u64) -> Kernel {
    let (socket, theirs) = pair();
    // CUSE_INIT: protocol 7.36, flags 0.
    socket
        .send(&request(4096, 2, 0, &init(7, 36, &[])))
        .unwrap();
    let connection = Connection::resume(begin(theirs, "qrng").unwrap());
    let mut kernel = Kernel::over(
        socket,
        connection,
        Face::Device(inode),
        &SharesConfig::default(),
    );
    let (unique, errno, body) = kernel.answer().unwrap();
    assert_eq!((unique, errno, body.len()), (2, 0, 72 + 13));
    let word = |at: usize| u32::from_ne_bytes(body[at..at + 4].try_into().unwrap());
    // The protocol, no flags, sizes of reads and writes, and a number that the kernel chooses.
    assert_eq!([0, 4, 8, 12].map(word), [7, 36, 0, 0]);
    assert_eq!([16, 20, 24, 28].map(word), [1 << 20, 4096, 0, 0]);
    assert_eq!(&body[72..], b"DEVNAME=qrng\0");
    kernel
}

/// The body of READ as a device has it: `offset` counts within one read(2).
fn read_at(offset: u64, size: u32, open_flags: i32) -> Vec<u8> {
    let mut body = read_body(0, size, LOCKOWNER, open_flags);
    body[8..16].copy_from_slice(&offset.to_ne_bytes());
    body
}

/// The body of IOCTL, with `input` bytes of an argument.
fn ioctl(command: u32, input: usize) -> Vec<u8> {
    let mut body = vec![0; 32 + input];
    body[12..16].copy_from_slice(&command.to_ne_bytes());
    body
}

/// The bits that RNDGETENTCNT tells.
fn bits(kernel: &mut Kernel) -> i32 {
    kernel.send(&request(39, 21, 0, &ioctl(0x8004_5200, 0)));
    let (unique, errno, body) = kernel.answer().unwrap();
    assert_eq!((unique, errno, body.len()), (21, 0, 20));
    assert_eq!(
        body[..16],
        [0; 16],
        "no error, and nothing to be asked again"
    );
    i32::from_ne_bytes(body[16..].try_into().unwrap())
}

#[test]
fn a_device_is_one_file_whatever_inode_the_kernel_names() {
    let mut kernel = device(RAW);
    assert_eq!(kernel.errno(14, 0, &[0; 8]), 0, "open");
    kernel.feed(100);
    kernel.send(&request(15, 9, 0, &read_at(0, 64, 0)));
    assert_eq!(kernel.answer(), Some((9, 0, vec![0x5a; 64])));
    let poll = [&[0; 16][..], &1u32.to_ne_bytes(), &1u32.to_ne_bytes()].concat();
    kernel.send(&request(40, 8, 0, &poll));
    let readable = (POLLIN | POLLRDNORM) as u32;
    let body = [readable.to_ne_bytes(), [0; 4]].concat();
    assert_eq!(kernel.answer(), Some((8, 0, body)));
    assert_eq!(kernel.shared.tree.buffer().counts().served, 64);
}

#[test]
fn a_read_that_has_bytes_already_does_not_wait_for_more() {
    let mut kernel = device(RAW);
    let again = Errno::EAGAIN as i32;
    assert_eq!(kernel.errno(15, 0, &read_at(131_072, 4096, 0)), again);
    assert_eq!(kernel.errno(15, 0, &read_at(0, 4096, O_NONBLOCK)), again);
    assert_eq!(kernel.shared.tree.buffer().waiting(), 0);
    kernel.send(&request(15, 10, 0, &read_at(0, 4096, 0)));
    assert!(kernel.has_no_answer());
    assert_eq!(kernel.shared.tree.buffer().waiting(), 1);
    kernel.send(&request(36, 11, 0, &10u64.to_ne_bytes()));
    assert_eq!(kernel.answer(), Some((10, Errno::EINTR as i32, Vec::new())));
}

#[test]
fn ioctls_count_bits_and_take_nothing() {
    let mut kernel = device(RAW);
    assert_eq!(bits(&mut kernel), 0);
    kernel.feed(100);
    assert_eq!(bits(&mut kernel), 800);
    // RNDADDTOENTCNT, RNDADDENTROPY, RNDZAPENTCNT, RNDCLEARPOOL, RNDRESEEDCRNG.
    for (command, input) in [
        (0x4004_5201, 4),
        (0x4008_5203, 8),
        (0x5204, 0),
        (0x5206, 0),
        (0x5207, 0),
    ] {
        let errno = kernel.errno(39, 0, &ioctl(command, input));
        assert_eq!(errno, Errno::EPERM as i32, "{command:#x}");
    }
    // RNDGETPOOL, TCGETS, FIONREAD, RNDGETENTCNT of another size, and nothing.
    for command in [0x8008_5202, 0x5401, 0x541b, 0x8008_5200, 0] {
        let errno = kernel.errno(39, 0, &ioctl(command, 0));
        assert_eq!(errno, Errno::ENOTTY as i32, "{command:#x}");
    }
    for len in 0..32 {
        let errno = kernel.errno(39, 0, &ioctl(0x8004_5200, 0)[..len]);
        assert_eq!(errno, Errno::EINVAL as i32, "{len} bytes");
    }
    assert_eq!(kernel.shared.tree.buffer().fill(), 100);
    kernel.shared.tree.buffer().latch();
    assert_eq!(bits(&mut kernel), 0, "none can be read");
}

#[test]
fn a_generator_has_as_many_bits_as_its_seed() {
    let mut kernel = device(URANDOM);
    kernel.feed(1000);
    assert_eq!(bits(&mut kernel), 0, "it has no seed yet");
    kernel.send(&request(15, 9, 0, &read_at(0, 64, 0)));
    assert_eq!(
        kernel.answer().map(|(_, errno, body)| (errno, body.len())),
        Some((0, 64))
    );
    assert_eq!(bits(&mut kernel), 256);
}

#[test]
fn nothing_is_written_to_a_device() {
    let mut kernel = device(RAW);
    for flags in [1u32, 2] {
        let body = [flags.to_ne_bytes(), [0; 4]].concat();
        assert_eq!(kernel.errno(14, 0, &body), Errno::EPERM as i32);
    }
    // WRITE, which the kernel does not send of a file that is open for reading.
    assert_eq!(kernel.errno(16, 0, &[0; 48]), Errno::ENOSYS as i32);
}

#[test]
fn no_device_is_made_of_what_is_not_asked_for() {
    let made = |bytes: &[u8]| {
        let (socket, theirs) = pair();
        socket.send(bytes).unwrap();
        begin(theirs, "qrng").unwrap_err()
    };
    let init = request(4096, 2, 0, &init(7, 36, &[]));
    for len in 1..init.len() {
        assert!(matches!(made(&init[..len]), DeviceError::Malformed(_)));
    }
    let read = request(15, 2, 0, &read_at(0, 1, 0));
    assert!(matches!(made(&read), DeviceError::Malformed(_)));
    for (major, minor) in [(6, 36), (8, 36), (7, 10)] {
        let other = request(4096, 2, 0, &super::init(major, minor, &[]));
        assert!(matches!(made(&other), DeviceError::Protocol(a, b) if (a, b) == (major, minor)));
    }
}
