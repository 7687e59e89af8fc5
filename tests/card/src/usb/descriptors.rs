//! Descriptors and standard requests (USB 2.0 chapter 9).

use super::{ENDPOINT, MEMORY, PRODUCT, Setup, Speed, UsbCard, UsbError, VENDOR};

/// Class of the device and its interface: vendor specific.
pub(crate) const CLASS: u8 = 0xFF;
/// bcdDevice.
pub(crate) const RELEASE: u16 = 0x0200;

const MANUFACTURER: &str = "id Quantique";
const NAME: &str = "Quantis USB";

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const GET_DESCRIPTOR: u8 = 6;
const GET_CONFIGURATION: u8 = 8;
const SET_CONFIGURATION: u8 = 9;
const GET_INTERFACE: u8 = 10;
const SET_INTERFACE: u8 = 11;

fn device() -> Vec<u8> {
    let [vendor_low, vendor_high] = VENDOR.to_le_bytes();
    let [product_low, product_high] = PRODUCT.to_le_bytes();
    let [release_low, release_high] = RELEASE.to_le_bytes();
    // length, device, USB 2.0, class, subclass, protocol, packet size of endpoint 0
    let mut bytes = vec![18, 1, 0x00, 0x02, CLASS, 0, 0, 64];
    bytes.extend([vendor_low, vendor_high, product_low, product_high]);
    bytes.extend([release_low, release_high]);
    // strings: manufacturer, product, serial; one configuration
    bytes.extend([1, 2, 3, 1]);
    bytes
}

fn configuration(speed: Speed) -> Vec<u8> {
    let [packet_low, packet_high] = (speed.packet() as u16).to_le_bytes();
    // 25 bytes in all, 1 interface, configuration 1, no string, powered by the bus, 500 mA
    let mut bytes = vec![9, 2, 25, 0, 1, 1, 0, 0x80, 250];
    // interface 0, alternate 0, 1 endpoint
    bytes.extend([9, 4, 0, 0, 1, CLASS, 0, 0, 0]);
    // bulk endpoint
    bytes.extend([7, 5, ENDPOINT, 2, packet_low, packet_high, 0]);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![units.len() as u8 + 2, 3];
    bytes.extend(units);
    bytes
}

impl UsbCard {
    pub(super) fn standard(&mut self, setup: Setup) -> Result<Vec<u8>, UsbError> {
        let none = Ok(Vec::new());
        match (setup.kind, setup.request) {
            (0x80, GET_DESCRIPTOR) => self.descriptor(setup.value),
            (0x80, GET_CONFIGURATION) => Ok(vec![self.configuration]),
            (0x80..=0x82, GET_STATUS) => Ok(vec![0, 0]),
            (0x81, GET_INTERFACE) => Ok(vec![0]),
            (0x01, SET_INTERFACE) if setup.value == 0 && setup.index == 0 => none,
            (0x02, CLEAR_FEATURE) if setup.index == u16::from(ENDPOINT) => none,
            (0x00, CLEAR_FEATURE) => none,
            (0x00, SET_CONFIGURATION) => self.configure(setup),
            _ => Err(self.violate(format!("{setup:x?}: no such standard request"))),
        }
    }

    /// Descriptors that are not there are refused, which is no violation: an operating system looks for several.
    fn descriptor(&self, value: u16) -> Result<Vec<u8>, UsbError> {
        let [index, kind] = value.to_le_bytes();
        Ok(match (kind, index) {
            (1, 0) => device(),
            (2, 0) => configuration(self.config.speed),
            // The languages: English (United States).
            (3, 0) => vec![4, 3, 0x09, 0x04],
            (3, 1) => string(MANUFACTURER),
            (3, 2) => string(NAME),
            (3, 3) => string(&self.config.serial),
            // What it would be at the other speed: the same class, one configuration.
            (6, 0) => vec![10, 6, 0x00, 0x02, CLASS, 0, 0, 64, 1, 0],
            _ => return Err(UsbError::Stall),
        })
    }

    fn configure(&mut self, setup: Setup) -> Result<Vec<u8>, UsbError> {
        let value = match setup.value {
            0 => 0,
            1 => 1,
            _ => return Err(self.violate(format!("{setup:x?}: no such configuration"))),
        };
        if value == 1 && self.configuration == 1 {
            self.violate("SET_CONFIGURATION 1, which is set already: it resets".to_owned());
            self.supply.start(MEMORY, 0);
        }
        self.configuration = value;
        Ok(Vec::new())
    }
}
