//! The command line of a daemon.

use std::path::PathBuf;

/// Arguments that every daemon takes. Use with `#[command(flatten)]`.
#[derive(Debug, Clone, clap::Args)]
pub struct DaemonArgs {
    /// Configuration file (TOML).
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,

    /// Check the configuration and the files that it names, say what is wrong, and end.
    #[arg(long)]
    pub check: bool,

    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub die_with_parent: bool,
}
