//! `qrng-card`: serves a software card, prints one line when it is ready, and ends with status 1 if the host did what the
//! hardware reference does not allow.

mod program;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = program::Arguments::parse();
    match program::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("qrng-card: {error:#}");
            ExitCode::FAILURE
        }
    }
}
