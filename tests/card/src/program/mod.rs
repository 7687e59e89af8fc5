//! What the program does: arguments, one card, its servers, and the end.

mod arguments;
mod vhci;

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qrng_card::appliance::Appliance;
use qrng_card::certificates;
use qrng_card::chip::ChipCard;
use qrng_card::https::{HttpsServer, Tls};
use qrng_card::module::ModuleCard;
use qrng_card::usb::UsbCard;
use qrng_card::{Device, PciCard, Shared, control, usbip, vfio};
use qrng_daemon::Supervisor;

pub use arguments::Arguments;
use arguments::{Card, Common, Usb};
use vhci::Port;

/// Serves the card until a signal or `quit`.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.common.die_with_parent {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    }
    let supervisor = Supervisor::new()?;
    let common = &arguments.common;
    match &arguments.card {
        Card::Module(module) => {
            let card = ModuleCard::new(module.config(common)?);
            pci(&supervisor, common, card, &module.socket)
        }
        Card::Chip(chip) => {
            let card = ChipCard::new(chip.config(common)?);
            pci(&supervisor, common, card, &chip.socket)
        }
        Card::Usb(usb) => usb_card(&supervisor, common, usb),
        Card::Appliance(wanted) => appliance(&supervisor, common, wanted),
    }
}

fn pci<C: PciCard + 'static>(
    supervisor: &Supervisor,
    common: &Common,
    card: C,
    socket: &Path,
) -> Result<ExitCode> {
    let card = Shared::real_time(card);
    remove_stale(socket)?;
    let listener = vfio::listen(&card, socket)
        .with_context(|| format!("the socket {} cannot be made", socket.display()))?;
    supervisor.spawn("vfio-user", move || Ok(listener.run()?))?;
    finish(
        supervisor,
        common,
        &card,
        &format!("socket={}", socket.display()),
    )
}

fn usb_card(supervisor: &Supervisor, common: &Common, usb: &Usb) -> Result<ExitCode> {
    let card = Shared::real_time(UsbCard::new(usb.config(common)?));
    let mut ready = Vec::new();
    if let Some(address) = usb.place.listen {
        let listener = TcpListener::bind(address)?;
        ready.push(format!("address={}", listener.local_addr()?));
        let card = card.clone();
        supervisor.spawn("usbip", move || Ok(usbip::listen(&card, &listener)?))?;
    }
    if let Some(port) = usb.place.attach {
        ready.push(format!("port={port}"));
        let port = Port::new(port, &usb.vhci);
        let plugged = port.plug(&card)?;
        let card = card.clone();
        supervisor.spawn("vhci", move || port.keep(&card, plugged))?;
    }
    finish(supervisor, common, &card, &ready.join(" "))
}

fn appliance(
    supervisor: &Supervisor,
    common: &Common,
    wanted: &arguments::Appliance,
) -> Result<ExitCode> {
    let card = Shared::real_time(Appliance::new(wanted.config(common)?));
    let (authority, identity) = certificates::write_set(&wanted.dir)
        .with_context(|| format!("no certificates in {}", wanted.dir.display()))?;
    let server = match wanted.expired {
        true => authority.expired_server(&["localhost", "127.0.0.1", "::1"])?,
        false => identity,
    };
    let client_authority = wanted.ask_certificate.then(|| authority.certificate());
    let tls = Tls {
        server,
        client_authority,
    };
    let server = HttpsServer::start(&card, wanted.listen, &tls)?;
    if wanted.old_tls {
        server.speak_old(&tls)?;
    }
    let address = format!("address={}", server.address());
    supervisor.spawn("https", move || Ok(server.wait()?))?;
    finish(supervisor, common, &card, &address)
}

/// A socket that a killed card left behind is in the way.
fn remove_stale(path: &Path) -> Result<()> {
    if path.exists() && UnixStream::connect(path).is_err() {
        fs::remove_file(path).with_context(|| format!("{} is in the way", path.display()))?;
    }
    Ok(())
}

/// Says that the card is ready, waits for the end, and judges.
fn finish<M: Device + 'static>(
    supervisor: &Supervisor,
    common: &Common,
    card: &Shared<M>,
    addresses: &str,
) -> Result<ExitCode> {
    let mut ready = format!("ready {addresses}");
    if let Some(path) = &common.control {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)
            .with_context(|| format!("the socket {} cannot be made", path.display()))?;
        let card = card.clone();
        // The supervisor hears the signal, as if it came from outside.
        let quit = || {
            let _ = kill(Pid::this(), Signal::SIGTERM);
        };
        supervisor.spawn("control", move || {
            Ok(control::serve(&card, &listener, quit)?)
        })?;
        ready += &format!(" control={}", path.display());
    }
    println!("{ready}");
    let ending = supervisor.wait();
    eprintln!("qrng-card: {ending}");
    if let Some(path) = &common.control {
        let _ = fs::remove_file(path);
    }
    let violations = card.lock().violations().clone();
    for text in violations.texts() {
        eprintln!("violation: {text}");
    }
    let signalled = matches!(ending, qrng_daemon::Ending::Signal(_));
    Ok(match violations.count() {
        0 if signalled => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
