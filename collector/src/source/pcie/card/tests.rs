use std::collections::VecDeque;

use super::*;

use super::offset::{CC_DR, CC_ER, CV_SR, FD_RR, FS_CA, FS_RR, MX_ER, MX_SR};

/// One module, enabled and healthy; then four.
const ONE: u32 = 0x0000_00c2;
const FOUR: u32 = 0xc2c2_c2c2;
const VERSION: u32 = 0x0910_0705;

/// Registers whose FIFO holds what it is given, and that note how they are used.
struct Fake {
    words: VecDeque<u32>,
    modules: u32,
    /// Words to take out before the FIFO's error is set; it stays set until the FIFO is emptied.
    error_in: Option<usize>,
    /// Accesses before nobody answers any more, and what is read then.
    leaves_in: usize,
    nobody: u32,
    log: Vec<(char, u32, u32)>,
}

impl Fake {
    fn new(modules: u32) -> Self {
        Self {
            words: VecDeque::new(),
            modules,
            error_in: None,
            leaves_in: usize::MAX,
            nobody: NOBODY,
            log: Vec::new(),
        }
    }

    /// More words: from `first`, so that `count` bytes are added.
    fn fill(&mut self, first: u32, count: usize) {
        self.words.extend((first..).take(count / WORD));
    }

    fn status(&self) -> u32 {
        let quarters = 4 * self.words.len() / QUARTER;
        let level = [0x01, 0x02, 0x06, 0x0e, 0x4e][quarters.min(4)];
        level | if self.error_in == Some(0) { 0x80 } else { 0 }
    }

    fn reads(&self, offset: u32) -> usize {
        let reads = self.log.iter();
        reads
            .filter(|(how, at, _)| (*how, *at) == ('r', offset))
            .count()
    }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        self.leaves_in = self.leaves_in.saturating_sub(1);
        let value = match offset {
            _ if self.leaves_in == 0 => self.nobody,
            CV_SR => VERSION,
            MX_SR => self.modules,
            FS_RR => self.status(),
            FD_RR => {
                self.error_in = self.error_in.map(|left| left.saturating_sub(1));
                self.words.pop_front().expect("a read of an empty FIFO")
            }
            other => panic!("a read of {other:#x}"),
        };
        self.log.push(('r', offset, value));
        value
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.log.push(('w', offset, value));
        if offset == FS_CA {
            self.words.clear();
            self.error_in = None;
        }
    }
}

fn start(modules: u32) -> (Card<Fake>, Instant) {
    let now = Instant::now();
    let mut card = Card::start(Fake::new(modules), now).ok().unwrap();
    card.registers.log.clear();
    (card, now)
}

/// The bytes of words from `first` on.
fn bytes(first: u32, count: usize) -> Vec<u8> {
    let bytes = (first..).flat_map(u32::to_le_bytes);
    bytes.take(count).collect()
}

/// What a step with room for `room` bytes reads.
fn step(card: &mut Card<Fake>, room: usize, now: Instant) -> Vec<u8> {
    let mut buffer = vec![0; room];
    match card.step(&mut buffer, now).unwrap() {
        Step::Bytes(count) => buffer[..count].to_vec(),
        Step::Wait(_) => Vec::new(),
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_card_is_started_in_the_order_of_the_document() {
    // Module 1 is missing; nothing is enabled yet.
    let card = Card::start(Fake::new(0xc000_00c0), Instant::now())
        .ok()
        .unwrap();
    let log: Vec<_> = card.registers.log.iter().filter(|l| l.0 == 'w').collect();
    let wanted = [
        ('w', CC_ER, 1),
        ('w', CC_DR, 1),
        ('w', MX_ER, 0x0200_0002),
        ('w', FS_CA, 0),
    ];
    assert!(log.into_iter().eq(&wanted));
    assert_eq!(card.version(), VERSION);
    assert_eq!(card.registers.reads(FD_RR), 0);
}

#[test]
fn each_word_is_followed_by_its_status_and_comes_low_byte_first() {
    let (mut card, now) = start(FOUR);
    card.registers.fill(0x0403_0201, 1024);
    let got = step(&mut card, 1024, now);
    assert_eq!(got[..8], [1, 2, 3, 4, 2, 2, 3, 4]);
    assert!(got == bytes(0x0403_0201, 1024));
    let order: Vec<_> = card.registers.log.iter().map(|l| l.1).collect();
    assert_eq!(order[..2], [MX_SR, FS_RR]);
    let (pairs, rest) = order[2..].as_chunks::<2>();
    assert!(pairs.iter().all(|pair| *pair == [FD_RR, FS_RR]));
    assert_eq!((pairs.len(), rest), (256, &[CV_SR][..]));
}

#[test]
fn a_full_fifo_costs_half_a_read_a_byte() {
    let (mut card, now) = start(FOUR);
    card.registers.fill(0, 4096);
    assert!(step(&mut card, 65536, now) == bytes(0, 4096));
    // MX_SR and FS_RR once, then FD_RR and FS_RR for each of the 1024 words, and CV_SR once.
    assert_eq!(card.registers.log.len(), 3 + 2 * 1024);
    // What the last FS_RR said is used: with the next quarter there, one read of MX_SR and CV_SR each is all that it costs more.
    card.registers.fill(0, 2048);
    assert_eq!(step(&mut card, 1024, now).len(), 1024);
    card.registers.log.clear();
    assert_eq!(step(&mut card, 1024, now).len(), 1024);
    assert_eq!(card.registers.log.len(), 2 + 2 * 256);
}

#[test]
fn waits_suit_the_number_of_working_modules() {
    for (modules, micros) in [
        (ONE, 2048),
        (0xc2c2, 1024),
        (0x40c2_c2c2, 1000),
        (FOUR, 1000),
    ] {
        let (mut card, now) = start(modules);
        let wait = card.step(&mut [0; 8], now).unwrap();
        let Step::Wait(pause) = wait else {
            panic!("{wait:?}")
        };
        assert_eq!(pause.as_micros(), micros);
        assert_eq!(card.registers.log.len(), 2);
    }
}

#[test]
fn less_than_a_quarter_is_left_in_the_fifo() {
    let (mut card, now) = start(ONE);
    card.registers.fill(0, 1020);
    assert!(step(&mut card, 4096, now).is_empty());
    card.registers.fill(255, 8);
    assert!(step(&mut card, 4096, now) == bytes(0, 1024));
    assert!(step(&mut card, 4096, now).is_empty());
}

#[test]
fn buffers_of_any_length_lose_nothing() {
    let (mut card, now) = start(ONE);
    // What is less than a quarter stays in the FIFO.
    card.registers.fill(7, 4096 + 1020);
    let mut got = Vec::new();
    for room in [1, 2, 3, 5, 1, 1, 4, 7, 9, 1, 13, 4051, 4096]
        .into_iter()
        .cycle()
    {
        got.extend(step(&mut card, room, now));
        if got.len() >= 4096 {
            break;
        }
    }
    assert!(got == bytes(7, got.len()));
    assert_eq!(card.rest, [0; 4]);
}

#[test]
fn a_word_with_an_error_is_dropped_and_the_fifo_emptied() {
    let (mut card, now) = start(FOUR);
    card.registers.fill(0, 4096);
    card.registers.error_in = Some(11);
    // Ten are good.
    assert_eq!(step(&mut card, 4096, now), bytes(0, 40));
    assert_eq!(card.overflows(), 1);
    assert!(card.registers.log.contains(&('w', FS_CA, 0)));
    assert!(step(&mut card, 4096, now).is_empty());
    card.registers.fill(5000, 1024);
    assert!(step(&mut card, 4096, now) == bytes(5000, 1024));
    // An error that is there before the first word costs no word at all.
    card.registers.fill(6000, 4096);
    card.registers.error_in = Some(0);
    card.registers.log.clear();
    assert!(step(&mut card, 4096, now).is_empty());
    assert_eq!(card.registers.reads(FD_RR), 0);
    assert_eq!(card.overflows(), 2);
    // Nor does the first word, if the last status was good.
    card.registers.fill(7000, 2048);
    assert_eq!(step(&mut card, 1024, now).len(), 1024);
    card.registers.error_in = Some(1);
    assert!(step(&mut card, 1024, now).is_empty());
    assert_eq!(card.overflows(), 3);
}

#[test]
fn an_error_that_stays_is_silence_in_the_end() {
    let (mut card, now) = start(FOUR);
    for count in 1.. {
        card.registers.fill(0, 4096);
        card.registers.error_in = Some(0);
        let failure = match card.step(&mut [0; 64], now + ms(100 * count)) {
            Ok(step) => {
                assert!(matches!(step, Step::Wait(_)));
                continue;
            }
            Err(failure) => failure,
        };
        assert_eq!((failure.fault, count), (Fault::Silent, 21));
        break;
    }
}

#[test]
fn a_degraded_card_serves_and_one_without_a_healthy_module_fails() {
    let (mut card, now) = start(FOUR);
    let later = now + SETTLE;
    // Modules 1 and 3 have failed.
    card.registers.modules = 0x42c2_42c2;
    card.registers.fill(0, 1024);
    assert!(step(&mut card, 1024, later) == bytes(0, 1024));
    assert_eq!(card.modules().failed(), 0b1010);
    card.registers.modules = 0x4242_4242;
    card.registers.fill(0, 1024);
    let failure = card.step(&mut [0; 64], later).unwrap_err();
    assert_eq!(failure.fault, Fault::Unhealthy);
    assert!(failure.text.contains("modules 0, 1, 2, 3"), "{failure}");
    card.registers.modules = 0;
    let failure = card.step(&mut [0; 64], later).unwrap_err();
    assert!(
        failure.text.contains("no module is plugged in"),
        "{failure}"
    );
}

#[test]
fn modules_get_a_time_to_become_healthy() {
    let (mut card, now) = start(0x4242_4242);
    card.registers.fill(0, 1024);
    assert!(step(&mut card, 64, now).is_empty());
    assert!(step(&mut card, 64, now + SETTLE - ms(1)).is_empty());
    assert_eq!(card.registers.reads(FD_RR), 0);
    card.registers.modules = 0x42c2_4242;
    assert_eq!(step(&mut card, 64, now + SETTLE - ms(1)).len(), 64);
}

#[test]
fn a_module_in_test_mode_ends_the_check() {
    let (mut card, now) = start(FOUR);
    card.registers.modules = 0x0000_0044;
    card.registers.fill(0, 1024);
    assert!(step(&mut card, 1024, now + SETTLE) == bytes(0, 1024));
}

#[test]
fn a_fifo_that_does_not_fill_is_silence() {
    let (mut card, now) = start(ONE);
    card.registers.fill(0, 1024);
    assert_eq!(step(&mut card, 1024, now + ms(5000)).len(), 1024);
    // Asked every 100 ms: the first that finds nothing counts.
    for count in 0..20 {
        assert!(step(&mut card, 64, now + ms(5100 + 100 * count)).is_empty());
    }
    let failure = card.step(&mut [0; 64], now + ms(7100)).unwrap_err();
    assert_eq!(failure.fault, Fault::Silent);
}

#[test]
fn a_card_that_was_left_alone_is_not_called_silent() {
    let (mut card, now) = start(ONE);
    assert!(step(&mut card, 64, now).is_empty());
    card.registers.error_in = Some(0);
    assert!(step(&mut card, 64, now + ms(60_000)).is_empty());
    assert_eq!(card.overflows(), 1);
    card.registers.fill(0, 1024);
    assert_eq!(step(&mut card, 64, now + ms(60_002)).len(), 64);
}

#[test]
fn a_card_that_leaves_is_gone_whatever_is_read() {
    let now = Instant::now();
    // Each access may be the first that nobody answers.
    for leaves_in in 1..=524 {
        let mut fake = Fake::new(FOUR);
        fake.leaves_in = leaves_in;
        let mut got = Vec::new();
        let failure = match Card::start(fake, now) {
            Err(failure) => failure,
            Ok(mut card) => {
                card.registers.fill(0, 1024);
                loop {
                    let mut buffer = [0; 4096];
                    match card.step(&mut buffer, now) {
                        Ok(Step::Bytes(count)) => got.extend_from_slice(&buffer[..count]),
                        Ok(Step::Wait(_)) => {}
                        Err(failure) => break failure,
                    }
                }
            }
        };
        assert_eq!(failure.fault, Fault::Gone);
        // No word counts that nobody vouched for.
        assert!(got == bytes(0, got.len()));
        let pairs = leaves_in.saturating_sub(6) / 2;
        assert_eq!(got.len(), 4 * pairs.min(256), "{leaves_in}");
    }
}

#[test]
fn a_card_in_whose_place_zeros_are_read_is_gone_and_the_batch_with_it() {
    // The first access that is answered so is one of the second batch, or the first after it.
    for words in 0..=256 {
        let (mut card, now) = start(FOUR);
        card.registers.fill(0, 2048);
        assert_eq!(step(&mut card, 1024, now), bytes(0, 1024));
        (card.registers.leaves_in, card.registers.nobody) = (2 * words + 2, 0);
        let mut buffer = [0x55; 1024];
        let failure = card.step(&mut buffer, now + 2 * SETTLE).unwrap_err();
        assert_eq!(failure.fault, Fault::Gone, "{failure}");
        assert!(words == 0 || buffer == [0; 1024]);
    }
}

#[test]
fn what_was_left_is_forgotten() {
    let (mut card, now) = start(ONE);
    card.registers.fill(0, 4096);
    assert_eq!(step(&mut card, 1, now), [0]);
    card.forget();
    assert_eq!(card.rest, [0; 4]);
    assert!(step(&mut card, 64, now).is_empty());
    card.registers.fill(9000, 1024);
    assert!(step(&mut card, 1024, now) == bytes(9000, 1024));
    assert_eq!(card.overflows(), 0);
}
