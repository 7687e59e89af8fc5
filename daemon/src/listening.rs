//! A Unix socket's file: made with the right owner and mode before anybody can connect, in place of one that a dead process left.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, chown};

/// Longest path of a Unix socket, in bytes, less room for the name that it is made under (unix(7): 108 with the zero).
pub const PATH_MAX: usize = 107 - 12;

/// Where a socket is to be, and who may connect.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Permissions of the file; who may write to it may connect.
    pub mode: u32,
    /// Group of the file; none: the process's.
    pub group: Option<Gid>,
}

/// Why a process can't listen. The process has to say what to do.
#[derive(Debug)]
pub enum PlaceError {
    /// Somebody listens there.
    Alive,
    /// Something else is there.
    NotASocket,
    /// The group can't be set.
    Group(io::Error),
    /// The kernel refuses.
    Refused(io::Error),
}

impl From<io::Error> for PlaceError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

/// Listens there; gives the socket, and its file's inode for [`SocketFile::new`]. A file that nobody listens at any more is replaced,
/// without a moment in which there is none.
///
/// # Errors
/// See [`PlaceError`].
pub fn listen(place: Place<'_>) -> Result<(UnixListener, u64), PlaceError> {
    check_free(place.path)?;
    let name = place.path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = place
        .path
        .with_file_name(format!(".{name}.{}", std::process::id()));
    // Of an earlier process with this number.
    let _ = fs::remove_file(&fresh);
    let socket = UnixListener::bind(&fresh)?;
    let made = prepare(&socket, &fresh, place).and_then(|inode| {
        fs::rename(&fresh, place.path)?;
        Ok(inode)
    });
    match made {
        Ok(inode) => Ok((socket, inode)),
        Err(e) => {
            let _ = fs::remove_file(&fresh);
            Err(e)
        }
    }
}

/// A socket's file. Dropping it removes the file, if it is still that socket's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// The file at `path`, if it still has this inode when it is to go.
    pub fn new(path: &Path, inode: u64) -> Self {
        Self {
            path: path.to_path_buf(),
            inode,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(e) = fs::remove_file(&self.path) {
            log::warn!("{} is left behind: {e}", self.path.display());
        }
    }
}

/// Whether the path is free, or holds what a dead process left.
fn check_free(path: &Path) -> Result<(), PlaceError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if !found.file_type().is_socket() {
        return Err(PlaceError::NotASocket);
    }
    match UnixStream::connect(path) {
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Ok(_) => Err(PlaceError::Alive),
        // Full, or not for us: somebody listens, or it can't be known.
        Err(e) if e.kind() == ErrorKind::WouldBlock => Err(PlaceError::Alive),
        Err(e) => Err(e.into()),
    }
}

/// Gives the file its group and mode; its inode.
fn prepare(socket: &UnixListener, file: &Path, place: Place<'_>) -> Result<u64, PlaceError> {
    if let Some(group) = place.group {
        chown(file, None, Some(group)).map_err(|e| PlaceError::Group(e.into()))?;
    }
    fs::set_permissions(file, fs::Permissions::from_mode(place.mode))?;
    socket.set_nonblocking(true)?;
    Ok(fs::symlink_metadata(file)?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_socket_and_other_files_are_left_alone_and_a_dead_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let place = Place {
            path: &path,
            mode: 0o640,
            group: Some(nix::unistd::getegid()),
        };
        let (socket, _) = listen(place).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o777, 0o640);
        assert!(matches!(listen(place), Err(PlaceError::Alive)));
        // Killed: nobody listens, and the file is there.
        drop(socket);
        let (_socket, inode) = listen(place).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(SocketFile::new(&path, inode + 1));
        assert!(path.exists());
        drop(SocketFile::new(&path, inode));
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(place), Err(PlaceError::NotASocket)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
