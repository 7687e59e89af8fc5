use super::*;
use crate::ledger::Worth;
use Register::*;

const MASK: u32 = module::SEN * module::ALL;

fn card(config: ModuleConfig) -> ModuleCard {
    let mut card = ModuleCard::new(config);
    card.advance(Duration::from_secs(1));
    card
}

fn get(card: &mut ModuleCard, register: Register) -> u32 {
    card.read32(BAR, register as u64)
}

fn set(card: &mut ModuleCard, register: Register, value: u32) {
    card.write32(BAR, register as u64, value);
}

fn init(card: &mut ModuleCard) {
    let hen = get(card, MX_SR) & (module::HEN * module::ALL);
    for (register, value) in [(CC_ER, 1), (CC_DR, 1), (MX_ER, hen >> 5), (FS_CA, 0)] {
        set(card, register, value);
    }
}

fn ready(config: ModuleConfig) -> ModuleCard {
    let mut card = card(config);
    init(&mut card);
    card
}

/// Lets time pass after the second at which [`card`] starts.
fn at(card: &mut ModuleCard, micros: u64) {
    card.advance(Duration::from_secs(1) + Duration::from_micros(micros));
}

/// Reads words as the reference says; the FIFO must not overflow.
fn pop(card: &mut ModuleCard, words: usize) -> Vec<u8> {
    let word = |_| {
        let word = get(card, FD_RR).to_le_bytes();
        assert_eq!(get(card, FS_RR) & status::ERROR, 0);
        word
    };
    (0..words).flat_map(word).collect()
}

/// Fails unless exactly this violation was recorded.
#[track_caller]
fn violated(card: &ModuleCard, text: &str) {
    let texts = card.violations().texts();
    assert!(
        matches!(texts, [one] if one.contains(text)),
        "{text:?} expected: {texts:?}"
    );
}

#[test]
fn what_is_read_is_the_stream() {
    let mut card = ready(ModuleConfig::default());
    assert_eq!(get(&mut card, FS_RR), status::EMPTY);
    at(&mut card, 512);
    assert_eq!(get(&mut card, FS_RR), status::QUARTER);
    let first = pop(&mut card, 256);
    assert_eq!(get(&mut card, FS_RR), status::EMPTY);
    at(&mut card, 1024);
    let second = pop(&mut card, 256);
    assert_eq!([first, second].concat(), card.stream().bytes(0, 2048));
    assert_eq!(
        card.ledger().good(card.stream()),
        card.stream().bytes(0, 2048)
    );
    assert_eq!(card.ledger().produced(), 2048);
    assert_eq!(card.accesses(FD_RR).reads, 512);
    card.violations().assert_none();
}

#[test]
fn levels_of_the_fifo_show_in_its_status() {
    use status::*;
    let mut card = ready(ModuleConfig::default());
    let levels = [
        (0, EMPTY),
        (511, 0),
        (512, QUARTER),
        (1024, QUARTER | HALF),
        (1536, QUARTER | HALF | THREE_QUARTERS),
        (2048, QUARTER | HALF | THREE_QUARTERS | FULL),
        (2050, QUARTER | HALF | THREE_QUARTERS | FULL | ERROR),
    ];
    for (micros, expected) in levels {
        at(&mut card, micros);
        assert_eq!(get(&mut card, FS_RR), expected, "{micros} us");
    }
    assert_eq!(card.ledger().overflowed(), 4);
}

#[test]
fn the_rate_is_that_of_the_modules_that_work() {
    for modules in 1..=4 {
        let mut card = ready(ModuleConfig {
            modules,
            ..Default::default()
        });
        at(&mut card, 2000);
        assert_eq!(card.fill(), 1000 * u64::from(modules));
        assert_eq!(get(&mut card, MX_SR), 0xC2C2_C2C2 >> (8 * (4 - modules)));
    }
    let mut card = ready(ModuleConfig::default());
    card.inject(Fault::ModuleFails(2)).unwrap();
    assert_eq!(get(&mut card, MX_SR), 0xC242_C2C2);
    at(&mut card, 2000);
    assert_eq!(card.fill(), 3000);
    card.clear();
    set(&mut card, MX_ER, module::SD);
    assert_eq!(get(&mut card, MX_SR), 0xC2C2_C2C3);
    set(&mut card, MX_DR, module::SD | module::SEN);
    assert_eq!(get(&mut card, MX_SR), 0xC2C2_C2C0);
    card.violations().assert_none();
}

#[test]
fn after_an_overflow_the_word_is_condemned_and_a_flush_goes_on_behind_the_lost_bytes() {
    let mut card = ready(ModuleConfig::default());
    at(&mut card, 512);
    assert_eq!(pop(&mut card, 1), card.stream().bytes(0, 4));
    at(&mut card, 10_000);
    get(&mut card, FD_RR);
    assert_ne!(get(&mut card, FS_RR) & status::ERROR, 0);
    set(&mut card, FS_CA, 0);
    assert_eq!(get(&mut card, FS_RR), status::EMPTY);
    at(&mut card, 10_512);
    assert_eq!(pop(&mut card, 256), card.stream().bytes(20_000, 1024));
    let worths: Vec<_> = card.ledger().pieces().iter().map(|p| p.worth).collect();
    assert_eq!(worths, [Worth::Good, Worth::Condemned, Worth::Good]);
    let ledger = card.ledger();
    assert_eq!(
        ledger.produced(),
        ledger.handed() + ledger.overflowed() + ledger.flushed()
    );
    card.violations().assert_none();
}

#[test]
fn a_card_that_waits_or_is_unlimited_never_overflows() {
    let waits = ModuleConfig {
        full: Full::Waits,
        ..Default::default()
    };
    let mut card = ready(waits);
    at(&mut card, 1_000_000);
    assert_eq!(
        get(&mut card, FS_RR) & (status::FULL | status::ERROR),
        status::FULL
    );
    assert_eq!(pop(&mut card, 1024), card.stream().bytes(0, 4096));
    let unlimited = ModuleConfig {
        rate: Rate::Unlimited,
        ..Default::default()
    };
    let mut card = ready(unlimited);
    assert_eq!(
        get(&mut card, FS_RR) & (status::FULL | status::ERROR),
        status::FULL
    );
    assert_eq!(pop(&mut card, 5000), card.stream().bytes(0, 20_000));
    card.violations().assert_none();
}

#[test]
fn faults_of_the_data_alter_it_and_the_books_say_so() {
    let unlimited = ModuleConfig {
        rate: Rate::Unlimited,
        ..Default::default()
    };
    let mut card = ready(unlimited);
    for (fault, expected) in [(Fault::Stuck, 0xA5), (Fault::Zeros, 0), (Fault::Ones, 0xFF)] {
        card.inject(fault).unwrap();
        assert_eq!(pop(&mut card, 2), [expected; 8]);
        card.clear();
    }
    assert_eq!(pop(&mut card, 2), card.stream().bytes(24, 8));
    assert_eq!(
        card.ledger().good(card.stream()),
        card.stream().bytes(24, 8)
    );
}

#[test]
fn other_faults_show_where_the_reference_says() {
    let mut card = ready(ModuleConfig::default());
    card.inject(Fault::Slow(1000)).unwrap();
    at(&mut card, 100_000);
    assert_eq!(card.fill(), 100);
    card.inject(Fault::Hang).unwrap();
    at(&mut card, 200_000);
    assert_eq!(card.fill(), 100);
    card.inject(Fault::TestMode(1)).unwrap();
    assert_eq!(get(&mut card, MX_SR), 0xC2C2_C6C2);
    card.inject(Fault::Overflow).unwrap();
    assert_eq!(get(&mut card, FS_RR), status::ERROR);
    for fault in [Fault::Html, Fault::ModuleFails(4), Fault::PacketError(0)] {
        assert_eq!(card.inject(fault), Err(FaultError::NotHere(fault)));
    }
    assert!(
        card.state().contains("slow 1000, hang, test-mode 1"),
        "{}",
        card.state()
    );
    card.violations().assert_none();
}

#[test]
fn a_card_that_is_gone_reads_all_ones_and_comes_back_as_after_power_on() {
    let mut card = ready(ModuleConfig::default());
    at(&mut card, 1000);
    card.inject(Fault::Gone).unwrap();
    assert!(card.gone());
    for register in [MX_SR, FS_RR, FD_RR, CV_SR] {
        assert_eq!(get(&mut card, register), u32::MAX);
    }
    set(&mut card, FS_CA, 0);
    at(&mut card, 5000);
    card.clear();
    assert_eq!(get(&mut card, MX_SR), 0xC0C0_C0C0);
    assert_eq!(get(&mut card, FS_RR), status::EMPTY);
    assert_eq!(card.ledger().flushed(), 2000);
    card.violations().assert_none();
    get(&mut card, FD_RR);
    assert_eq!(card.violations().count(), 2, "too early, and empty");
}

#[test]
fn accesses_of_a_wrong_kind_are_violations() {
    let wrong: [(u8, u64, usize, &str); 7] = [
        (0, 0x3C, 4, "in BAR1"),
        (2, 0x3C, 4, "in BAR1"),
        (1, 0x3C, 1, "of 1 bytes"),
        (1, 0x3C, 8, "of 8 bytes"),
        (1, 0x3E, 4, "not aligned"),
        (1, 0x40, 4, "beyond"),
        (1, 0x24, 4, "reserved"),
    ];
    for (bar, offset, width, text) in wrong {
        let mut card = ready(ModuleConfig::default());
        card.read(bar, offset, &mut vec![0; width]);
        violated(&card, text);
        let mut card = ready(ModuleConfig::default());
        card.write(bar, offset, &vec![0; width]);
        violated(&card, text);
    }
    for register in [CC_ER, CC_DR, FS_CA, MX_ER, MX_DR] {
        let mut card = ready(ModuleConfig::default());
        assert_eq!(get(&mut card, register), 0);
        violated(&card, "can only be written");
    }
    for register in [CC_SR, CV_SR, FS_RR, FD_RR, MX_SR] {
        let mut card = ready(ModuleConfig::default());
        set(&mut card, register, 0);
        violated(&card, "can only be read");
    }
}

#[test]
fn values_that_may_not_be_written_are_violations() {
    let wrong = [
        (CC_ER, 3, "only 1"),
        (CC_DR, 1, "not asserted"),
        (CC_DR, 0, "only 1"),
        (FS_CA, 1, "only 0"),
        (MX_ER, module::HEN, "other bits"),
        (MX_ER, module::TM, "other bits"),
        (MX_DR, 1 << 3, "other bits"),
    ];
    for (register, value, text) in wrong {
        let mut card = ready(ModuleConfig::default());
        set(&mut card, register, value);
        violated(&card, text);
    }
    let mut card = ready(ModuleConfig {
        modules: 2,
        ..Default::default()
    });
    set(&mut card, MX_ER, MASK);
    violated(&card, "not present");
    assert_eq!(get(&mut card, MX_SR), 0xC2C2);
}

#[test]
fn the_fifo_is_read_as_the_reference_says_or_it_is_a_violation() {
    let mut card = ready(ModuleConfig::default());
    get(&mut card, FD_RR);
    violated(&card, "empty");

    let mut card = ready(ModuleConfig::default());
    at(&mut card, 512);
    get(&mut card, FD_RR);
    get(&mut card, FD_RR);
    violated(&card, "without FS_RR between");

    let mut card = ready(ModuleConfig::default());
    at(&mut card, 3000);
    get(&mut card, FS_RR);
    get(&mut card, FD_RR);
    violated(&card, "flush first");
}

#[test]
fn initialisation_out_of_order_is_a_violation() {
    let orders: [(&[(Register, u32)], &str); 4] = [
        (
            &[(CC_ER, 1), (CC_DR, 1), (FS_CA, 0), (MX_ER, MASK)],
            "too early",
        ),
        (&[(MX_ER, MASK), (FS_CA, 0)], "too early"),
        (&[(CC_ER, 1), (MX_ER, MASK)], "while reset is asserted"),
        (
            &[(CC_ER, 1), (CC_DR, 1), (MX_ER, module::SEN)],
            "the modules present",
        ),
    ];
    for (order, text) in orders {
        let mut card = card(ModuleConfig::default());
        for (register, value) in order {
            set(&mut card, *register, *value);
        }
        if text == "too early" {
            at(&mut card, 512);
            get(&mut card, FD_RR);
        }
        violated(&card, text);
    }
}

#[test]
fn in_reset_the_core_status_says_so() {
    let mut card = ready(ModuleConfig::default());
    assert_eq!(get(&mut card, CC_SR), 0);
    set(&mut card, CC_ER, 1);
    assert_eq!(get(&mut card, CC_SR), 1);
    assert_eq!(get(&mut card, MX_SR), 0xC0C0_C0C0);
    assert_eq!(get(&mut card, CV_SR), 0x0A03_1102);
    card.violations().assert_none();
}
