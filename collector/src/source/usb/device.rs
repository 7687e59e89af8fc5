//! What the driver needs of an open USB device. Tests put a software card behind it.

use std::time::Duration;

use thiserror::Error;

/// How long a transfer may take.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1000);

/// An endpoint, as its descriptor tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Number and direction.
    pub(super) address: u8,
    /// Whether its transfers are bulk transfers.
    pub(super) bulk: bool,
    /// The largest packet, in bytes.
    pub(super) packet: usize,
}

/// Why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum UsbError {
    /// The device is unplugged.
    #[error("it is unplugged")]
    Gone,
    /// Nothing came within [`TIMEOUT`].
    #[error("nothing came within {} ms", TIMEOUT.as_millis())]
    Timeout,
    /// A packet was not whole.
    #[error("a packet had {got} bytes in place of {wanted}")]
    Short {
        /// How many bytes it had.
        got: usize,
        /// How many it should have had.
        wanted: usize,
    },
    /// The device refuses the request.
    #[error("it refused a request")]
    Stall,
    /// It belongs to another driver or program: which, and how it is freed.
    #[error("{0}")]
    Busy(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// An open USB device of which interface 0 is used. Every call ends after [`TIMEOUT`], or what the kernel needs to cancel a transfer.
pub(super) trait UsbDevice {
    /// The number of the active configuration, 0 if there is none.
    fn configuration(&mut self) -> Result<u8, UsbError>;

    /// Makes the configuration of this number the active one, which resets the device softly.
    fn configure(&mut self, configuration: u8) -> Result<(), UsbError>;

    /// The endpoints of the interface in the active configuration, alternate setting 0.
    fn endpoints(&mut self) -> Result<Vec<Endpoint>, UsbError>;

    /// Claims the interface, which nobody else can have then.
    fn claim(&mut self) -> Result<(), UsbError>;

    /// A vendor request to the interface (0xC1, wValue 0, wIndex 0) that fills the front of `answer`, and how much of it.
    fn control_in(&mut self, request: u8, answer: &mut [u8]) -> Result<usize, UsbError>;

    /// A vendor request to the interface (0x41, wValue 0, wIndex 0) without data.
    fn control_out(&mut self, request: u8) -> Result<(), UsbError>;

    /// Fills `buffer`, whose length is a multiple of that of `endpoint`'s packets, each packet by a transfer of its own, in order.
    /// Several may be under way, but none when this returns.
    ///
    /// # Errors
    /// The first transfer that did not bring a whole packet. What is in `buffer` is of no use then.
    fn bulk_in(&mut self, endpoint: Endpoint, buffer: &mut [u8]) -> Result<(), UsbError>;
}
