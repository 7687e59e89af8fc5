//! The programs that guests run: linked statically, because a guest has no libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The folder that this test was built in: it lies in `PROFILE/deps` there.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.ancestors().nth(3);
    folder
        .expect("cargo builds tests in a target folder")
        .to_path_buf()
}
