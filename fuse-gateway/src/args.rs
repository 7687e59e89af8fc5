//! The command lines of the gateway and its mount helper.

use std::path::PathBuf;

use qrng_daemon::DaemonArgs;

/// Verifies packets of quantum random bytes and hands each byte out once, as files.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-gateway", version)]
pub struct GatewayArgs {
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Mounts the file system of a gateway and hands it the connection.
///
/// Whoever connects to its socket, and is the gateway's user or root, gets a new mount. When it is stopped it unmounts.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-mount", version)]
pub struct MountArgs {
    /// Where to mount; an absolute path.
    pub point: PathBuf,

    /// The user that the gateway runs as, who may ask for the mount.
    #[arg(long, value_name = "NAME")]
    pub user: String,

    /// Only the gateway's user may read, not every user.
    #[arg(long)]
    pub owner_only: bool,

    /// Listen at this path; without it, on the socket that the service manager hands over.
    #[arg(long, value_name = "PATH")]
    pub listen: Option<PathBuf>,
}
