//! `qrng mcp`: random bytes and numbers as tools for a language model, over standard input and output.
//!
//! The protocol and the tools are `qrng-mcp`; here is where the bytes come from: a mount, a stream socket, or a gateway elsewhere
//! that is asked over HTTPS.

mod local;
mod remote;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use qrng_mcp::Supply;

use self::local::{Files, Socket};
use self::remote::Remote;

/// The address of a gateway elsewhere.
const URL: &str = "QRNG_GATEWAY_URL";

/// The key for it.
const KEY: &str = "QRNG_GATEWAY_API_KEY";

/// How long a tool waits for bytes.
const WAIT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Take bytes from the gateway whose files are here
    #[arg(long, value_name = "DIR", conflicts_with = "stream")]
    mount: Option<PathBuf>,

    /// Take bytes from the gateway that listens at this stream socket
    #[arg(long, value_name = "SOCKET")]
    stream: Option<PathBuf>,

    /// Certificates (PEM) of the authorities by which a remote gateway is verified
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    ca_file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let supply = supply(arguments, environment(URL), environment(KEY))?;
    qrng_mcp::stdio(supply).context("the client does not speak the Model Context Protocol here")?;
    Ok(ExitCode::SUCCESS)
}

/// What is named on the command line; else the remote gateway that the environment names; else the mount at its usual place.
fn supply(
    arguments: &Arguments,
    url: Option<String>,
    key: Option<String>,
) -> anyhow::Result<Arc<dyn Supply>> {
    if let Some(socket) = &arguments.stream {
        return Ok(Arc::new(Socket::new(socket)));
    }
    if let Some(mount) = &arguments.mount {
        return Ok(Arc::new(Files::new(mount)));
    }
    if let Some(url) = url {
        let Some(key) = key else {
            bail!("{URL} names a gateway, and there is no {KEY}: set it to a key of that gateway");
        };
        return Ok(Arc::new(Remote::new(&url, &key, &arguments.ca_file)?));
    }
    Ok(Arc::new(Files::new(Path::new("/qrng"))))
}
