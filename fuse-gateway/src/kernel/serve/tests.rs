//! The loop against a kernel played by the test: requests and answers as literal bytes over a datagram socket.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;
use crate::buffer::{Buffer, Overflow};
use crate::kernel::StayAwake;
use crate::shares::{QUANTUM, SharesConfig, Users};

mod device;

const RAW: u64 = 3;
const HEX: u64 = 4;
const STREAM_HEX: u64 = 8;
const LOCKOWNER: u32 = 2;

/// The test's end of the connection, and what it talks to.
struct Kernel {
    socket: UnixDatagram,
    shared: Arc<Shared>,
    desk: Desk,
}

/// An answer: its number, its errno and its body.
type Answer = (u64, i32, Vec<u8>);

fn request(opcode: u32, unique: u64, inode: u64, body: &[u8]) -> Vec<u8> {
    request_of(0, opcode, unique, inode, body)
}

/// The same of the user `uid`.
fn request_of(uid: u32, opcode: u32, unique: u64, inode: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((40 + body.len() as u32).to_ne_bytes());
    bytes.extend(opcode.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(uid.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes.extend(body);
    bytes
}

fn read_body(handle: u64, size: u32, read_flags: u32, open_flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(handle.to_ne_bytes());
    body.extend(0u64.to_ne_bytes());
    body.extend(size.to_ne_bytes());
    body.extend(read_flags.to_ne_bytes());
    body.extend(0u64.to_ne_bytes());
    body.extend(open_flags.to_ne_bytes());
    body.extend([0; 4]);
    body
}

/// The kernel's end and ours.
fn pair() -> (UnixDatagram, OwnedFd) {
    let (socket, theirs) = UnixDatagram::pair().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    (socket, OwnedFd::from(theirs))
}

/// The body of INIT and CUSE_INIT: the protocol, 4096, 0, and `more`.
fn init(major: u32, minor: u32, more: &[u8]) -> Vec<u8> {
    let numbers = [major, minor, 4096, 0];
    let bytes = numbers.into_iter().flat_map(u32::to_ne_bytes);
    bytes.chain(more.iter().copied()).collect()
}

fn poll_body(kernel_handle: u64) -> Vec<u8> {
    [0u64, kernel_handle]
        .into_iter()
        .flat_map(u64::to_ne_bytes)
        .chain([1, 0, 0, 0, 1, 0, 0, 0])
        .collect()
}

impl Kernel {
    fn new() -> Self {
        Self::shared(&SharesConfig::default())
    }

    fn shared(shares: &SharesConfig) -> Self {
        let (socket, theirs) = pair();
        // INIT: protocol 7.40, read-ahead 4096, no flags.
        socket
            .send(&request(26, 2, 0, &init(7, 40, &[0; 48])))
            .unwrap();
        let connection = Connection::begin(theirs, fuser::SessionACL::All);
        let mut kernel = Self::over(socket, connection.unwrap(), Face::Mount, shares);
        assert_eq!(kernel.answer().unwrap().0, 2, "INIT is answered");
        kernel
    }

    fn over(
        socket: UnixDatagram,
        connection: Connection,
        face: Face,
        shares: &SharesConfig,
    ) -> Self {
        let users = Arc::new(Users::new(shares, || 86_400_000_000));
        let buffer = Arc::new(Buffer::shared(1 << 20, Overflow::Discard, users).unwrap());
        let tree = Arc::new(Tree::new(
            buffer,
            Arc::new(|| "{}".to_owned()),
            (0, 0),
            1_000_000,
        ));
        let awake = Awake::open(StayAwake::No);
        let shared = Shared::new(connection, tree, face, After::Nobody, false, awake);
        Self {
            socket,
            shared: Arc::new(shared),
            desk: Desk::new().unwrap(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let turn = self.shared.turn.lock().unwrap();
        drop(self.shared.answer(bytes, &mut self.desk, turn));
    }

    /// Sends a request and returns its answer's errno.
    fn errno(&mut self, opcode: u32, inode: u64, body: &[u8]) -> i32 {
        self.send(&request(opcode, 78, inode, body));
        let (unique, errno, _) = self.answer().expect("an answer");
        assert_eq!(unique, 78);
        errno
    }

    fn answer(&mut self) -> Option<Answer> {
        let mut bytes = vec![0; 200_000];
        let len = self.socket.recv(&mut bytes).ok()?;
        bytes.truncate(len);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(word(0) as usize, len);
        let unique = u64::from_ne_bytes(bytes[8..16].try_into().unwrap());
        Some((unique, -(word(4) as i32), bytes[16..].to_vec()))
    }

    fn has_no_answer(&mut self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let none = self.answer().is_none();
        self.socket.set_nonblocking(false).unwrap();
        none
    }

    fn feed(&self, count: usize) {
        self.shared.tree.buffer().push(&vec![0x5a; count]);
        self.shared.tree.buffer().notify();
    }
}

#[test]
fn a_read_gets_bytes_and_they_count_as_served() {
    let mut kernel = Kernel::new();
    kernel.feed(100);
    kernel.send(&request(15, 9, RAW, &read_body(0, 64, LOCKOWNER, 0)));
    assert_eq!(kernel.answer(), Some((9, 0, vec![0x5a; 64])));
    let counts = kernel.shared.tree.buffer().counts();
    assert_eq!((counts.served, counts.fill), (64, 36));
}

#[test]
fn a_read_whose_answer_fails_is_destroyed() {
    let mut kernel = Kernel::new();
    kernel.feed(100);
    let (closed, other) = UnixDatagram::pair().unwrap();
    drop(std::mem::replace(&mut kernel.socket, closed));
    kernel.send(&request(15, 9, RAW, &read_body(0, 64, LOCKOWNER, 0)));
    let counts = kernel.shared.tree.buffer().counts();
    assert_eq!(
        (
            counts.destroyed,
            counts.served,
            counts.fill,
            counts.in_flight
        ),
        (64, 0, 36, 0)
    );
    drop(other);
}

#[test]
fn page_cache_reads_are_refused_for_every_file() {
    let mut kernel = Kernel::new();
    kernel.feed(1000);
    for entry in &NODES {
        let Ok(handle) = kernel.shared.tree.open(entry.inode, false) else {
            continue;
        };
        assert_eq!(
            kernel.errno(15, entry.inode, &read_body(handle, 64, 0, 0)),
            Errno::EINVAL as i32
        );
    }
    assert_eq!(kernel.shared.tree.buffer().fill(), 1000);
}

#[test]
fn what_is_not_known_gets_enosys_and_the_rest_its_errno() {
    let mut kernel = Kernel::new();
    // SETATTR, WRITE, GETXATTR, CREATE, LSEEK, STATX, and a number from the future.
    for opcode in [4, 16, 22, 35, 46, 52, 4000] {
        assert_eq!(kernel.errno(opcode, RAW, &[0; 64]), Errno::ENOSYS as i32);
    }
    for (opcode, inode, body, errno) in [
        (1, 1, &b"nothing\0"[..], Errno::ENOENT),
        (1, 1, b"no zero", Errno::EINVAL),
        (3, 99, &[0; 16], Errno::ENOENT),
        (5, RAW, &[], Errno::EINVAL),
        (14, RAW, &[1, 0, 0, 0, 0, 0, 0, 0], Errno::EROFS),
        (14, 1, &[0; 8], Errno::EISDIR),
        (15, RAW, &[0; 39], Errno::EINVAL),
        (15, 1, &read_body(0, 1, LOCKOWNER, 0), Errno::EISDIR),
        (15, HEX, &read_body(u64::MAX, 1, LOCKOWNER, 0), Errno::EBADF),
        (
            15,
            RAW,
            &read_body(0, 1, LOCKOWNER, O_NONBLOCK),
            Errno::EAGAIN,
        ),
        (27, RAW, &[0; 8], Errno::ENOTDIR),
        (34, RAW, &[2, 0, 0, 0, 0, 0, 0, 0], Errno::EROFS),
        (34, RAW, &[1, 0, 0, 0, 0, 0, 0, 0], Errno::EACCES),
        (36, 0, &[1], Errno::EINVAL),
        (39, RAW, &[0; 32], Errno::ENOTTY),
        (40, RAW, &[0; 23], Errno::EINVAL),
    ] {
        assert_eq!(
            kernel.errno(opcode, inode, body),
            errno as i32,
            "opcode {opcode}"
        );
    }
    // FLUSH, STATFS, RELEASEDIR, OPENDIR, DESTROY, ACCESS to read.
    for (opcode, inode) in [(25, RAW), (17, 1), (29, 1), (27, 1), (38, 0)] {
        assert_eq!(kernel.errno(opcode, inode, &[0; 24]), 0, "opcode {opcode}");
    }
    assert_eq!(kernel.errno(34, RAW, &[4, 0, 0, 0, 0, 0, 0, 0]), 0);
}

#[test]
fn nothing_that_is_no_request_ends_the_loop() {
    let mut kernel = Kernel::new();
    let whole = request(15, 9, RAW, &read_body(0, 64, LOCKOWNER, 0));
    for len in 0..40 {
        kernel.send(&whole[..len]);
    }
    kernel.send(&[0xff; 200]);
    // FORGET and BATCH_FORGET want no answer, whatever is in them.
    kernel.send(&request(2, 5, RAW, &[]));
    kernel.send(&request(42, 5, RAW, &[0xff; 9]));
    assert!(kernel.has_no_answer());
    assert_eq!(kernel.errno(3, RAW, &[0; 16]), 0, "it still answers");
}

#[test]
fn an_interrupt_ends_a_waiting_read_and_is_put_off_for_others() {
    let mut kernel = Kernel::new();
    kernel.send(&request(36, 11, 0, &10u64.to_ne_bytes()));
    assert_eq!(
        kernel.answer(),
        Some((11, Errno::EAGAIN as i32, Vec::new())),
        "not known yet: it is to be sent again"
    );
    kernel.send(&request(15, 10, RAW, &read_body(0, 64, LOCKOWNER, 0)));
    assert!(kernel.has_no_answer());
    assert_eq!(kernel.shared.tree.buffer().waiting(), 1);
    kernel.send(&request(36, 11, 0, &10u64.to_ne_bytes()));
    assert_eq!(kernel.answer(), Some((10, Errno::EINTR as i32, Vec::new())));
    assert!(kernel.has_no_answer(), "the interrupt itself has no answer");
    assert_eq!(kernel.shared.tree.buffer().waiting(), 0);
}

#[test]
fn the_parked_thread_serves_in_order_and_wakes_pollers() {
    let mut kernel = Kernel::new();
    kernel.send(&request(40, 8, RAW, &poll_body(0x77)));
    assert_eq!(kernel.answer(), Some((8, 0, vec![0; 8])), "not ready");
    for unique in [10, 12] {
        kernel.send(&request(15, unique, RAW, &read_body(0, 4, LOCKOWNER, 0)));
    }
    let shared = kernel.shared.clone();
    let thread = std::thread::spawn(move || {
        let pulse = qrng_daemon::Progress::default().stage("parked");
        shared.serve_waiting(&mut Desk::new().unwrap(), &pulse)
    });
    kernel.feed(4);
    assert_eq!(
        kernel.answer(),
        Some((0, -1, 0x77u64.to_ne_bytes().to_vec())),
        "the poll notification"
    );
    assert_eq!(kernel.answer(), Some((10, 0, vec![0x5a; 4])));
    kernel.feed(3);
    assert_eq!(kernel.answer(), Some((12, 0, vec![0x5a; 3])));
    kernel.send(&request(15, 14, RAW, &read_body(0, 4, LOCKOWNER, 0)));
    kernel.shared.tree.set_stalled(true);
    assert_eq!(kernel.answer(), Some((14, Errno::EIO as i32, Vec::new())));
    kernel.shared.tree.set_stalled(false);
    kernel.send(&request(15, 16, RAW, &read_body(0, 4, LOCKOWNER, 0)));
    kernel.shared.stopping.store(true, Ordering::SeqCst);
    kernel.shared.tree.buffer().alert();
    assert_eq!(
        kernel.answer(),
        Some((16, Errno::ECONNABORTED as i32, Vec::new()))
    );
    thread.join().unwrap();
}

/// Lets the thread `parked` serve until the test has looked, and ends it.
fn with_parked(kernel: &mut Kernel, with: impl FnOnce(&mut Kernel)) {
    let shared = kernel.shared.clone();
    let thread = std::thread::spawn(move || {
        let pulse = qrng_daemon::Progress::default().stage("parked");
        shared.serve_waiting(&mut Desk::new().unwrap(), &pulse)
    });
    with(kernel);
    kernel.shared.stopping.store(true, Ordering::SeqCst);
    kernel.shared.tree.buffer().alert();
    thread.join().unwrap();
}

#[test]
fn those_who_wait_are_served_by_user_and_in_quanta() {
    let mut kernel = Kernel::new();
    let body = read_body(0, 1 << 20, LOCKOWNER, 0);
    for unique in [10, 12, 14] {
        kernel.send(&request_of(1000, 15, unique, RAW, &body));
    }
    let small = read_body(0, 32, LOCKOWNER, 0);
    kernel.send(&request_of(2000, 15, 16, RAW, &small));
    with_parked(&mut kernel, |kernel| {
        kernel.feed(QUANTUM + 40);
        let (unique, _, bytes) = kernel.answer().unwrap();
        assert_eq!((unique, bytes.len()), (10, QUANTUM));
        let (unique, _, bytes) = kernel.answer().unwrap();
        assert_eq!(
            (unique, bytes.len()),
            (16, 32),
            "before the greedy one's next"
        );
        // What is left is kept for user 2000, who is behind, and who will not wait gets none of it.
        let impatient = read_body(0, 32, LOCKOWNER, O_NONBLOCK);
        kernel.send(&request_of(1000, 15, 18, RAW, &impatient));
        assert_eq!(
            kernel.answer(),
            Some((18, Errno::EAGAIN as i32, Vec::new()))
        );
        kernel.send(&request_of(1000, 40, 20, RAW, &poll_body(0x77)));
        assert_eq!(
            kernel.answer(),
            Some((20, 0, vec![0; 8])),
            "not ready for it"
        );
        kernel.send(&request_of(2000, 40, 22, RAW, &poll_body(0x78)));
        let ready = (POLLIN | POLLRDNORM) as u32;
        let (_, _, events) = kernel.answer().unwrap();
        assert_eq!(events[..4], ready.to_ne_bytes());
        kernel.send(&request_of(2000, 15, 24, RAW, &impatient));
        assert_eq!(kernel.answer(), Some((24, 0, vec![0x5a; 8])));
    });
    let users = kernel.shared.tree.buffer().queue().users();
    assert_eq!(users.account(1000).bytes(), QUANTUM as u64);
    assert_eq!(users.account(2000).bytes(), 40);
    assert_eq!(users.account(1000).waits(), 3);
}

#[test]
fn who_has_the_rest_of_a_line_gets_that_and_waits_its_turn_for_more() {
    let mut kernel = Kernel::new();
    let handle = kernel.shared.tree.open(STREAM_HEX, false).unwrap();
    let lines = |size| read_body(handle, size, LOCKOWNER, 0);
    kernel.feed(32);
    kernel.send(&request_of(1000, 15, 10, STREAM_HEX, &lines(30)));
    assert_eq!(kernel.answer().unwrap().2.len(), 30);
    // Another user waits, and bytes come that nobody has dealt out yet.
    let all = read_body(0, 1 << 20, LOCKOWNER, 0);
    kernel.send(&request_of(2000, 15, 12, RAW, &all));
    kernel.feed(4096);
    kernel.send(&request_of(1000, 15, 14, STREAM_HEX, &lines(1000)));
    let (unique, _, text) = kernel.answer().unwrap();
    assert_eq!((unique, text.len()), (14, 65 - 30));
    assert_eq!(kernel.shared.tree.buffer().fill(), 4096);
}

#[test]
fn a_poller_is_woken_when_what_was_kept_for_another_lapses() {
    let mut kernel = Kernel::new();
    let body = read_body(0, 1 << 20, LOCKOWNER, 0);
    kernel.send(&request_of(1000, 15, 10, RAW, &body));
    let small = read_body(0, 32, LOCKOWNER, 0);
    kernel.send(&request_of(2000, 15, 12, RAW, &small));
    with_parked(&mut kernel, |kernel| {
        kernel.feed(QUANTUM + 40);
        let served = [(); 2].map(|()| kernel.answer().unwrap().0);
        assert_eq!(served, [10, 12]);
        // User 2000 is behind, so what is left is kept for it.
        kernel.send(&request_of(1000, 40, 20, RAW, &poll_body(0x77)));
        assert_eq!(kernel.answer(), Some((20, 0, vec![0; 8])), "not ready yet");
        // Nothing more comes, and nobody asks.
        let woken = Some((0, -1, 0x77u64.to_ne_bytes().to_vec()));
        assert_eq!(kernel.answer(), woken);
    });
}

#[test]
fn a_spent_quota_is_edquot_however_one_reads() {
    let mut kernel = Kernel::shared(&SharesConfig {
        quota: Some(100),
        users: Vec::new(),
    });
    let edquot = |unique| Some((unique, Errno::EDQUOT as i32, Vec::new()));
    kernel.feed(1000);
    let read = |size, flags| read_body(0, size, LOCKOWNER, flags);
    kernel.send(&request_of(7, 15, 10, RAW, &read(90, 0)));
    assert_eq!(kernel.answer().unwrap().2.len(), 90);
    let hex = kernel.shared.tree.open(HEX, false).unwrap();
    let record = read_body(hex, 100, LOCKOWNER, 0);
    kernel.send(&request_of(7, 15, 12, HEX, &record));
    assert_eq!(kernel.answer(), edquot(12), "a record takes 32");
    kernel.send(&request_of(7, 15, 14, RAW, &read(90, 0)));
    assert_eq!(kernel.answer().unwrap().2.len(), 10, "the rest");
    for flags in [0, O_NONBLOCK] {
        kernel.send(&request_of(7, 15, 16, RAW, &read(1, flags)));
        assert_eq!(kernel.answer(), edquot(16));
    }
    kernel.send(&request_of(7, 40, 18, RAW, &poll_body(0x77)));
    let (_, _, events) = kernel.answer().unwrap();
    let failed = (POLLIN | POLLRDNORM | POLLERR) as u32;
    assert_eq!(events[..4], failed.to_ne_bytes());
    // What takes no bytes goes on, and so do others.
    let status = kernel.shared.tree.open(7, false).unwrap();
    let document = read_body(status, 100, LOCKOWNER, 0);
    kernel.send(&request_of(7, 15, 20, 7, &document));
    assert_eq!(kernel.answer().unwrap().2, b"{}\n");
    kernel.send(&request_of(8, 15, 22, RAW, &read(50, 0)));
    assert_eq!(kernel.answer().unwrap().2.len(), 50);
    assert_eq!(kernel.shared.tree.buffer().counts().served, 150);
}

#[test]
fn who_waits_while_its_quota_ends_is_told() {
    let mut kernel = Kernel::shared(&SharesConfig {
        quota: Some(100),
        users: Vec::new(),
    });
    let read = read_body(0, 100, LOCKOWNER, 0);
    for unique in [10, 12] {
        kernel.send(&request_of(7, 15, unique, RAW, &read));
    }
    kernel.send(&request_of(8, 15, 14, RAW, &read));
    with_parked(&mut kernel, |kernel| {
        kernel.feed(100);
        let (unique, _, bytes) = kernel.answer().unwrap();
        assert_eq!((unique, bytes.len()), (10, 100));
        assert_eq!(
            kernel.answer(),
            Some((12, Errno::EDQUOT as i32, Vec::new()))
        );
        kernel.feed(100);
        assert_eq!(kernel.answer().unwrap().0, 14);
    });
}

#[test]
fn directories_are_listed_in_pieces() {
    let mut kernel = Kernel::new();
    for (opcode, entry_len) in [(28, 24), (44, 152)] {
        let (mut names, mut offset) = (Vec::new(), 0u64);
        loop {
            let mut body = read_body(0, 2 * (entry_len + 8) as u32, 0, 0);
            body[8..16].copy_from_slice(&offset.to_ne_bytes());
            kernel.send(&request(opcode, 10, 1, &body));
            let (_, errno, out) = kernel.answer().unwrap();
            assert_eq!(errno, 0);
            if out.is_empty() {
                break;
            }
            let mut rest = &out[..];
            while !rest.is_empty() {
                let (head, after) = rest.split_at(entry_len);
                let head = &head[entry_len - 24..];
                offset = u64::from_ne_bytes(head[8..16].try_into().unwrap());
                let len = u32::from_ne_bytes(head[16..20].try_into().unwrap()) as usize;
                names.push(String::from_utf8(after[..len].to_vec()).unwrap());
                rest = &after[len.next_multiple_of(8)..];
            }
        }
        assert_eq!(
            names,
            [
                ".", "..", "stream", "raw", "hex", "base64", "uuid", "status", "random", "urandom",
                "README"
            ]
        );
    }
}
