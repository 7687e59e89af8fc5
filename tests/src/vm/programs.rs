//! The programs that guests run: linked statically, because a guest has no libraries; tests bring theirs along.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What they are built for: this machine's kind, named, so that build scripts are not linked statically too.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds a program of this workspace, if it is not built already, in a target folder of its own.
///
/// # Panics
/// It does not build.
pub fn build(package: &str, name: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = target_folder().join("guest");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "guest",
            "--target",
            TARGET,
        ])
        .args(["--package", package, "--bin", name])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo can be run");
    assert!(
        status.success(),
        "{name} cannot be built for a guest: {status}"
    );
    folder.join(TARGET).join("guest").join(name)
}

/// The test program `name` of this package as it is on this machine; built, if it is not already.
///
/// # Panics
/// It does not build.
pub fn test(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--no-run", "--quiet", "--locked"])
        .args(["--message-format", "json", "--test", name])
        .arg("--target-dir")
        .arg(target_folder())
        .output()
        .expect("cargo can be run");
    let words = String::from_utf8_lossy(&output.stdout);
    let messages = words.lines().filter_map(|l| serde_json::from_str(l).ok());
    let mut programs = messages.filter_map(|message: Value| {
        let is_it = message["target"]["name"] == name;
        message["executable"]
            .as_str()
            .filter(|_| is_it)
            .map(PathBuf::from)
    });
    programs.next().unwrap_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("the test {name} cannot be built: {errors}")
    })
}

/// The libraries that a program of this machine needs, the loader among them.
///
/// # Panics
/// ldd(1) cannot be run, or finds one missing.
pub fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.expect("ldd, which comes with the C library");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && !words.contains("not found"),
        "ldd {}: {words}",
        program.display()
    );
    // `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)`, and the kernel's own, which has no path.
    let paths = words
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

/// The program without what only a debugger reads.
///
/// # Panics
/// strip(1), which comes with the linker, cannot be run.
pub fn stripped(program: &Path) -> Vec<u8> {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let status = Command::new("strip")
        .arg("-o")
        .arg(out.path())
        .arg(program)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "strip fails");
    std::fs::read(out.path()).expect("strip wrote it")
}

/// The folder that this program was built in, which cargo marks.
fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let mut folders = program.ancestors();
    let folder = folders.find(|folder| folder.join("CACHEDIR.TAG").exists());
    folder
        .expect("cargo builds programs in a target folder")
        .to_path_buf()
}
