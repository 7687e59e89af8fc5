//! The `qrng` command: make keys, look at running daemons and their bytes, try the whole chain.
//!
//! ```text
//! keygen   keygen.rs                     two key files, written once, mode 0600
//! status   status.rs  status/document.rs status/render.rs
//!          read two documents -> what they mean -> text for people
//! clear    clear.rs                      an operator's request in a daemon's runtime directory
//! assess   assess.rs  assess/input.rs    bytes -> the checks of qrng-assess -> text, HTML, exit code
//!          assess/page.rs assess/progress.rs assess/utc.rs
//! doctor   doctor.rs  doctor/host.rs doctor/pci.rs doctor/other.rs doctor/dma.rs doctor/wanted.rs
//!          doctor/report.rs              the collector's host -> what is missing, and what mends it
//! mcp      mcp.rs     mcp/local.rs mcp/remote.rs
//!          a gateway's bytes -> tools of qrng-mcp for a language model
//! top      top.rs     top/history.rs top/draw.rs
//!          the gateway's document, once a second -> a screen
//! demo     demo.rs    demo/world.rs demo/children.rs demo/watch.rs demo/mounts.rs
//!          both daemons on this machine, and nothing left of them afterwards
//! ```

#![forbid(unsafe_code)]

mod assess;
mod clear;
mod demo;
mod doctor;
mod keygen;
mod mcp;
mod status;
mod text;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Quantum random numbers through a one-way link: keys, status, quality and a demonstration.
#[derive(Parser)]
#[command(name = "qrng", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the two key files of a link: one for the gateway, one for the collector
    Keygen(keygen::Arguments),
    /// Show what the daemons on this machine do (exit code 0: serving, 1: not serving, 2: nothing found)
    Status(status::Arguments),
    /// Show what the gateway does, live in this terminal (q: quit)
    Top(top::Arguments),
    /// Let a daemon go on that health tests have stopped for good, once the noise source is mended
    Clear(clear::Arguments),
    /// Say whether anything about random bytes is odd (exit code 0: passed, 1: failed, 2: could not)
    Assess(assess::Arguments),
    /// Say whether the collector can use this host's devices, and what mends it if not (exit code 0: nothing missing, 1: something, 2: cannot look)
    Doctor(doctor::Arguments),
    /// Give a language model random bytes and numbers: tools of the Model Context Protocol, over standard input and output
    Mcp(mcp::Arguments),
    /// Run a collector and a gateway here with simulated noise, and leave nothing behind
    Demo(demo::Arguments),
}

/// The command line, for its manual pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Does what the command line says; gives the exit code.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Clear(arguments) => clear::run(&arguments),
        Command::Assess(arguments) => assess::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Mcp(arguments) => mcp::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        // The reader of standard error may be gone; there is nobody else to tell.
        let _ = text::complain(&format!("qrng: {error:#}"));
        ExitCode::FAILURE
    })
}
