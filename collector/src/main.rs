//! `qrng-collector`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use qrng_collector::sender;
use qrng_daemon::{DaemonArgs, init_log};

/// Reads a quantum noise source and pushes sealed packets one way over UDP.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    if let Some(reader) = sender::reader_in(std::env::args_os()) {
        init_log();
        return sender::run(reader);
    }
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
