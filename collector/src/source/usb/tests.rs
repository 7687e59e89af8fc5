mod software_card;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::card::request;
use super::device::{Endpoint, UsbDevice, UsbError};
use super::*;
use crate::source::{Failure, Fault, NoiseSource, Sensors};
use crate::sysfs::usb::{self, QUANTIS};

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A card that follows the hardware document to the letter, and what is to go wrong with it.
struct Card {
    serial: Option<&'static str>,
    port: &'static str,
    configuration: u8,
    endpoints: Vec<Endpoint>,
    /// The number that the next packet holds.
    next: u32,
    status: u8,
    /// Requests that it refuses.
    refused: Vec<u8>,
    /// What the packets to come have in store.
    troubles: VecDeque<Option<UsbError>>,
    claimed: bool,
    busy: bool,
    /// How often it is still closed to this user.
    denied: usize,
    plugged: bool,
    /// Whether it is unplugged with the next trouble, whatever that looks like.
    dying: bool,
    /// Whether its module fails with the next trouble.
    failing: bool,
    /// What was done to it: requests, and bytes read.
    log: Vec<Done>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Configured,
    Request(u8),
    Bytes(usize),
}

const BULK_512: Endpoint = Endpoint {
    address: 0x86,
    bulk: true,
    packet: 512,
};

impl Card {
    fn new(serial: &'static str, port: &'static str) -> Self {
        Self {
            serial: Some(serial),
            port,
            configuration: 1,
            endpoints: vec![BULK_512],
            next: 0,
            status: 1,
            refused: Vec::new(),
            troubles: VecDeque::new(),
            claimed: false,
            busy: false,
            denied: 0,
            plugged: true,
            dying: false,
            failing: false,
            log: Vec::new(),
        }
    }

    /// How often it was disabled and enabled, and how often 4096 bytes were read of it, as after that.
    fn resets(&self) -> (usize, usize) {
        let reset = [
            Done::Request(request::DISABLE),
            Done::Request(request::ENABLE),
        ];
        let resets = self.log.windows(2).filter(|w| w == &reset).count();
        let discards = self.log.iter().filter(|d| **d == Done::Bytes(4096));
        (resets, discards.count())
    }
}

/// A bus with cards.
#[derive(Clone)]
struct Desk(Arc<Mutex<Vec<Card>>>);

impl Desk {
    fn new(cards: impl IntoIterator<Item = Card>) -> Self {
        Self(Arc::new(Mutex::new(cards.into_iter().collect())))
    }

    fn cards(&self) -> MutexGuard<'_, Vec<Card>> {
        self.0.lock().unwrap()
    }

    /// Does something to the first card.
    fn card<T>(&self, act: impl FnOnce(&mut Card) -> T) -> T {
        act(&mut self.cards()[0])
    }

    fn open(&self) -> Ahead {
        start("card", None, self.clone()).unwrap()
    }
}

impl Bus for Desk {
    fn cards(&self) -> Result<Vec<usb::Device>, Failure> {
        let cards = self.cards();
        let plugged = cards.iter().enumerate().filter(|(_, card)| card.plugged);
        let devices = plugged.map(|(index, card)| usb::Device {
            port: card.port.into(),
            vendor: QUANTIS.0,
            product: QUANTIS.1,
            serial: card.serial.map(str::to_owned),
            bus: 1,
            number: index.try_into().unwrap(),
        });
        Ok(devices.collect())
    }

    fn open(&self, card: &usb::Device) -> Result<Box<dyn UsbDevice>, Failure> {
        let denied = &mut self.cards()[usize::from(card.number)].denied;
        if *denied > 0 {
            *denied -= 1;
            return Err(Failure::new(Fault::Unavailable, "no permission"));
        }
        Ok(Box::new(Handle {
            desk: self.clone(),
            index: card.number.into(),
        }))
    }
}

struct Handle {
    desk: Desk,
    index: usize,
}

impl Handle {
    /// Does something to the card, if it is plugged in.
    fn act<T>(&self, act: impl FnOnce(&mut Card) -> Result<T, UsbError>) -> Result<T, UsbError> {
        let card = &mut self.desk.cards()[self.index];
        if card.plugged {
            act(card)
        } else {
            Err(UsbError::Gone)
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.desk.cards()[self.index].claimed = false;
    }
}

impl UsbDevice for Handle {
    fn configuration(&mut self) -> Result<u8, UsbError> {
        self.act(|card| Ok(card.configuration))
    }

    fn configure(&mut self, configuration: u8) -> Result<(), UsbError> {
        self.act(|card| {
            assert!(!card.claimed && configuration == 1);
            card.configuration = 1;
            card.log.push(Done::Configured);
            Ok(())
        })
    }

    fn endpoints(&mut self) -> Result<Vec<Endpoint>, UsbError> {
        self.act(|card| {
            assert_eq!(card.configuration, 1, "there are no endpoints yet");
            Ok(card.endpoints.clone())
        })
    }

    fn claim(&mut self) -> Result<(), UsbError> {
        self.act(|card| {
            if card.claimed || card.busy {
                return Err(UsbError::Busy("another program has it".into()));
            }
            card.claimed = true;
            Ok(())
        })
    }

    fn control_in(&mut self, request: u8, answer: &mut [u8]) -> Result<usize, UsbError> {
        self.act(|card| {
            assert!(
                card.claimed,
                "a request to an interface that is not claimed"
            );
            card.log.push(Done::Request(request));
            if card.refused.contains(&request) {
                return Err(UsbError::Stall);
            }
            let value: &[u8] = match request {
                request::BOARD_VERSION => &[4, 3, 2, 1],
                request::STATUS => &[card.status],
                request::POWER => &[1],
                request::MODULES_MASK => &[1],
                request::RATE => &4000u32.to_le_bytes(),
                request::AIS31_STARTUP => &[0],
                other => panic!("a request {other:#x} to the host"),
            };
            assert_eq!(answer.len(), value.len(), "request {request:#x}");
            answer.copy_from_slice(value);
            Ok(value.len())
        })
    }

    fn control_out(&mut self, request: u8) -> Result<(), UsbError> {
        self.act(|card| {
            assert!(card.claimed && matches!(request, request::DISABLE | request::ENABLE));
            card.log.push(Done::Request(request));
            Ok(())
        })
    }

    fn bulk_in(&mut self, endpoint: Endpoint, buffer: &mut [u8]) -> Result<(), UsbError> {
        self.act(|card| {
            assert!(card.claimed && card.endpoints.contains(&endpoint));
            assert_eq!(buffer.len() % endpoint.packet, 0, "packets are whole");
            for packet in buffer.chunks_mut(endpoint.packet) {
                for word in packet.chunks_mut(4) {
                    word.copy_from_slice(&card.next.to_be_bytes());
                    card.next += 1;
                }
                if let Some(Some(error)) = card.troubles.pop_front() {
                    card.plugged = !card.dying;
                    card.status = u8::from(!card.failing);
                    return Err(error);
                }
            }
            card.log.push(Done::Bytes(buffer.len()));
            Ok(())
        })
    }
}

/// Reads `count` numbers. Nothing may fail.
fn numbers(source: &mut Ahead, count: usize) -> Vec<u32> {
    let mut bytes = Vec::new();
    let start = Instant::now();
    while bytes.len() < 4 * count {
        assert!(start.elapsed() < PATIENCE, "{} bytes in time", bytes.len());
        let mut buffer = vec![0; (4 * count - bytes.len()).min(10_000)];
        let got = source.read(&mut buffer, Instant::now() + PATIENCE);
        bytes.extend_from_slice(&buffer[..got.unwrap()]);
    }
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_be_bytes(*word)).collect()
}

/// Reads until it fails; gives the numbers before, and the failure.
fn until_failure(source: &mut Ahead) -> (Vec<u32>, Failure) {
    let mut bytes = Vec::new();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut buffer = [0; 4096];
        match source.read(&mut buffer, Instant::now() + PATIENCE) {
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(SourceError::Retry(failure)) => {
                let (words, rest) = bytes.as_chunks();
                assert!(rest.is_empty());
                let numbers = words.iter().map(|word| u32::from_be_bytes(*word));
                return (numbers.collect(), failure);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no failure in time");
}

fn in_order(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[test]
fn bytes_are_those_of_the_card_in_order_and_its_status_is_looked_at_before_each_batch() {
    for packet in [512, 64] {
        let mut card = Card::new("A1", "1-2");
        card.endpoints[0].packet = packet;
        let desk = Desk::new([card]);
        let mut source = desk.open();
        assert_eq!(source.identity().kind, Kind::Usb);
        assert_eq!(source.identity().serial.as_deref(), Some("A1"));
        let numbers = numbers(&mut source, 250_000);
        assert!(numbers.into_iter().eq(0..250_000));
        drop(source);
        desk.card(|card| {
            assert!(!card.log.contains(&Done::Configured), "a soft reset");
            assert_eq!(card.resets(), (0, 0));
            let batches = card.log.iter().enumerate();
            for (index, _) in batches.filter(|(_, done)| matches!(done, Done::Bytes(_))) {
                assert_eq!(card.log[index - 1], Done::Request(request::STATUS));
            }
        });
    }
}

#[test]
fn a_card_without_configuration_gets_it() {
    let mut card = Card::new("A1", "1-2");
    card.configuration = 0;
    let desk = Desk::new([card]);
    numbers(&mut desk.open(), 1);
    desk.card(|card| assert_eq!(card.log[0], Done::Configured));
}

#[test]
fn what_cannot_be_opened_is_told_at_the_start() {
    let refused = |cards: Vec<Card>, serial, fault, words: &[&str]| {
        let error = start("card", serial, Desk::new(cards)).err().unwrap();
        let SourceError::Retry(failure) = error else {
            panic!("{error:?}");
        };
        assert_eq!(failure.fault, fault);
        for word in words {
            assert!(failure.text.contains(word), "{word} is not in: {failure}");
        }
    };
    let card = || Card::new("A1", "1-2");
    refused(vec![], None, Fault::Unavailable, &["plug it in"]);
    let two = vec![card(), Card::new("B2", "1-3")];
    refused(two, None, Fault::Unavailable, &["A1 at 1-2, B2 at 1-3"]);
    refused(vec![card()], Some("B2"), Fault::Unavailable, &["B2", "A1"]);
    let mut closed = card();
    closed.denied = 1;
    refused(vec![closed], None, Fault::Unavailable, &["no permission"]);
    let mut busy = card();
    busy.busy = true;
    refused(vec![busy], None, Fault::Unavailable, &["another program"]);
    for wrong in [
        Endpoint {
            address: 0x81,
            ..BULK_512
        },
        Endpoint {
            bulk: false,
            ..BULK_512
        },
        Endpoint {
            packet: 1024,
            ..BULK_512
        },
    ] {
        let mut other = card();
        other.endpoints = vec![wrong];
        refused(vec![other], None, Fault::Nonsense, &["0x86", "no Quantis"]);
    }
}

#[test]
fn the_card_that_is_named_is_read() {
    let desk = Desk::new([Card::new("A1", "1-2"), Card::new("B2", "1-3")]);
    let mut source = start("card", Some("B2"), desk.clone()).unwrap();
    numbers(&mut source, 1);
    assert_eq!(source.identity().serial.as_deref(), Some("B2"));
    assert!(desk.card(|card| card.log.is_empty()));
}

#[test]
fn only_what_it_answers_is_told_of_a_card() {
    let mut card = Card::new("A1", "1-2");
    card.refused = vec![request::POWER, request::RATE];
    let desk = Desk::new([card]);
    let mut source = desk.open();
    numbers(&mut source, 1);
    assert_eq!(
        source.sensors(),
        Sensors::from([
            ("board_version", 0x0102_0304),
            ("modules_present", 1),
            ("module_status", 1),
            ("ais31_startup", 0),
        ])
    );
    let mut source = Desk::new([Card::new("A1", "1-2")]).open();
    numbers(&mut source, 1);
    let sensors = source.sensors();
    assert_eq!((sensors["power"], sensors["rate_kbit"]), (1, 4000));
}

/// What comes of an error in the second batch, and how often the card was reset until it gave bytes again.
fn trouble(error: UsbError) -> Failure {
    let mut card = Card::new("A1", "1-2");
    card.troubles = vec![None; 40].into();
    card.troubles.push_back(Some(error));
    let desk = Desk::new([card]);
    let mut source = desk.open();
    let (before, failure) = until_failure(&mut source);
    // The first batch of 32 packets; nothing of the second.
    assert!(before.into_iter().eq(0..32 * 128));
    assert_eq!(desk.card(|card| card.resets()), (0, 0));
    let after = numbers(&mut source, 10_000);
    assert!(in_order(&after));
    // What the reset discards begins behind the packet that failed.
    assert_eq!(after[0], 41 * 128 + 1024);
    assert_eq!(desk.card(|card| card.resets()), (1, 1));
    failure
}

#[test]
fn a_packet_that_is_not_whole_or_late_is_an_error_and_the_card_is_reset() {
    let short = trouble(UsbError::Short {
        got: 100,
        wanted: 512,
    });
    assert_eq!(short.fault, Fault::Short);
    assert!(short.text.contains("100 bytes in place of 512"), "{short}");
    assert_eq!(trouble(UsbError::Timeout).fault, Fault::Silent);
    assert_eq!(trouble(UsbError::Stall).fault, Fault::Io);
    assert_eq!(trouble(UsbError::Other("overflow".into())).fault, Fault::Io);
}

#[test]
fn a_card_whose_module_fails_is_unhealthy_until_it_works_again() {
    let desk = Desk::new([Card::new("A1", "1-2")]);
    let mut source = desk.open();
    numbers(&mut source, 1);
    desk.card(|card| card.status = 0);
    let (before, failure) = until_failure(&mut source);
    assert!(in_order(&before));
    assert_eq!(failure.fault, Fault::Unhealthy);
    // It is reset and looked at again, and says the same.
    let (none, again) = until_failure(&mut source);
    assert_eq!((none, &again), (vec![], &failure));
    assert_eq!(source.sensors()["module_status"], 0);
    desk.card(|card| card.status = 1);
    assert!(in_order(&numbers(&mut source, 1000)));
    assert_eq!(source.sensors()["module_status"], 1);
    // What it holds after a reset is not used before it works.
    assert_eq!(desk.card(|card| card.resets()), (2, 1));
}

#[test]
fn a_card_that_is_unplugged_is_found_again_elsewhere_and_no_other_is_taken() {
    let desk = Desk::new([Card::new("A1", "1-2"), Card::new("B2", "1-3")]);
    desk.cards()[1].plugged = false;
    let mut source = desk.open();
    numbers(&mut source, 1);
    desk.card(|card| card.plugged = false);
    let (_, gone) = until_failure(&mut source);
    assert_eq!(gone.fault, Fault::Gone);
    assert!(gone.text.contains("A1"), "{gone}");
    desk.cards()[1].plugged = true;
    for _ in 0..2 {
        // As long as it is not there that is the same failure, so it is told once.
        assert_eq!(until_failure(&mut source), (vec![], gone.clone()));
    }
    // udev has not opened it yet when it is seen.
    desk.card(|card| (card.plugged, card.port, card.denied) = (true, "2-1.4", 3));
    assert!(in_order(&numbers(&mut source, 1000)));
    assert!(desk.cards()[1].log.is_empty());
}

#[test]
fn errors_on_the_way_out_count_as_unplugging() {
    let desk = Desk::new([Card::new("A1", "1-2")]);
    let mut source = desk.open();
    numbers(&mut source, 1);
    desk.card(|card| {
        card.troubles = [Some(UsbError::Other("EPROTO".into()))].into();
        card.dying = true;
    });
    let (_, failure) = until_failure(&mut source);
    assert_eq!(failure.fault, Fault::Gone);
}

#[test]
fn a_module_that_fails_within_a_batch_is_unhealthy_and_not_silent() {
    let desk = Desk::new([Card::new("A1", "1-2")]);
    let mut source = desk.open();
    numbers(&mut source, 1);
    desk.card(|card| {
        card.troubles = [Some(UsbError::Timeout)].into();
        card.failing = true;
    });
    assert_eq!(until_failure(&mut source).1.fault, Fault::Unhealthy);
}
