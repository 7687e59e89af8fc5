use super::answer::Body;
use super::*;
use crate::tree::{Attributes, NODES};

/// A READ request: 64 bytes from inode 3, O_NONBLOCK, by a process.
fn read_request() -> Vec<u8> {
    let header: [u8; 40] = Body::new()
        .u32(80)
        .u32(15)
        .u64(2)
        .u64(3)
        .u32(1000)
        .u32(1001)
        .u32(99)
        .u32(0)
        .done();
    let body: [u8; 40] = Body::new()
        .u64(7)
        .u64(9)
        .u32(64)
        .u32(2)
        .u64(5)
        .u32(0o4000)
        .u32(0)
        .done();
    [header, body].concat()
}

#[test]
fn a_read_request_is_parsed() {
    let bytes = read_request();
    let request = Request::new_checked(&bytes).unwrap();
    assert_eq!(
        (request.opcode(), request.unique(), request.inode()),
        (Opcode::Read, 2, 3)
    );
    assert_eq!(request.who(), (1000, 1001));
    let read = request.read().unwrap();
    assert_eq!(
        (
            read.handle,
            read.offset,
            read.size,
            read.by_process,
            read.open_flags
        ),
        (7, 9, 64, true, 0o4000)
    );
}

#[test]
fn no_length_passes_but_the_right_one() {
    let bytes = read_request();
    for len in 0..bytes.len() {
        assert!(Request::new_checked(&bytes[..len]).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Request::new_checked(&longer).is_err());
}

#[test]
fn short_bodies_are_malformed_for_every_kind() {
    for len in 0..field::READ_LEN {
        let mut bytes = read_request();
        bytes.truncate(IN_HEADER + len);
        bytes[..4].copy_from_slice(&((IN_HEADER + len) as u32).to_ne_bytes());
        let request = Request::new_checked(&bytes).unwrap();
        assert!(request.read().is_err());
        assert_eq!(request.poll().is_ok(), len >= field::POLL_LEN);
        assert_eq!(request.open_flags().is_ok(), len >= field::OPEN_LEN);
        assert_eq!(request.released().is_ok(), len >= field::RELEASE_LEN);
        assert_eq!(request.interrupted().is_ok(), len >= field::INTERRUPT_LEN);
        assert_eq!(request.access_mask().is_ok(), len >= field::ACCESS_LEN);
    }
}

#[test]
fn names_end_with_their_only_zero() {
    let named = |name: &[u8]| {
        let header: [u8; 40] = Body::new()
            .u32(40 + name.len() as u32)
            .u32(1)
            .put(&[0; 32])
            .done();
        let bytes = [&header[..], name].concat();
        Request::new_checked(&bytes)
            .unwrap()
            .name()
            .map(<[u8]>::to_vec)
    };
    assert_eq!(named(b"raw\0"), Ok(b"raw".to_vec()));
    assert_eq!(named(b"\0"), Ok(Vec::new()));
    for bad in [&b""[..], b"raw", b"ra\0w\0"] {
        assert_eq!(named(bad), Err(Malformed));
    }
}

#[test]
fn answers_have_the_kernels_layout() {
    assert_eq!(
        out_header(0x0102, 11, 0),
        [16, 0, 0, 0, 0xf5, 0xff, 0xff, 0xff, 2, 1, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        poll_notification(5)[..16],
        [24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        resend_notification(),
        [16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        open_out(6),
        [6, 0, 0, 0, 0, 0, 0, 0, 0b10_0001, 0, 0, 0, 0, 0, 0, 0]
    );
    let attributes = Attributes {
        size: 65,
        blocks: 1,
        owner: (10, 11),
        born: 12,
    };
    let out = entry_out(&NODES[3], &attributes);
    assert_eq!(
        (
            u64_at(&out, 0..8),
            u64_at(&out, 40..48),
            u64_at(&out, 48..56)
        ),
        (4, 4, 65)
    );
    assert_eq!(u32_at(&out, 100..104), 0o100_444, "mode");
    assert_eq!(
        (u32_at(&out, 108..112), u32_at(&out, 112..116)),
        (10, 11),
        "owner"
    );
    let out = attr_out(&NODES[6], &attributes);
    assert_eq!(
        (u64_at(&out, 0..8), u32_at(&out, 76..80)),
        (0, 0o100_440),
        "status is asked for each time"
    );
}

#[test]
fn directory_entries_are_padded_and_stop_at_the_limit() {
    let mut out = Vec::new();
    assert!(push_dirent(&mut out, 64, 9, 1, false, "base64", None));
    assert_eq!(
        (out.len(), &out[16..20], &out[24..32]),
        (32, &6u32.to_ne_bytes()[..], &b"base64\0\0"[..])
    );
    assert!(push_dirent(&mut out, 64, 9, 2, true, "stream", None));
    assert!(!push_dirent(&mut out, 64, 9, 3, false, "x", None));
    assert_eq!(out.len(), 64);
}
