//! `qrng keygen`: the two key files of a link.
//!
//! Each file is created, never opened: an existing one is refused, so a key in use cannot be lost by
//! a second call. Both are on the disk (fsync, directory included) before anything is printed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

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
}

/// The two files of one link.
pub struct Pair {
    /// Private key and pre-shared key: for the gateway's host.
    pub gateway: PathBuf,
    /// Public key and pre-shared key: for the collector's host.
    pub collector: PathBuf,
    /// What names the pair in logs and packets.
    pub key_id: String,
}

/// Makes a pair and says what to do with it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let pair = write_pair(&arguments.out, &arguments.name)?;
    text::say(&advice(&pair))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a key pair and writes its two files into `directory`.
pub fn write_pair(directory: &Path, name: &str) -> Result<Pair> {
    check_name(name)?;
    let gateway = directory.join(format!("{name}.gateway.key"));
    let collector = directory.join(format!("{name}.collector.key"));
    // Asked beforehand so that a refusal leaves nothing half done; `create_new` is what guarantees it.
    for file in [&gateway, &collector] {
        if fs::symlink_metadata(file).is_ok() {
            bail!(already_there(file));
        }
    }
    let (gateway_text, collector_text, key_id) = qrng::keys::generate(&mut UnwrapErr(SysRng));
    write_new(&gateway, gateway_text.as_bytes())?;
    if let Err(error) = write_new(&collector, collector_text.as_bytes()) {
        let _ = fs::remove_file(&gateway);
        return Err(error);
    }
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .with_context(|| format!("cannot bring {} to the disk", directory.display()))?;
    Ok(Pair {
        gateway,
        collector,
        key_id: key_id.to_string(),
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
    format!(
        "key id {id}\n\
         \n\
         {gateway}\n    \
         private key: copy it to the gateway's host and name it in its configuration, keys = [\"...\"]\n\
         {collector}\n    \
         public key: copy it to the collector's host and name it in its configuration, [[gateway]] key = \"...\"\n\
         \n\
         Both files hold the link's shared secret. Keep them at mode 0600, carry them over a channel you trust,\n\
         and delete both here afterwards:  shred -u {gateway} {collector}",
        id = pair.key_id
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
