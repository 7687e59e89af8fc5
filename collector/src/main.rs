//! `qrng-collector`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use qrng_collector::{Args, sender};
use qrng_daemon::init_log;

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
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
