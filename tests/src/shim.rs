//! The HTTP service as a real process beside a [`Chain`].

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::chain::{Chain, PATIENCE, program, spawn, wait_until};
use crate::http::At;

/// The service, while it runs.
pub struct Shim {
    /// The process.
    pub child: Child,
    /// Its Unix socket.
    pub local: At,
    log: PathBuf,
}

impl Shim {
    /// Starts it with `more` lines of configuration before any table, and `tables`; waits until it serves.
    ///
    /// # Panics
    /// It does not.
    pub fn start(chain: &Chain, more: &str, tables: &str) -> Self {
        Self::start_by(chain, Self::command(chain, more, tables))
    }

    /// Writes its configuration, and gives the command that starts it.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn command(chain: &Chain, more: &str, tables: &str) -> Command {
        let config = chain.path("http.toml");
        let gateway = match more.contains("gateway-socket") {
            true => String::new(),
            false => format!("mount = {:?}", chain.path("mnt")),
        };
        let text = format!(
            "{gateway}\nsocket = {:?}\n{more}\n{tables}\n",
            chain.path("http.socket"),
        );
        fs::write(&config, text).expect("the configuration of the HTTP service");
        let mut command = Command::new(program("qrng-http"));
        command.arg("--config").arg(config);
        command
            .env_remove("QRNG_API_KEYS")
            .env_remove("QRNG_RATE_LIMIT");
        command
    }

    /// Starts it by `command`; waits until it serves.
    ///
    /// # Panics
    /// It does not.
    pub fn start_by(chain: &Chain, mut command: Command) -> Self {
        let log = chain.path("http.log");
        // An earlier one's lines are not this one's.
        let _ = fs::remove_file(&log);
        let mut shim = Self {
            child: spawn(&mut command, &log),
            local: At::path(&chain.path("http.socket")),
            log,
        };
        wait_until("the HTTP service", || {
            shim.assert_alive();
            shim.log().contains("serving ")
        });
        shim
    }

    /// Its TCP address: the first that it says it serves at.
    ///
    /// # Panics
    /// There is none.
    pub fn remote(&self) -> At {
        let log = self.log();
        let serving = log.lines().find(|line| line.contains("serving "));
        let words = serving
            .into_iter()
            .flat_map(|line| line.split([' ', ',', '"']));
        let address = words
            .filter_map(|word| word.parse::<SocketAddr>().ok())
            .next();
        At::Address(address.unwrap_or_else(|| panic!("no address in {log}")))
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails if it has ended.
    ///
    /// # Panics
    /// It has.
    pub fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the HTTP service ended ({status}):\n{}", self.log());
        }
    }

    /// Waits until it has seen that the gateway serves.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for_bytes(&self) {
        wait_until("bytes over HTTP", || {
            let status = self.local.get("/api/status");
            status.status == 200
                && status.json()["gateway"]["buffer"]["fill_bytes"]
                    .as_u64()
                    .is_some_and(|fill| fill > 0)
        });
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// It is not sent.
    pub fn terminate(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("SIGTERM is sent");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "SIGTERM did not end the HTTP service"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of the HTTP service\n{}", self.log());
        }
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a private file of keys with one for each of `names`; gives its path and the keys.
///
/// # Panics
/// It cannot be written.
pub fn write_keys(chain: &Chain, names: &[&str]) -> (PathBuf, Vec<String>) {
    let mut text = String::new();
    let mut keys = Vec::new();
    for name in names {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("random bytes of the kernel");
        let (key, line) = qrng_http::keys::new_key(name, &random).expect("a key");
        text.push_str(&line);
        text.push('\n');
        keys.push(key.to_string());
    }
    let path = chain.path("http.keys");
    fs::write(&path, text).expect("a file of keys");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a private file");
    (path, keys)
}
