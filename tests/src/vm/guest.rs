//! A running guest: QEMU's process, its console, the agent in it and its monitor.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::channel::Channel;
use super::qmp::Monitor;

/// How long a guest lives at the most: then it is killed, and whoever waits for it fails with its console.
const LIFE: Duration = Duration::from_secs(600);
/// How long is waited for something in a guest that ought to happen within seconds: its processor is emulated, and this machine
/// may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// How long a guest takes to its agent at the most. It takes 5 to 30 s on a quiet machine.
const BOOT: Duration = Duration::from_secs(180);

/// The name of the slot for a device.
pub(super) const SLOT: &str = "slot0";
/// The name of the device in it.
const PLUGGED: &str = "plugged";

/// What a command in the guest came to.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output and standard error.
    pub text: String,
}

/// A guest whose agent answers. It ends when dropped; its console is printed if the test fails.
pub struct Guest {
    agent: Channel,
    monitor: Monitor,
    process: Process,
    _directory: TempDir,
}

impl Guest {
    /// Starts QEMU, whose files and sockets are in `directory`, and waits for the agent.
    ///
    /// # Panics
    /// QEMU or the agent does not come up; the console is printed.
    pub(super) fn start(mut qemu: Command, directory: TempDir) -> Self {
        let listen = |name: &str| {
            let path = directory.path().join(name);
            let listener = UnixListener::bind(&path).expect("a socket for the guest");
            (listener, path)
        };
        let (agent, agent_path) = listen("agent");
        let (monitor, monitor_path) = listen("monitor");
        qemu.args(["-serial", "stdio"])
            .args([
                "-chardev",
                &format!("socket,id=agent,path={}", agent_path.display()),
            ])
            .args(["-serial", "chardev:agent"])
            .args(["-qmp", &format!("unix:{}", monitor_path.display())]);
        let process = Process::start(qemu);
        // The console is printed when `process` is dropped.
        let monitor = Monitor::accept(&monitor).unwrap_or_else(|e| panic!("QEMU's monitor: {e}"));
        let deadline = Instant::now() + BOOT;
        let mut agent = Channel::accept(&agent, deadline)
            .unwrap_or_else(|e| panic!("QEMU's second serial port: {e}"));
        let first = agent.line(deadline);
        assert!(
            matches!(&first, Ok(line) if line == "ready"),
            "the agent in the guest: {first:?}"
        );
        Self {
            agent,
            monitor,
            process,
            _directory: directory,
        }
    }

    /// Runs a command of the shell in the guest, one line, and waits for its end.
    ///
    /// # Panics
    /// The agent does not answer, because the guest is gone or the command hangs.
    pub fn run(&mut self, command: &str) -> Output {
        self.ask(command)
            .unwrap_or_else(|e| panic!("`{command}` in the guest: {e}"))
    }

    fn ask(&mut self, command: &str) -> io::Result<Output> {
        assert!(!command.contains('\n'), "the agent takes one line");
        let deadline = Instant::now() + PATIENCE;
        self.agent.send(command)?;
        let head = self.agent.line(deadline)?;
        let (code, length) = head
            .split_once(' ')
            .and_then(|(code, length)| Some((code.parse().ok()?, length.parse().ok()?)))
            .ok_or_else(|| io::Error::other(format!("the agent says `{head}`")))?;
        let text = self.agent.bytes(length, deadline)?;
        Ok(Output {
            code,
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Runs a command that must succeed, and gives its output.
    ///
    /// # Panics
    /// It does not succeed.
    pub fn succeed(&mut self, command: &str) -> String {
        let Output { code, text } = self.run(command);
        assert!(
            code == 0,
            "`{command}` in the guest: exit code {code}\n{text}"
        );
        text
    }

    /// Waits until a command of the shell succeeds in the guest, and gives its output.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`]; `what` says what was awaited.
    pub fn wait_until(&mut self, what: &str, command: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Output { code, text } = self.run(command);
            if code == 0 {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain in the guest: {what} (`{command}`: exit code {code})\n{text}"
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Plugs a device into the slot that the plan gave the guest; `device` is what QEMU's `device_add` takes, without `id` and
    /// `bus`.
    ///
    /// # Panics
    /// QEMU refuses it.
    pub fn plug(&mut self, mut device: Value) {
        device["id"] = PLUGGED.into();
        device["bus"] = SLOT.into();
        self.monitor
            .command("device_add", device)
            .unwrap_or_else(|e| panic!("plugging in: {e}"));
    }

    /// Unplugs the device in the slot and waits until the guest has let it go.
    ///
    /// # Panics
    /// It does not let it go.
    pub fn unplug(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.monitor
            .command("device_del", json!({ "id": PLUGGED }))
            .and_then(|_| {
                self.monitor
                    .event("DEVICE_DELETED", "device", PLUGGED, deadline)
            })
            .unwrap_or_else(|e| panic!("unplugging: {e}"));
    }

    /// What the guest has written to its console so far.
    pub fn console(&self) -> String {
        self.process.console()
    }
}

/// QEMU's process, with its console and the thread that ends it after [`LIFE`].
struct Process {
    child: Arc<Mutex<Child>>,
    console: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// Dropped when the guest need not be watched any more.
    watched: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Process {
    fn start(mut qemu: Command) -> Self {
        // The console, and QEMU's own words among it.
        let (mut output, input) = io::pipe().expect("a pipe");
        let child = qemu
            .stdin(Stdio::null())
            .stdout(input.try_clone().expect("a pipe"))
            .stderr(input)
            .spawn()
            .unwrap_or_else(|e| panic!("{qemu:?}: {e}"));
        // Only QEMU holds the other end now, so the reader ends with it.
        drop(qemu);
        let child = Arc::new(Mutex::new(child));
        let console = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&console);
        let live = std::env::var_os("QRNG_VM_CONSOLE").is_some();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                lock(&kept).extend_from_slice(&buffer[..count]);
                if live {
                    let _ = io::stderr().write_all(&buffer[..count]);
                }
            }
        });
        let (watched, ended) = mpsc::channel();
        let victim = Arc::clone(&child);
        let watcher = thread::spawn(move || {
            if ended.recv_timeout(LIFE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a guest was killed because it was there for {LIFE:?}");
                let _ = lock(&victim).kill();
            }
        });
        Self {
            child,
            console,
            reader: Some(reader),
            watched: Some(watched),
            watcher: Some(watcher),
        }
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&lock(&self.console)).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.watched.take());
        {
            let mut child = lock(&self.child);
            let _ = child.kill();
            let _ = child.wait();
        }
        for thread in [self.reader.take(), self.watcher.take()]
            .into_iter()
            .flatten()
        {
            let _ = thread.join();
        }
        if thread::panicking() {
            eprintln!("--- console of the guest\n{}", self.console());
        }
    }
}

/// A panic elsewhere cannot leave a child or a console half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
