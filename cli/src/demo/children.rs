//! The two daemons as children: start them, keep their last words, end them.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A daemon that has not ended so long after SIGTERM is killed.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The log of a dead daemon is waited for no longer than this.
const LOG_END_LIMIT: Duration = Duration::from_secs(1);
/// Lines of a daemon's log that are kept.
const LOG_LINES: usize = 20;
/// A longer line is cut.
const LINE_LIMIT: u64 = 1000;
/// Settings from outside that would change what the demonstration configures.
const OVERRIDES: [&str; 3] = [
    "QRNG_BUFFER_SIZE",
    "QRNG_BUFFER_OVERFLOW_POLICY",
    "QRNG_HMAC_SECRET_KEY",
];

/// The running daemons, ended when dropped.
pub struct Daemons {
    daemons: Vec<Daemon>,
}

impl Daemons {
    /// None yet.
    pub fn none() -> Self {
        Self {
            daemons: Vec::with_capacity(2),
        }
    }

    /// Starts a daemon.
    ///
    /// Must be called from the main thread: the children are told to die with the thread that
    /// started them.
    pub fn start(&mut self, name: &'static str, config: &Path) -> Result<()> {
        let daemon = Daemon::start(&beside_this_program(name)?, name, config)?;
        self.daemons.push(daemon);
        Ok(())
    }

    /// What a daemon that has ended on its own said at last; `None` while all run.
    pub fn obituary(&mut self) -> Option<String> {
        self.daemons.iter_mut().find_map(Daemon::obituary)
    }

    /// The end of all logs.
    pub fn last_words(&self) -> String {
        let words: Vec<String> = self.daemons.iter().map(Daemon::last_words).collect();
        words.join("\n")
    }

    /// Ends all: SIGTERM, and SIGKILL to one that takes too long.
    pub fn end(&mut self) {
        for daemon in &mut self.daemons {
            daemon.ask_to_end();
        }
        let deadline = Instant::now() + END_LIMIT;
        for daemon in &mut self.daemons {
            daemon.wait_until(deadline);
        }
        self.daemons.clear();
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        self.end();
    }
}

fn beside_this_program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!(
            "{} is missing: the demonstration starts the daemons found beside qrng itself; build all of them with: cargo build --release",
            path.display()
        );
    }
    Ok(path)
}

struct Daemon {
    name: &'static str,
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    logger: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(program: &Path, name: &'static str, config: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(config)
            .args(["--die-with-parent", "--parent"])
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: the terminal's Ctrl-C reaches this program alone, which ends them in order.
            .process_group(0);
        for name in OVERRIDES {
            command.env_remove(name);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let log = Arc::new(Mutex::new(VecDeque::with_capacity(LOG_LINES)));
        let logger = child.stderr.take().and_then(|stderr| {
            let log = Arc::clone(&log);
            thread::Builder::new()
                .name("log".to_owned())
                .spawn(move || keep_last_lines(stderr, &log))
                .ok()
        });
        Ok(Self {
            name,
            child,
            log,
            logger,
        })
    }

    fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        // It is dead, so its log ends; all of it is wanted, unless something else holds the pipe open.
        let deadline = Instant::now() + LOG_END_LIMIT;
        while !self.log_is_over() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        Some(format!(
            "{} has ended by itself ({})\n{}",
            self.name,
            in_words(status),
            self.last_words()
        ))
    }

    fn log_is_over(&self) -> bool {
        self.logger.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.is_empty() {
            return format!("  {} logged nothing", self.name);
        }
        let lines: Vec<String> = log
            .iter()
            .map(|line| format!("  {}: {line}", self.name))
            .collect();
        lines.join("\n")
    }

    fn ask_to_end(&mut self) {
        // Once reaped, its id may belong to another process.
        let alive = matches!(self.child.try_wait(), Ok(None));
        if let (true, Ok(id)) = (alive, i32::try_from(self.child.id())) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    fn wait_until(&mut self, deadline: Instant) {
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn keep_last_lines(stderr: ChildStderr, log: &Mutex<VecDeque<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader
            .by_ref()
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let words = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(words);
    }
}
