//! Which devices the collector's configuration names, and whether they are there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use qrng_collector::config::{Config, Driver};
use qrng_collector::messages::Checked;
use qrng_collector::source::pcie::find;
use qrng_collector::sysfs::pci::Address;

use super::host::Host;
use super::report::{Card, Problem};

/// What is to be used.
pub struct Wanted {
    /// What the sources read, by the sources' names; none: whatever there is.
    sources: Option<Vec<(String, Driver)>>,
    /// The gateways that datagrams are sent to, and where they listen.
    pub gateways: Vec<(String, SocketAddr)>,
    /// What is wrong with the configuration.
    pub problems: Vec<Problem>,
}

impl Wanted {
    /// Whatever there is.
    pub fn any() -> Self {
        Self {
            sources: None,
            gateways: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// What the configuration in `file` names. If that is wrong, whatever there is.
    pub fn by(file: &Path) -> Self {
        match Config::load(file, &unseen) {
            Ok(config) => {
                let sources = config.sources.into_iter();
                let gateways = config.gateways.into_iter();
                Self {
                    gateways: gateways
                        .filter_map(|gateway| {
                            let address = gateway.address()?;
                            Some((gateway.name, address))
                        })
                        .collect(),
                    sources: Some(sources.map(|source| (source.name, source.driver)).collect()),
                    problems: Vec::new(),
                }
            }
            Err(error) => {
                let text = error.to_string();
                let problem = |line: &str| {
                    Problem::new(
                        line,
                        format!(
                            "correct it; qrng-collector --config {} --check says whether it is right",
                            file.display()
                        ),
                    )
                };
                Self {
                    sources: None,
                    gateways: Vec::new(),
                    problems: text.lines().map(problem).collect(),
                }
            }
        }
    }

    /// Whether no configuration says what is wanted.
    pub fn is_any(&self) -> bool {
        self.sources.is_none()
    }

    fn drivers(&self) -> impl Iterator<Item = &Driver> {
        self.sources.iter().flatten().map(|(_, driver)| driver)
    }

    /// Whether the PCI card at `address`, read as `kind`, is wanted.
    pub fn pci(&self, kind: &str, address: Address) -> bool {
        let mut drivers = self.drivers();
        self.is_any()
            || drivers.any(|driver| match driver {
                Driver::Pcie { device } => kind == "pcie" && is_it(*device, address),
                Driver::Xdma { device, .. } => kind == "xdma" && is_it(*device, address),
                _ => false,
            })
    }

    /// Whether the USB card with this serial number is wanted.
    pub fn usb(&self, number: Option<&str>) -> bool {
        let mut drivers = self.drivers();
        self.is_any()
            || drivers.any(|driver| match driver {
                Driver::Usb { serial } => serial.is_none() || serial.as_deref() == number,
                _ => false,
            })
    }

    /// Whether the node is wanted.
    pub fn node(&self, node: &str) -> bool {
        self.is_any() || self.nodes().any(|wanted| wanted == node)
    }

    /// The nodes and files that are named.
    pub fn nodes(&self) -> impl Iterator<Item = String> {
        self.drivers().filter_map(|driver| match driver {
            Driver::Node { path } => Some(path.display().to_string()),
            _ => None,
        })
    }

    /// What is wanted and is not among the `cards`, or is there more than once.
    pub fn missing(&self, host: &Host, cards: &[Card]) -> Vec<Problem> {
        let Some(sources) = &self.sources else {
            return nothing(cards);
        };
        let missing = sources.iter().filter_map(|(name, driver)| {
            let problem = match driver {
                Driver::Pcie { device } => module_card(host, *device),
                Driver::Xdma { device, .. } => chip_card(cards, *device),
                Driver::Usb { serial } => usb_card(cards, serial.as_deref()),
                // A node that is not there is told as a device of its own. Appliances are asked by nobody but the collector.
                Driver::Node { .. } | Driver::Appliances(_) | Driver::Simulator { .. } => None,
            }?;
            let what = format!("source {name}: {}", problem.what);
            Some(Problem { what, ..problem })
        });
        missing.collect()
    }
}

/// Key files are not looked at: they are for the collector's user, and say nothing of devices.
fn unseen(files: &[PathBuf], api_keys: &[PathBuf]) -> Result<Checked> {
    let ids = files.iter().map(|file| Ok(file.display().to_string()));
    Ok(Checked {
        psk: None,
        keys: ids.collect(),
        api_keys: vec![Ok(()); api_keys.len()],
    })
}

fn is_it(wanted: Option<Address>, address: Address) -> bool {
    wanted.is_none_or(|wanted| wanted == address)
}

/// Without a configuration: any device will do.
fn nothing(cards: &[Card]) -> Vec<Problem> {
    if !cards.is_empty() {
        return Vec::new();
    }
    vec![Problem::new(
        "there is no device of Quantis that the collector could read",
        "plug one in (echo 1 > /sys/bus/pci/rescan if the bus was up already), or name the configuration that needs none: --config FILE",
    )]
}

/// As the driver itself looks for it. What keeps a card that was found from being used is told with that card.
fn module_card(host: &Host, device: Option<Address>) -> Option<Problem> {
    use find::FindError::{Absent, None as NoCard, Other, Several};
    let error = find::find(&host.sysfs(), device).err()?;
    let concerns_choice = matches!(error, NoCard | Several(_) | Absent { .. } | Other { .. });
    concerns_choice.then(|| Problem::new(error.to_string(), error.remedy()))
}

fn chip_card(cards: &[Card], device: Option<Address>) -> Option<Problem> {
    let there = cards.iter().filter(|card| card.kind == "xdma");
    let there: Vec<&str> = there.map(|card| card.place.as_str()).collect();
    match (device, &there[..]) {
        (None, [_]) => None,
        (Some(device), there) if there.contains(&&*device.to_string()) => None,
        (_, []) => Some(Problem::new(
            "there is no Quantis QRNG PCIe 40M or 240M on the PCI bus",
            "look for it: lspci -nn -d 1e89: ; if it was plugged in meanwhile: echo 1 > /sys/bus/pci/rescan",
        )),
        (None, several) => Some(Problem::new(
            format!(
                "there are {} chip cards: {}",
                several.len(),
                several.join(", ")
            ),
            format!("name one of them: device = \"{}\"", several[0]),
        )),
        (Some(device), others) => Some(Problem::new(
            format!("there is no chip card at {device}"),
            format!("name one that is there: {}", others.join(", ")),
        )),
    }
}

fn usb_card(cards: &[Card], serial: Option<&str>) -> Option<Problem> {
    let there = cards.iter().filter(|card| card.kind == "usb");
    let there: Vec<&str> = there
        .map(|card| card.serial.as_deref().unwrap_or("without a serial number"))
        .collect();
    match (serial, &there[..]) {
        (None, [_]) => None,
        (Some(serial), there) if there.contains(&serial) => None,
        (_, []) => Some(Problem::new(
            "there is no Quantis USB-4M on the USB",
            "plug it in, and look for it: lsusb -d 0aba:0102",
        )),
        (None, several) => Some(Problem::new(
            format!(
                "there are {} USB cards: {}",
                several.len(),
                several.join(", ")
            ),
            format!("name one of them: serial = \"{}\"", several[0]),
        )),
        (Some(serial), others) => Some(Problem::new(
            format!("there is no USB card with the serial number {serial}"),
            format!("name one that is there: {}", others.join(", ")),
        )),
    }
}
