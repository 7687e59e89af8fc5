//! A gateway's mount from birth to death, as a process of its own: killed, restarted over its dead mount, refused.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::Signal;
use qrng_gateway::buffer::{Buffer, Overflow};
use qrng_gateway::kernel::{Mount, MountOptions, StayAwake};
use qrng_tests::fuse_harness::{
    PROBE, Process, directory, is_root, mount_options, no_mount, run, tree_over, wait_until,
};
use qrng_tests::skip;

fn probe() -> Command {
    Command::new(std::env::var_os(PROBE).unwrap_or(env!("CARGO_BIN_EXE_qrng-probe").into()))
}

/// A gateway without a network.
struct Gateway {
    child: Child,
    input: std::process::ChildStdin,
    output: std::io::BufReader<std::process::ChildStdout>,
}

impl Gateway {
    /// Starts one and returns it with the first line it says.
    fn start(point: &Path) -> (Self, String) {
        let mut child = probe()
            .arg("serve")
            .arg(point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the probe");
        let input = child.stdin.take().expect("its input");
        let output = std::io::BufReader::new(child.stdout.take().expect("its output"));
        let mut gateway = Self {
            child,
            input,
            output,
        };
        let said = gateway.line();
        (gateway, said)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut self.output, &mut line).expect("a line");
        line
    }

    fn feed(&mut self, bytes: usize) {
        writeln!(self.input, "feed {bytes}").expect("it listens");
        assert_eq!(self.line(), "fed\n");
    }

    fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ended");
    }

    fn stop(mut self) {
        writeln!(self.input, "stop").expect("it listens");
        assert_eq!(self.line(), "stopped\n");
        assert!(self.child.wait().expect("it ended").success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Removes what a killed gateway leaves behind.
struct Cleanup<'a>(&'a Path);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        if is_root() {
            run(Command::new("umount").args(["-q", "-l"]).arg(self.0));
        } else {
            run(Command::new("fusermount3")
                .args(["-u", "-q", "-z"])
                .arg(self.0));
        }
    }
}

#[test]
fn a_killed_gateway_frees_its_readers_and_a_restart_recovers_the_mount() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let directory = directory();
    let point = directory.path();
    let _cleanup = Cleanup(point);
    let (first, said) = Gateway::start(point);
    assert!(said.starts_with("mounted: "), "{said}");
    let readers: Vec<_> = (0..5)
        .map(|_| Process::start(probe().arg("read").arg(point.join("raw")).arg("32")))
        .collect();
    wait_until("the readers sleep in their reads", || {
        readers.iter().all(|r| r.state() == 'S' && waits_in_fuse(r))
    });
    first.kill();
    for reader in readers {
        let said = reader.end().text();
        assert!(
            ["ECONNABORTED\n", "ENOTCONN\n"].contains(&said.as_str()),
            "{said}"
        );
    }
    let dead = std::fs::metadata(point).expect_err("the mount is dead");
    assert_eq!(
        dead.raw_os_error(),
        Some(nix::errno::Errno::ENOTCONN as i32)
    );

    let (mut second, said) = Gateway::start(point);
    assert!(said.starts_with("mounted: "), "{said}");
    second.feed(64);
    assert_eq!(
        run(probe().arg("read").arg(point.join("raw")).arg("32")).text(),
        "32 got\n"
    );
    second.stop();
    assert_eq!(
        mounts_at(point),
        0,
        "neither the dead nor the new mount is left"
    );
}

/// Whether the process is in a system call on a file (the read), as opposed to not having got there yet.
fn waits_in_fuse(process: &Process) -> bool {
    let read = nix::libc::SYS_read.to_string();
    let call = std::fs::read_to_string(format!("/proc/{}/syscall", process.pid()));
    // Where the kernel doesn't tell, a moment must do.
    call.map_or_else(
        |_| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            true
        },
        |call| call.split(' ').next() == Some(&read),
    )
}

fn mounts_at(point: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    table
        .lines()
        .filter(|line| line.split(' ').nth(4) == point.to_str())
        .count()
}

#[test]
fn a_second_gateway_on_a_live_mount_is_refused_with_words() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let directory = directory();
    let _cleanup = Cleanup(directory.path());
    let (first, _) = Gateway::start(directory.path());
    let (_second, said) = Gateway::start(directory.path());
    assert!(said.contains("another gateway already serves at"), "{said}");
    assert_eq!(mounts_at(directory.path()), 1);
    first.stop();
    assert_eq!(mounts_at(directory.path()), 0);
}

#[test]
fn wrong_mount_points_are_refused_with_words() {
    let directory = directory();
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("a file");
    for (point, words) in [
        (directory.path().join("missing"), "mkdir -p"),
        (file, "is not a directory"),
    ] {
        let (_gateway, said) = Gateway::start(&point);
        assert!(
            said.starts_with("refused: ") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn an_unmount_by_somebody_else_is_noticed_and_a_stranger_is_left_alone() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if !is_root() {
        skip!("only root can mount a stranger there");
    }
    let directory = directory();
    let point = directory.path();
    let (gateway, _) = Gateway::start(point);
    run(Command::new("umount").arg(point)).success();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "stranger"])
        .arg(point))
    .success();
    gateway.stop();
    assert_eq!(mounts_at(point), 1, "the stranger's mount is still there");
    run(Command::new("umount").arg(point)).success();
}

#[test]
fn a_lazy_unmount_by_somebody_else_leaves_open_files_alive_until_they_close() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let directory = directory();
    let point = directory.path();
    let (mut gateway, _) = Gateway::start(point);
    let reader = Process::start(probe().arg("read").arg(point.join("raw")).arg("32"));
    wait_until("the reader sleeps in its read", || {
        reader.state() == 'S' && waits_in_fuse(&reader)
    });
    drop(Cleanup(point));
    assert_eq!(mounts_at(point), 0);
    gateway.feed(32);
    assert_eq!(reader.end().text(), "32 got\n");
    gateway.stop();
}

#[test]
fn a_stopped_reader_can_be_continued() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let directory = directory();
    let point = directory.path();
    let _cleanup = Cleanup(point);
    let (mut gateway, _) = Gateway::start(point);
    // One read(2), whose end is seen; and head(1), which reads again after EINTR as most programs do.
    let once = Process::start(probe().arg("read").arg(point.join("raw")).arg("32"));
    let again = Process::start(Command::new("head").arg("-c32").arg(point.join("raw")));
    for reader in [&once, &again] {
        wait_until("it sleeps in its read", || {
            reader.state() == 'S' && waits_in_fuse(reader)
        });
        reader.signal(Signal::SIGSTOP);
        wait_until("it is stopped", || reader.state() == 'T');
        reader.signal(Signal::SIGCONT);
    }
    assert_eq!(once.end().text(), "EINTR\n");
    wait_until("it waits again", || {
        again.state() == 'S' && waits_in_fuse(&again)
    });
    gateway.feed(32);
    assert_eq!(again.end().success().out.len(), 32);
    gateway.stop();
}

const LATENCY: &str = "/dev/cpu_dma_latency";

/// The longest that processors may take to wake, in microseconds, as the kernel has it now.
fn allowed_latency() -> i32 {
    let mut word = [0; 4];
    let mut file = File::open(LATENCY).expect("it could be opened before");
    file.read_exact(&mut word).expect("four bytes");
    i32::from_ne_bytes(word)
}

#[test]
fn processors_stay_awake_while_somebody_reads_often_and_no_longer() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if let Err(e) = File::options().read(true).write(true).open(LATENCY) {
        skip!("{LATENCY} cannot be opened: {e}");
    }
    let place = directory();
    let buffer = Arc::new(Buffer::new(1 << 20, Overflow::Discard).unwrap());
    let options = MountOptions {
        stay_awake: StayAwake::Yes,
        ..mount_options(place.path().to_owned())
    };
    let mount = Mount::start(options, tree_over(&buffer)).unwrap();
    let raw = File::open(place.path().join("raw")).unwrap();
    let mut bytes = [0; 32];
    wait_until("processors that stay awake", || {
        buffer.push(&[7; 64 * 32]);
        for _ in 0..64 {
            assert_eq!(raw.read_at(&mut bytes, 0).unwrap(), bytes.len());
        }
        allowed_latency() == 0
    });
    wait_until("processors that may sleep", || allowed_latency() > 0);
    drop(raw);
    mount.stop().unwrap();
}
