//! The VM bench: the drivers on a real kernel, without the hardware.
//!
//! ```text
//!                          this machine │ guest (Debian's kernel under QEMU, no hardware virtualisation)
//!                                       │
//!  software card (in the test) ─── vfio-user-pci ── PCI bus ── sysfs, vfio ── qrng-collector
//!  software card, USB ────── 10.0.2.2 (USB/IP) ── vhci_hcd ── usbfs ─────────────┘   │
//!  qrng-gateway, its mount ─ 10.0.2.2 (UDP) ── user-mode network ── virtio-net ─────┘
//!  test ── Guest::run ────── second serial port ── agent: a shell that runs commands
//!       ── Guest::unplug ─── QMP
//!       ── Guest::console ── first serial port: what kernel and init say
//! ```
//!
//! [`Bench`] sets up what is needed and gives the turn: one guest at a time runs on a machine. A [`Plan`] says what a guest is
//! made of, a [`Guest`] is one that runs. docs/testing.md says how to look into one.

mod bench;
mod card;
mod channel;
mod collector;
mod cpio;
mod gateway;
mod guest;
mod modules;
mod plan;
mod programs;
mod qmp;

pub use bench::{Bench, Part};
pub use card::{PciSocket, Served, UsbSocket, check_manners, check_served};
pub use collector::between;
pub use guest::{Guest, Output};
pub use plan::{HOST, Plan};
