//! A real mount, or a real character device, over a buffer that the test feeds, and readers as processes with a deadline.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qrng_gateway::buffer::{Buffer, Counts, Overflow};
use qrng_gateway::kernel::{
    Device, DeviceError, DeviceOptions, Handed, Mount, MountOptions, StayAwake, make_device,
};
use qrng_gateway::tree::{Entry, NODES, Tree};

/// After this long a wait has failed: no test measures time, but none may hang.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Set in a run of the tests as an ordinary user: the directory to work in.
pub const AS_USER: &str = "QRNG_TESTS_AS_USER";

/// Set in a run of the tests against a character device in place of a mount: it is `raw`, and there are no other files.
pub const AS_DEVICE: &str = "QRNG_TESTS_AS_DEVICE";

/// Where the probe is, if not where it was built.
pub const PROBE: &str = "QRNG_TESTS_PROBE";

/// The status document that the harness's trees show.
pub const STATUS: &str = r#"{"state":"serving"}"#;

/// Whether the test runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Options as the gateway takes them by default: root lets everybody in.
pub fn mount_options(point: PathBuf) -> MountOptions {
    let on_end = Arc::new(|end| eprintln!("{end}"));
    MountOptions {
        point,
        allow_other: is_root(),
        stay_awake: StayAwake::Auto,
        threads: 0,
        progress: Arc::default(),
        on_end,
    }
}

/// Makes the device /dev/`name` and serves it until it is dropped; there it is until this process ends.
///
/// # Errors
/// The device cannot be made, or not be served.
pub fn device(name: &str, file: &'static Entry, tree: &Arc<Tree>) -> Result<Device, DeviceError> {
    let options = DeviceOptions {
        name: name.to_owned(),
        file,
        stay_awake: StayAwake::default(),
        progress: Arc::default(),
        on_end: Arc::new(|end| eprintln!("{end}")),
    };
    let handed = Handed::New(make_device(name)?);
    let mut device = Device::adopt(options, handed, Arc::clone(tree))?;
    device.serve()?;
    Ok(device)
}

/// The entry of the file `name` of the root directory.
///
/// # Panics
/// There is none.
pub fn entry(name: &str) -> &'static Entry {
    let mut entries = NODES.iter();
    entries.find(|entry| entry.name == name).expect("a file")
}

/// The files over `buffer`, owned by this process's user.
pub fn tree_over(buffer: &Arc<Buffer>) -> Arc<Tree> {
    let owner = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    Arc::new(Tree::new(
        buffer.clone(),
        Arc::new(|| STATUS.to_owned()),
        owner,
        1_700_000_000_000_000,
    ))
}

/// A directory for one test.
pub fn directory() -> tempfile::TempDir {
    let directory = match std::env::var_os(AS_USER) {
        Some(base) => tempfile::tempdir_in(base),
        None => tempfile::tempdir(),
    };
    let directory = directory.expect("a temporary directory");
    // Others may pass, to find that the files inside are not for them.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("chmod of a directory of our own");
    directory
}

/// Why there can be no mount here (or no device, if one is wanted), if so.
pub fn no_mount() -> Option<String> {
    if std::env::var_os(AS_DEVICE).is_some() {
        // Whoever asks for a device means a kernel that has them: making it says why not.
        return None;
    }
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    device
        .err()
        .map(|error| format!("/dev/fuse can't be opened: {error}"))
}

/// How programs see the files.
enum Face {
    Mount(Mount),
    Device(Device),
}

/// A mounted tree, or its file `raw` as a device (see [`AS_DEVICE`]). Unmounted when dropped.
pub struct Served {
    /// The buffer behind the files.
    pub buffer: Arc<Buffer>,
    /// The files.
    pub tree: Arc<Tree>,
    face: Option<Face>,
    /// The device, which has another name in each test: it is there until the test's process ends.
    device: Option<PathBuf>,
    directory: tempfile::TempDir,
}

impl Served {
    /// Serves a tree over an empty buffer of `capacity` bytes.
    pub fn start(capacity: usize) -> Self {
        let directory = directory();
        let buffer =
            Arc::new(Buffer::new(capacity, Overflow::Discard).expect("memory for a buffer"));
        let tree = tree_over(&buffer);
        let face = if std::env::var_os(AS_DEVICE).is_some() {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let name = format!("qrng-{}", NUMBER.fetch_add(1, Ordering::SeqCst));
            Face::Device(device(&name, entry("raw"), &tree).expect("a device"))
        } else {
            let options = mount_options(directory.path().to_owned());
            Face::Mount(Mount::start(options, tree.clone()).expect("a mount"))
        };
        let device = match &face {
            Face::Device(device) => Some(device.path()),
            Face::Mount(_) => None,
        };
        Self {
            buffer,
            tree,
            face: Some(face),
            device,
            directory,
        }
    }

    /// Whether there are all the files, and not one of them as a device.
    pub fn is_mount(&self) -> bool {
        self.device.is_none()
    }

    /// Those of `files` that are there.
    pub fn those<'f>(&self, files: &[&'f str]) -> Vec<&'f str> {
        let there = files
            .iter()
            .filter(|file| self.is_mount() || **file == "raw");
        there.copied().collect()
    }

    /// The path of the file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.device {
            Some(path) if name == "raw" => path.clone(),
            _ => self.directory.path().join(name),
        }
    }

    /// Feeds `count` bytes of a pattern.
    pub fn feed(&self, count: usize) {
        let bytes: Vec<u8> = (0..count).map(|i| (i * 31 + i / 256) as u8).collect();
        self.buffer.push(&bytes);
        self.buffer.notify();
    }

    /// Keeps the buffer filled until the guard is dropped.
    pub fn keep_filled(&self) -> Feeder {
        let (buffer, stop) = (self.buffer.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let bytes: Vec<u8> = (0..=255).cycle().take(65_536).collect();
            while !stopped.load(Ordering::SeqCst) {
                if buffer.capacity() - buffer.fill() >= bytes.len() {
                    buffer.push(&bytes);
                    buffer.notify();
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Feeder {
            stop,
            thread: Some(thread),
        }
    }

    /// The buffer's counts when no claim is in flight: a reader may have its bytes a moment before they are counted.
    pub fn settled(&self) -> Counts {
        let mut counts = self.buffer.counts();
        wait_until("claims are settled", || {
            counts = self.buffer.counts();
            counts.in_flight == 0
        });
        counts
    }

    /// Waits until exactly `count` reads wait.
    pub fn wait_for_waiting(&self, count: usize) {
        wait_until("readers wait", || self.buffer.waiting() == count);
    }

    /// Unmounts, which must succeed; of a device, tells those who wait.
    pub fn stop(&mut self) {
        match self.face.take() {
            Some(Face::Mount(mount)) => mount.stop().expect("the mount ends"),
            Some(Face::Device(device)) => drop(device),
            None => {}
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Before the directory, which would otherwise be a mount point when it is removed.
        drop(self.face.take());
    }
}

/// Keeps a buffer filled while it lives.
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Waits until `done`; panics with `what` after [`DEADLINE`].
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < limit, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or `None` after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Panics unless the exit code was 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// A process that is killed if the test forgets it.
pub struct Process {
    child: Child,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
    what: String,
}

impl Process {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let out = child.stdout.take().map(drain);
        let err = child.stderr.take().map(drain);
        Self {
            child,
            out,
            err,
            what,
        }
    }

    /// The process's id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Its state as in proc_pid_stat(5): S sleeps and can be woken, D can't be killed.
    pub fn state(&self) -> char {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a process");
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
            .expect("its state")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("a process");
    }

    /// Waits for its end; panics after [`DEADLINE`].
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let limit = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                break status;
            }
            assert!(
                Instant::now() < limit,
                "{} does not end (state {})",
                self.what,
                self.state()
            );
            std::thread::sleep(Duration::from_micros(300));
        };
        let join = |thread: Option<JoinHandle<Vec<u8>>>| {
            thread.and_then(|t| t.join().ok()).unwrap_or_default()
        };
        let (out, err) = (join(self.out.take()), join(self.err.take()));
        Ended {
            code: status.code(),
            signal: status.signal(),
            out,
            err: String::from_utf8_lossy(&err).into_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Process::start(command.stdin(Stdio::null())).end()
}

/// Runs a shell script with `$F` set to `file`.
#[track_caller]
pub fn sh(script: &str, file: &Path) -> Ended {
    run(Command::new("sh").args(["-c", script]).env("F", file))
}
