//! A calendar of keys under a bad line, restarts and wrong clocks: both ends as they seal and admit, and time that is made
//! here. No byte is admitted twice, whatever happens; and while the clocks agree bytes flow again within 2 seconds of any
//! disturbance, also over midnight.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use proptest::prelude::*;
use qrng::keys::{CalendarFiles, CollectorKeys, Day, GatewayKeys, generate_calendar};
use qrng::report::{Kind, Kinds};
use qrng::session::ROW;
use qrng_collector::acquire::Cut;
use qrng_collector::block::Batch;
use qrng_collector::epoch::{EpochError, Epochs};
use qrng_collector::seal::{Seal, notice_room};
use qrng_gateway::admit::{Admit, Admitted, AdvanceBound, MAX_AGE_US, first_bound};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAYS: u32 = 12;
const CUT: Cut = Cut {
    full: 24,
    least: 17,
};

/// The epoch file.
#[derive(Clone, Default)]
struct Kept(Arc<AtomicU64>);

impl Epochs for Kept {
    fn next(&mut self, now_us: u64) -> Result<u64, EpochError> {
        let epoch = now_us.max(self.0.load(Ordering::Relaxed) + 1);
        self.0.store(epoch, Ordering::Relaxed);
        Ok(epoch)
    }
}

/// The bound's file.
#[derive(Default)]
struct Bound(Option<u64>);

impl AdvanceBound for Bound {
    fn advance(&mut self, to_us: u64) -> io::Result<()> {
        self.0 = Some(to_us);
        Ok(())
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Seconds in which packets arrive as sent.
    Flow(u64),
    /// The same, and each waits for the next second, in reverse order.
    Reorder(u64),
    /// Each arrives twice.
    Duplicate(u64),
    /// Nothing arrives.
    Loss(u64),
    /// Everything of the last minutes arrives again.
    ReplayAll,
    /// To some seconds before or after the next midnight, with nothing sent until then.
    Midnight(i64),
    /// Hours without a packet.
    Hours(u64),
    RestartCollector,
    RestartGateway,
    /// The clock of one end jumps by seconds.
    CollectorJumps(i64),
    GatewayJumps(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..8_u64).prop_map(Event::Flow),
        2 => (1..4_u64).prop_map(Event::Reorder),
        2 => (1..4_u64).prop_map(Event::Duplicate),
        2 => (1..90_u64).prop_map(Event::Loss),
        2 => Just(Event::ReplayAll),
        3 => (-75..310_i64).prop_map(Event::Midnight),
        1 => (1..30_u64).prop_map(Event::Hours),
        1 => Just(Event::RestartCollector),
        1 => Just(Event::RestartGateway),
    ]
}

fn jump() -> impl Strategy<Value = Event> {
    // Seconds, minutes, and more than a day.
    let far = prop_oneof![-20..20_i64, -900..900_i64, -100_000..100_000_i64];
    (any::<bool>(), far).prop_map(|(collector, by)| {
        if collector {
            Event::CollectorJumps(by)
        } else {
            Event::GatewayJumps(by)
        }
    })
}

/// Both ends and the line.
struct World {
    files: CalendarFiles,
    /// Time as it is, in microseconds.
    now_us: u64,
    begin: (u64, Instant),
    /// What the clocks of collector and gateway show beyond it.
    skew_us: [i64; 2],
    epochs: Kept,
    seal: Seal<UnwrapErr<SysRng>>,
    admit: Admit,
    bound: Bound,
    /// Days whose keys the gateway has destroyed, in memory and on file.
    destroyed: HashSet<Day>,
    waiting: Vec<Vec<u8>>,
    /// What was on the line, since a collector has restarted twice.
    sent: Vec<Vec<u8>>,
    admitted: HashSet<u64>,
    number: u64,
}

impl World {
    fn new() -> Self {
        let first: Day = "2026-12-28".parse().unwrap();
        let files = generate_calendar(first, DAYS, &mut UnwrapErr(SysRng)).unwrap();
        let now_us = first.start_us() + 12 * HOUR;
        let (epochs, destroyed) = (Kept::default(), HashSet::new());
        World {
            seal: seal(&files, &epochs, now_us),
            admit: admit(&files, &destroyed, now_us - 1),
            files,
            now_us,
            begin: (now_us, Instant::now()),
            skew_us: [0, 0],
            epochs,
            bound: Bound(Some(now_us - 1)),
            destroyed,
            waiting: Vec::new(),
            sent: Vec::new(),
            admitted: HashSet::new(),
            number: 0,
        }
    }

    fn collectors_us(&self) -> u64 {
        self.now_us.saturating_add_signed(self.skew_us[0])
    }

    fn gateways_us(&self) -> u64 {
        self.now_us.saturating_add_signed(self.skew_us[1])
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Flow(seconds) => self.seconds(seconds, |world, packets| world.deliver(packets)),
            Event::Duplicate(seconds) => self.seconds(seconds, |world, packets| {
                world.deliver(packets.clone());
                world.deliver(packets);
            }),
            Event::Reorder(seconds) => {
                self.seconds(seconds, |world, mut packets| {
                    packets.reverse();
                    let late = std::mem::replace(&mut world.waiting, packets);
                    world.deliver(late);
                });
                let late = std::mem::take(&mut self.waiting);
                self.deliver(late);
            }
            Event::Loss(seconds) => self.seconds(seconds, |_, _| {}),
            Event::ReplayAll => {
                let sent = self.sent.clone();
                self.deliver(sent);
            }
            Event::Midnight(after) => {
                let midnight = Day::of_us(self.now_us).end_us();
                let to_us = midnight.saturating_add_signed(after * SECOND as i64);
                self.now_us = to_us.max(self.now_us);
            }
            Event::Hours(hours) => self.now_us += hours * HOUR,
            Event::RestartCollector => {
                self.seal = seal(&self.files, &self.epochs, self.collectors_us());
            }
            Event::RestartGateway => {
                let bound_us = self.bound.0.unwrap_or(first_bound(self.gateways_us()));
                self.admit = admit(&self.files, &self.destroyed, bound_us);
            }
            Event::CollectorJumps(by) => self.jump(0, by),
            Event::GatewayJumps(by) => self.jump(1, by),
        }
    }

    fn jump(&mut self, end: usize, by: i64) {
        self.skew_us[end] += by * SECOND as i64;
    }

    /// Lets seconds pass; `line` decides what becomes of the packets of each.
    fn seconds(&mut self, seconds: u64, line: fn(&mut World, Vec<Vec<u8>>)) {
        for _ in 0..seconds {
            self.now_us += SECOND;
            let packets = self.send();
            self.sent.extend(packets.iter().cloned());
            let oldest = self.sent.len().saturating_sub(600);
            self.sent.drain(..oldest);
            line(self, packets);
            self.look_at_keys();
        }
    }

    /// What the collector sends in a second.
    fn send(&mut self) -> Vec<Vec<u8>> {
        let (now_us, mut packets) = (self.collectors_us(), Vec::new());
        let mut batch = Batch::new(notice_room(CUT));
        let mut take = |batch: &Batch| packets.extend(batch.datagrams().map(<[u8]>::to_vec));
        self.seal.announce(0, now_us, &mut batch).unwrap();
        take(&batch);
        for part in 0..3 {
            let at_us = now_us + part * 300_000;
            // As the stage that seals does it.
            if self.seal.stale(at_us) {
                self.seal.announce(0, at_us, &mut batch).unwrap();
                take(&batch);
            }
            self.number += 1;
            let mut bytes = [0x5a; 24];
            bytes[..8].copy_from_slice(&self.number.to_be_bytes());
            let kinds = Kinds::of(Kind::Usb);
            self.seal.block(at_us, kinds, &bytes, &mut batch).unwrap();
            take(&batch);
        }
        packets
    }

    /// Gives packets to the gateway.
    fn deliver(&mut self, mut packets: Vec<Vec<u8>>) {
        let now_us = self.gateways_us() + SECOND;
        for row in packets.chunks_mut(ROW) {
            let datagrams = row.iter_mut().map(Vec::as_mut_slice);
            for looked in self.admit.look_at(datagrams, now_us).into_iter().flatten() {
                let verdict = self.admit.judge(looked, now_us, &mut self.bound);
                if let Ok(Admitted::Bytes { bytes, .. }) = verdict {
                    let number = u64::from_be_bytes(*bytes.first_chunk().unwrap());
                    assert!(number <= self.number, "number {number} was never sent");
                    assert!(self.admitted.insert(number), "number {number} came twice");
                }
            }
        }
    }

    /// What the gateway does with keys each second.
    fn look_at_keys(&mut self) {
        let passed = Duration::from_micros(self.now_us - self.begin.0);
        let gone = self
            .admit
            .destroy_past(self.gateways_us(), self.begin.1 + passed);
        self.destroyed.extend(gone.iter().map(|gone| gone.day));
    }

    /// Three seconds without a disturbance: the packets of the third arrive all; and keys of the past are gone.
    fn flows(&mut self) {
        self.happen(Event::Flow(2));
        let before = self.admitted.len();
        self.happen(Event::Flow(1));
        let flowing = self.now_us <= self.files.last.end_us();
        if flowing {
            assert_eq!(self.admitted.len(), before + 3, "at {}", self.now_us);
        }
        let over = Day::of_us(self.now_us - MAX_AGE_US - SECOND).number();
        let first = Day::of_us(self.begin.0).number();
        for day in (first..over).filter_map(Day::from_number) {
            assert!(
                !flowing || self.destroyed.contains(&day),
                "{day} is still there"
            );
        }
        let today = Day::of_us(self.now_us);
        assert!(self.destroyed.iter().all(|day| *day < today));
    }
}

fn seal(files: &CalendarFiles, epochs: &Kept, now_us: u64) -> Seal<UnwrapErr<SysRng>> {
    let keys = vec![CollectorKeys::parse(&files.collector).unwrap()];
    let epochs = Box::new(epochs.clone());
    Seal::start(keys, CUT, epochs, UnwrapErr(SysRng), now_us).unwrap()
}

/// A gateway that starts with what is left of its file.
fn admit(files: &CalendarFiles, destroyed: &HashSet<Day>, bound_us: u64) -> Admit {
    let keys = GatewayKeys::parse(&files.gateway).unwrap().keys;
    let (past, left): (Vec<_>, Vec<_>) = keys
        .into_iter()
        .partition(|key| key.day().is_some_and(|day| destroyed.contains(&day)));
    let mut admit = Admit::new(Vec::new(), bound_us, Kinds::REAL);
    admit.install(left, past.iter().map(|key| key.key_id()).collect());
    admit
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_calendar_flows_over_every_disturbance(events in prop::collection::vec(event(), 1..24)) {
        let mut world = World::new();
        world.flows();
        for event in events {
            world.happen(event);
            world.flows();
        }
    }

    #[test]
    fn nothing_comes_twice_whatever_the_clocks_do(
        events in prop::collection::vec(prop_oneof![3 => event(), 1 => jump()], 1..40),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.happen(Event::ReplayAll);
        }
        // Set right, they agree again: in the end bytes flow, if both have a key that they share.
        world.skew_us = [0, 0];
        let bound_us = world.bound.0.unwrap_or(0);
        world.now_us = world.now_us.max(bound_us + SECOND);
        let today = Day::of_us(world.now_us);
        if today <= world.files.last && !world.destroyed.contains(&today) {
            world.happen(Event::Flow(3));
            let before = world.admitted.len();
            world.happen(Event::Flow(1));
            prop_assert_eq!(world.admitted.len(), before + 3);
        }
    }
}
