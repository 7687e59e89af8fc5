//! qrng-http: serves a gateway's bytes over HTTP.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use log::{error, info, warn};
use qrng_daemon::{Supervisor, protect_memory};
use qrng_http::args::HttpArgs;
use qrng_http::config::{Config, Environment};
use qrng_http::keys::new_key;

fn main() -> ExitCode {
    let args = HttpArgs::parse();
    qrng_http::log::init();
    match start(&args) {
        Ok(code) => code,
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &HttpArgs) -> anyhow::Result<ExitCode> {
    if let Some(name) = &args.new_key {
        return make_key(name);
    }
    let daemon = args
        .daemon
        .as_ref()
        .context("give a configuration with --config FILE")?;
    let supervisor = Supervisor::new()?;
    daemon.follow_parent()?;
    if let Err(e) = protect_memory() {
        warn!("random bytes could end up in a core dump: {e}");
    }
    let config = Config::load(&daemon.config, &Environment::read())?;
    if daemon.check {
        info!("the configuration is valid");
        return Ok(ExitCode::SUCCESS);
    }
    qrng_http::log::set_json(config.log.json);
    qrng_http::run(config, &supervisor)
}

fn make_key(name: &str) -> anyhow::Result<ExitCode> {
    let mut random = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random)?;
    let (key, line) = new_key(name, &random).map_err(anyhow::Error::msg)?;
    println!("key for the client: {}", *key);
    println!("line for the file that `keys` names: {line}");
    Ok(ExitCode::SUCCESS)
}
