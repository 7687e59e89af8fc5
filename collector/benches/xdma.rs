//! What the DMA driver of the chip cards costs, over the software card in another thread.
//!
//! `cargo bench -p qrng-collector --bench xdma`. The card makes 30 MB/s as a 240M does, the driver is read as the collector
//! does, and only the processor time of the driver's thread counts. Time within the software card's registers is not the
//! driver's, and shown apart: a real register read costs about a microsecond. The software card runs in a thread, so on a busy
//! machine it is late, and what its small memory can't hold is lost in it.

// The clock of a thread is asked from the kernel; the slot is shared with the tests, which use more of it.
#[allow(dead_code)]
#[path = "../tests/xdma/software.rs"]
mod software;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use qrng_card::Shared;
use qrng_card::chip::{ChipCard, ChipConfig};
use qrng_collector::source::xdma::chip::Mode;
use qrng_collector::source::xdma::function::{Function, Registers, Slot};
use qrng_collector::source::xdma::{RealClock, Xdma};
use qrng_collector::source::{Failure, NoiseSource};
use software::CardSlot;

/// Bytes of one read, as the stage that tests asks for.
const READ: usize = 64 * 1024;
/// Bytes of the ring from which a plain copy is made.
const RING: usize = 1 << 20;
/// How long is measured.
const TIME: Duration = Duration::from_secs(5);
/// What the card makes, in bytes a second.
const RATE: f64 = 30e6;

thread_local! {
    /// Accesses of registers, and the time in them.
    static ACCESSES: Cell<(u64, Duration)> = const { Cell::new((0, Duration::ZERO)) };
}

/// Processor time of this thread.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every kernel has this clock")
        .into()
}

/// Registers whose accesses are counted.
struct Counted(Box<dyn Registers>);

impl Counted {
    fn count<T>(&mut self, access: impl FnOnce(&mut dyn Registers) -> T) -> T {
        let start = processor();
        let result = access(&mut *self.0);
        let (count, time) = ACCESSES.get();
        ACCESSES.set((count + 1, time + (processor() - start)));
        result
    }
}

impl Registers for Counted {
    fn read(&mut self, offset: u32) -> u32 {
        self.count(|registers| registers.read(offset))
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.count(|registers| registers.write(offset, value));
    }
}

struct CountedSlot(CardSlot);

impl Slot for CountedSlot {
    fn open(&mut self, deadline: Instant) -> Result<Option<Function>, Failure> {
        let opened = self.0.open(deadline)?;
        Ok(opened.map(|function| Function {
            user: Box::new(Counted(function.user)),
            config: Box::new(Counted(function.config)),
            ..function
        }))
    }

    fn close(&mut self, function: Function) {
        self.0.close(function);
    }
}

fn main() {
    let card = Shared::real_time(ChipCard::new(ChipConfig::default()));
    let ticker = card.tick(Duration::from_micros(200));
    let slot = Box::new(CountedSlot(CardSlot::new(&card)));
    let mut xdma =
        Xdma::open("card", Mode::Rng, slot, Box::new(RealClock)).expect("a software card");
    let mut buffer = vec![0; READ];
    let mut read = |buffer: &mut [u8]| {
        let deadline = Instant::now() + Duration::from_millis(50);
        xdma.read(buffer, deadline).expect("bytes")
    };
    let warm = Instant::now() + Duration::from_secs(1);
    while Instant::now() < warm {
        read(&mut buffer);
    }
    ACCESSES.set((0, Duration::ZERO));
    let (start, before) = (Instant::now(), processor());
    let (mut bytes, mut reads) = (0, 0);
    while start.elapsed() < TIME {
        bytes += read(&mut buffer);
        reads += 1;
        black_box(&buffer);
    }
    let (time, whole) = (start.elapsed(), processor() - before);
    let (accesses, inside) = ACCESSES.get();
    drop(ticker);
    let driver = whole.saturating_sub(inside);
    let (copy, paced) = (memcpy(bytes), paced_memcpy(bytes));
    let share = |part: Duration| 100.0 * part.as_secs_f64() / time.as_secs_f64();
    let seconds = time.as_secs_f64();
    println!(
        "rate                 {:8.2} MB/s of {:.2}",
        bytes as f64 / seconds / 1e6,
        RATE / 1e6
    );
    println!(
        "reads                {:8.0} a second",
        reads as f64 / seconds
    );
    println!(
        "register accesses    {:8.0} a second",
        accesses as f64 / seconds
    );
    println!(
        "driver alone         {:8.2} % of a core; {:.2} % if the card had been on time",
        share(driver),
        share(driver) * RATE * seconds / bytes as f64
    );
    let times = |part: Duration| driver.as_secs_f64() / part.as_secs_f64();
    println!(
        "  memcpy, same bytes {:8.2} % of a core from its cache: the driver takes {:.1} times that",
        share(copy),
        times(copy)
    );
    println!(
        "  memcpy, same pace  {:8.2} % of a core from another's: the driver takes {:.1} times that",
        share(paced),
        times(paced)
    );
    println!(
        "software registers   {:8.2} % of a core, not the driver's",
        share(inside)
    );
}

/// Processor time that copying `bytes` takes, in pieces as long as the reads, out of a ring as large as the driver's that
/// stays in this core's cache.
fn memcpy(bytes: usize) -> Duration {
    let ring = vec![0x5A_u8; RING];
    let mut buffer = vec![0_u8; READ];
    let start = processor();
    let mut done = 0;
    for piece in ring.chunks_exact(READ).cycle() {
        if done >= bytes {
            break;
        }
        black_box(&mut buffer).copy_from_slice(black_box(piece));
        done += READ;
    }
    processor() - start
}

/// The same in the rhythm of the driver: each piece was just written by another thread, and this one sleeps until it is.
fn paced_memcpy(bytes: usize) -> Duration {
    let (full, filled) = mpsc::sync_channel::<Vec<u8>>(RING / READ);
    let (empty, emptied) = mpsc::channel();
    for _ in 0..RING / READ {
        empty.send(vec![0_u8; READ]).expect("it is read below");
    }
    let pause = Duration::from_secs_f64(READ as f64 / RATE);
    let writer = thread::spawn(move || {
        for (piece, value) in emptied.iter().zip((0..=u8::MAX).cycle()) {
            let mut piece: Vec<u8> = piece;
            piece.fill(value);
            if full.send(piece).is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0_u8; READ];
    let start = processor();
    for _ in 0..bytes / READ {
        thread::sleep(pause);
        let piece = filled.recv().expect("the writer runs");
        black_box(&mut buffer).copy_from_slice(black_box(&piece));
        empty.send(piece).expect("the writer runs");
    }
    let time = processor() - start;
    drop((filled, empty));
    writer.join().expect("the writer ends");
    time
}
