//! The command line of a daemon.

use std::io;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::process::follow;

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

    /// The process that started this one, as it calls itself: seen even if it ends at once.
    #[arg(long, hide = true, value_name = "PID", requires = "die_with_parent")]
    pub parent: Option<i32>,
}

impl DaemonArgs {
    /// With `--die-with-parent` asks the kernel for SIGTERM when the parent ends.
    ///
    /// # Errors
    /// The kernel's, or that the parent has ended already.
    pub fn follow_parent(&self) -> io::Result<()> {
        if self.die_with_parent {
            follow(self.parent, Signal::SIGTERM)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        daemon: DaemonArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<DaemonArgs, clap::Error> {
        let all = ["x", "--config", "f"].iter().chain(arguments);
        Command::try_parse_from(all).map(|command| command.daemon)
    }

    #[test]
    fn a_parent_is_followed_only_on_request_and_only_the_right_one() {
        assert!(parsed(&["--parent", "1"]).is_err());
        parsed(&[]).unwrap().follow_parent().unwrap();
        let own = std::process::id().to_string();
        let wrong = parsed(&["--die-with-parent", "--parent", &own]).unwrap();
        let error = wrong.follow_parent().unwrap_err().to_string();
        assert!(error.contains("has already ended"), "{error}");
    }
}
