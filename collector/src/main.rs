//! `qrng-collector`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use qrng_collector::Args;
use qrng_daemon::init_log;

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
