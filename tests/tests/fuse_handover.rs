//! A gateway without privileges: a helper mounts for it, and the service manager, played by the test, keeps the connection
//! from one run to the next.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use qrng_daemon::descriptors::receive;
use qrng_tests::chain::{Chain, program, spawn, wait_until};
use qrng_tests::fuse_harness::{Process, no_mount};
use qrng_tests::helper::Helper;
use qrng_tests::skip;

const SIMULATED: &str = "[source]\nkind = \"simulator\"\nrate = \"2 MB/s\"\n";

/// Plays the service manager: listens, keeps the descriptor, and starts the gateway with it.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
    kept: Option<OwnedFd>,
}

impl Manager {
    fn new(chain: &Chain) -> Self {
        let path = chain.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            socket,
            path,
            kept: None,
        }
    }

    /// Hears everything until the service is ready.
    fn hear(&mut self) {
        loop {
            let mut room = [0; 4096];
            let (len, fd) = receive(&self.socket, &mut room).unwrap();
            let words = String::from_utf8_lossy(&room[..len]);
            if words.starts_with("FDSTORE=1") {
                assert_eq!(words, "FDSTORE=1\nFDNAME=mount");
                self.kept = fd;
            } else if words.starts_with("FDSTOREREMOVE=1") {
                self.kept = None;
            } else if words.starts_with("READY=1") {
                return;
            }
        }
    }

    /// Starts the gateway as the service manager would, and waits until it is ready.
    fn start(&mut self, chain: &mut Chain) {
        let more = format!(
            "accept-simulated = true\nmount-helper = {:?}",
            chain.path("helper.socket")
        );
        let plain = chain.gateway_command(&more, "");
        let mut command = match &self.kept {
            None => Command::new("env"),
            Some(fd) => {
                fcntl(fd, F_SETFD(FdFlag::empty())).unwrap();
                let mut shell = Command::new("bash");
                let number = fd.as_raw_fd().to_string();
                shell.args(["-c", "exec 3<&$0; LISTEN_PID=$$ exec \"$@\"", &number]);
                shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "mount");
                shell
            }
        };
        command.arg(plain.get_program()).args(plain.get_args());
        command.env("NOTIFY_SOCKET", &self.path);
        chain.start_gateway_by(&mut command);
        self.hear();
    }
}

/// Twenty readers: they hold files open, and most of them wait.
struct Readers {
    reads: Vec<thread::JoinHandle<Vec<u8>>>,
    poller: thread::JoinHandle<bool>,
    lines: File,
    begun_record: File,
    fresh_record: File,
    first_line: Vec<u8>,
}

impl Readers {
    /// Starts them with what is in the buffer, and waits until it is empty and they wait.
    fn start(chain: &Chain) -> Self {
        let open = |name: &str| File::open(chain.file(name)).unwrap();
        let (lines, begun_record, fresh_record) = (open("stream/uuid"), open("hex"), open("uuid"));
        let mut first_line = vec![0; 10];
        (&lines).read_exact(&mut first_line).unwrap();
        begun_record.read_exact_at(&mut [0; 10], 0).unwrap();
        chain_is_empty(chain);
        let read = |_| {
            let mut file = open("raw");
            thread::spawn(move || {
                let mut bytes = vec![0; 64];
                file.read_exact(&mut bytes).unwrap();
                bytes
            })
        };
        let reads = (0..16).map(read).collect();
        let raw = open("raw");
        let poller = thread::spawn(move || {
            let mut fds = [PollFd::new(raw.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(60_000u16)).unwrap() == 1
        });
        wait_until("all wait", || chain.count("/readers/waiting") == 16);
        // A poll leaves no trace in the status.
        thread::sleep(Duration::from_millis(200));
        Self {
            reads,
            poller,
            lines,
            begun_record,
            fresh_record,
            first_line,
        }
    }

    /// All get what they waited for; what was read is noted in `seen`.
    fn finish(self, seen: &mut HashSet<Vec<u8>>) {
        for read in self.reads {
            assert!(seen.insert(read.join().unwrap()), "bytes were served twice");
        }
        assert!(self.poller.join().unwrap(), "the poller was not woken");
        let mut text = self.first_line;
        text.resize(3 * 37, 0);
        (&self.lines).read_exact(&mut text[10..]).unwrap();
        for line in text.chunks(37) {
            assert!(
                line[36] == b'\n' && line[14] == b'4' && line[8] == b'-',
                "{text:?}"
            );
        }
        let error = self
            .begun_record
            .read_exact_at(&mut [0; 10], 10)
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
        let mut record = [0; 37];
        self.fresh_record.read_exact_at(&mut record, 0).unwrap();
        assert!(seen.insert(record.to_vec()));
    }
}

fn chain_is_empty(chain: &Chain) {
    let fill = chain.count("/buffer/fill_bytes");
    let mut rest = vec![0; fill as usize];
    File::open(chain.file("raw"))
        .unwrap()
        .read_exact(&mut rest)
        .unwrap();
    assert_eq!(chain.count("/buffer/fill_bytes"), 0);
}

/// Some bytes in the buffer, and no collector any more.
fn fill(chain: &mut Chain) {
    chain.start_collector(None, SIMULATED);
    wait_until("bytes", || chain.count("/buffer/fill_bytes") > 0);
    chain.stop_collector();
    let mut before = 0;
    wait_until("quiet", || {
        let now = chain.count("/packets/datagrams");
        std::mem::replace(&mut before, now) == now
    });
}

#[test]
fn open_files_and_waiting_readers_survive_restarts_and_crashes() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    let helper = Helper::start(&chain);
    let mut manager = Manager::new(&chain);
    manager.start(&mut chain);
    if manager.kept.is_none() {
        skip!("this kernel cannot send requests again (Linux 6.9 can)");
    }
    let mut seen = HashSet::new();
    for crash in [false, true, false] {
        fill(&mut chain);
        let readers = Readers::start(&chain);
        if crash {
            chain.kill_gateway();
        } else {
            assert!(chain.stop_gateway().is_some_and(|s| s.success()));
        }
        manager.start(&mut chain);
        assert!(
            chain
                .log("gateway")
                .contains("the readers of the last run go on")
        );
        wait_until("the kernel has asked again", || {
            chain.count("/readers/waiting") == 16
        });
        // What was accepted before is refused after a restart, so a new collector sends.
        chain.start_collector(None, SIMULATED);
        readers.finish(&mut seen);
        chain.stop_collector();
    }
    // A reader can still be interrupted, and the helper's end ends them all.
    chain_is_empty(&chain);
    let waits = || {
        let reader = Process::start(Command::new("cat").arg(chain.file("raw")));
        wait_until("it waits", || chain.count("/readers/waiting") == 1);
        reader
    };
    let reader = waits();
    reader.signal(Signal::SIGINT);
    assert_eq!(reader.end().signal, Some(Signal::SIGINT as i32));
    let reader = waits();
    helper.end();
    assert_eq!(reader.end().code, Some(1));
    assert_eq!(fs::read_dir(chain.path("mnt")).unwrap().count(), 0);
}

#[test]
fn without_a_keeper_readers_end_cleanly_and_the_helper_mounts_anew() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    let helper = Helper::start(&chain);
    let mut manager = Manager::new(&chain);
    for crash in [true, false] {
        manager.start(&mut chain);
        manager.kept = None;
        let reader = Process::start(Command::new("cat").arg(chain.file("raw")));
        wait_until("it waits", || chain.count("/readers/waiting") == 1);
        if crash {
            chain.kill_gateway();
        } else {
            assert!(chain.stop_gateway().is_some_and(|s| s.success()));
        }
        assert_eq!(reader.end().code, Some(1));
    }
    // A connection that is kept though nobody can go on with it: the helper takes it away.
    manager.start(&mut chain);
    let abandoned = manager.kept.take();
    chain.kill_gateway();
    manager.start(&mut chain);
    drop(abandoned);
    chain.start_collector(None, SIMULATED);
    let mut bytes = [0; 100];
    File::open(chain.file("raw"))
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    let words = helper.end();
    assert!(words.contains("nobody answers at"), "{words}");
}

#[test]
fn the_helper_says_what_is_wrong() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let chain = Chain::new();
    let socket = chain.path("helper.socket");
    let more = format!("mount-helper = {socket:?}");
    let words_with = |chain: &Chain, tables: &str| {
        let log = chain.path("refused.log");
        let mut gateway: Child = spawn(&mut chain.gateway_command(&more, tables), &log);
        assert!(!gateway.wait().unwrap().success());
        let words = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        words
    };
    let words = |chain: &Chain| words_with(chain, "");
    let said = words(&chain);
    assert!(
        said.contains("the mount helper does not listen") && said.contains("systemctl"),
        "{said}"
    );
    let helper = Helper::start(&chain);
    let said = words_with(&chain, "[device]\nraw = \"qrng-test\"");
    assert!(
        said.contains("was not told to make /dev/qrng-test") && said.contains("--device qrng-test"),
        "{said}"
    );
    for (wish, answer) in [
        (&b"umount\n"[..], "is no wish"),
        (b"device\n", "is no wish"),
        (b"device ../null\n", "was not told to make"),
        (b"\xff\n", "no wish was heard"),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(wish).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.contains(answer), "{said}");
    }
    assert!(!chain.file("status").exists(), "nothing is left behind");
    fs::remove_dir(chain.path("mnt")).unwrap();
    let said = words(&chain);
    assert!(
        said.contains("refused") && said.contains("make the directory"),
        "{said}"
    );
    helper.end();
    let mut unknown = Command::new(program("qrng-mount"));
    unknown.args(["--user", "no-such-user", "/nowhere"]);
    let ended = Process::start(&mut unknown).end();
    assert!(
        ended.code == Some(1) && ended.err.contains("no user no-such-user"),
        "{ended:?}"
    );
    let mut alone = Command::new(program("qrng-mount"));
    alone.args(["--user", "root", "/nowhere"]);
    let ended = Process::start(&mut alone).end();
    assert!(ended.err.contains("no socket was handed over"), "{ended:?}");
}
