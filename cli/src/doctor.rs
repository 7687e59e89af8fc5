//! `qrng doctor`: whether this host's devices can be used by the collector, whether its kernel lets a gateway make some, and
//! what mends it if not.
//!
//! ```text
//!  /sys /dev /proc /etc ── host.rs ─┬─ pci.rs: module cards, chip cards ─┐
//!  (or a made-up tree)              ├─ other.rs: USB, vendor's nodes     ├─ report.rs ── text or JSON, exit code
//!                                   ├─ dma.rs: IOMMU, VFIO, memory       │
//!                                   ├─ cuse.rs: devices of the gateway   │
//!  --config FILE ── wanted.rs ──────┼─ which of them are wanted ─────────┤
//!  the kernel's routes, neighbours ─┼─ line.rs: the way to each gateway ─┤
//!  --adapter FILE, its gateway ─────┴─ adapter.rs ────────────────────────┘
//! ```
//!
//! It only looks: nothing is written, opened for writing, or enabled, and no device is touched.

mod adapter;
mod cuse;
mod dma;
mod host;
mod line;
mod other;
mod pci;
mod report;
mod wanted;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::text;
use host::Host;
use report::{Problem, Report};
use wanted::Wanted;

/// What `qrng doctor` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The collector's configuration: check it, and judge the devices that it names and the way to its gateways
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The adapter's configuration: check it, and whether its gateway has bytes for it
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Whom the devices are for; by default `qrng-collector` if there is such a user, or else you
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    /// Where the file system of the host begins
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Looks, prints what it sees, and says by its exit code whether something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match look(arguments) {
        Ok(report) => {
            if arguments.json {
                text::say(&serde_json::to_string_pretty(&report)?)?;
            } else {
                text::say(report.text().trim_end())?;
            }
            Ok(ExitCode::from(u8::from(!report.problems.is_empty())))
        }
        Err(error) => {
            text::complain(&format!("qrng: {error:#}"))?;
            Ok(ExitCode::from(2))
        }
    }
}

/// Everything that there is to say.
///
/// # Errors
/// This user may not look, or there is nothing to look at.
fn look(arguments: &Arguments) -> Result<Report> {
    let host = Host::new(&arguments.root, arguments.user.as_deref())?;
    let wanted = match &arguments.config {
        Some(file) => Wanted::by(file),
        None => Wanted::any(),
    };
    let mut report = Report::new(&host);
    report.problems.extend(wanted.problems.iter().cloned());
    let functions = host.pci_functions().context("cannot look at the PCI bus")?;
    for function in &functions {
        report.cards.extend(pci::card(&host, function, &wanted));
    }
    let usb = other::usb(&host, &wanted).context("cannot look at the USB")?;
    report.cards.extend(usb);
    report.cards.extend(other::nodes(&host, &wanted));
    pci::settle(&mut report.cards, &wanted);
    let has_chip_card = report
        .cards
        .iter()
        .any(|card| card.kind == "xdma" && card.wanted);
    report.dma = dma::look(&host);
    if has_chip_card {
        report.problems.extend(report.dma.problems(&host));
    }
    report.cuse = cuse::look(&host);
    report.problems.extend(report.cuse.problem(&host));
    report.problems.extend(wanted.missing(&host, &report.cards));
    let of_cards = report.cards.iter().filter(|card| card.wanted);
    let of_cards: Vec<Problem> = of_cards.flat_map(|card| card.problems.clone()).collect();
    report.problems.extend(of_cards);
    // The kernel's tables are those of this host, whatever its files are.
    if host.is_this() && !wanted.gateways.is_empty() && !line::ThisHost::can_be_asked() {
        report.notes.push(
            "the way to the gateways was not looked at: there is no program ip (package iproute2)"
                .into(),
        );
    } else if host.is_this() {
        for (gateway, address) in &wanted.gateways {
            match line::look(&line::ThisHost, gateway, *address) {
                Ok(line) => {
                    report.problems.extend(line.problem());
                    report.lines.push(line);
                }
                Err(e) => report.problems.push(Problem::new(
                    format!("gateway {gateway}: there is no way to {address}: {e:#}"),
                    "give the interface an address of that network, or a route: ip route add",
                )),
            }
        }
    }
    if let Some(file) = &arguments.adapter {
        adapter::look(file, &mut report);
    }
    report.advise(&host);
    Ok(report)
}

#[cfg(test)]
mod tests;
