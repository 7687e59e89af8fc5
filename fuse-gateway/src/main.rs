//! qrng-gateway: receives, verifies and serves.

use std::process::ExitCode;

use clap::Parser;
use log::{error, info, warn};
use qrng_daemon::{DaemonArgs, Supervisor, init_log, protect_memory};
use qrng_gateway::Reload;
use qrng_gateway::args::GatewayArgs;
use qrng_gateway::config::{Config, Environment};

fn main() -> ExitCode {
    let args = GatewayArgs::parse().daemon;
    init_log();
    match start(&args) {
        Ok(code) => code,
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    // A signal that comes before it is heeded waits.
    let supervisor = Supervisor::without_signals()?;
    args.follow_parent()?;
    if let Err(e) = protect_memory() {
        warn!("keys and entropy could end up in a core dump: {e}");
    }
    let environment = Environment::read();
    let config = Config::load(&args.config, &environment)?;
    qrng::wipe_stack();
    if args.check {
        info!("{} is valid", args.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    let reload = Reload {
        file: args.config.clone(),
        environment,
    };
    qrng_gateway::run(config, &supervisor, reload)
}
