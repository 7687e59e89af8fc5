//! `qrng-collector`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use qrng_collector::{Args, pusher, sender};
use qrng_daemon::init_log;

fn main() -> ExitCode {
    let reader_in = |argument| sender::reader_in(argument, std::env::args_os());
    if let Some(reader) = reader_in(sender::ARGUMENT) {
        init_log();
        return sender::run(reader);
    }
    if let Some(reader) = reader_in(pusher::ARGUMENT) {
        init_log();
        return pusher::run(reader);
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
