//! The driver against the software card, which is strict and keeps the books.

use std::ops::Range;
use std::thread;

use qrng_card::ledger::Worth;
use qrng_card::stream::BLOCK;
use qrng_card::usb::{ENDPOINT, PRODUCT, Setup, Speed, UsbCard, UsbConfig, UsbError as CardError};
use qrng_card::{Device as _, Fault as CardFault, Full, Rate, Shared, Stream};

use super::super::device::TIMEOUT;
use super::*;

/// A software card in the only port.
#[derive(Clone)]
struct Port(Shared<UsbCard>);

impl Port {
    /// Plugs a card in, which makes as many bytes as are taken, or its rate in real time.
    fn plug(rate: Rate, speed: Speed) -> Self {
        let config = UsbConfig {
            rate,
            speed,
            full: Full::Waits,
            ..UsbConfig::default()
        };
        let port = Self(Shared::real_time(UsbCard::new(config)));
        port.0.lock().control(SET_CONFIGURATION).unwrap();
        port
    }

    /// Ends all faults. A card that was gone is plugged in again.
    fn mend(&self) {
        let mut card = self.0.lock();
        let gone = card.gone();
        card.clear();
        if gone {
            card.control(SET_CONFIGURATION).unwrap();
        }
    }

    /// A transfer: tried until the card answers, or its time is over.
    fn transfer(
        &self,
        mut attempt: impl FnMut(&mut UsbCard) -> Result<Vec<u8>, CardError>,
    ) -> Result<Vec<u8>, UsbError> {
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            match attempt(&mut self.0.lock()) {
                Ok(bytes) => return Ok(bytes),
                Err(CardError::Stall) => return Err(UsbError::Stall),
                Err(CardError::Gone) => return Err(UsbError::Gone),
                Err(CardError::Nak) => {}
            }
            thread::sleep(Duration::from_micros(200));
        }
        Err(UsbError::Timeout)
    }

    fn control(&self, setup: Setup) -> Result<Vec<u8>, UsbError> {
        self.transfer(|card| card.control(setup))
    }
}

/// What a kernel does to a device that was plugged in.
const SET_CONFIGURATION: Setup = Setup {
    kind: 0x00,
    request: 9,
    value: 1,
    index: 0,
    length: 0,
};

/// A control transfer with wIndex 0.
fn setup(kind: u8, request: u8, value: u16, length: usize) -> Setup {
    Setup {
        kind,
        request,
        value,
        index: 0,
        length: length.try_into().unwrap(),
    }
}

impl Bus for Port {
    fn cards(&self) -> Result<Vec<usb::Device>, Failure> {
        if self.0.lock().gone() {
            return Ok(vec![]);
        }
        Ok(vec![usb::Device {
            port: "1-1".into(),
            vendor: QUANTIS.0,
            product: PRODUCT,
            serial: Some(UsbConfig::default().serial),
            bus: 1,
            number: 2,
        }])
    }

    fn open(&self, _: &usb::Device) -> Result<Box<dyn UsbDevice>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl UsbDevice for Port {
    fn configuration(&mut self) -> Result<u8, UsbError> {
        self.control(setup(0x80, 8, 0, 1)).map(|answer| answer[0])
    }

    fn configure(&mut self, configuration: u8) -> Result<(), UsbError> {
        self.control(setup(0x00, 9, configuration.into(), 0))
            .map(drop)
    }

    fn endpoints(&mut self) -> Result<Vec<Endpoint>, UsbError> {
        // The configuration's descriptor, 9 bytes, the interface's, 9 bytes, and its endpoints', 7 bytes each.
        let all = self.control(setup(0x80, 6, 0x0200, 255))?;
        let (endpoints, rest) = all[18..].as_chunks::<7>();
        assert!(rest.is_empty());
        let endpoints = endpoints.iter().map(|e| Endpoint {
            address: e[2],
            bulk: e[3] & 3 == 2,
            packet: u16::from_le_bytes([e[4], e[5]]).into(),
        });
        Ok(endpoints.collect())
    }

    fn claim(&mut self) -> Result<(), UsbError> {
        Ok(())
    }

    fn control_in(&mut self, request: u8, answer: &mut [u8]) -> Result<usize, UsbError> {
        let bytes = self.control(setup(0xC1, request, 0, answer.len()))?;
        answer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn control_out(&mut self, request: u8) -> Result<(), UsbError> {
        self.control(setup(0x41, request, 0, 0)).map(drop)
    }

    fn bulk_in(&mut self, endpoint: Endpoint, buffer: &mut [u8]) -> Result<(), UsbError> {
        assert_eq!(endpoint.address, ENDPOINT);
        for packet in buffer.chunks_mut(endpoint.packet) {
            let bytes = self.transfer(|card| card.bulk_in(ENDPOINT, packet.len()))?;
            if bytes.len() < packet.len() {
                let (got, wanted) = (bytes.len(), packet.len());
                return Err(UsbError::Short { got, wanted });
            }
            packet.copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// Reads `count` bytes. Nothing may fail.
fn bytes(source: &mut Ahead, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    let start = Instant::now();
    while filled < count {
        assert!(start.elapsed() < PATIENCE, "{filled} bytes in time");
        filled += source
            .read(&mut bytes[filled..], Instant::now() + PATIENCE)
            .unwrap();
    }
    bytes
}

/// Where in the card's stream these bytes are: one piece of it.
fn range(stream: &Stream, bytes: &[u8]) -> Range<u64> {
    let mut starts = (0..BLOCK).filter_map(|shift| {
        let block = bytes.get(shift..shift + BLOCK)?.try_into().ok()?;
        stream.offset_of(block)?.checked_sub(shift as u64)
    });
    let start = starts.next().expect("bytes of the card");
    assert!(bytes == stream.bytes(start, bytes.len()), "not in order");
    start..start + bytes.len() as u64
}

/// Reads on until there is a failure; adds the bytes before it.
fn fails(source: &mut Ahead, bytes: &mut Vec<u8>) -> Failure {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut buffer = [0; 4096];
        match source.read(&mut buffer, Instant::now() + PATIENCE) {
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(SourceError::Retry(failure)) => return failure,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no failure in time");
}

/// Reads on until there are bytes. It may have been tried once more while the fault was there.
fn recovers(source: &mut Ahead, failure: &Failure) -> Vec<u8> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut buffer = [0; 4096];
        match source.read(&mut buffer, Instant::now() + PATIENCE) {
            Ok(0) => {}
            Ok(count) => return buffer[..count].to_vec(),
            Err(SourceError::Retry(again)) => assert_eq!(&again, failure),
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no bytes in time");
}

#[test]
fn every_byte_of_the_software_card_comes_once_in_order() {
    for speed in [Speed::High, Speed::Full] {
        let port = Port::plug(Rate::Unlimited, speed);
        let mut source = start("card", None, port.clone()).unwrap();
        let got = bytes(&mut source, 2_000_000);
        assert_eq!(source.sensors()["rate_kbit"], 4000);
        assert_eq!(source.sensors()["board_version"], 0x0B07_1902);
        let card = port.0.lock();
        assert!(got == card.stream().bytes(0, got.len()));
        card.violations().assert_none();
    }
}

#[test]
fn every_fault_of_the_software_card_is_told_and_survived() {
    let port = Port::plug(Rate::BytesPerSecond(500_000), Speed::High);
    let mut source = start("card", None, port.clone()).unwrap();
    let mut runs = vec![bytes(&mut source, 64 * 1024)];
    for (fault, expected) in [
        (CardFault::ModuleFails(0), Fault::Unhealthy),
        (CardFault::Short, Fault::Short),
        (CardFault::Hang, Fault::Silent),
        (CardFault::Slow(100), Fault::Silent),
        (CardFault::Gone, Fault::Gone),
    ] {
        port.0.lock().inject(fault).unwrap();
        let failure = fails(&mut source, runs.last_mut().unwrap());
        assert_eq!(failure.fault, expected, "{fault}: {failure}");
        port.mend();
        runs.push(recovers(&mut source, &failure));
        let more = bytes(&mut source, 64 * 1024);
        runs.last_mut().unwrap().extend(more);
    }
    drop(source);
    let card = port.0.lock();
    card.violations().assert_none();
    let pieces = card.ledger().pieces();
    let mut end = 0;
    for run in runs {
        let range = range(card.stream(), &run);
        assert!(range.start >= end, "bytes came twice");
        end = range.end;
        let good = pieces.iter().any(|piece| {
            piece.worth == Worth::Good
                && piece.range.start <= range.start
                && range.end <= piece.range.end
        });
        assert!(good, "bytes of before a reset");
    }
}
