//! `qrng-collector`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use qrng_daemon::{DaemonArgs, init_log};

/// Reads a quantum noise source and pushes sealed packets one way over UDP.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    init_log();
    match qrng_collector::run(&args.daemon) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qrng-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
