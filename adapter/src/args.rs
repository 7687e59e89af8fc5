//! The command line.

use clap::ValueEnum;
use qrng_daemon::DaemonArgs;

/// Hands a gateway's random bytes on in an older form, for what reads neither its files nor its stream socket.
///
/// It takes them at the gateway's stream socket like any other program, and never sees a key of the link. Each form is a process
/// of its own, started with the same configuration.
#[derive(Debug, clap::Parser)]
#[command(name = "qrng-adapter", version)]
pub struct AdapterArgs {
    /// The form.
    #[arg(value_enum)]
    pub form: Form,

    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// Give the kernel's pool bytes once, and end: exit code 0 if it got them.
    #[arg(long)]
    pub once: bool,
}

/// In which form bytes are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Into the kernel's own generator, at the start and at an interval; needs CAP_SYS_ADMIN.
    Pool,
    /// At a socket that speaks the protocol of the entropy gathering daemon.
    Egd,
    /// In a named pipe.
    Fifo,
}
