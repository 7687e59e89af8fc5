//! Nanoseconds per packet: sealing and opening, one packet at a time and in trains.

use qrng::keys::{CollectorKey, GatewayKey, generate};
use qrng::packet::{ANNOUNCEMENT_LEN, Content, DEFAULT_DATA, Data, Datagram, OVERHEAD};
use qrng::report::{Kind, Kinds};
use qrng::session::{Opener, ROW, Sealer};
use rand_core::{Infallible, TryCryptoRng, TryRng};
use std::time::Instant;

const NOW: u64 = 1_800_000_000_000_000;
const BYTES: usize = DEFAULT_DATA - 1;
const LENGTH: usize = DEFAULT_DATA + OVERHEAD;
/// Packets of a train, as the gateway gets them.
const TRAIN: usize = 44;
/// Trains of a round: so few that in some rounds nothing else happens on the machine.
const TRAINS: usize = 10;
const ROUNDS: usize = 400;
const CONTENT: Content = Content::Bytes(Kinds::of(Kind::Usb));

/// No randomness at all, which is good enough to measure with.
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

/// Both ends of one session.
fn session() -> Option<(Sealer, Opener)> {
    let mut rng = Counting(1);
    let (gateway, collector, _) = generate(&mut rng);
    let gateway = GatewayKey::parse(&gateway).ok()?;
    let collector = CollectorKey::parse(&collector).ok()?;
    let sealer = Sealer::start(&collector, 0, 1, &mut rng).ok()?;
    let mut out = [0; ANNOUNCEMENT_LEN];
    sealer.announce(NOW, &mut out);
    match Datagram::new_checked(&mut out) {
        Ok(Datagram::Announcement(announcement)) => {
            let opener = Opener::start(&gateway, &announcement).ok()?;
            Some((sealer, opener))
        }
        _ => None,
    }
}

fn data(datagram: &mut [u8]) -> Option<Data<'_>> {
    match Datagram::new_checked(datagram) {
        Ok(Datagram::Data(data)) => Some(data),
        _ => None,
    }
}

/// Measures each of the `ways` in turn, several times; the fastest round of each counts.
fn compare(ways: &mut [(&str, &mut dyn FnMut())]) {
    let mut best = vec![f64::INFINITY; ways.len()];
    for _ in 0..ROUNDS {
        for ((_, way), best) in ways.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..TRAINS {
                way();
            }
            let packets = (TRAINS * TRAIN) as f64;
            *best = best.min(start.elapsed().as_nanos() as f64 / packets);
        }
    }
    for ((name, _), best) in ways.iter().zip(best) {
        println!("{name:<28} {best:7.0} ns/packet");
    }
}

fn main() {
    let (Some((mut sealer, mut opener)), Some((mut other, mut opener_of_rows))) =
        (session(), session())
    else {
        eprintln!("no session could be started");
        return;
    };
    let bytes = vec![0x5a; TRAIN * BYTES];
    let mut sealed = vec![0; TRAIN * LENGTH];
    for (bytes, out) in bytes.chunks(BYTES).zip(sealed.chunks_mut(LENGTH)) {
        let length = other.seal(NOW, CONTENT, bytes, out);
        assert_eq!(length, Ok(LENGTH));
    }
    let (mut sealer_of_trains, mut room_for_trains) = (other, sealed.clone());
    let mut room = sealed.clone();
    let (mut received, mut rows) = (sealed.clone(), sealed.clone());
    let mut seal = || {
        for (bytes, out) in bytes.chunks(BYTES).zip(room.chunks_mut(LENGTH)) {
            assert_eq!(sealer.seal(NOW, CONTENT, bytes, out), Ok(LENGTH));
        }
    };
    let mut open = || {
        received.copy_from_slice(&sealed);
        for datagram in received.chunks_mut(LENGTH) {
            let plain = data(datagram).and_then(|data| opener.open(data).ok());
            assert_eq!(plain.map(|plain| plain.len()), Some(DEFAULT_DATA));
        }
    };
    let mut seal_train = || {
        let sealer = &mut sealer_of_trains;
        let length = sealer.seal_train(NOW, CONTENT, &bytes, BYTES, &mut room_for_trains);
        assert_eq!(length, Ok(TRAIN * LENGTH));
    };
    let mut open_rows = || {
        rows.copy_from_slice(&sealed);
        for row in rows.chunks_mut(ROW * LENGTH) {
            let mut row: Vec<_> = row.chunks_mut(LENGTH).filter_map(data).collect();
            opener_of_rows.compare_row(row.iter_mut());
            for data in row {
                assert!(opener_of_rows.open(data).is_ok());
            }
        }
    };
    compare(&mut [
        ("seal", &mut seal),
        ("seal, in trains", &mut seal_train),
        ("copy, open", &mut open),
        ("copy, open, in rows", &mut open_rows),
    ]);
}
