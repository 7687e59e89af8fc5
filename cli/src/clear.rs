//! `qrng clear`: an operator's request to let a latched daemon go on.
//!
//! ```text
//! RUNTIME/clear-latch made ─ the daemon's look once a second ─ taken away, cleared, logged
//! ```
//!
//! The right to write in the daemon's runtime directory is the right to clear its latch. A request
//! that no daemon takes is withdrawn: it must not clear a later latch that nobody has looked into.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::text;

/// The request, in the daemon's runtime directory.
const REQUEST: &str = "clear-latch";
/// Daemons look once a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks whether the request was taken.
const PACE: Duration = Duration::from_millis(50);

/// What `qrng clear` is told.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Arguments {
    /// Clear the gateway with this runtime directory
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "/run/qrng-gateway")]
    gateway: Option<PathBuf>,
    /// Clear the collector with this runtime directory
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "/run/qrng-collector")]
    collector: Option<PathBuf>,
}

/// Makes the request, waits until it is taken, and says what happens next.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (daemon, directory) = match (&arguments.gateway, &arguments.collector) {
        (Some(directory), _) => (Daemon::Gateway, directory),
        (_, Some(directory)) => (Daemon::Collector, directory),
        (None, None) => bail!("name a daemon: --gateway DIR or --collector DIR"),
    };
    request(daemon, directory, PATIENCE)?;
    text::say(daemon.next())?;
    Ok(ExitCode::SUCCESS)
}

/// Whose latch it is.
#[derive(Clone, Copy)]
enum Daemon {
    Gateway,
    Collector,
}

impl Daemon {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Collector => "collector",
        }
    }

    /// What follows once the request is taken.
    fn next(self) -> &'static str {
        match self {
            Self::Gateway => {
                "the gateway has taken the request and logs it. If it was latched, the start-up tests run again on what\n\
                 comes next, and only bytes that pass are served; if the noise source is still broken it latches again.\n\
                 `qrng status` shows which."
            }
            Self::Collector => {
                "the collector has taken the request and logs it. If a source was latched, the start-up tests run again on\n\
                 what it gives next, and only bytes that pass are sent; if it is still broken it latches again.\n\
                 A gateway that has latched too needs its own `qrng clear --gateway`. `qrng status` shows what is latched."
            }
        }
    }
}

/// Puts the request there and waits until the daemon has taken it away.
fn request(daemon: Daemon, directory: &Path, patience: Duration) -> Result<()> {
    let path = directory.join(REQUEST);
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(_) => {}
        // Somebody else asks for the same at this moment: then one request does for both.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refused(daemon, directory, error)),
    }
    let deadline = Instant::now() + patience;
    while is_there(&path)? {
        if Instant::now() >= deadline {
            return withdraw(daemon, directory, &path);
        }
        thread::sleep(PACE);
    }
    Ok(())
}

fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Takes the request back; if it is gone, the daemon took it at the last moment.
fn withdraw(daemon: Daemon, directory: &Path, path: &Path) -> Result<()> {
    let name = daemon.name();
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "no {name} takes {}; delete it, or it clears the next latch unseen",
                path.display()
            )
        }),
        Ok(()) => bail!(
            "no {name} takes requests from {}: the request is withdrawn and nothing was cleared. Is the {name} running \
             (`qrng status`), and is this the runtime-directory of its configuration?",
            directory.display()
        ),
    }
}

fn refused(daemon: Daemon, directory: &Path, error: io::Error) -> anyhow::Error {
    let (name, place) = (daemon.name(), directory.display());
    let words = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => format!(
            "{place} is no directory: no {name} runs with it; give the runtime-directory of its configuration, --{name} DIR"
        ),
        ErrorKind::PermissionDenied => format!(
            "{place}: only root and the {name}'s user may clear its latch; try: sudo qrng clear --{name} {place}"
        ),
        _ => format!("cannot write in {place}"),
    };
    anyhow::Error::new(error).context(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_request_that_is_taken_is_done() {
        for daemon in [Daemon::Gateway, Daemon::Collector] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("clear-latch");
            let taker = thread::spawn(move || {
                while !path.exists() {
                    thread::sleep(Duration::from_millis(1));
                }
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                fs::remove_file(&path).unwrap();
                mode & 0o7777
            });
            request(daemon, directory.path(), Duration::from_secs(60)).unwrap();
            assert_eq!(taker.join().unwrap(), 0o600);
            assert!(daemon.next().contains("start-up tests run again"));
        }
    }

    #[test]
    fn a_request_that_nobody_takes_is_withdrawn() {
        let directory = tempfile::tempdir().unwrap();
        let error = request(Daemon::Gateway, directory.path(), Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(error.contains("nothing was cleared"), "{error}");
        assert!(error.contains("Is the gateway running"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_request_that_lies_there_is_no_obstacle_and_goes_too() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("clear-latch"), "").unwrap();
        assert!(request(Daemon::Collector, directory.path(), Duration::ZERO).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_directory_comes_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = request(
            Daemon::Collector,
            &directory.path().join("none"),
            Duration::ZERO,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("runtime-directory") && error.contains("--collector DIR"),
            "{error}"
        );
    }
}
