//! One program with one setting: what is run, and what must come of it.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::fuse_harness::no_mount;

use crate::table;

/// Where Debian's packages put programs: not what else may be first in the caller's path.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What standard output must be.
#[derive(Clone, Copy)]
pub enum Output {
    /// So many bytes.
    Bytes(u64),
    /// Text (with standard error) that has these words.
    Says(&'static str),
}

/// Runs a case; the error says why it can't be run here.
pub type Runner = fn(&Case) -> Result<(), String>;

/// A program, its setting and what must come of it.
#[derive(Clone, Copy)]
pub struct Case {
    /// As the table names it; the first word is the executable unless `needs` says otherwise.
    pub name: &'static str,
    /// A command of bash, in which `/qrng` stands for the mount. It runs in an empty directory with the files of `scripts/`.
    pub setting: &'static str,
    /// Executables without which it cannot be run.
    needs: &'static [&'static str],
    /// A command whose first line tells the version; without one it is `--version`.
    version: Option<&'static str>,
    output: Output,
    /// The exit code; others than 0 have a reason.
    code: i32,
    /// Bytes that the gateway has less afterwards, from and to, both included.
    taken: (u64, u64),
    /// What a user should know; of a program that misbehaves, why.
    note: &'static str,
    /// Who runs it instead, if it is not a command.
    by: Option<Runner>,
}

/// A case of which nothing but its output is known yet.
pub const fn case(name: &'static str, setting: &'static str, output: Output) -> Case {
    Case {
        name,
        setting,
        needs: &[],
        version: None,
        output,
        code: 0,
        taken: (1, 1),
        note: "",
        by: None,
    }
}

impl Case {
    /// The executables it needs, of which the first one is the program.
    pub const fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    /// How its version is asked for.
    pub const fn version(self, command: &'static str) -> Self {
        let version = Some(command);
        Self { version, ..self }
    }

    /// The bytes that it takes from the gateway: exactly.
    pub const fn takes(self, bytes: u64) -> Self {
        self.takes_from(bytes, bytes)
    }

    /// The least and the most bytes that it takes.
    pub const fn takes_from(self, least: u64, most: u64) -> Self {
        let taken = (least, most);
        Self { taken, ..self }
    }

    /// The exit code of a program that can't do with such a file.
    pub const fn fails(self, code: i32) -> Self {
        Self { code, ..self }
    }

    /// What a user should know.
    pub const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// It is run by this instead of bash.
    pub const fn by(self, by: Runner) -> Self {
        let by = Some(by);
        Self { by, ..self }
    }

    /// Asserts that what it put out and took is what it must, and writes its row.
    pub fn came_to(&self, version: &str, out: u64, taken: u64) {
        let all = format!("{}: {out} bytes out, {taken} taken", self.name);
        assert!(
            matches!(self.output, Output::Bytes(bytes) if bytes == out),
            "{all}"
        );
        let (least, most) = self.taken;
        assert!((least..=most).contains(&taken), "{all}");
        table::note(self, version, taken);
    }

    /// The table's words on what came of it.
    pub fn result(&self) -> String {
        let end = match self.code {
            0 => "ends".to_owned(),
            124 => "never ends".to_owned(),
            code => format!("exit code {code}"),
        };
        let output = match self.output {
            Output::Bytes(0) => String::new(),
            Output::Bytes(count) => format!(", {count} bytes out"),
            Output::Says(words) => format!(", says “{words}”"),
        };
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!(". {}", self.note)
        };
        format!("{end}{output}{note}")
    }

    fn program(&self) -> &'static str {
        let first = self.name.split(' ').next().unwrap_or_default();
        self.needs.first().copied().unwrap_or(first)
    }

    /// What is missing here, if anything.
    fn missing(&self) -> Option<String> {
        let needs = self.needs.iter().copied().chain([self.program()]);
        let there = |name: &str| PATH.split(':').any(|p| Path::new(p).join(name).is_file());
        let missing: Vec<&str> = needs.filter(|name| !there(name)).collect();
        (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
    }

    /// The first line in which it tells its version.
    fn version_line(&self) -> String {
        let usual = format!("{} --version", self.program());
        let output = Command::new("bash")
            .args(["-c", self.version.unwrap_or(&usual)])
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.unwrap_or("unknown").to_owned()
    }
}

/// Runs a case against the gateway, and asserts what must come of it.
///
/// # Errors
/// It can't be run here: why.
pub fn check(case: &Case) -> Result<(), String> {
    if let Some(reason) = no_mount() {
        return Err(reason);
    }
    if let Some(by) = case.by {
        return by(case);
    }
    if let Some(reason) = case.missing() {
        return Err(reason);
    }
    let shared = shared();
    // One at a time: what the gateway has less is what this one took. A failed case leaves nothing half done.
    let chain = shared.lock().unwrap_or_else(PoisonError::into_inner);
    // A buffer that runs low gives less than a whole block, and programs that read by the block then take another one.
    wait_until("a buffer with bytes", || {
        chain.count("/buffer/fill_bytes") > 1 << 20
    });
    let before = taken(&chain);
    let ended = run(case, &chain);
    let mut count = 0;
    wait_until("claims are settled", || {
        let now = taken(&chain);
        count = now.bytes - before.bytes;
        now.in_flight == 0
    });
    let all = format!("{}: {count} bytes taken, {ended}", case.name);
    assert_eq!(ended.code, Some(case.code), "{all}");
    match case.output {
        Output::Bytes(bytes) => assert_eq!(ended.out.len() as u64, bytes, "{all}"),
        Output::Says(words) => assert!(ended.text().contains(words), "{all}"),
    }
    let (least, most) = case.taken;
    assert!((least..=most).contains(&count), "{all}");
    table::note(case, &case.version_line(), count);
    Ok(())
}

/// The one gateway of all cases that run at the time. It ends with the last of them.
fn shared() -> Arc<Mutex<Chain>> {
    static SHARED: LazyLock<Mutex<Weak<Mutex<Chain>>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(chain) = shared.upgrade() {
        return chain;
    }
    let mut chain = Chain::new();
    chain.start_gateway("accept-simulated = true", "[buffer]\nsize = \"8 MiB\"");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    let chain = Arc::new(Mutex::new(chain));
    *shared = Arc::downgrade(&chain);
    chain
}

/// What has left the gateway for readers.
struct Taken {
    bytes: u64,
    in_flight: u64,
}

/// What readers took so far. Asserts that the gateway's books balance: each admitted byte is somewhere, once.
fn taken(chain: &Chain) -> Taken {
    let status = chain.status();
    let number = |name: &str| status["bytes"][name].as_u64().expect("a counter");
    let lost = ["overflow_discarded", "overflow_replaced", "released"].map(number);
    let [served, seeding, destroyed, in_flight] =
        ["served", "seeding", "destroyed", "in_flight"].map(number);
    let bytes = served + seeding + destroyed;
    let fill = status["buffer"]["fill_bytes"].as_u64().expect("a counter");
    let gone = bytes + in_flight + lost.iter().sum::<u64>();
    assert_eq!(number("admitted"), gone + fill, "{status}");
    Taken { bytes, in_flight }
}

/// How a command ended, and what it wrote.
struct Ended {
    /// `None` after a signal.
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Ended {
    fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.out), self.err)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, count) = (self.code, self.out.len());
        let text: String = self.text().chars().take(2000).collect();
        write!(f, "exit code {code:?}, {count} bytes out: {text:?}")
    }
}

/// Runs the case's command in a directory and a process group of its own, and leaves nothing of it behind.
fn run(case: &Case, chain: &Chain) -> Ended {
    let work = tempfile::tempdir().expect("a directory");
    let output = tempfile::tempdir().expect("a directory");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/scripts");
    let mount = chain.path("mnt").display().to_string();
    for entry in fs::read_dir(scripts).expect("the scripts").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a script");
        let text = text.replace("/qrng", &mount);
        fs::write(work.path().join(entry.file_name()), text).expect("a copy");
    }
    let (out, err) = (output.path().join("out"), output.path().join("err"));
    let mut child = Command::new("bash")
        .args(["-c", &case.setting.replace("/qrng", &mount)])
        .current_dir(work.path())
        .env_clear()
        .envs([("PATH", PATH), ("LC_ALL", "C")])
        .env("HOME", work.path())
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&err).expect("a file"))
        .process_group(0)
        .spawn()
        .expect("bash");
    let group = Pid::from_raw(child.id() as i32);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = killpg(group, Signal::SIGKILL);
            let said = fs::read_to_string(&err).unwrap_or_default();
            panic!("{} does not end: {said}", case.name);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    // A server that a failed command left.
    let _ = killpg(group, Signal::SIGKILL);
    Ended {
        code: status.code(),
        out: fs::read(out).expect("its output"),
        err: String::from_utf8_lossy(&fs::read(err).expect("its output")).into_owned(),
    }
}
