//! What the collector and the gateway share as processes: the command line, configuration files
//! and their errors, secret files, atomic writes, logging, signals and supervised threads.
//!
//! Nothing here knows of packets, keys or randomness.
#![forbid(unsafe_code)]

mod args;
mod config;
mod files;
mod process;
mod supervisor;

pub use args::DaemonArgs;
pub use config::{ConfigError, Problems, parse_toml, read_toml};
pub use files::{FileError, read_secret, write_atomically};
pub use process::{die_with_parent, init_log, protect_memory};
pub use supervisor::{Ending, Supervisor};
