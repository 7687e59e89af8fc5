//! What the collector and the gateway share as processes: the command line, configuration files
//! and their errors, secret files and variables, atomic writes, mounts, logging, signals and
//! supervised threads.
//!
//! Nothing here knows of packets or randomness.
#![forbid(unsafe_code)]

mod args;
mod config;
mod files;
pub mod mounts;
mod process;
mod psk;
mod supervisor;

pub use args::DaemonArgs;
pub use config::{ConfigError, Problems, parse_toml, path_in, read_toml};
pub use files::{FileError, read_secret, write_atomically};
pub use process::{follow, init_log, protect_memory};
pub use psk::{PSK_REMEDY, PSK_VARIABLE, Psk};
pub use supervisor::{Ending, Supervisor};
