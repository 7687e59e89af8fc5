//! qrng-mount: the small privileged part. Mounts and makes devices for a gateway that has no privileges, and unmounts at its
//! own end.

use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use log::{error, info};
use nix::unistd::User;
use qrng_daemon::descriptors::handed_over;
use qrng_daemon::{Ending, Manager, Supervisor, init_log};
use qrng_gateway::args::MountArgs;
use qrng_gateway::handover::Helper;

fn main() -> ExitCode {
    init_log();
    match run(MountArgs::parse()) {
        Ok(code) => code,
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: MountArgs) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::new()?;
    let manager = Manager::from_environment()?;
    let user = User::from_name(&args.user)?
        .with_context(|| format!("there is no user {}: make it, or name another", args.user))?;
    let listener = match &args.listen {
        Some(path) => UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?,
        None => {
            let handed = handed_over()?.into_iter().next();
            let handed = handed.context(
                "no socket was handed over: start it by qrng-mount.socket, or give --listen",
            )?;
            UnixListener::from(handed.fd)
        }
    };
    let helper = std::sync::Arc::new(Helper {
        point: args.point,
        devices: args.devices,
        allow_other: !args.owner_only,
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
    });
    let serving = std::sync::Arc::clone(&helper);
    supervisor.spawn("mount", move || Ok(serving.serve(&listener)?))?;
    manager.ready("waiting for the gateway");
    let ending = supervisor.wait();
    manager.stopping();
    helper.unmount()?;
    match ending {
        Ending::Signal(signal) => {
            info!("{signal}: ending");
            Ok(ExitCode::SUCCESS)
        }
        Ending::Thread { .. } => {
            error!("{ending}");
            Ok(ExitCode::FAILURE)
        }
    }
}
