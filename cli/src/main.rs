//! The `qrng` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    qrng_cli::run()
}
