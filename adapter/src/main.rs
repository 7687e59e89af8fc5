//! qrng-adapter: hands a gateway's bytes on in older forms.

use std::process::ExitCode;

use clap::Parser;
use log::{error, info, warn};
use qrng_adapter::args::AdapterArgs;
use qrng_adapter::config::{Config, Environment};
use qrng_daemon::{Supervisor, init_log, protect_memory};

fn main() -> ExitCode {
    let args = AdapterArgs::parse();
    init_log();
    match start(&args) {
        Ok(code) => code,
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &AdapterArgs) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::new()?;
    args.daemon.follow_parent()?;
    if let Err(e) = protect_memory() {
        warn!("random bytes could end up in a core dump: {e}");
    }
    let config = Config::load(&args.daemon.config, &Environment::read())?;
    if args.daemon.check {
        info!("{} is valid", args.daemon.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    qrng_adapter::run(args, config, &supervisor)
}
