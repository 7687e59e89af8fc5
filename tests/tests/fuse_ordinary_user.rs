//! The tests of the files again as an ordinary user, whose mounts are made by fusermount3.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use qrng_tests::fuse_harness::{AS_USER, PROBE, is_root, run};
use qrng_tests::skip;

/// `nobody`.
const USER: u32 = 65_534;

/// Makes /dev/fuse usable for all, as udev's rules do, and puts it back when dropped.
struct OpenDevice(std::fs::Permissions);

impl OpenDevice {
    fn new() -> Option<Self> {
        let before = std::fs::metadata("/dev/fuse").ok()?.permissions();
        let all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions("/dev/fuse", all).ok()?;
        Some(Self(before))
    }
}

impl Drop for OpenDevice {
    fn drop(&mut self) {
        let _ = std::fs::set_permissions("/dev/fuse", self.0.clone());
    }
}

/// The newest build of the test `name`, which cargo puts beside this one.
fn test_binary(name: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let all = std::fs::read_dir(here.parent()?).ok()?.flatten();
    let named = all.filter(|entry| {
        let file = entry.file_name().to_string_lossy().into_owned();
        file.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-') && !rest.contains('.'))
    });
    named
        .max_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok())
        .map(|entry| entry.path())
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    let to = to.join(from.file_name().expect("a file"));
    std::fs::copy(from, &to).expect("a copy");
    std::fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).expect("chmod of a copy");
    to
}

#[test]
fn the_files_are_the_same_for_an_ordinary_user() {
    if !is_root() {
        skip!("not root: the other tests run as an ordinary user already");
    }
    for program in ["setpriv", "fusermount3"] {
        if Command::new(program).arg("--version").output().is_err() {
            skip!("{program} is not installed");
        }
    }
    let Some(_device) = OpenDevice::new() else {
        skip!("/dev/fuse is missing, or its mode can't be changed")
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let work = directory.path().join("work");
    std::fs::create_dir(&work).expect("a directory");
    std::os::unix::fs::chown(&work, Some(USER), Some(USER)).expect("chown");
    // The build directory may be closed to others.
    let probe = copy(
        Path::new(env!("CARGO_BIN_EXE_qrng-probe")),
        directory.path(),
    );
    for name in ["fuse_semantics", "fuse_files", "fuse_lifecycle"] {
        let Some(test) = test_binary(name) else {
            skip!("the test {name} is not built: build all tests first")
        };
        let test = copy(&test, directory.path());
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={USER}"))
            .arg(format!("--regid={USER}"))
            .arg("--clear-groups");
        command
            .arg(test)
            .env(AS_USER, &work)
            .env(PROBE, &probe)
            .env("TMPDIR", &work)
            .current_dir(&work);
        let ended = run(command.env_remove("QRNG_SKIP_LOG"));
        eprintln!("{name} as user {USER}:\n{}{}", ended.text(), ended.err);
        assert_eq!(ended.code, Some(0), "{name} fails as an ordinary user");
    }
}
