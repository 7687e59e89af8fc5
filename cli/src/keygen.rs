//! `qrng keygen`: the two key files of a link.
//!
//! Each file is created, never opened: an existing one is refused, so a key in use cannot be lost by
//! a second call. Both are on the disk (fsync, directory included) before anything is printed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

use qrng::keys::{Day, KeyId, MOST_DAYS, generate, generate_calendar};
use zeroize::Zeroizing;

use crate::text;

/// What `qrng keygen` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// First part of both file names: letters, digits, `-`, `_` and `.`
    #[arg(long, default_value = "qrng")]
    name: String,
    /// Make a calendar instead: a key for each of so many days, which the gateway destroys when they are over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    days: Option<u32>,
    /// First day of the calendar, as YYYY-MM-DD in UTC [default: today]
    #[arg(long, value_name = "DATE", requires = "days")]
    from: Option<Day>,
}

/// The two files of one link.
pub struct Pair {
    /// Private key and pre-shared key: for the gateway's host.
    pub gateway: PathBuf,
    /// Public key and pre-shared key: for the collector's host.
    pub collector: PathBuf,
    /// What names the pair in logs and packets.
    pub key_id: String,
    /// First and last day of a calendar.
    pub days: Option<(Day, Day)>,
}

/// The texts of both files, and what names them.
struct Texts {
    gateway: Zeroizing<String>,
    collector: Zeroizing<String>,
    key_id: KeyId,
    days: Option<(Day, Day)>,
}

/// Makes a pair and says what to do with it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (directory, name) = (&arguments.out, &arguments.name);
    let pair = match arguments.days {
        None => write_pair(directory, name)?,
        Some(days) => {
            let today = Day::of_us(now_us());
            write_calendar(directory, name, arguments.from.unwrap_or(today), days)?
        }
    };
    text::say(&advice(&pair))?;
    Ok(ExitCode::SUCCESS)
}

/// Microseconds since the Unix epoch; 0 for a clock before it.
fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Makes a key pair and writes its two files into `directory`.
pub fn write_pair(directory: &Path, name: &str) -> Result<Pair> {
    write(directory, name, || {
        let (gateway, collector, key_id) = generate(&mut UnwrapErr(SysRng));
        Ok(Texts {
            gateway,
            collector,
            key_id,
            days: None,
        })
    })
}

/// Makes a calendar of keys and writes its two files into `directory`.
pub fn write_calendar(directory: &Path, name: &str, from: Day, days: u32) -> Result<Pair> {
    write(directory, name, || {
        let files = generate_calendar(from, days, &mut UnwrapErr(SysRng));
        let files = files.with_context(|| {
            format!(
                "--days {days} --from {from}: give 1 to {MOST_DAYS} days, none after 9999-12-31"
            )
        })?;
        Ok(Texts {
            gateway: files.gateway,
            collector: files.collector,
            key_id: files.first,
            days: Some((from, files.last)),
        })
    })
}

fn write(directory: &Path, name: &str, make: impl FnOnce() -> Result<Texts>) -> Result<Pair> {
    check_name(name)?;
    let gateway = directory.join(format!("{name}.gateway.key"));
    let collector = directory.join(format!("{name}.collector.key"));
    // Asked beforehand so that a refusal leaves nothing half done; `create_new` is what guarantees it.
    for file in [&gateway, &collector] {
        if fs::symlink_metadata(file).is_ok() {
            bail!(already_there(file));
        }
    }
    let texts = make()?;
    write_new(&gateway, texts.gateway.as_bytes())?;
    if let Err(error) = write_new(&collector, texts.collector.as_bytes()) {
        let _ = fs::remove_file(&gateway);
        return Err(error);
    }
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .with_context(|| format!("cannot bring {} to the disk", directory.display()))?;
    Ok(Pair {
        gateway,
        collector,
        key_id: texts.key_id.to_string(),
        days: texts.days,
    })
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(allowed) {
        bail!(
            "--name {name:?}: use letters, digits, '-', '_' and '.', and begin with a letter or digit"
        );
    }
    Ok(())
}

fn already_there(file: &Path) -> String {
    format!(
        "{} exists already and is left as it is: choose another --name or --out, or delete it first if no daemon uses it",
        file.display()
    )
}

fn write_new(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow::anyhow!(already_there(path)),
            io::ErrorKind::NotFound => anyhow::anyhow!(
                "{}: the directory does not exist; make it first (mode 0700)",
                path.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot create {}", path.display())),
        })?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(())
}

fn advice(pair: &Pair) -> String {
    let gateway = pair.gateway.display();
    let collector = pair.collector.display();
    let (id, place) = match pair.days {
        None => (pair.key_id.clone(), String::new()),
        Some((from, last)) => (
            format!("{} on {from}, another one on each day until {last} (UTC)", pair.key_id),
            "    It destroys each day's key in this file, so put it where the gateway may write: its state\n    \
             directory, /var/lib/qrng-gateway, on a disk without snapshots\n"
                .to_owned(),
        ),
    };
    format!(
        "key id {id}\n\
         \n\
         {gateway}\n    \
         private key: copy it to the gateway's host and name it in its configuration, keys = [\"...\"]\n\
         {place}{collector}\n    \
         public key: copy it to the collector's host and name it in its configuration, [[gateway]] key = \"...\"\n\
         \n\
         Both files hold the link's shared secret. Keep them at mode 0600, carry them over a channel you trust,\n\
         and delete both here afterwards:  shred -u {gateway} {collector}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrng::keys::{CollectorKey, GatewayKey};
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn both_files_are_private_and_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let pair = write_pair(directory.path(), "lab").unwrap();
        assert_eq!(pair.gateway, directory.path().join("lab.gateway.key"));
        assert_eq!(pair.collector, directory.path().join("lab.collector.key"));
        assert_eq!((mode(&pair.gateway), mode(&pair.collector)), (0o600, 0o600));
        let gateway = GatewayKey::parse(&fs::read_to_string(&pair.gateway).unwrap()).unwrap();
        let collector = CollectorKey::parse(&fs::read_to_string(&pair.collector).unwrap()).unwrap();
        assert_eq!(gateway.key_id(), collector.key_id());
        assert_eq!(gateway.key_id().to_string(), pair.key_id);
        assert!(advice(&pair).contains(&pair.key_id));
    }

    #[test]
    fn a_calendars_files_are_private_and_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let from: Day = "2026-11-26".parse().unwrap();
        let pair = write_calendar(directory.path(), "lab", from, 400).unwrap();
        assert_eq!((mode(&pair.gateway), mode(&pair.collector)), (0o600, 0o600));
        let gateway = qrng_daemon::read_secret(&pair.gateway).unwrap();
        let gateway = qrng::keys::GatewayKeys::parse(&gateway).unwrap();
        let collector = qrng_daemon::read_secret(&pair.collector).unwrap();
        let collector = qrng::keys::CollectorKeys::parse(&collector).unwrap();
        assert_eq!((gateway.keys.len(), gateway.days.len()), (400, 400));
        let today = collector.at(from.start_us());
        assert_eq!(today.key_id().to_string(), pair.key_id);
        assert_eq!(pair.days, from.later(399).map(|last| (from, last)));
        let advice = advice(&pair);
        for words in [
            &*pair.key_id,
            "on 2026-11-26",
            "until 2027-12-30",
            "/var/lib/qrng-gateway",
        ] {
            assert!(advice.contains(words), "{words:?} is not in {advice}");
        }
    }

    #[test]
    fn a_calendar_beyond_all_calendars_is_refused_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let from: Day = "9999-12-31".parse().unwrap();
        assert!(write_calendar(directory.path(), "lab", from, 2).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_pairs_differ() {
        let directory = tempfile::tempdir().unwrap();
        let one = write_pair(directory.path(), "one").unwrap();
        let two = write_pair(directory.path(), "two").unwrap();
        assert_ne!(one.key_id, two.key_id);
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        for existing in ["lab.gateway.key", "lab.collector.key"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(existing);
            fs::write(&path, "precious").unwrap();
            let error = write_pair(directory.path(), "lab")
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains("exists already"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_dangling_link_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("elsewhere");
        std::os::unix::fs::symlink(&target, directory.path().join("lab.gateway.key")).unwrap();
        assert!(write_pair(directory.path(), "lab").is_err());
        assert!(!target.exists());
    }

    #[test]
    fn names_that_are_not_names_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "../up", "-x", ".hidden", "a b", "a/b"] {
            assert!(write_pair(directory.path(), name).is_err(), "{name:?}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
