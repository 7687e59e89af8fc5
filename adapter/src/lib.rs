//! The adapter: a gateway's bytes in older forms, for what reads neither its files nor its stream socket.
//!
//! ```text
//!                                  ┌─ pool ── RNDADDENTROPY ──> /dev/random of the kernel
//! gateway's stream socket ─ take ──┼─ egd ─── its protocol ───> clients of a Unix socket, or of TCP on loopback
//!         (qrng-consumer)          └─ fifo ── as it is drained ─> readers of a named pipe
//! ```
//!
//! One form a process, so that each has no right but its own: `pool` alone may do what takes CAP_SYS_ADMIN, and has no client;
//! the others have clients and no right at all. All are ordinary consumers: what is handed on here is in no file of the gateway, and bytes
//! that cannot be handed on are destroyed and counted ([`books`]). What programs may expect is in docs/adapter.md.
//!
//! `unsafe` is in `pool/ioctl.rs` alone.

pub mod args;
pub mod books;
pub mod config;
pub mod egd;
pub mod fifo;
pub mod gateway;
pub mod pool;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use log::{error, info};
use qrng_confine::privileges;
use qrng_daemon::{Ending, Manager, Supervisor};

use crate::args::{AdapterArgs, Form};
use crate::books::Books;
use crate::config::Config;
use crate::gateway::Gateway;

/// Runs one form until a signal asks it to end, or a part of it fails.
///
/// # Errors
/// Something that cannot be set up: the text says what and how to mend it.
pub fn run(
    args: &AdapterArgs,
    config: Config,
    supervisor: &Supervisor,
) -> anyhow::Result<ExitCode> {
    if args.once && args.form != Form::Pool {
        bail!("--once is for the form `pool`: leave it out");
    }
    let manager = Arc::new(Manager::from_environment().context("NOTIFY_SOCKET cannot be used")?);
    let gateway = Gateway::new(&config.gateway_socket);
    let books = Arc::new(Books::default());
    // What is dropped last undoes what the form has made.
    let made = match args.form {
        Form::Pool => {
            let pool = pool::Pool::open(gateway, config.pool, Arc::clone(&books))?;
            keep(privileges::SYS_ADMIN)?;
            if args.once {
                return Ok(once(pool));
            }
            supervisor.spawn("pool", move || pool.run(&manager))?;
            None
        }
        Form::Egd => Some(Made::Egd(egd::start(
            gateway,
            &config.egd,
            &books,
            supervisor,
            &manager,
        )?)),
        Form::Fifo => Some(Made::Fifo(fifo::start(
            gateway,
            &config.fifo,
            &books,
            supervisor,
            &manager,
        )?)),
    };
    let ending = supervisor.wait();
    drop(made);
    let code = match &ending {
        Ending::Signal(signal) => {
            info!("{signal}: ending; {books}");
            ExitCode::SUCCESS
        }
        Ending::Thread { .. } => {
            error!("{ending}; ending; {books}");
            ExitCode::FAILURE
        }
    };
    Ok(code)
}

/// What is there while a form runs.
#[expect(dead_code, reason = "held to be dropped")]
enum Made {
    Egd(egd::Listening),
    Fifo(fifo::Fifo),
}

/// Gives up what a form does not need. Root, by whom the adapter may be run by hand, keeps its way to the gateway's socket.
fn keep(needed: u64) -> anyhow::Result<()> {
    privileges::keep(needed | privileges::DAC_OVERRIDE).context(
        "privileges cannot be given up; a kernel and a service manager that let a process do that are needed",
    )
}

fn once(mut pool: pool::Pool) -> ExitCode {
    match pool.feed() {
        Ok(given) => {
            info!("{given}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}
