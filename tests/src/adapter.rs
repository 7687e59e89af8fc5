//! The adapter as a real process beside a [`Chain`].

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::chain::{Chain, PATIENCE, program, spawn, wait_until};

/// The tables of a gateway whose stream socket an adapter takes its bytes from.
pub fn stream(chain: &Chain) -> String {
    format!("[stream]\nlisten = {:?}\n", chain.path("gateway/s"))
}

/// One form of the adapter, while it runs.
pub struct Adapter {
    /// The process.
    pub child: Child,
    log: PathBuf,
}

impl Adapter {
    /// Writes its configuration, with `tables`, and gives the command that starts this form.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn command(chain: &Chain, form: &str, tables: &str) -> Command {
        let config = chain.path(&format!("{form}.toml"));
        let text = format!("gateway-socket = {:?}\n{tables}\n", chain.path("gateway/s"));
        fs::write(&config, text).expect("the adapter's configuration");
        let mut command = Command::new(program("qrng-adapter"));
        command.arg(form).arg("--config").arg(config);
        for name in [
            "POOL_CREDIT",
            "POOL_INTERVAL",
            "EGD_SOCKET",
            "FIFO_PATH",
            "GATEWAY_SOCKET",
        ] {
            command.env_remove(format!("QRNG_{name}"));
        }
        command
    }

    /// Starts `command`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_by(chain: &Chain, form: &str, command: &mut Command) -> Self {
        let log = chain.path(&format!("{form}.log"));
        // An earlier one's lines are not this one's.
        let _ = fs::remove_file(&log);
        Self {
            child: spawn(command, &log),
            log,
        }
    }

    /// Starts a form, and waits until it has said `words`.
    ///
    /// # Panics
    /// It does not say them.
    pub fn start(chain: &Chain, form: &str, tables: &str, words: &str) -> Self {
        let mut command = Self::command(chain, form, tables);
        let mut adapter = Self::start_by(chain, form, &mut command);
        adapter.wait_for(words);
        adapter
    }

    /// Waits until it has said `words`.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for(&mut self, words: &str) {
        wait_until(&format!("the adapter says {words:?}"), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                assert!(
                    self.log().contains(words),
                    "it ended ({status}): {}",
                    self.log()
                );
            }
            self.log().contains(words)
        });
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("SIGTERM is sent");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "SIGTERM did not end the adapter");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bytes that it has counted, from its last words: taken, handed on, destroyed.
    ///
    /// # Panics
    /// It has not ended, or did not say them.
    pub fn books(&self) -> [u64; 3] {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains(" bytes taken"));
        let line = line.unwrap_or_else(|| panic!("no count in {log}"));
        let words = line.rsplit("; ").next().unwrap_or_default();
        let numbers = words.split(' ').filter_map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        numbers
            .try_into()
            .unwrap_or_else(|_| panic!("no count in {line}"))
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of the adapter\n{}", self.log());
        }
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
