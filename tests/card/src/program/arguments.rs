//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use qrng::units::parse_rate;
use qrng_card::appliance::ApplianceConfig;
use qrng_card::chip::{ChipConfig, Layout, Model};
use qrng_card::module::{MODULES, ModuleConfig};
use qrng_card::usb::UsbConfig;
use qrng_card::{Full, Rate};

/// Serves a software card in place of a Quantis device, for tests.
#[derive(Debug, Parser)]
#[command(name = "qrng-card")]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub card: Card,
}

/// What every card has.
#[derive(Debug, Args)]
pub struct Common {
    /// How fast the whole card is, such as 2MB/s, or `unlimited`; by default as the real one.
    #[arg(long, global = true)]
    rate: Option<String>,
    /// The number of the stream of bytes that it makes.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Make no bytes while there is no room for them, instead of losing them.
    #[arg(long, global = true)]
    lossless: bool,
    /// A Unix socket for commands.
    #[arg(long, global = true, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// End when the process that started this one ends.
    #[arg(long, global = true)]
    pub die_with_parent: bool,
}

impl Common {
    /// The rate of one of `parts` equal parts of a card.
    fn rate(&self, real: u64, parts: u64) -> Result<Rate> {
        Ok(match self.rate.as_deref() {
            None => Rate::BytesPerSecond(real),
            Some("unlimited") => Rate::Unlimited,
            Some(text) => {
                let rate = parse_rate(text)?;
                ensure!(
                    rate % parts == 0,
                    "{rate} bytes a second are not {parts} equal parts"
                );
                Rate::BytesPerSecond(rate / parts)
            }
        })
    }

    fn full(&self) -> Full {
        match self.lossless {
            true => Full::Waits,
            false => Full::Overflows,
        }
    }
}

/// A card in software is for this machine only.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|e| format!("{e}"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!("{} is no loopback address", address.ip())),
    }
}

/// Which card.
#[derive(Debug, Subcommand)]
pub enum Card {
    /// Quantis PCI or PCIe 4M or 16M, for vfio-user.
    Module(Module),
    /// Quantis QRNG PCIe 40M or 240M, for vfio-user.
    Chip(Chip),
    /// Quantis USB-4M, by USB/IP.
    Usb(Usb),
    /// Quantis appliance, by HTTPS.
    Appliance(Appliance),
}

#[derive(Debug, Args)]
pub struct Module {
    /// How many modules it has.
    #[arg(long, default_value_t = MODULES)]
    modules: u8,
    /// Where clients of vfio-user connect.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

impl Module {
    pub fn config(&self, common: &Common) -> Result<ModuleConfig> {
        if !(1..=MODULES).contains(&self.modules) {
            bail!("a card has 1 to {MODULES} modules");
        }
        let real = qrng_card::module::MODULE_RATE;
        Ok(ModuleConfig {
            modules: self.modules,
            rate: common.rate(real, self.modules.into())?,
            full: common.full(),
            seed: common.seed,
            ..Default::default()
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ChipModel {
    /// Two chips.
    #[value(name = "40m")]
    M40,
    /// Twelve chips.
    #[value(name = "240m")]
    M240,
}

#[derive(Debug, Args)]
pub struct Chip {
    /// Which card.
    #[arg(long, value_enum, default_value = "240m")]
    model: ChipModel,
    /// Its serial number, 11 characters.
    #[arg(long)]
    serial: Option<String>,
    /// Put another BAR before the user registers.
    #[arg(long)]
    user_bar_1: bool,
    /// How long after initialisation it is ready, in milliseconds.
    #[arg(long, default_value_t = 20)]
    ready_after: u64,
    /// Where clients of vfio-user connect.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

impl Chip {
    pub fn config(&self, common: &Common) -> Result<ChipConfig> {
        let model = match self.model {
            ChipModel::M40 => Model::M40,
            ChipModel::M240 => Model::M240,
        };
        let real = ChipConfig::default();
        let serial = match &self.serial {
            None => real.serial,
            Some(text) => match text.as_bytes().try_into() {
                Ok(serial) => serial,
                Err(_) => bail!("a serial number has 11 characters"),
            },
        };
        let layout = match self.user_bar_1 {
            true => Layout::UserSecond,
            false => Layout::UserFirst,
        };
        Ok(ChipConfig {
            model,
            rate: common.rate(qrng_card::chip::CHIP_RATE, model.chips().into())?,
            full: common.full(),
            seed: common.seed,
            serial,
            layout,
            ready_after: Duration::from_millis(self.ready_after),
        })
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Where {
    /// Where clients of USB/IP connect, such as 127.0.0.1:0.
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub listen: Option<SocketAddr>,
    /// Attach it to this port of the kernel's virtual host controller.
    #[arg(long, value_name = "PORT")]
    pub attach: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Usb {
    #[command(flatten)]
    pub place: Where,
    /// The virtual host controller.
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/sys/devices/platform/vhci_hcd.0"
    )]
    pub vhci: PathBuf,
    /// Its serial number.
    #[arg(long)]
    serial: Option<String>,
}

impl Usb {
    pub fn config(&self, common: &Common) -> Result<UsbConfig> {
        let real = UsbConfig::default();
        Ok(UsbConfig {
            rate: common.rate(qrng_card::usb::USB_RATE, 1)?,
            full: common.full(),
            seed: common.seed,
            serial: self.serial.clone().unwrap_or(real.serial),
            ..UsbConfig::default()
        })
    }
}

#[derive(Debug, Args)]
pub struct Appliance {
    /// Where clients of HTTPS connect, such as 127.0.0.1:0.
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub listen: SocketAddr,
    /// An existing directory for the certificates that are made: ca.pem, server.pem, server.key, client.pem, client.key,
    /// other-ca.pem.
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: PathBuf,
    /// Serve only clients with a certificate of the same authority, such as client.pem.
    #[arg(long)]
    pub ask_certificate: bool,
    /// Use a certificate that has expired.
    #[arg(long)]
    pub expired: bool,
    /// Speak TLS 1.2, which is too old.
    #[arg(long)]
    pub old_tls: bool,
    /// Answer `streambytes` with a JSON array.
    #[arg(long)]
    json: bool,
}

impl Appliance {
    pub fn config(&self, common: &Common) -> Result<ApplianceConfig> {
        Ok(ApplianceConfig {
            rate: common.rate(qrng_card::appliance::APPLIANCE_RATE, 1)?,
            seed: common.seed,
            json: self.json,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap()
    }

    fn module(line: &str) -> Result<ModuleConfig> {
        let arguments = parsed(line);
        let Card::Module(module) = &arguments.card else {
            panic!("not a module card: {arguments:?}");
        };
        module.config(&arguments.common)
    }

    #[test]
    fn the_rate_is_the_whole_cards() {
        let config = module("x module --modules 4 --rate 2MB/s --socket S --seed 9").unwrap();
        assert_eq!(config.rate, Rate::BytesPerSecond(500_000));
        assert_eq!((config.modules, config.seed), (4, 9));
        let config = module("x module --modules 1 --socket S").unwrap();
        assert_eq!(config.rate, Rate::BytesPerSecond(500_000));
        let config = module("x --rate unlimited module --lossless --socket S").unwrap();
        assert_eq!((config.rate, config.full), (Rate::Unlimited, Full::Waits));
        module("x module --modules 3 --rate 2MB/s --socket S").unwrap_err();
        module("x module --modules 5 --socket S").unwrap_err();
    }

    #[test]
    fn a_usb_device_is_somewhere() {
        assert!(Arguments::try_parse_from(["x", "usb"]).is_err());
        assert!(Arguments::try_parse_from(["x", "usb", "--listen", "0.0.0.0:0"]).is_err());
        let arguments = parsed("x usb --attach 0 --serial ABC");
        let Card::Usb(usb) = &arguments.card else {
            panic!("not a USB device: {arguments:?}");
        };
        assert_eq!(usb.place.attach, Some(0));
        assert_eq!(usb.config(&arguments.common).unwrap().serial, "ABC");
    }

    #[test]
    fn a_chip_cards_serial_number_has_eleven_characters() {
        let chip = |serial: &str| {
            let arguments = parsed(&format!("x chip --model 40m --serial {serial} --socket S"));
            let Card::Chip(chip) = &arguments.card else {
                panic!("not a chip card: {arguments:?}");
            };
            chip.config(&arguments.common)
        };
        assert_eq!(chip("12345678901").unwrap().serial, *b"12345678901");
        assert_eq!(chip("12345678901").unwrap().model, Model::M40);
        chip("123").unwrap_err();
    }
}
