//! `qrng demo` as people run it: bytes flow without any configuration, and nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qrng_tests::skip;

const PATIENCE: Duration = Duration::from_secs(60);

/// The program in the directory that this test was built into.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is missing: build the workspace first (cargo build --workspace)",
        path.display()
    );
    path
}

/// Whether this machine can mount at all.
fn can_mount() -> bool {
    Path::new("/dev/fuse").exists()
}

/// A demonstration whose every trace lies below one directory.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    temporary: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    fn start_in(temporary: tempfile::TempDir, arguments: &[&str]) -> Self {
        for daemon in ["qrng-gateway", "qrng-collector"] {
            program(daemon);
        }
        let mut child = Command::new(program("qrng"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                println!("{line}");
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            temporary,
        }
    }

    /// Waits for the line `mounted: DIR`; the directory.
    fn mounted(&mut self) -> PathBuf {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline - Instant::now()) {
            if let Some(directory) = line.strip_prefix("mounted: ") {
                return directory.into();
            }
        }
        let mut words = String::new();
        let _ = self.child.kill();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut words);
        }
        panic!("never mounted: {words}");
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// Waits for the end; the temporary directory is still there to be looked at.
    fn end(mut self) -> (Output, tempfile::TempDir) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("the demonstration does not end");
            }
            thread::sleep(Duration::from_millis(20));
        }
        (self.child.wait_with_output().unwrap(), self.temporary)
    }
}

/// Processes, other than this test, with `directory` in their command line.
fn processes_in(directory: &Path) -> Vec<u32> {
    let wanted = directory.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| *id != std::process::id())
        .filter(|id| {
            fs::read(format!("/proc/{id}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(wanted))
        })
        .collect()
}

fn mounts_in(directory: &Path) -> usize {
    let wanted = directory.to_str().unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(wanted)).count()
}

fn assert_nothing_is_left(temporary: &tempfile::TempDir) {
    assert_eq!(processes_in(temporary.path()), Vec::<u32>::new());
    assert_eq!(mounts_in(temporary.path()), 0);
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn read_some(mount: &Path) {
    let mut bytes = [0; 4096];
    fs::File::open(mount.join("raw"))
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    assert!(bytes.iter().any(|byte| *byte != bytes[0]));
    let hex = fs::read_to_string(mount.join("hex")).unwrap();
    assert_eq!(hex.len(), 65);
}

#[test]
fn it_serves_bytes_and_ends_by_itself() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    let mut demo = Demo::start(&["--seconds", "5"]);
    let mount = demo.mounted();
    read_some(&mount);
    let shown: Vec<String> = demo.lines.iter().collect();
    let (output, temporary) = demo.end();
    assert!(output.status.success(), "{output:?}");
    let shown = shown.join("\n");
    for expected in ["cat ", "xxd", "in ", "packets ", "nothing is left behind"] {
        assert!(
            shown.contains(expected),
            "{expected:?} is missing in {shown}"
        );
    }
    assert!(!mount.exists());
    assert_nothing_is_left(&temporary);
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start(&["--rate", "unlimited"]);
        let mount = demo.mounted();
        // A reader in the middle of it must not keep anything alive.
        let mut reader = Command::new("dd")
            .arg(format!("if={}/raw", mount.display()))
            .args(["of=/dev/null", "bs=64k"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(500));
        demo.signal(signal);
        let (output, temporary) = demo.end();
        assert!(output.status.success(), "{output:?}");
        reader.wait().unwrap();
        assert_nothing_is_left(&temporary);
    }
}

#[test]
fn an_interrupt_before_bytes_flow_leaves_nothing_either() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    for pause in [0, 5, 20, 60, 150] {
        let demo = Demo::start(&[]);
        thread::sleep(Duration::from_millis(pause));
        demo.signal(Signal::SIGINT);
        let (output, temporary) = demo.end();
        // So early that it had not taken the signal over: it had made nothing yet.
        let untouched = output.status.signal() == Some(Signal::SIGINT as i32);
        assert!(output.status.success() || untouched, "{output:?}");
        assert_nothing_is_left(&temporary);
    }
}

#[test]
fn a_directory_that_was_there_stays() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    let place = tempfile::tempdir().unwrap();
    let kept = place.path().join("with space");
    fs::create_dir(&kept).unwrap();
    let mut demo = Demo::start(&["--seconds", "1", "--mount", kept.to_str().unwrap()]);
    assert_eq!(demo.mounted(), kept.canonicalize().unwrap());
    read_some(&kept);
    let (output, temporary) = demo.end();
    assert!(output.status.success(), "{output:?}");
    assert!(kept.is_dir());
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    assert_nothing_is_left(&temporary);
}

#[test]
fn of_two_in_one_place_the_second_fails_and_the_first_goes_on() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    let place = tempfile::tempdir().unwrap();
    let arguments = ["--mount", place.path().to_str().unwrap()];
    let mut first = Demo::start(&arguments);
    // Once long before there is a mount, and once when there is.
    for waits in [false, true] {
        if waits {
            first.mounted();
        } else {
            // It writes its configurations when it has claimed the place.
            let configured = || {
                let mut made = fs::read_dir(first.temporary.path()).unwrap().flatten();
                made.any(|entry| entry.path().join("gateway.toml").exists())
            };
            while !configured() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let (output, temporary) = Demo::start(&arguments).end();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("choose another directory"), "{words}");
        assert_nothing_is_left(&temporary);
    }
    read_some(place.path());
    first.signal(Signal::SIGINT);
    let (output, temporary) = first.end();
    assert!(output.status.success(), "{output:?}");
    assert_nothing_is_left(&temporary);
    assert_eq!(mounts_in(place.path()), 0);
}

#[test]
fn daemons_do_not_outlive_a_killed_demonstration() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    let mut demo = Demo::start(&[]);
    demo.mounted();
    demo.signal(Signal::SIGKILL);
    let (_, temporary) = demo.end();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_in(temporary.path()).is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(processes_in(temporary.path()), Vec::<u32>::new());
    assert_eq!(mounts_in(temporary.path()), 0);
}

#[test]
fn a_daemon_that_dies_ends_it_with_words() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    for daemon in ["gateway.toml", "collector.toml"] {
        let mut demo = Demo::start(&[]);
        demo.mounted();
        let victims: Vec<u32> = processes_in(demo.temporary.path())
            .into_iter()
            .filter(|id| {
                fs::read_to_string(format!("/proc/{id}/cmdline"))
                    .is_ok_and(|line| line.contains(daemon))
            })
            .collect();
        assert_eq!(victims.len(), 1);
        kill(
            Pid::from_raw(i32::try_from(victims[0]).unwrap()),
            Signal::SIGKILL,
        )
        .unwrap();
        let (output, temporary) = demo.end();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("has ended by itself (signal 9)"), "{words}");
        assert_nothing_is_left(&temporary);
    }
}

#[test]
fn a_wrong_rate_is_told_in_the_collectors_words() {
    if !can_mount() {
        skip!("there is no /dev/fuse here");
    }
    let (output, temporary) = Demo::start(&["--rate", "warp-9"]).end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("warp-9") || words.contains("rate"),
        "{words}"
    );
    assert_nothing_is_left(&temporary);
}
