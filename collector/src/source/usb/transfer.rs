//! What libusb can do and rusb has no safe form for: wrapping an open node, and several bulk transfers in flight.
//!
//! ```text
//!  slots:  [packet 0] [packet 1] ... [packet 15]     submitted in order; the bus brings them in order
//!              ^ waited for, copied out, submitted again at the end of the row
//! ```
//!
//! This file alone holds `unsafe`. What it rests on:
//!
//! - A transfer, its packet and its flag belong to one slot, which frees them only when it is not in flight.
//! - Whatever happens, [`UsbNode::bulk_in`] returns only when no slot is in flight. So nothing is in flight either when a handle
//!   is closed.
//! - A context is used by one thread: it belongs to one [`UsbNode`], whose calls borrow it uniquely.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc::{c_int, c_void};
use rusb::constants::{
    LIBUSB_ERROR_NO_DEVICE, LIBUSB_TRANSFER_COMPLETED, LIBUSB_TRANSFER_NO_DEVICE,
    LIBUSB_TRANSFER_STALL, LIBUSB_TRANSFER_TIMED_OUT,
};
use rusb::ffi::{
    libusb_alloc_transfer, libusb_cancel_transfer, libusb_fill_bulk_transfer, libusb_free_transfer,
    libusb_submit_transfer, libusb_transfer,
};
use rusb::{Context, DeviceHandle, UsbContext};
use zeroize::Zeroizing;

use super::device::{Endpoint, TIMEOUT, UsbError};

/// Transfers in flight at most. At full speed the bus takes up to 19 packets in a millisecond and the card makes 8.
const IN_FLIGHT: usize = 16;
/// How long events are waited for at a time. Transfers end by their own time-out.
const EVENTS: Duration = Duration::from_secs(1);

/// The node of a USB device, wrapped by libusb.
pub(super) struct UsbNode {
    slots: Vec<Slot>,
    // Before the file, so that it is dropped before.
    handle: DeviceHandle<Context>,
    _file: File,
}

impl UsbNode {
    /// Wraps an open node of usbfs.
    pub(super) fn wrap(file: File) -> rusb::Result<Self> {
        rusb::disable_device_discovery()?;
        let context = Context::new()?;
        // SAFETY: the descriptor stays open as long as the handle: both belong to the value made here, which drops the
        // handle first.
        let handle = unsafe { context.open_device_with_fd(file.as_raw_fd()) }?;
        Ok(Self {
            slots: Vec::new(),
            handle,
            _file: file,
        })
    }

    /// The handle.
    pub(super) fn handle(&self) -> &DeviceHandle<Context> {
        &self.handle
    }

    /// As [`super::device::UsbDevice::bulk_in`].
    pub(super) fn bulk_in(
        &mut self,
        endpoint: Endpoint,
        buffer: &mut [u8],
    ) -> Result<(), UsbError> {
        let packets = buffer.len() / endpoint.packet;
        let row = IN_FLIGHT.min(packets);
        if self.slots.len() < row || self.slots[0].packet.len() != endpoint.packet {
            let slots = (0..IN_FLIGHT).map(|_| Slot::new(endpoint.packet));
            self.slots = slots.collect::<Result<_, _>>()?;
        }
        let mut flight = Flight {
            handle: &self.handle,
            slots: &mut self.slots[..row],
        };
        for index in 0..row {
            flight.submit(index, endpoint.address)?;
        }
        for (number, packet) in buffer.chunks_exact_mut(endpoint.packet).enumerate() {
            let index = number % row;
            packet.copy_from_slice(flight.wait(index)?);
            if number + row < packets {
                flight.submit(index, endpoint.address)?;
            }
        }
        Ok(())
    }
}

/// Slots of which some are in flight. When it is dropped none is.
struct Flight<'n> {
    handle: &'n DeviceHandle<Context>,
    slots: &'n mut [Slot],
}

impl Flight<'_> {
    /// Submits a slot that is not in flight.
    fn submit(&mut self, index: usize, endpoint: u8) -> Result<(), UsbError> {
        let slot = &mut self.slots[index];
        debug_assert!(!slot.in_flight);
        slot.done.store(false, Ordering::Relaxed);
        let done: *const AtomicBool = &*slot.done;
        let length = c_int::try_from(slot.packet.len()).map_err(|_| invalid())?;
        let timeout = u32::try_from(TIMEOUT.as_millis()).map_err(|_| invalid())?;
        // SAFETY: the transfer is allocated and not in flight. Its packet and its flag have addresses of their own on the heap, are as
        // long as said, and outlive the flight, which ends before the slots can be touched again. The handle is open as long as `self`.
        let error = unsafe {
            libusb_fill_bulk_transfer(
                slot.transfer.as_ptr(),
                self.handle.as_raw(),
                endpoint,
                slot.packet.as_mut_ptr(),
                length,
                completed,
                done.cast::<c_void>().cast_mut(),
                timeout,
            );
            libusb_submit_transfer(slot.transfer.as_ptr())
        };
        match error {
            0 => slot.in_flight = true,
            LIBUSB_ERROR_NO_DEVICE => return Err(UsbError::Gone),
            error => {
                return Err(UsbError::Other(format!(
                    "libusb error {error} at a transfer"
                )));
            }
        }
        Ok(())
    }

    /// Waits for a slot that is in flight; gives its packet if it is a whole one.
    fn wait(&mut self, index: usize) -> Result<&[u8], UsbError> {
        self.land(index);
        let slot = &self.slots[index];
        // SAFETY: the transfer is not in flight, so nobody else uses it, and submitting has filled all of it.
        let (status, length) = unsafe {
            let transfer = slot.transfer.as_ptr();
            ((*transfer).status, (*transfer).actual_length)
        };
        let wanted = slot.packet.len();
        match (status, usize::try_from(length).unwrap_or(0)) {
            (LIBUSB_TRANSFER_COMPLETED, got) if got == wanted => Ok(&slot.packet),
            (LIBUSB_TRANSFER_COMPLETED, got) => Err(UsbError::Short { got, wanted }),
            (LIBUSB_TRANSFER_TIMED_OUT, _) => Err(UsbError::Timeout),
            (LIBUSB_TRANSFER_STALL, _) => Err(UsbError::Stall),
            (LIBUSB_TRANSFER_NO_DEVICE, _) => Err(UsbError::Gone),
            (status, _) => Err(UsbError::Other(format!(
                "a transfer ended with status {status}"
            ))),
        }
    }

    /// Handles events until a slot is not in flight any more. Its time-out or its cancellation ends that; if the kernel does
    /// not end a cancelled transfer, nothing can be done but wait, and the source is then told to hang.
    fn land(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        while slot.in_flight && !slot.done.load(Ordering::Acquire) {
            match self.handle.context().handle_events(Some(EVENTS)) {
                Ok(()) | Err(rusb::Error::Interrupted) => {}
                Err(_) => {
                    slot.cancel();
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        slot.in_flight = false;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.in_flight) {
            slot.cancel();
        }
        for index in 0..self.slots.len() {
            self.land(index);
        }
    }
}

/// A transfer with its packet.
struct Slot {
    transfer: NonNull<libusb_transfer>,
    packet: Zeroizing<Box<[u8]>>,
    /// Set by libusb when it has done with the transfer.
    done: Box<AtomicBool>,
    /// Whether libusb has the transfer.
    in_flight: bool,
}

impl Slot {
    /// A slot for packets of `length` bytes.
    fn new(length: usize) -> Result<Self, UsbError> {
        // SAFETY: it has no precondition; it gives zeroed memory or null.
        let transfer = unsafe { libusb_alloc_transfer(0) };
        let transfer = NonNull::new(transfer).ok_or_else(|| UsbError::Other("no memory".into()))?;
        Ok(Self {
            transfer,
            packet: Zeroizing::new(vec![0; length].into()),
            done: Box::default(),
            in_flight: false,
        })
    }

    /// Asks for the end of a transfer in flight.
    fn cancel(&mut self) {
        // SAFETY: the transfer is in flight, so it is allocated and filled. An error means that it has ended or is about to.
        unsafe { libusb_cancel_transfer(self.transfer.as_ptr()) };
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: it was allocated by libusb, is freed once, and is not in flight: a `Flight` has ended before anything else can have
        // the slot. Its packet is not freed with it, as no flag says so.
        unsafe { libusb_free_transfer(self.transfer.as_ptr()) };
    }
}

/// Called by libusb, in the thread that handles events, when a transfer has ended.
extern "system" fn completed(transfer: *mut libusb_transfer) {
    // SAFETY: libusb gives the transfer that was submitted, whose user data is the flag of its slot; both live until the flight
    // has ended, for which this flag is waited.
    unsafe { &*(*transfer).user_data.cast::<AtomicBool>() }.store(true, Ordering::Release);
}

/// Cannot happen with the packets and times that there are.
fn invalid() -> UsbError {
    UsbError::Other("a transfer of that size or time cannot be".into())
}
