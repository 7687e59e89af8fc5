//! The command lines of the gateway and its mount helper.

use std::path::PathBuf;

use qrng_daemon::DaemonArgs;

use crate::config::check_device_name;

/// Verifies packets of quantum random bytes and hands each byte out once, as files.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-gateway", version)]
pub struct GatewayArgs {
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Mounts the file system of a gateway, makes its character devices, and hands it the connections.
///
/// Whoever connects to its socket, and is the gateway's user or root, gets a new mount, or one of the devices that are named
/// here. When it is stopped it unmounts.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-mount", version)]
pub struct MountArgs {
    /// Where to mount; an absolute path.
    pub point: PathBuf,

    /// The user that the gateway runs as, who may ask for the mount.
    #[arg(long, value_name = "NAME")]
    pub user: String,

    /// A character device, by its name below /dev, that the gateway may ask for; several times for several devices.
    #[arg(long = "device", value_name = "NAME", value_parser = device_name)]
    pub devices: Vec<String>,

    /// Only the gateway's user may read files of the mount, not every user.
    #[arg(long)]
    pub owner_only: bool,

    /// Listen at this path; without it, on the socket that the service manager hands over.
    #[arg(long, value_name = "PATH")]
    pub listen: Option<PathBuf>,
}

/// A name that a device of the gateway may have.
fn device_name(text: &str) -> Result<String, String> {
    match check_device_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(format!("it {why}")),
    }
}
