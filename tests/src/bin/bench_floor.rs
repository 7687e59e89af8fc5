//! The floor of the benchmark: one endless file served by stock fuser, with no work behind it.
//!
//! `qrng-bench-floor DIR` mounts `DIR/null`, whose every read is answered from a static buffer, with
//! the limits that the gateway uses (direct I/O, requests of up to 1 MiB). What the gateway needs
//! beyond this is its own doing. SIGTERM or SIGINT unmounts and ends.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen,
    Request, Session, SessionACL,
};
use nix::sys::signal::{SigSet, Signal};

const MAX_READ: usize = 1 << 20;
const CACHE_TIME: Duration = Duration::from_secs(3600);
const FILE: INodeNo = INodeNo(2);

static BYTES: [u8; MAX_READ] = [0x5a; MAX_READ];

struct Floor;

impl Filesystem for Floor {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let limit = u32::try_from(MAX_READ).map_err(io::Error::other)?;
        config
            .set_max_write(limit)
            .map_err(|nearest| io::Error::other(format!("max_write: at most {nearest}")))?;
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == "null" {
            reply.entry(&CACHE_TIME, &attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&CACHE_TIME, &attributes(inode));
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = usize::try_from(size).unwrap_or(MAX_READ).min(MAX_READ);
        reply.data(&BYTES[..size]);
    }
}

fn attributes(inode: INodeNo) -> FileAttr {
    let (kind, perm, size) = if inode == INodeNo::ROOT {
        (FileType::Directory, 0o555, 0)
    } else {
        (FileType::RegularFile, 0o444, 65536)
    };
    FileAttr {
        ino: inode,
        size,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn serve(directory: PathBuf) -> io::Result<()> {
    let mut ending = SigSet::empty();
    ending.add(Signal::SIGTERM);
    ending.add(Signal::SIGINT);
    // Before the session's thread exists, which inherits it.
    ending.thread_block()?;
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("qrng-bench-floor".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    config.acl = SessionACL::Owner;
    let session = Session::new(Floor, &directory, &config)?.spawn()?;
    println!("mounted: {}", directory.display());
    ending.wait()?;
    session.umount_and_join()
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: qrng-bench-floor DIR");
        return ExitCode::from(2);
    };
    match serve(directory.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qrng-bench-floor: {error}");
            ExitCode::FAILURE
        }
    }
}
