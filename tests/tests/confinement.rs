//! What the collector's processes cannot do once they are confined: each forbidden system call is
//! made by a program that confined itself with the same functions, and kills it.

use std::collections::BTreeMap;

use qrng_tests::confined::{Fate, KILLED, fates};
use qrng_tests::skip;

/// Makes all these calls, and tells all that fared otherwise.
fn all(process: &str, calls: &[&str], expected: &Fate) {
    let fates = fates(process, calls).into_iter();
    let others: BTreeMap<_, _> = fates.filter(|(_, fate)| fate != expected).collect();
    assert!(others.is_empty(), "{process}: not {expected:?}: {others:?}");
}

#[test]
fn without_confinement_the_same_calls_work_or_fail() {
    let calls = ["openat", "execve", "read-other", "socket", "dup"];
    all("free", &calls, &Fate::Worked);
    // But for the socket, which is deaf from its first moment.
    let nothing = Fate::Failed(nix::errno::Errno::EAGAIN as i32);
    all("free", &["recvfrom"], &nothing);
    let locked = Fate::Failed(nix::errno::Errno::EPERM as i32);
    all("free", &["setsockopt"], &locked);
}

#[test]
fn what_the_sender_needs_goes_on() {
    let calls = [
        "send",
        "read-pipe",
        "write-answers",
        "write-log",
        "write-epoch",
        "sync-epoch",
        "random",
        "memory",
        "allocate",
        "sleep",
        "change-day",
    ];
    all("sender", &calls, &Fate::Worked);
}

#[test]
fn every_way_to_hear_kills_the_sender() {
    let calls = [
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "read-socket",
        "readv-socket",
        "pread-socket",
        "read-other",
        "poll",
        "select",
        "epoll",
        "ioctl",
        "getsockopt",
        "setsockopt",
        "splice",
        "tee",
        "vmsplice",
        "sendfile",
        "copy-file",
        "io-uring-setup",
        "io-uring-enter",
        "io-uring-register",
        "aio",
    ];
    all("sender", &calls, &KILLED);
}

#[test]
fn every_way_to_be_reached_or_to_reach_otherwise_kills_the_sender() {
    let calls = [
        "socket",
        "socket-6",
        "socket-packet",
        "socket-unix",
        "socket-netlink",
        "socketpair",
        "connect",
        "bind",
        "listen",
        "accept",
        "accept4",
        "sendto",
        "sendmmsg",
        "send-elsewhere",
        "send-flags",
        "write-socket",
        "write-elsewhere",
    ];
    all("sender", &calls, &KILLED);
}

#[test]
fn files_programs_and_processes_kill_the_sender() {
    let calls = [
        "dup",
        "fcntl",
        "openat",
        "openat2",
        "open-by-handle",
        "memfd",
        "execve",
        "execveat",
        "clone",
        "clone3",
        "kill",
        "ptrace",
        "process-vm-readv",
        "pidfd-getfd",
        "bpf",
        "module",
        "mount",
        "unshare",
        "setuid",
        "prctl",
        "execute-memory",
        "make-executable",
    ];
    all("sender", &calls, &KILLED);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_numbers_of_other_architectures_kill_all() {
    all("sender", &["x32", "int80"], &KILLED);
    all("reader", &["x32", "int80"], &KILLED);
    all("pusher", &["x32", "int80"], &KILLED);
}

#[test]
fn landlock_alone_keeps_the_sender_from_files() {
    let denied = Fate::Failed(nix::errno::Errno::EACCES as i32);
    all(
        "files",
        &["openat", "make-file", "execve", "execveat"],
        &denied,
    );
    // What is open stays so.
    all(
        "files",
        &["write-epoch", "send", "read-pipe"],
        &Fate::Worked,
    );
}

#[test]
fn what_no_source_needs_kills_the_reader() {
    let calls = [
        "socket",
        "socket-6",
        "socket-packet",
        "socket-netlink",
        "bind",
        "listen",
        "accept",
        "accept4",
        "execve",
        "execveat",
        "clone-user",
        "io-uring-setup",
        "splice",
        "open-by-handle",
        "ptrace",
        "process-vm-readv",
        "pidfd-getfd",
        "bpf",
        "module",
        "mount",
        "unshare",
        "setuid",
    ];
    all("reader", &calls, &KILLED);
    let denied = Fate::Failed(nix::errno::Errno::EACCES as i32);
    all("reader", &["openat", "make-file"], &denied);
    all(
        "reader",
        &["poll", "socket-unix", "read-pipe"],
        &Fate::Worked,
    );
}

#[test]
fn an_appliance_is_connected_to_and_never_answered() {
    all("network", &["socket", "socket-6", "connect"], &Fate::Worked);
    let refused = Fate::Failed(nix::errno::Errno::EPERM as i32);
    all("network", &["bind"], &refused);
    let calls = ["listen", "accept4", "socket-packet", "execve"];
    all("network", &calls, &KILLED);
}

#[test]
fn a_sender_beside_a_pusher_writes_to_it_and_hears_no_more() {
    all("sender", &["write-handoff"], &KILLED);
    all("pushing", &["write-handoff", "send"], &Fate::Worked);
    let calls = [
        "read-handoff",
        "read-other",
        "recvfrom",
        "poll",
        "socket",
        "connect",
        "openat",
        "write-socket",
    ];
    all("pushing", &calls, &KILLED);
}

#[test]
fn a_pusher_connects_where_it_is_told_to_and_does_nothing_else() {
    let nobody = Fate::Failed(nix::errno::Errno::ECONNREFUSED as i32);
    all("pusher", &["tcp-1"], &nobody);
    let denied = Fate::Failed(nix::errno::Errno::EACCES as i32);
    all("pusher", &["openat", "make-file"], &denied);
    let calls = [
        "listen",
        "accept4",
        "socket-packet",
        "execve",
        "execveat",
        "ptrace",
        "process-vm-readv",
        "pidfd-getfd",
        "io-uring-setup",
        "bpf",
        "module",
        "mount",
        "unshare",
        "setuid",
    ];
    all("pusher", &calls, &KILLED);
    // Landlock knows of ports since its version 4, in Linux 6.7.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    if version < (6, 7) {
        skip!("the kernel is {release}, whose Landlock does not know of ports");
    }
    all("pusher", &["tcp-2"], &denied);
}

#[test]
fn devices_are_heard_of_by_netlink_alone() {
    all("netlink", &["socket-netlink"], &Fate::Worked);
    all("netlink", &["socket", "socket-6", "listen"], &KILLED);
}
