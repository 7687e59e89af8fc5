//! Confines itself as the collector's sender or reader or the gateway is confined, and then makes one system call.
//!
//! `qrng-test-confined sender|pushing|files|reader|network|netlink|pusher|gateway|mounting|gateway-files|free CALL`. Ends with 0 if the call was made and
//! worked, with the error's number if it failed, and by SIGSYS if it is forbidden. `files` is a sender
//! before its system calls are taken: what it then may not do is a matter of Landlock; `gateway-files` the same of a gateway.
//! `pushing` is a sender with a pipe to a pusher, and `pusher` that, which may connect to port 1.
//! `mounting` is a gateway that mounts by itself. `free` is not confined. The gateway's runtime directory is what
//! `QRNG_TEST_DIRECTORY` names.
#![allow(unsafe_code)] // Calls that no library makes, by their numbers.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{ExitCode, exit};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use libc::c_long;
use qrng::keys::{CollectorKeys, Day, generate_calendar};
use qrng_collector::acquire::Cut;
use qrng_collector::block::Batch;
use qrng_collector::confine::needs::Needs;
use qrng_collector::confine::socket::deaf;
use qrng_collector::confine::{
    SenderHandles, pusher, reader_with, sender_calls, sender_privileges,
};
use qrng_collector::epoch::{EpochError, Epochs};
use qrng_collector::seal::{Seal, notice_room};
use qrng_gateway::confine::{Extent, privileges_and_files, system_calls};

/// What a sender has open.
struct Handles {
    socket: UdpSocket,
    address: SocketAddr,
    pipe: File,
    answers: File,
    epochs: File,
    other: File,
    handoff: File,
    /// A connection like that to the service manager, and its other end.
    manager: [UnixDatagram; 2],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, process, call] = &arguments[..] else {
        eprintln!("give a process and a call");
        return ExitCode::from(255);
    };
    let handles = open();
    confine(process, &handles);
    let result = make(call, &handles);
    // Without the standard library's end of a process, which is not under test.
    exit(result.map_or_else(|e| e.raw_os_error().unwrap_or(255), |()| 0))
}

fn open() -> Handles {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a peer");
    let address = peer.local_addr().expect("its address");
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors, which nobody else owns.
    let (pipe, mut filled) = unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    };
    filled.write_all(b"x").expect("room in a pipe");
    let mut epochs = std::env::temp_dir();
    epochs.push(format!("qrng-test-confined.{}", std::process::id()));
    let writable = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&epochs);
    std::fs::remove_file(&epochs).expect("the file just made");
    Handles {
        socket: deaf(&address, 1).expect("a deaf socket"),
        address,
        pipe,
        answers: filled,
        epochs: writable.expect("a file"),
        other: File::open("/dev/null").expect("/dev/null"),
        handoff: File::options()
            .write(true)
            .open("/dev/null")
            .expect("/dev/null"),
        manager: UnixDatagram::pair().expect("a pair of sockets").into(),
    }
}

fn confine(process: &str, handles: &Handles) {
    let mut needs = Needs::none(&[]);
    match process {
        "sender" | "pushing" | "files" => {
            sender_privileges().expect("privileges");
            if process == "files" {
                return;
            }
            let calls = sender_calls(&SenderHandles {
                pipe: handles.pipe.as_raw_fd(),
                answers: [handles.answers.as_raw_fd(); 2],
                sockets: vec![handles.socket.as_raw_fd()],
                pusher: (process == "pushing").then(|| handles.handoff.as_raw_fd()),
                epochs: handles.epochs.as_raw_fd(),
            });
            return calls.expect("system calls");
        }
        "pusher" => {
            pusher(&[1], false).expect("confinement");
            return;
        }
        "free" => return,
        "gateway" => return confine_gateway(&Extent::Whole(None), true, handles),
        "gateway-files" => return confine_gateway(&Extent::Whole(None), false, handles),
        "mounting" => return confine_gateway(&Extent::Mounting, true, handles),
        "reader" => {}
        "network" => needs.network = true,
        "netlink" => needs.netlink = true,
        _ => panic!("no such process: {process}"),
    }
    reader_with(&needs).expect("confinement");
}

/// The epoch file of this descriptor, written as the sender writes its own.
struct Descriptor(RawFd, u64);

impl Epochs for Descriptor {
    fn next(&mut self, now_us: u64) -> Result<u64, EpochError> {
        self.1 = now_us.max(self.1 + 1);
        let bytes = self.1.to_be_bytes();
        // SAFETY: the kernel reads as many bytes as there are.
        let written = unsafe { libc::pwrite(self.0, bytes.as_ptr().cast(), bytes.len(), 0) };
        // SAFETY: takes numbers only.
        let synced = unsafe { libc::fdatasync(self.0) };
        match (written, synced) {
            (8, 0) => Ok(self.1),
            _ => Err(EpochError::File("epoch".into(), io::Error::last_os_error())),
        }
    }
}

/// Seals over midnight: two sessions are started and announced.
fn change_day(epochs: RawFd) -> io::Result<()> {
    let cut = Cut {
        full: 100,
        least: 17,
    };
    let first = Day::of_us(1_800_000_000_000_000);
    let files = generate_calendar(first, 3, &mut UnwrapErr(SysRng)).ok_or(io::ErrorKind::Other)?;
    let keys = CollectorKeys::parse(&files.collector).map_err(io::Error::other)?;
    let (epochs, rng) = (Box::new(Descriptor(epochs, 0)), UnwrapErr(SysRng));
    let seal = Seal::start(vec![keys], cut, epochs, rng, first.start_us());
    let mut seal = seal.map_err(io::Error::other)?;
    let mut batch = Batch::new(notice_room(cut));
    for (at_us, count) in [(first.end_us() - 1, 2), (first.end_us(), 1)] {
        let announced = seal.announce(0, at_us, &mut batch);
        announced.map_err(io::Error::other)?;
        if batch.count() != count {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// The gateway's runtime directory.
fn directory() -> PathBuf {
    std::env::var_os("QRNG_TEST_DIRECTORY")
        .map(PathBuf::from)
        .expect("QRNG_TEST_DIRECTORY")
}

fn confine_gateway(extent: &Extent, calls: bool, handles: &Handles) {
    privileges_and_files(extent, &directory(), &[]).expect("privileges and files");
    if calls {
        system_calls(extent, handles.socket.as_raw_fd(), None).expect("system calls");
    }
}

/// Makes the call. Arguments that do not matter are such that it would fail in another way.
fn make(call: &str, handles: &Handles) -> io::Result<()> {
    let (socket, pipe, epochs) = (
        handles.socket.as_raw_fd(),
        handles.pipe.as_raw_fd(),
        handles.epochs.as_raw_fd(),
    );
    let (answers, other) = (handles.answers.as_raw_fd(), handles.other.as_raw_fd());
    let handoff = handles.handoff.as_raw_fd();
    let manager = handles.manager[0].as_raw_fd();
    let mut buffer = [0_u8; 64];
    let at = buffer.as_mut_ptr() as c_long;
    let inet = c_long::from(libc::AF_INET);
    let datagram = c_long::from(libc::SOCK_DGRAM);
    let fd = |fd: RawFd| c_long::from(fd);
    let path = CString::new("/etc/hostname").expect("no zero in it");
    let path = path.as_ptr() as c_long;
    let program = CString::new("/bin/true").expect("no zero in it");
    let program = program.as_ptr() as c_long;
    let cwd = c_long::from(libc::AT_FDCWD);
    let pages = (libc::PROT_READ | libc::PROT_WRITE) as c_long;
    let private = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let (number, arguments): (c_long, [c_long; 6]) = match call {
        // What the sender does.
        "send" => return message(socket, handles.address, 0),
        "tcp-1" => return TcpStream::connect("127.0.0.1:1").map(drop),
        "tcp-2" => return TcpStream::connect("127.0.0.1:2").map(drop),
        "change-day" => return change_day(epochs),
        "read-pipe" => (libc::SYS_read, [fd(pipe), at, 1, 0, 0, 0]),
        "write-answers" => (libc::SYS_write, [fd(answers), at, 1, 0, 0, 0]),
        "write-handoff" => (libc::SYS_write, [fd(handoff), at, 1, 0, 0, 0]),
        "read-handoff" => (libc::SYS_read, [fd(handoff), at, 1, 0, 0, 0]),
        "write-log" => (libc::SYS_write, [2, at, 0, 0, 0, 0]),
        "write-epoch" => (libc::SYS_pwrite64, [fd(epochs), at, 8, 0, 0, 0]),
        "sync-epoch" => (libc::SYS_fdatasync, [fd(epochs), 0, 0, 0, 0, 0]),
        "random" => (libc::SYS_getrandom, [at, 32, 0, 0, 0, 0]),
        "memory" => (libc::SYS_mmap, [0, 4096, pages, private, -1, 0]),
        "allocate" => return allocate(),
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_millis(1));
            return Ok(());
        }
        // What the gateway does.
        "receive" => (libc::SYS_recvmmsg, [fd(socket), at, 1, 64, 0, 0]),
        "tell-manager" => (libc::SYS_write, [fd(manager), at, 1, 0, 0, 0]),
        "replace-file" => return replace(),
        "panic" => return panic_told(),
        "lock" => (libc::SYS_mlock, [at & !4095, 4096, 0, 0, 0, 0]),
        // And what it does not.
        "send-manager" => (libc::SYS_sendto, [fd(manager), at, 1, 0, 0, 0]),
        "send-manager-to" => (libc::SYS_sendto, [fd(manager), at, 1, 0, at, 16]),
        "sendto-address" => (libc::SYS_sendto, [fd(socket), at, 1, 0, at, 16]),
        "umount" => (libc::SYS_umount2, [path, 0, 0, 0, 0, 0]),
        "make-file-beside" => {
            let beside = directory().with_extension("beside");
            return File::create(beside).map(drop);
        }
        "make-directory" => return std::fs::create_dir(directory().join("made")),
        "device" => return File::open("/dev/fuse").map(drop),
        // Ways to hear.
        "recvfrom" => (libc::SYS_recvfrom, [fd(socket), at, 64, 64, 0, 0]),
        "recvmsg" => (libc::SYS_recvmsg, [fd(socket), at, 64, 0, 0, 0]),
        "recvmmsg" => (libc::SYS_recvmmsg, [fd(socket), at, 1, 64, 0, 0]),
        "read-socket" => (libc::SYS_read, [fd(socket), at, 64, 0, 0, 0]),
        "readv-socket" => (libc::SYS_readv, [fd(socket), at, 0, 0, 0, 0]),
        "pread-socket" => (libc::SYS_pread64, [fd(socket), at, 64, 0, 0, 0]),
        "read-other" => (libc::SYS_read, [fd(other), at, 64, 0, 0, 0]),
        "poll" => (libc::SYS_ppoll, [at, 0, at, 0, 0, 0]),
        "select" => (libc::SYS_pselect6, [0, 0, 0, 0, at, 0]),
        "epoll" => (libc::SYS_epoll_create1, [0; 6]),
        "ioctl" => (
            libc::SYS_ioctl,
            [fd(socket), libc::FIONREAD as c_long, at, 0, 0, 0],
        ),
        "getsockopt" => (libc::SYS_getsockopt, [fd(socket), 1, 4, at, at, 0]),
        "setsockopt" => (
            libc::SYS_setsockopt,
            [fd(socket), 1, libc::SO_DETACH_FILTER as c_long, at, 4, 0],
        ),
        "splice" => (libc::SYS_splice, [fd(socket), 0, fd(answers), 0, 1, 0]),
        "tee" => (libc::SYS_tee, [fd(pipe), fd(answers), 1, 0, 0, 0]),
        "vmsplice" => (libc::SYS_vmsplice, [fd(answers), at, 0, 0, 0, 0]),
        "sendfile" => (libc::SYS_sendfile, [fd(answers), fd(socket), 0, 1, 0, 0]),
        "copy-file" => (
            libc::SYS_copy_file_range,
            [fd(other), 0, fd(epochs), 0, 1, 0],
        ),
        "io-uring-setup" => (libc::SYS_io_uring_setup, [1, at, 0, 0, 0, 0]),
        "io-uring-enter" => (libc::SYS_io_uring_enter, [fd(pipe), 0, 0, 0, 0, 0]),
        "io-uring-register" => (libc::SYS_io_uring_register, [fd(pipe), 0, 0, 0, 0, 0]),
        "aio" => (libc::SYS_io_setup, [1, at, 0, 0, 0, 0]),
        // Ways to be reached, or to reach otherwise.
        "socket" => (libc::SYS_socket, [inet, datagram, 0, 0, 0, 0]),
        "socket-6" => (
            libc::SYS_socket,
            [libc::AF_INET6.into(), datagram, 0, 0, 0, 0],
        ),
        "socket-packet" => (
            libc::SYS_socket,
            [libc::AF_PACKET.into(), datagram, 0, 0, 0, 0],
        ),
        "socket-unix" => (
            libc::SYS_socket,
            [libc::AF_UNIX.into(), datagram, 0, 0, 0, 0],
        ),
        "socket-netlink" => (
            libc::SYS_socket,
            [libc::AF_NETLINK.into(), datagram, 15, 0, 0, 0],
        ),
        "socketpair" => (
            libc::SYS_socketpair,
            [libc::AF_UNIX.into(), datagram, 0, at, 0, 0],
        ),
        "connect" => return connect(socket, handles.address),
        "bind" => (libc::SYS_bind, [fd(socket), at, 0, 0, 0, 0]),
        "listen" => (libc::SYS_listen, [fd(socket), 1, 0, 0, 0, 0]),
        "accept" => (libc::SYS_accept, [fd(socket), 0, 0, 0, 0, 0]),
        "accept4" => (libc::SYS_accept4, [fd(socket), 0, 0, 0, 0, 0]),
        "sendto" => (libc::SYS_sendto, [fd(socket), at, 1, 0, 0, 0]),
        "sendmmsg" => (libc::SYS_sendmmsg, [fd(socket), at, 0, 0, 0, 0]),
        "send-elsewhere" => return message(other, handles.address, 0),
        "send-flags" => return message(socket, handles.address, libc::MSG_CONFIRM),
        "write-socket" => (libc::SYS_write, [fd(socket), at, 1, 0, 0, 0]),
        "write-elsewhere" => (libc::SYS_pwrite64, [fd(other), at, 1, 0, 0, 0]),
        // Descriptors, files, programs, processes.
        "dup" => (libc::SYS_dup, [fd(socket), 0, 0, 0, 0, 0]),
        "fcntl" => (
            libc::SYS_fcntl,
            [fd(socket), libc::F_DUPFD.into(), 0, 0, 0, 0],
        ),
        "openat" => (libc::SYS_openat, [cwd, path, 0, 0, 0, 0]),
        "openat2" => (libc::SYS_openat2, [cwd, path, at, 24, 0, 0]),
        "make-file" => return File::create(std::env::temp_dir().join("qrng-test-made")).map(drop),
        "open-by-handle" => (libc::SYS_open_by_handle_at, [cwd, at, 0, 0, 0, 0]),
        "memfd" => (libc::SYS_memfd_create, [path, 0, 0, 0, 0, 0]),
        "execve" => (libc::SYS_execve, [program, 0, 0, 0, 0, 0]),
        "execveat" => (libc::SYS_execveat, [cwd, program, 0, 0, 0, 0]),
        "clone" => (libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0, 0]),
        "clone-user" => (libc::SYS_clone, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0, 0]),
        "clone3" => (libc::SYS_clone3, [at, 0, 0, 0, 0, 0]),
        "kill" => (libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
        "ptrace" => (
            libc::SYS_ptrace,
            [libc::PTRACE_ATTACH as c_long, 1, 0, 0, 0, 0],
        ),
        "process-vm-readv" => (libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
        "pidfd-getfd" => (libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0, 0]),
        "bpf" => (libc::SYS_bpf, [0, 0, 0, 0, 0, 0]),
        "module" => (libc::SYS_finit_module, [fd(other), path, 0, 0, 0, 0]),
        "mount" => (libc::SYS_mount, [path, path, path, 0, 0, 0]),
        "unshare" => (libc::SYS_unshare, [0; 6]),
        "setuid" => (libc::SYS_setuid, [0; 6]),
        "prctl" => (
            libc::SYS_prctl,
            [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0, 0],
        ),
        "execute-memory" => (
            libc::SYS_mmap,
            [0, 4096, libc::PROT_EXEC.into(), private, -1, 0],
        ),
        "make-executable" => (
            libc::SYS_mprotect,
            [at & !4095, 4096, libc::PROT_EXEC.into(), 0, 0, 0],
        ),
        #[cfg(target_arch = "x86_64")]
        "x32" => (libc::SYS_getpid | 0x4000_0000, [0; 6]),
        #[cfg(target_arch = "x86_64")]
        "int80" => return int80(),
        _ => panic!("no such call: {call}"),
    };
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: pointers among the arguments are to 64 bytes of `buffer`, to `path`, or null, and what the
    // kernel writes there stays within; new memory and descriptors are nobody else's.
    done(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

fn done(result: c_long) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// As the sender sends.
fn message(socket: RawFd, to: SocketAddr, flags: i32) -> io::Result<()> {
    use nix::sys::socket::{MsgFlags, SockaddrStorage, sendmsg};
    let to = SockaddrStorage::from(to);
    let flags = MsgFlags::from_bits_retain(flags);
    sendmsg(socket, &[io::IoSlice::new(b"x")], &[], flags, Some(&to))?;
    Ok(())
}

/// A panic that is told with all that leads to it, and caught.
fn panic_told() -> io::Result<()> {
    // SAFETY: there is no other thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "full") };
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    assert!(caught.is_err());
    Ok(())
}

/// As the gateway writes its restart bound.
fn replace() -> io::Result<()> {
    let bound = directory().join("bound");
    qrng_daemon::write_atomically(&bound, b"new", 0o600, false)?;
    assert_eq!(std::fs::read(&bound)?, b"new");
    std::fs::remove_file(bound)
}

fn connect(socket: RawFd, to: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::SockaddrStorage;
    nix::sys::socket::connect(socket, &SockaddrStorage::from(to))?;
    Ok(())
}

/// More memory than the allocator has at hand, and back.
fn allocate() -> io::Result<()> {
    for size in [1 << 10, 1 << 16, 1 << 20, 1 << 24] {
        let memory = vec![1_u8; size];
        assert_eq!(memory[size - 1], 1);
    }
    Ok(())
}

/// getpid by the door of 32-bit programs.
#[cfg(target_arch = "x86_64")]
fn int80() -> io::Result<()> {
    // Its number there (asm/unistd_32.h).
    let mut number = 20_u32;
    // SAFETY: it takes no arguments and changes nothing but the result's register.
    unsafe { std::arch::asm!("int 0x80", inout("eax") number) };
    assert!(number > 0);
    Ok(())
}
