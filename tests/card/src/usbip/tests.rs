use super::wire::{HEADER, word};
use super::*;
use crate::Device;
use crate::fault::Fault;
use crate::pace::{Full, Rate};
use crate::shared::Shared;
use crate::usb::{UsbCard, UsbConfig};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A kernel at the other end of the connection.
struct Kernel<S> {
    stream: S,
    number: u32,
}

impl<S: Read + Write> Kernel<S> {
    fn submit(&mut self, endpoint: u32, length: u32, setup: [u8; 8]) -> u32 {
        self.number += 1;
        let direction = u32::from(endpoint != 0 || setup[0] & 0x80 != 0);
        let words = [
            1,
            self.number,
            0x1_0001,
            direction,
            endpoint,
            0,
            length,
            0,
            0,
            0,
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_be_bytes()).collect();
        bytes.extend(setup);
        self.stream.write_all(&bytes).unwrap();
        self.number
    }

    fn unlink(&mut self, transfer: u32) -> u32 {
        self.number += 1;
        let words = [2, self.number, 0x1_0001, 0, 0, transfer, 0, 0, 0, 0, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_be_bytes()).collect();
        self.stream.write_all(&bytes).unwrap();
        self.number
    }

    /// An answer: what it answers, its number, its status and its data.
    fn answer(&mut self) -> (u32, u32, i32, Vec<u8>) {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).unwrap();
        let length = if word(&header, 0) == 3 {
            word(&header, 24)
        } else {
            0
        };
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data).unwrap();
        (
            word(&header, 0),
            word(&header, 4),
            word(&header, 20) as i32,
            data,
        )
    }

    fn control(&mut self, setup: [u8; 8]) -> (i32, Vec<u8>) {
        let length = u32::from(u16::from_le_bytes([setup[6], setup[7]]));
        let number = self.submit(0, length, setup);
        let (kind, answered, status, data) = self.answer();
        assert_eq!((kind, answered), (3, number));
        (status, data)
    }

    fn configure(&mut self) {
        assert_eq!(self.control([0, 9, 1, 0, 0, 0, 0, 0]), (0, vec![]));
        assert_eq!(self.control([0xC1, 0x13, 0, 0, 0, 0, 1, 0]), (0, vec![1]));
    }
}

fn card() -> Shared<UsbCard> {
    Shared::real_time(UsbCard::new(UsbConfig {
        full: Full::Waits,
        ..Default::default()
    }))
}

/// A card, and a kernel that has imported it.
fn imported(card: &Shared<UsbCard>) -> Kernel<UnixStream> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let card = card.clone();
    thread::spawn(move || serve(&card, theirs));
    assert_eq!(
        import(&mut ours).unwrap(),
        Imported {
            device: 0x1_0001,
            speed: 3
        }
    );
    Kernel {
        stream: ours,
        number: 0,
    }
}

#[test]
fn many_transfers_at_once_come_back_in_order_with_the_stream() {
    let card = card();
    let mut kernel = imported(&card);
    kernel.configure();
    let numbers: Vec<u32> = (0..100).map(|_| kernel.submit(6, 512, [0; 8])).collect();
    let mut bytes = Vec::new();
    for number in numbers {
        let (kind, answered, status, data) = kernel.answer();
        assert_eq!((kind, answered, status), (3, number, 0));
        bytes.extend(data);
    }
    let card = card.lock();
    assert_eq!(bytes, card.stream().bytes(0, 51_200));
    card.violations().assert_none();
}

#[test]
fn a_refused_request_is_a_stall() {
    let card = card();
    let mut kernel = imported(&card);
    kernel.configure();
    assert_eq!(
        kernel.control([0xC1, 0x55, 0, 0, 0, 0, 1, 0]),
        (-32, vec![])
    );
    assert_eq!(card.lock().violations().count(), 1);
}

#[test]
fn a_transfer_that_hangs_can_be_taken_back_and_requests_go_on() {
    let card = card();
    let mut kernel = imported(&card);
    kernel.configure();
    card.lock().inject(Fault::Hang).unwrap();
    let hanging = kernel.submit(6, 512, [0; 8]);
    let (status, descriptor) = kernel.control([0x80, 6, 0, 1, 0, 0, 18, 0]);
    assert_eq!((status, descriptor.len()), (0, 18));
    let unlink = kernel.unlink(hanging);
    assert_eq!(kernel.answer(), (4, unlink, -104, vec![]));
    let unlink = kernel.unlink(hanging);
    assert_eq!(kernel.answer(), (4, unlink, 0, vec![]));
    card.lock().clear();
    kernel.submit(6, 512, [0; 8]);
    assert_eq!(kernel.answer().3.len(), 512);
}

#[test]
fn a_short_packet_is_short() {
    let card = card();
    let mut kernel = imported(&card);
    kernel.configure();
    card.lock().inject(Fault::Short).unwrap();
    kernel.submit(6, 512, [0; 8]);
    assert_eq!(kernel.answer().3.len(), 100);
}

#[test]
fn a_device_that_is_gone_closes_the_connection_and_can_be_imported_when_it_is_back() {
    let card = card();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = card.clone();
    thread::spawn(move || listen(&served, &listener));
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut stream = connect();
    import(&mut stream).unwrap();
    let mut kernel = Kernel { stream, number: 0 };
    kernel.configure();
    card.lock().inject(Fault::Gone).unwrap();
    assert_eq!(kernel.stream.read(&mut [0; 1]).unwrap(), 0);
    let refused = import(&mut connect()).unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    card.lock().clear();
    let mut stream = connect();
    import(&mut stream).unwrap();
    card.lock().inject(Fault::Gone).unwrap();
    card.lock().clear();
    assert_eq!(
        stream.read(&mut [0; 1]).unwrap(),
        0,
        "even if it is back at once"
    );
}

#[test]
fn the_device_is_listed() {
    let card = card();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || serve(&card, theirs));
    ours.write_all(&[1, 0x11, 0x80, 5, 0, 0, 0, 0]).unwrap();
    let mut reply = [0; 12 + 312 + 4];
    ours.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..12], [1, 0x11, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(reply[12 + 256..12 + 260], *b"1-1\0");
    assert_eq!(reply[12 + 300..12 + 304], [0x0A, 0xBA, 0x01, 0x02]);
    assert_eq!(reply[12 + 311..], [1, 0xFF, 0, 0, 0]);
}

#[test]
fn what_is_no_usbip_ends_the_connection() {
    for request in [&[1, 0x11, 0x80, 9, 0, 0, 0, 0][..], b"GET / HT"] {
        let card = card();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || serve(&card, theirs));
        ours.write_all(request).unwrap();
        assert!(server.join().unwrap().is_err());
    }
    let card = card();
    let mut kernel = imported(&card);
    kernel.stream.write_all(&[0xFF; HEADER]).unwrap();
    assert_eq!(kernel.stream.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_card_without_a_limit_keeps_the_order_of_many_transfers() {
    let config = UsbConfig {
        rate: Rate::Unlimited,
        ..Default::default()
    };
    let card = Shared::real_time(UsbCard::new(config));
    let mut kernel = imported(&card);
    kernel.configure();
    for _ in 0..64 {
        kernel.submit(6, 512, [0; 8]);
    }
    let mut bytes = Vec::new();
    for _ in 0..2048 {
        bytes.extend(kernel.answer().3);
        kernel.submit(6, 512, [0; 8]);
    }
    assert!(bytes == card.lock().stream().bytes(0, 1 << 20));
}
