//! The command line.

use qrng_daemon::DaemonArgs;

/// Serves a gateway's random bytes over HTTP, on a Unix socket and over TLS: REST, metrics, status page.
///
/// It reads its bytes from the gateway like any other program, and never sees a key of the link.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-http", version)]
pub struct HttpArgs {
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: Option<DaemonArgs>,

    /// Make a new key for a client of this name, print it with the line for the file that `keys` names, and end.
    #[arg(long, value_name = "NAME", exclusive = true)]
    pub new_key: Option<String>,
}
