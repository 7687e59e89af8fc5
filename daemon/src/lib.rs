//! What the collector and the gateway share as processes: the command line, configuration files
//! and their errors, secret files and variables, atomic writes, listening sockets, mounts, logging,
//! signals and supervised threads.
//!
//! Nothing here knows of packets or randomness. `unsafe` is in [`descriptors`] and `schedule` alone.

mod args;
mod config;
mod credentials;
#[expect(
    unsafe_code,
    reason = "a number that another process gave becomes an owned descriptor"
)]
pub mod descriptors;
mod files;
mod listening;
mod logging;
mod manager;
pub mod mounts;
mod process;
mod progress;
mod psk;
#[expect(
    unsafe_code,
    reason = "asks the kernel to schedule a thread in another way"
)]
mod schedule;
mod supervisor;

pub use args::DaemonArgs;
pub use config::{ConfigError, Problems, parse_toml, path_in, read_toml};
pub use files::{FileError, overwrite_secret, read_secret, write_atomically};
pub use listening::{PATH_MAX, Place, PlaceError, SocketFile, listen};
pub use logging::{FORMAT_VARIABLE, LogConfig, LogFormat, init_log};
pub use manager::Manager;
pub use process::{follow, protect_memory};
pub use progress::{Progress, Pulse};
pub use psk::{PSK_REMEDY, PSK_VARIABLE, Psk};
pub use schedule::prefer_throughput;
pub use supervisor::{Ending, Hangups, Supervisor};
