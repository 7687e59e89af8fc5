use std::fs;

use super::*;
use crate::buffer::{Overflow, Space};

/// Good bytes for tests; each call goes on where the last ended.
struct Good(u64);

impl Good {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8))
            .flat_map(|_| {
                // splitmix64
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.0;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (z ^ (z >> 31)).to_le_bytes()
            })
            .take(len)
            .collect()
    }
}

struct Bench {
    buffer: Arc<Buffer>,
    health: Health,
    good: Good,
    now_us: u64,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(Testing::WHOLE)
    }

    fn with(testing: Testing) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let buffer = Arc::new(Buffer::new(1 << 20, Overflow::Discard).unwrap());
        let health = Health::new(testing, buffer.clone(), directory.path()).unwrap();
        Self {
            buffer,
            health,
            good: Good(1),
            now_us: 1_000_000,
            directory,
        }
    }

    /// As if the gateway had been started again.
    fn restart(&mut self) {
        self.buffer = Arc::new(Buffer::new(1 << 20, Overflow::Discard).unwrap());
        self.health =
            Health::new(Testing::WHOLE, self.buffer.clone(), self.directory.path()).unwrap();
    }

    /// Pushes good bytes in packets of 1355 at so many bytes a second.
    fn good(&mut self, len: usize, rate: u64) {
        let bytes = self.good.bytes(len);
        for packet in bytes.chunks(1355) {
            self.now_us += packet.len() as u64 * 1_000_000 / rate;
            self.health.push(packet, self.now_us);
            self.balanced();
        }
    }

    fn constant(&mut self, len: usize) {
        for packet in vec![0x5a; len].chunks(1355) {
            self.health.push(packet, self.now_us);
            self.balanced();
        }
    }

    fn balanced(&self) {
        let books = self.health.told().books;
        assert_eq!(
            books.verified,
            books.withheld + books.held + self.buffer.counts().admitted,
            "{books:?}"
        );
        assert!(books.held <= BLOCK as u64 + PIECE as u64);
    }

    fn drain(&self) -> usize {
        let mut space = Space::new().unwrap();
        let Some(claim) = self.buffer.claim(1 << 20, &mut space) else {
            return 0;
        };
        let len = claim.len();
        claim.delivered();
        len
    }
}

#[test]
fn start_up_bytes_are_not_served_and_then_whole_blocks_are() {
    let mut bench = Bench::new();
    bench.good(2 * BLOCK - 1, 100_000_000);
    assert_eq!(bench.buffer.fill(), 0);
    assert_eq!(bench.health.told().books.withheld, BLOCK as u64);
    bench.good(1, 100_000_000);
    assert_eq!(bench.buffer.fill(), BLOCK);
    bench.good(BLOCK - 1, 100_000_000);
    assert_eq!(bench.buffer.fill(), BLOCK);
}

/// Whether each reader, waiting at an empty buffer, gets whole 64 KiB, whatever the rate.
#[test]
fn readers_wait_for_64_kib_however_slow_they_come() {
    let mut bench = Bench::new();
    bench.good(BLOCK, 500_000);
    for rate in [500_000, 20_000, 1_000] {
        bench.good(BLOCK - 1, rate);
        bench.health.tick(bench.now_us + 1_000_000);
        assert_eq!(bench.drain(), 0, "{rate}");
        bench.good(1, rate);
        assert_eq!(bench.drain(), BLOCK, "{rate}");
    }
}

/// A stuck bit, which only statistics see: none of the 64 KiB that have it is served, although nobody was served for long.
#[test]
fn no_byte_of_64_kib_that_fail_is_served() {
    for whole in [true, false] {
        let block_bytes = if whole { BLOCK } else { PIECE };
        let mut bench = Bench::with(Testing {
            block_bytes,
            ..Testing::WHOLE
        });
        bench.good(BLOCK, 500_000);
        let mut served = 0;
        for packet in bench.good.bytes(BLOCK).chunks(1355) {
            let packet: Vec<u8> = packet.iter().map(|byte| byte | 8).collect();
            bench.now_us += 2710;
            bench.health.push(&packet, bench.now_us);
            served += bench.drain();
        }
        assert!(bench.health.latched());
        if whole {
            assert_eq!(served, 0);
        } else {
            assert!((1..=BLOCK - PIECE).contains(&served), "{served}");
        }
    }
}

#[test]
fn smaller_blocks_are_passed_on_before_while_the_buffer_is_used_up_and_only_then() {
    for (block_bytes, patience_us) in [(PIECE, 32_000), (4 * PIECE, 82_000)] {
        let mut bench = Bench::with(Testing {
            block_bytes,
            ..Testing::WHOLE
        });
        bench.good(BLOCK, 500_000);
        let mut waited_us = 0;
        for _ in 0..100 {
            let since = bench.now_us;
            while bench.buffer.fill() == 0 {
                bench.good(1355, 500_000);
            }
            waited_us = waited_us.max(bench.now_us - since);
            assert!(bench.drain() >= block_bytes.min(BLOCK / 2));
        }
        assert!(waited_us < patience_us, "{waited_us} us");
        // While there is enough to read, all 64 KiB are judged first.
        while bench.buffer.fill() < BLOCK {
            bench.good(1355, 500_000);
        }
        let fill = bench.buffer.fill();
        let held = bench.health.told().books.held as usize;
        bench.good(BLOCK - 2 * PIECE - held % PIECE, 500_000);
        assert!([fill, fill + BLOCK].contains(&bench.buffer.fill()));
    }
}

#[test]
fn a_permanent_alarm_empties_the_buffer_and_lasts_until_it_is_cleared() {
    let mut bench = Bench::new();
    bench.good(4 * BLOCK + 30_000, 100_000_000);
    assert_eq!(bench.buffer.fill(), 3 * BLOCK);
    let before = bench.buffer.counts().admitted;
    bench.constant(BLOCK);
    assert!(bench.health.latched() && bench.buffer.latched());
    let told = bench.health.told();
    assert!(told.latch.unwrap().contains("permanent alarm"));
    assert_eq!(told.summary.unwrap().state, State::Latched);
    bench.good(4 * BLOCK, 100_000_000);
    let counts = bench.buffer.counts();
    assert_eq!((counts.fill, counts.admitted), (0, before));
    assert_eq!(counts.destroyed, before);
    assert!(bench.health.clear() && !bench.health.clear());
    bench.good(BLOCK, 100_000_000);
    assert_eq!(bench.buffer.fill(), 0, "start-up tests run again");
    bench.good(BLOCK, 100_000_000);
    assert_eq!(bench.drain(), BLOCK);
}

#[test]
fn a_restart_clears_no_alarm_and_the_operators_file_does() {
    let mut bench = Bench::new();
    bench.constant(BLOCK);
    bench.restart();
    assert!(bench.health.latched() && bench.buffer.latched());
    bench.good(4 * BLOCK, 100_000_000);
    assert_eq!(bench.buffer.counts().admitted, 0);
    let request = ClearRequest::new(bench.directory.path());
    request.look(&bench.health);
    assert!(bench.health.latched());
    let file = bench.directory.path().join(ClearRequest::FILE_NAME);
    fs::write(&file, "").unwrap();
    request.look(&bench.health);
    assert!(!bench.health.latched() && !file.exists());
    bench.restart();
    assert!(!bench.health.latched());
    bench.good(2 * BLOCK, 100_000_000);
    assert_eq!(bench.drain(), BLOCK);
}

#[test]
fn tests_that_are_off_hold_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = Arc::new(Buffer::new(1 << 20, Overflow::Discard).unwrap());
    let health = Health::new(Testing::OFF, buffer.clone(), directory.path()).unwrap();
    health.push(&[0; 1355], 1);
    assert_eq!(buffer.fill(), 1355);
    assert_eq!(health.told().books.verified, 1355);
    assert!(health.told().summary.is_none());
}
