//! Python programs that tests run, installed by `tests/python/setup.sh`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One of them.
///
/// # Errors
/// It cannot be had: why.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/setup.sh");
    let output = Command::new("bash")
        .arg(script)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(words.lines().last().unwrap_or("it failed").to_owned());
    }
    let place = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let program = Path::new(&place).join(name);
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("{} is not there", program.display()))
    }
}
