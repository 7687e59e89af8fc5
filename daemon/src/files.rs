//! Secret files and atomic writes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use crate::credentials;

/// The largest secret file that is read, in bytes: a collector's calendar of keys for three years has 2.8 MB.
const SECRET_MAX: u64 = 4 << 20;

/// A file that could not be used: which, why, and what to do.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for FileError {}

/// Reads a secret text file into memory that is wiped when dropped.
///
/// # Errors
/// The file cannot be read, is larger than 4 MiB, is not UTF-8, has a mode other than 0600 and
/// 0400, or belongs to neither root nor this process's user; or it is a credential that was not
/// handed over. The text says how to mend it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let file = open_secret(path, false)?;
    read_text(&file).map_err(|what| fail(path, what))
}

/// Overwrites parts of a secret file in place, and brings that to the disk: no copy of the rest is made, so none is left
/// behind. `parts` is told the file's text, and gives ranges of bytes. Gives how many ranges there were.
///
/// The file system and the disk may keep what was there elsewhere: copy-on-write, snapshots, flash cells.
///
/// # Errors
/// As [`read_secret`], or the file cannot be written.
pub fn overwrite_secret(
    path: &Path,
    with: u8,
    parts: impl FnOnce(&str) -> Result<Vec<Range<usize>>, String>,
) -> Result<usize, FileError> {
    let file = open_secret(path, true)?;
    let failed = |what| fail(path, what);
    let text = read_text(&file).map_err(failed)?;
    let parts = parts(&text).map_err(failed)?;
    for part in &parts {
        let bytes = vec![with; part.len()];
        file.write_all_at(&bytes, part.start as u64)
            .map_err(|e| failed(format!("cannot be written: {e}")))?;
    }
    if !parts.is_empty() {
        file.sync_all()
            .map_err(|e| failed(format!("cannot be brought to the disk: {e}")))?;
    }
    Ok(parts.len())
}

fn fail(path: &Path, what: String) -> FileError {
    FileError {
        path: path.to_path_buf(),
        what,
    }
}

/// Opens a secret file that nobody else can reach.
fn open_secret(path: &Path, write: bool) -> Result<File, FileError> {
    let fail = |what| fail(path, what);
    if let Some(name) = credentials::named(path) {
        return Err(fail(credentials::missing(name)));
    }
    let file = OpenOptions::new().read(true).write(write).open(path);
    let file = file.map_err(|e| {
        fail(format!(
            "cannot be opened{}: {e}",
            if write { " for writing" } else { "" }
        ))
    })?;
    let meta = file
        .metadata()
        .map_err(|e| fail(format!("cannot be examined: {e}")))?;
    // The group's bits of a credential of root are what an access list grants this process's user alone.
    let of_list = credentials::is_one(path) && meta.uid() == 0 && meta.gid() == 0;
    let mode = meta.mode() & if of_list { !0o040 } else { !0 };
    vet(mode, meta.uid(), geteuid().as_raw(), meta.len())
        .map_err(|what| fail(what.replace("FILE", &path.display().to_string())))?;
    Ok(file)
}

/// The text of a secret file that was just opened.
fn read_text(mut file: &File) -> Result<Zeroizing<String>, String> {
    let unreadable = |e| format!("cannot be read: {e}");
    let size = file.metadata().map_err(unreadable)?.len().min(SECRET_MAX);
    // Sized beforehand: a buffer that grows would leave copies of the secret behind. The byte more tells the end.
    let mut bytes = Zeroizing::new(vec![0; size as usize + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    if length == bytes.len() {
        return Err("is being written; try again".into());
    }
    let text = std::str::from_utf8(&bytes[..length]).map_err(|_| "is not text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether a secret file's mode, owner and size are acceptable to a process of user `euid`.
fn vet(mode: u32, owner: u32, euid: u32, size: u64) -> Result<(), String> {
    if mode & 0o170_000 != 0o100_000 {
        return Err("is not a regular file; name the key file itself".into());
    }
    let permissions = mode & 0o7777;
    if !matches!(permissions, 0o600 | 0o400) {
        return Err(format!(
            "has mode {permissions:04o}, and must have 0600 or 0400, so that nobody else can reach it; \
             run `chmod 0600 FILE`"
        ));
    }
    if owner != euid && owner != 0 {
        return Err(format!(
            "belongs to user {owner}; run `chown {euid} FILE` so that nobody else can change it"
        ));
    }
    if size > SECRET_MAX {
        return Err(format!("is {size} bytes, more than any key file has"));
    }
    Ok(())
}

/// Replaces `path` by `bytes` as one step: a reader sees the old content or the new, never half.
/// Others may be able to write in its directory: what they put in the way is replaced, not followed.
///
/// With `durable` the file and its directory are synced, so that the content survives a power
/// loss that follows. The file's mode is `mode` less the umask.
///
/// # Errors
/// Any step that fails; the old content is then still there.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> io::Result<()> {
    let directory = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = directory.join(name);
    let result = (|| {
        // A rest of an earlier try, or a link to a file that is not ours.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if durable {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    })();
    if result.is_err() {
        // What is left of a failed write is in nobody's way but ours; its removal may fail too.
        let _ = fs::remove_file(&temporary);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn modes_and_owners_are_vetted() {
        assert!(vet(0o100_600, 0, 0, 10).is_ok());
        assert!(vet(0o100_400, 1000, 1000, 10).is_ok());
        assert!(vet(0o100_600, 0, 1000, 10).is_ok());
        for mode in [
            0o644, 0o640, 0o660, 0o604, 0o700, 0o500, 0o200, 0o000, 0o4600, 0o1600,
        ] {
            let error = vet(0o100_000 | mode, 0, 0, 10).unwrap_err();
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
            assert!(error.contains("chmod 0600"), "{error}");
        }
        // Root reads anything, but what another user could have put there is not root's.
        assert!(vet(0o100_600, 1000, 0, 10).is_err());
        assert!(vet(0o100_600, 7, 0, 10).unwrap_err().contains("chown 0"));
        assert!(vet(0o040_700, 0, 0, 10).unwrap_err().contains("regular"));
        assert!(vet(0o100_600, 0, 0, SECRET_MAX + 1).is_err());
    }

    #[test]
    fn secret_is_read_only_with_a_private_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("0644") && error.contains(&*path.to_string_lossy()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_str(), "secret\n");
        assert!(read_secret(&dir.path().join("none")).is_err());
    }

    #[test]
    fn parts_of_a_secret_are_overwritten_where_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "one two three").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let count = overwrite_secret(&path, b'x', |text| {
            assert_eq!(text, "one two three");
            Ok(vec![0..3, 8..13])
        });
        assert_eq!(count.unwrap(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"xxx two xxxxx");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        let error = overwrite_secret(&path, b'x', |_| Err("is odd".into()));
        assert!(error.unwrap_err().to_string().ends_with("key: is odd"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(overwrite_secret(&path, b'x', |_| Ok(vec![0..1, 1..2])).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"xxx two xxxxx");
    }

    #[test]
    fn atomic_write_replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("epoch");
        write_atomically(&path, b"one", 0o600, true).unwrap();
        write_atomically(&path, b"two", 0o600, false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomically(&dir.path().join("no/such"), b"x", 0o600, false).is_err());
    }

    #[test]
    fn atomic_write_follows_no_link_and_uses_no_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("precious"), b"precious").unwrap();
        std::os::unix::fs::symlink(path("precious"), path("status.new")).unwrap();
        write_atomically(&path("status"), b"one", 0o644, false).unwrap();
        assert_eq!(fs::read(path("precious")).unwrap(), b"precious");
        assert_eq!(fs::read(path("status")).unwrap(), b"one");
        assert!(!fs::symlink_metadata(path("status")).unwrap().is_symlink());

        fs::write(path("status.new"), b"a longer rest of an earlier try").unwrap();
        write_atomically(&path("status"), b"two", 0o600, true).unwrap();
        assert_eq!(fs::read(path("status")).unwrap(), b"two");
        let mode = fs::metadata(path("status")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is neither file nor link cannot be replaced.
        fs::create_dir(path("status.new")).unwrap();
        assert!(write_atomically(&path("status"), b"three", 0o600, false).is_err());
        assert_eq!(fs::read(path("status")).unwrap(), b"two");
    }
}
